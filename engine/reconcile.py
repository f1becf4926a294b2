"""Mending what a crash, a kill -9 or a reboot left behind. Every command does it where it looks.

"running" with a dead monitor: the kernel killed the container with it; what is left in its control
group is killed, and the row says exited, 137. "restarting" with a dead monitor: nobody will start
it again, and the row says exited, with the exit code of its last run. "creating" and "removing"
while nobody has the container's lock, and "exited" where --rm should have followed: the container
is removed. Folders of containers without a row are swept by :func:`sweep`, and so are run folder
and control group of a container that does not run. A change of limits or networks that was killed
half-way is undone. The data of a volume is never swept.

Here is what looks, which is all that most commands need; :mod:`engine.mending` changes.
"""

from __future__ import annotations

import os
import time

from engine import containers
from engine.errors import EngineError
from kernel import process, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_listed = trace.point("engine.reconcile.listed")

UPDATE_NOTE = "update.json"  # in the run folder, while engine.update is at work
NETWORK_NOTE = "plugging.json"  # the same of engine.plugging

_PATIENCE = 20.0  # seconds that a monitor may take to record an end


def find(home: Home, text: str) -> Container:
    """The container that a person means, mended first if a crash left it. ContainerNotFound."""
    container = containers.search(home, text)
    if needs_mending(container) and mend(home, container):
        return containers.search(home, text)
    return container


def needs_mending(container: Container) -> bool:
    """Whether the row claims that something is under way, or should have gone with its end."""
    return container.status in (*containers.UP, "creating") or is_leaving(container)


def is_leaving(container: Container) -> bool:
    """Whether it is being removed, or its end is to be its removal."""
    ended = container.status == "exited" and container.settings.auto_remove
    return ended or container.status == "removing"


def mend(home: Home, container: Container, *, wait: bool = True) -> bool:
    """Corrects one row that claims something is under way; whether the row may have changed.

    Who holds the container's lock is at work on it: with ``wait`` until it is done, but never for
    a creation, which may take long and is shown as what it is.
    """
    if not needs_mending(container):
        return False
    if is_watched(home, container):
        folder = home.run_folder(container.id)
        if any(os.path.exists(f"{folder}/{note}") for note in (UPDATE_NOTE, NETWORK_NOTE)):
            from engine import mending

            mending.finish(home, container)
        return False
    from engine import mending

    return mending.mend(home, container, wait=wait and container.status != "creating")


def is_watched(home: Home, container: Container) -> bool:
    """Whether a monitor that lives has it.

    After a reboot another process may have the same pid and start time, but /run is empty.
    """
    return (
        container.status in containers.UP
        and process.is_alive(container.monitor_pid, container.monitor_start)
        and os.path.isdir(home.run_folder(container.id))
    )


def settle(home: Home, container: Container) -> None:
    """Waits until the end of a container whose first process is dead is on record.

    The end of this run: its restart policy may have started it again by then. With --rm also until
    it is removed, unless that takes long. If its monitor is dead as well, we record it.
    """
    deadline = time.monotonic() + _PATIENCE
    monitor = (container.monitor_pid, container.monitor_start)
    while True:
        fresh = containers.get(home, container.id)
        if fresh is None:
            return
        recorded = (fresh.monitor_pid, fresh.monitor_start) != monitor  # it may even run again
        recorded = recorded or fresh.pid != container.pid
        if recorded and not is_leaving(fresh):
            return
        if mend(home, fresh, wait=False):
            return
        if time.monotonic() > deadline:
            break
        time.sleep(0.002)
    if not recorded:
        raise EngineError(
            f"container {container.name} has ended, but its monitor does not record it",
            f"process {container.monitor_pid} is stuck",
        )


def mend_all(home: Home) -> None:
    """Every row that claims that something is under way, then what no row names.

    Where somebody is at work, that is his: a list is not to wait for one slow container.
    """
    from engine import network_mending

    found = containers.unsettled(home)
    _listed()
    for container in found:
        if needs_mending(container):
            mend(home, container, wait=False)
    network_mending.mend(home)
    sweep(home)


def sweep(home: Home) -> None:
    """Removes folders and control groups that no row names, if nobody is at work in them."""
    skeletons = strangers(home, "skeletons", "images")
    folders = strangers(home, "containers", "containers")
    running = _run_folders(home)
    if skeletons or folders or running:
        from engine import mending

        mending.sweep(home, skeletons, folders, running)
    if home.db.execute("SELECT 1 FROM volumes WHERE leaving <> '' LIMIT 1").fetchone():
        home.volumes.mend()
    if any(name.startswith(".new-") for name in _names(f"{home.root}/build-mounts")):
        home.images.build_cache.sweep()


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def strangers(home: Home, folder: str, table: str) -> list[str]:
    """The names in a folder that are no ids of a table."""
    names = _names(f"{home.root}/{folder}")
    if not names:
        return []
    known = {row[0] for row in home.db.execute(f"SELECT id FROM {table}")}
    return [name for name in names if name not in known]


def _run_folders(home: Home) -> list[str]:
    """The containers that have a run folder and are not up."""
    names = [name for name in _names(home.run) if containers.is_id(name)]
    if not names:
        return []
    marks = ", ".join("?" * len(containers.UP))
    query = f"SELECT id FROM containers WHERE status IN ({marks})"
    up = {row[0] for row in home.db.execute(query, containers.UP)}
    return [name for name in names if name not in up]
