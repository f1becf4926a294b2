"""Ending a container: a signal, some patience, SIGKILL. Also restart, kill and wait.

Signals go through a pidfd whose start time was checked, so never to a stranger that got the pid.
"""

from __future__ import annotations

import os
import select

from engine import containers, events, pause, reconcile
from engine.errors import EngineError
from kernel import process, signals, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.containers import Container
    from engine.home import Home

_asked = trace.point("engine.stop.asked")
_marked = trace.point("engine.stop.marked")
_killed = trace.point("engine.stop.killed")

_AGAIN = 0.1  # seconds after which what was killed must be frozen, or slow to die


def stop_signal(container: Container) -> int:
    """The signal of --stop-signal or STOPSIGNAL, else SIGTERM."""
    word = container.settings.stop_signal
    try:
        return signals.number(word or "TERM")
    except ValueError:
        return signals.number("TERM")


def stop(
    home: Home,
    text: str,
    timeout: float | None = None,
    number: int | None = None,
    by: int = containers.BY_PERSON,
) -> Container:
    """Asks a container to end by a signal, and kills it after ``timeout`` seconds (-1: never).

    Without them those count that the container was made with. One that waits to be started again
    by its restart policy is not started again.
    """
    container = reconcile.find(home, text)
    if container.status not in containers.UP:
        return container
    patience = container.settings.stop_timeout if timeout is None else timeout

    def ask(running: Container, pidfd: int) -> None:
        pause.thaw(home, running)
        signal(home, running, pidfd, number or stop_signal(running))
        _asked()
        if not ended(pidfd, None if patience < 0 else patience):
            force(home, running, pidfd)

    _bring_down(home, container, ask, by)
    events.of_container(home, container, "stop")
    return container


def kill(home: Home, text: str, number: int) -> Container:
    """Sends one signal to the first process of a running container.

    SIGKILL and its stop signal end it for good, as `stop` does: no restart policy applies. Any
    other is the program's own affair.
    """
    container = reconcile.find(home, text)
    if container.status not in containers.UP:
        containers.require_running(container)
    if number == signals.SIGKILL:
        kill_and_wait(home, container)
        return container
    if number == stop_signal(container):
        containers.mark_stopped(home, container.id, containers.BY_PERSON)
    if container.status == "restarting":
        if number == stop_signal(container):
            _give_up(home, container)
        return container
    pidfd = open_pidfd(container)
    if pidfd < 0:
        containers.require_running(container.replace(status="exited"))
    signal(home, container, pidfd, number)
    os.close(pidfd)
    return container


def kill_and_wait(home: Home, container: Container) -> None:
    """SIGKILL, and until its monitor has recorded it."""
    _bring_down(home, container, lambda one, pidfd: force(home, one, pidfd), containers.BY_PERSON)


def settled(home: Home, container: Container, by: int) -> None:
    """Until a container whose first process was ended is down, and stays down.

    Where its restart policy was faster than the mark of who ends it, it is killed once more.
    """
    fresh = containers.get(home, container.id)
    if fresh is not None and fresh.stopped:  # otherwise somebody has started it meanwhile
        _bring_down(home, fresh, lambda one, pidfd: force(home, one, pidfd), by)


def _bring_down(
    home: Home, container: Container, end: Callable[[Container, int], None], by: int
) -> None:
    """Ends a container that is up, and its restart policy with it.

    ``end`` ends one run of it. It may be told of several: where the policy was faster than our
    mark, the container runs once more.
    """
    fresh: Container | None = container
    while fresh is not None and fresh.status in containers.UP:
        containers.mark_stopped(home, fresh.id, by)
        _marked()
        if fresh.status == "restarting":
            _give_up(home, fresh)
        elif (pidfd := open_pidfd(fresh)) >= 0:
            try:
                end(fresh, pidfd)
            finally:
                os.close(pidfd)
        reconcile.settle(home, fresh)
        again = containers.get(home, container.id)
        fresh = again if again is not None and again.stopped else None


def _give_up(home: Home, container: Container) -> None:
    """Wakes a monitor that waits to start its container again, so that it looks at the row."""
    try:
        from engine import start

        start.connect(home, container).close()
    except OSError:  # it has gone, or is starting the container just now
        return


def force(home: Home, container: Container, pidfd: int) -> None:
    """SIGKILL, which a process that is frozen with cgroups v1 takes when it is thawed."""
    signal(home, container, pidfd, signals.SIGKILL)
    _killed()
    if container.status == "paused":
        pause.thaw(home, container)
    while not ended(pidfd, _AGAIN):
        pause.thaw(home, container, always=True)


def signal(home: Home, container: Container, pidfd: int, number: int) -> None:
    """A signal to a container's first process, and the event of it."""
    send(pidfd, number)
    events.of_container(home, container, "kill", signal=str(number))


def restart(
    home: Home, text: str, timeout: float | None = None, number: int | None = None
) -> Container:
    """Stops a container if it runs, and starts it."""
    container = stop(home, text, timeout, number)
    if container.settings.auto_remove and containers.get(home, container.id) is None:
        raise EngineError(
            f"cannot restart container {container.name}", "it was removed by its end (--rm)"
        )
    from engine import start

    start.start(home, container).connection.close()
    events.of_container(home, container, "restart")
    return container


def wait(home: Home, text: str) -> int:
    """The exit code, when the container has ended; a restart policy does not prolong the wait.

    One that is restarting at the moment is waited for until its next end.
    """
    from engine import attach, start, wire

    container = reconcile.find(home, text)
    if container.status in containers.UP:  # also when it has ended, but not on record yet
        try:
            session = start.Session(start.reach(home, container), wire.Reader())
            return attach.follow(session, attach.Streams())
        except OSError:
            reconcile.settle(home, container)
    return containers.require(home, container).exit_code


def send(pidfd: int, number: int) -> None:
    """pidfd_send_signal(2); a process that has ended is no error."""
    import _signal

    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return


def open_pidfd(container: Container) -> int:
    """The pidfd of its first process, which lives; -1 if it does not."""
    if not container.pid:
        return -1
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
