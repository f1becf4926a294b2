"""Ending a container: a signal, some patience, SIGKILL. Also restart, kill and wait.

Signals go through a pidfd whose start time was checked, so never to a stranger that got the pid.
"""

from __future__ import annotations

import os
import select

from engine import containers, pause, reconcile, start
from engine.errors import EngineError
from kernel import process, signals, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_asked = trace.point("engine.stop.asked")

_AGAIN = 0.1  # seconds after which what was killed must be frozen, or slow to die


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
            _asked()
            if not ended(pidfd, None if patience < 0 else patience):
                _kill(home, container, pidfd)
        finally:
            os.close(pidfd)
    reconcile.settle(home, container)
    return container


def kill(home: Home, text: str, number: int) -> Container:
    """Sends one signal to the first process of a running container."""
    container = containers.require_running(reconcile.find(home, text))
    if number == signals.SIGKILL:
        kill_and_wait(home, container)
        return container
    pidfd = _pidfd(container)
    if pidfd < 0:
        containers.require_running(container.replace(status="exited"))
    send(pidfd, number)
    os.close(pidfd)
    return container


def kill_and_wait(home: Home, container: Container) -> None:
    """SIGKILL, and until its monitor has recorded it."""
    pidfd = _pidfd(container)
    if pidfd >= 0:
        try:
            _kill(home, container, pidfd)
        finally:
            os.close(pidfd)
    reconcile.settle(home, container)


def _kill(home: Home, container: Container, pidfd: int) -> None:
    """SIGKILL, which a process that is frozen with cgroups v1 takes when it is thawed."""
    send(pidfd, signals.SIGKILL)
    if container.status == "paused":
        pause.thaw(home, container)
    while not ended(pidfd, _AGAIN):
        pause.thaw(home, container, always=True)


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
            session = start.attach(home, container, stdin=False, output=False)
            return attach.follow(session, attach.Streams())
        except (EngineError, ConnectionError):
            reconcile.settle(home, container)
    return containers.require(home, container).exit_code


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


def ended(pidfd: int, timeout: float | None) -> bool:
    """Whether a process ends within ``timeout`` seconds; None waits for it."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))
