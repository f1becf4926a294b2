"""Mending what a crash, a kill -9 or a reboot left behind. Every command does it where it looks.

"running" with a dead monitor: the kernel killed the container with it; what is left in its control
group is killed, and the row says exited, 137. "creating" with a dead command, "removing", and
"exited" where --rm should have followed: the container is removed. Folders of containers without
a row are swept by :func:`sweep`. The data of a volume is never swept.
"""

from __future__ import annotations

import os

from engine import containers, skeleton
from engine.erase import erase, erase_files, erase_locked
from kernel import process, tree
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_KILLED = 137
_UNDER_WAY = (*containers.ALIVE, "creating", "removing")


def find(home: Home, text: str) -> Container:
    """The container that a person means, mended first if a crash left it. ContainerNotFound."""
    container = containers.search(home, text)
    if needs_mending(container) and mend(home, container):
        return containers.search(home, text)
    return container


def needs_mending(container: Container) -> bool:
    """Whether the row claims that something is under way, or should have gone with its end."""
    ended = container.status == "exited" and container.settings.auto_remove
    return ended or container.status in _UNDER_WAY


def mend(home: Home, container: Container) -> bool:
    """Corrects one row that claims something is under way; whether it did."""
    if container.status in containers.ALIVE:
        # After a reboot another process may have the same pid and start time, but /run is empty.
        alive = process.is_alive(container.monitor_pid, container.monitor_start)
        if alive and os.path.isdir(home.run_folder(container.id)):
            return False
        return _bury(home, container)
    if container.status == "creating":
        if process.is_alive(container.pid, container.start_time):
            return False
        erase(home, container, volumes="free")
        return True
    if not needs_mending(container):
        return False
    erase_locked(home, container, volumes="free" if container.settings.auto_remove else "retire")
    return True


def _bury(home: Home, container: Container) -> bool:
    """The monitor died without a word."""
    with home.lock(container.id):
        fresh = containers.get(home, container.id)
        if fresh is None or fresh.monitor_pid != container.monitor_pid:
            return True  # somebody else mended it
        cgroup = cgroups.of(container.cgroup)
        cgroup.kill()
        cgroup.remove()
        tree.remove_tree(home.run_folder(container.id))
        error = "its monitor was killed, and the kernel killed the container with it"
        containers.exited(home, container.id, _KILLED, error=error)
        if container.settings.auto_remove:
            erase(home, container, volumes="free")
    return True


def mend_all(home: Home) -> None:
    """Every row that claims that something is under way, then what no row names."""
    for container in containers.listing(home):
        if needs_mending(container):
            mend(home, container)
    sweep(home)


def sweep(home: Home) -> None:
    """Removes folders and control groups that no row names.

    A row is always written before its folder is made, so what has none is left over.
    """
    skeleton.sweep(home)
    folder = f"{home.root}/containers"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    if not names:
        return
    known = {row[0] for row in home.db.execute("SELECT id FROM containers")}
    for name in names:
        if name not in known and len(name) == 64:
            cgroups.of(f"/pyctr/{name}").remove()
            erase_files(home, name)
