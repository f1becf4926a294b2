"""Taking a container that does not run out of the world: row, control group, files, volumes.

The row goes first; its foreign keys take the mounts along, so "nobody has that volume" is a query.
An anonymous volume whose last user goes is retired (it can be restored for a day) or freed at
once; named volumes stay.
"""

from __future__ import annotations

import os

from engine import containers
from engine.errors import ContainerConflict
from kernel import trace, tree
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_marked = trace.point("engine.erase.marked")
_row_removed = trace.point("engine.erase.row_removed")
_files_removed = trace.point("engine.erase.files_removed")


def erase_locked(home: Home, container: Container, *, volumes: str) -> None:
    """:func:`erase` when no start or other removal is under way; nothing if it is gone by then."""
    try:
        with home.lock(container.id):
            fresh = containers.get(home, container.id)
            if fresh is not None and fresh.status in containers.ALIVE and fresh.monitor_pid:
                raise ContainerConflict(
                    f"cannot remove container {container.name}", "it was started just now"
                )
            if fresh is not None:
                erase(home, container, volumes=volumes)
    except FileNotFoundError:  # its folder is gone already, or was never made
        erase(home, container, volumes=volumes)


def erase(home: Home, container: Container, *, volumes: str) -> None:
    """Takes a container that does not run out of the world; ``volumes`` is free or retire."""
    containers.update(home, container.id, status="removing")
    _marked()
    names = [m.source for m in home.volumes.mounts(container.id) if m.kind == "volume"]
    orphans = _delete_row(home, container.id, names)
    _row_removed()
    cgroups.of(container.cgroup).remove()
    erase_files(home, container.id)
    _files_removed()
    if volumes == "free":
        home.volumes.free(orphans)
    else:
        home.volumes.retire(orphans)
    home.volumes.empty_trash()


def _delete_row(home: Home, container_id: str, names: list[str]) -> list[str]:
    """The row and its mounts; returns the anonymous volumes that nobody has now."""
    with home.db:
        home.db.execute("BEGIN IMMEDIATE")
        home.db.execute("DELETE FROM containers WHERE id = ?", (container_id,))
        return [volume.name for volume in home.volumes.unused_of(names)]


def erase_files(home: Home, container_id: str) -> None:
    """The folders of a container that has no row."""
    folder = home.folder(container_id)
    tree.remove_tree(folder)
    if os.path.isdir(home.run_folder(container_id)):
        tree.remove_tree(home.run_folder(container_id))
