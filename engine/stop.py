"""Ending a container: a signal, some patience, SIGKILL. Also restart, kill and wait.

Signals go through a pidfd whose start time was checked, so never to a stranger that got the pid.
"""

from __future__ import annotations

import os
import select
import time

from engine import containers, pause, reconcile, start
from engine.errors import EngineError
from kernel import process, signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_SETTLE = 20.0  # seconds that a monitor may take to record an end


def stop_signal(container: Container) -> int:
    """The signal of --stop-signal or STOPSIGNAL, else SIGTERM."""
    word = container.settings.stop_signal
    try:
        return signals.number(word or "TERM")
    except ValueError:
        return signals.number("TERM")


def stop(home: Home, text: str, timeout: float | None = None) -> Container:
    """Asks a container to end, and kills it after ``timeout`` seconds (-1: never)."""
    container = reconcile.find(home, text)
    if not containers.is_running(container):
        return container
    patience = container.settings.stop_timeout if timeout is None else timeout
    pause.thaw(home, container)
    pidfd = _pidfd(container)
    if pidfd >= 0:
        try:
            send(pidfd, stop_signal(container))
            if not _ended(pidfd, None if patience < 0 else patience):
                send(pidfd, signals.SIGKILL)
                _ended(pidfd, None)
        finally:
            os.close(pidfd)
    _settled(home, container)
    return container


def kill(home: Home, text: str, number: int) -> Container:
    """Sends one signal to the first process of a running container."""
    container = containers.require_running(reconcile.find(home, text))
    if number == signals.SIGKILL:
        pause.thaw(home, container)
    pidfd = _pidfd(container)
    if pidfd < 0:
        containers.require_running(container.replace(status="exited"))
    try:
        send(pidfd, number)
        if number == signals.SIGKILL:
            _ended(pidfd, None)
    finally:
        os.close(pidfd)
    if number == signals.SIGKILL:
        _settled(home, container)
    return container


def kill_and_wait(home: Home, container: Container) -> None:
    """SIGKILL, and until its monitor has recorded it."""
    pause.thaw(home, container)
    pidfd = _pidfd(container)
    if pidfd >= 0:
        send(pidfd, signals.SIGKILL)
        _ended(pidfd, None)
        os.close(pidfd)
    _settled(home, container)


def restart(home: Home, text: str, timeout: float | None = None) -> Container:
    """Stops a container if it runs, and starts it."""
    container = stop(home, text, timeout)
    if container.settings.auto_remove and containers.get(home, container.id) is None:
        raise EngineError(
            f"cannot restart container {container.name}", "it was removed by its end (--rm)"
        )
    start.start(home, container).connection.close()
    return container


def wait(home: Home, text: str) -> int:
    """The exit code, when the container has ended."""
    from engine import attach

    container = reconcile.find(home, text)
    if container.status in containers.ALIVE:  # also when it has ended, but not on record yet
        try:
            session = start.attach(home, container)
            return attach.follow(session, attach.Streams())
        except (EngineError, ConnectionError):
            _settled(home, container)
    fresh = containers.get(home, container.id)
    return fresh.exit_code if fresh else container.exit_code


def send(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2); a process that has ended is no error."""
    import _signal

    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def _pidfd(container: Container) -> int:
    try:
        pidfd = process.pidfd_open(container.pid)
    except ProcessLookupError:
        return -1
    if process.is_alive(container.pid, container.start_time):
        return pidfd
    os.close(pidfd)
    return -1


def _ended(pidfd: int, timeout: float | None) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def _settled(home: Home, container: Container) -> None:
    """Waits until the monitor has recorded the end, or is dead: then we do."""
    deadline = time.monotonic() + _SETTLE
    while time.monotonic() < deadline:
        fresh = containers.get(home, container.id)
        if fresh is None or fresh.monitor_pid != container.monitor_pid:
            return
        if fresh.status in containers.ALIVE:
            if reconcile.mend(home, fresh):
                return
        elif not (fresh.settings.auto_remove or fresh.status == "removing"):
            return
        time.sleep(0.002)
    raise EngineError(
        f"container {container.name} has ended, but its monitor does not record it",
        f"process {container.monitor_pid} is stuck",
    )
