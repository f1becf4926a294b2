"""Pausing a container: the freezer stops all its processes where they are (cgroups(7), freezer).

Row and freezer change together under the container's lock, so that a frozen container is always
known as one, and whoever ends it can thaw it.
"""

from __future__ import annotations

from engine import containers, events, locks
from engine.errors import ContainerConflict, ContainerNotFound
from kernel import trace
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_marked = trace.point("engine.pause.marked")
_frozen = trace.point("engine.pause.frozen")
_thawed = trace.point("engine.pause.thawed")


def pause(home: Home, container: Container) -> None:
    """Freezes a running container; the row says so first, so that a crash can be undone."""
    with locks.alone(home, container) as held:
        fresh = containers.require_running(held.container)
        if fresh.status == "paused":
            raise ContainerConflict(f"container {fresh.name} is already paused")
        containers.update(home, fresh.id, status="paused")
        _marked()
        try:
            cgroups.of(fresh.cgroup).freeze(True)
        except BaseException:
            _thaw(home, fresh)
            raise
        _frozen()
    events.of_container(home, fresh, "pause")


def unpause(home: Home, container: Container) -> None:
    """Lets a paused container go on."""
    with locks.alone(home, container) as held:
        fresh = containers.require_running(held.container)
        if fresh.status != "paused":
            raise ContainerConflict(f"container {fresh.name} is not paused")
        _thaw(home, fresh)
    events.of_container(home, fresh, "unpause")


def thaw(home: Home, container: Container, *, always: bool = False) -> None:
    """Unpauses a container that is to be ended, if it is paused: a frozen process takes no signal.

    ``always`` also thaws what `commit` has frozen, of which the row says nothing.
    """
    try:
        with locks.alone(home, container) as held:
            fresh = held.container
            if containers.is_running(fresh) and (always or fresh.status == "paused"):
                _thaw(home, fresh)
    except ContainerNotFound:
        return


def _thaw(home: Home, container: Container) -> None:
    cgroups.of(container.cgroup).freeze(False)
    _thawed()
    containers.update(home, container.id, status="running")
