"""Pausing a container: the freezer stops all its processes where they are (cgroups(7), freezer)."""

from __future__ import annotations

from engine import containers
from engine.errors import ContainerConflict
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home


def pause(home: Home, container: Container) -> None:
    """Freezes a running container; the row says so first, so that a crash can be undone."""
    containers.require_running(container)
    if container.status == "paused":
        raise ContainerConflict(f"container {container.name} is already paused")
    query = "UPDATE containers SET status = 'paused' WHERE id = ? AND status = 'running'"
    if home.db.execute(query, (container.id,)).rowcount != 1:
        raise ContainerConflict(f"container {container.name} has just ended")
    try:
        cgroups.of(container.cgroup).freeze(True)
    except BaseException:
        thaw(home, container.replace(status="paused"))
        raise


def unpause(home: Home, container: Container) -> None:
    """Lets a paused container go on."""
    containers.require_running(container)
    if container.status != "paused":
        raise ContainerConflict(f"container {container.name} is not paused")
    thaw(home, container)


def thaw(home: Home, container: Container) -> None:
    """Unpauses a container if it is paused: a frozen process takes no signal."""
    if container.status != "paused":
        return
    cgroups.of(container.cgroup).freeze(False)
    home.db.execute(
        "UPDATE containers SET status = 'running' WHERE id = ? AND status = 'paused'",
        (container.id,),
    )
