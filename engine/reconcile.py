"""Mending what a crash, a kill -9 or a reboot left behind. Every command does it where it looks.

"running" with a dead monitor: the kernel killed the container with it; what is left in its control
group is killed, and the row says exited, 137. "restarting" with a dead monitor: nobody will start
it again, and the row says exited, with the exit code of its last run. "creating" and "removing"
while nobody has the container's lock, and "exited" where --rm should have followed: the container
is removed. Folders of containers without a row are swept by :func:`sweep`. A change of limits that
was killed half-way is undone. The data of a volume is never swept.

What was read before the lock was taken is no reason to change anything: each decision is made
again under the lock.
"""

from __future__ import annotations

import os
import time

from engine import containers, events, health, locks, network, skeleton
from engine.erase import GONE, erase, erase_files
from engine.errors import ContainerNotFound, EngineError
from kernel import process, trace, tree
from kernel.errors import PyctrError
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_listed = trace.point("engine.reconcile.listed")
_locked = trace.point("engine.reconcile.locked")

UPDATE_NOTE = "update.json"  # in the run folder, while engine.update is at work

_KILLED = 137
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
        if os.path.exists(f"{home.run_folder(container.id)}/{UPDATE_NOTE}"):
            _finish_update(home, container)
        return False
    patient = wait and container.status != "creating"
    try:
        with locks.alone(home, container, blocking=patient) as held:
            _locked()
            _mend(home, held.container)
    except BlockingIOError:
        return False
    except ContainerNotFound:
        pass
    return True


def is_watched(home: Home, container: Container) -> bool:
    """Whether a monitor that lives has it.

    After a reboot another process may have the same pid and start time, but /run is empty.
    """
    return (
        container.status in containers.UP
        and process.is_alive(container.monitor_pid, container.monitor_start)
        and os.path.isdir(home.run_folder(container.id))
    )


def _mend(home: Home, container: Container) -> None:
    """The same under the lock, where the row is what it is: whoever wrote it has left it so."""
    if not needs_mending(container) or is_watched(home, container):
        return
    if container.status in containers.UP:
        _bury(home, container)
        if not container.settings.auto_remove:
            return
    free = container.settings.auto_remove or container.status == "creating"
    erase(home, container, volumes="free" if free else "retire")


def _finish_update(home: Home, container: Container) -> None:
    """An update is under way, which is its own affair, or it was killed."""
    from engine import update

    try:
        with locks.alone(home, container, blocking=False) as held:
            update.mend(home, held.container)
    except (BlockingIOError, ContainerNotFound):
        return


def _bury(home: Home, container: Container) -> None:
    """The monitor died without a word."""
    cgroup = cgroups.of(container.cgroup)
    cgroup.kill()
    cgroup.remove()
    tree.remove_tree(home.run_folder(container.id))
    network.release(home, container)
    if container.status == "restarting":
        error = "its monitor was killed before it could start the container again"
        containers.exited(home, container.id, container.monitor_pid, error=error)
        return
    containers.exited(
        home, container.id, container.monitor_pid, exit_code=_KILLED, oom_killed=0,
        error="its monitor was killed, and the kernel killed the container with it",
        finished=time.time(), health=health.at_end(container),
    )  # fmt: skip
    events.of_volumes(home, container, "unmount")
    network.tell_events(home, container, "disconnect")
    events.of_container(home, container, "die", exitCode=str(_KILLED))


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
    found = containers.listing(home)
    _listed()
    for container in found:
        if needs_mending(container):
            mend(home, container, wait=False)
    network.mend(home)
    sweep(home)


def sweep(home: Home) -> None:
    """Removes folders and control groups that no row names, if nobody is at work in them."""
    skeleton.sweep(home)
    folder = f"{home.root}/containers"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    if not names:
        return
    known = {row[0] for row in home.db.execute("SELECT id FROM containers")}
    for name in names:
        try:
            if name.startswith(GONE):
                if not process.is_anybody(name.rpartition("-")[2]):  # who deleted it died
                    tree.remove_tree(f"{folder}/{name}")
            elif name not in known and len(name) == 64:
                _sweep_folder(home, name)
        except (OSError, PyctrError):  # somebody is at work in it, or a later command will do it
            continue


def _sweep_folder(home: Home, container_id: str) -> None:
    with locks.leftover(home, container_id):
        if containers.get(home, container_id) is None:
            erase_files(home, container_id, f"/pyctr/{container_id}")
