"""Taking a container that does not run out of the world: row, control group, files, volumes.

The row goes first; its foreign keys take the mounts along, so "nobody has that volume" is a query.
The folder is renamed before it is deleted, so that it is there or not, and whoever waits for the
lock in it learns that the container is gone. An anonymous volume whose last user goes is retired
(it can be restored for a day) or freed at once; named volumes stay.
"""

from __future__ import annotations

import os

from engine import containers, events, locks
from engine.errors import ContainerConflict, ContainerNotFound
from kernel import trace, tree
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_locked = trace.point("engine.erase.locked")
_marked = trace.point("engine.erase.marked")
_row_removed = trace.point("engine.erase.row_removed")
_files_moved = trace.point("engine.erase.files_moved")
_files_removed = trace.point("engine.erase.files_removed")

GONE = ".gone-"  # the folder of a container whose row is gone, and the pid of who deletes it


def erase_locked(home: Home, container: Container, *, volumes: str) -> bool:
    """:func:`erase` when nobody else is at work on it; False if it is gone by then.

    ContainerConflict if it was started meanwhile.
    """
    try:
        with locks.alone(home, container) as held:
            _locked()
            if held.container.status in containers.UP:
                raise ContainerConflict(
                    f"cannot remove container {container.name}", "it was started just now"
                )
            erase(home, held.container, volumes=volumes)
    except ContainerNotFound:
        return False
    return True


def erase(home: Home, container: Container, *, volumes: str) -> None:
    """Takes a container that does not run out of the world; ``volumes`` is free or retire.

    The caller holds its lock.
    """
    containers.update(home, container.id, status="removing")
    _marked()
    with locks.deleting(home, container.id):
        names = [m.source for m in home.volumes.mounts(container.id) if m.kind == "volume"]
        orphans = _delete_row(home, container.id, names, free=volumes == "free")
        _row_removed()
        erase_files(home, container.id, container.cgroup)
    _files_removed()
    home.volumes.finish(orphans)
    home.volumes.empty_trash()
    if container.status != "creating":
        events.of_container(home, container, "destroy")


def _delete_row(home: Home, container_id: str, names: list[str], *, free: bool) -> list[str]:
    """The row and its mounts; returns the anonymous volumes that nobody has now, marked."""
    with home.db:
        home.db.execute("BEGIN IMMEDIATE")
        home.db.execute("DELETE FROM containers WHERE id = ?", (container_id,))
        return home.volumes.dismiss(names, free=free)


def erase_files(home: Home, container_id: str, cgroup: str) -> None:
    """The control group and the folders of a container that has no row; under its locks."""
    cgroups.of(cgroup).remove()
    if os.path.isdir(home.run_folder(container_id)):
        tree.remove_tree(home.run_folder(container_id))
    moved = f"{home.root}/containers/{GONE}{container_id}-{os.getpid()}"
    os.rename(home.folder(container_id), moved)
    _files_moved()
    tree.remove_tree(moved)
