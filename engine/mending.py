"""What :mod:`engine.reconcile` has found is put right here.

What was read before the lock was taken is no reason to change anything: each decision is made
again under the lock.
"""

from __future__ import annotations

import time

from engine import containers, events, health, locks, network, reconcile, skeleton
from engine.erase import GONE, erase, erase_files
from engine.errors import ContainerNotFound
from kernel import process, trace, tree
from kernel.errors import PyctrError
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_locked = trace.point("engine.mending.locked")
_cleared = trace.point("engine.mending.cleared")

_KILLED = 137


def mend(home: Home, container: Container, *, wait: bool) -> bool:
    """Corrects a row that claims something is under way; False if somebody is at work on it.

    With ``wait`` until he is done.
    """
    try:
        with locks.alone(home, container, blocking=wait) as held:
            _locked()
            _mend(home, held.container)
    except BlockingIOError:
        return False
    except ContainerNotFound:
        pass
    return True


def _mend(home: Home, container: Container) -> None:
    """The same under the lock, where the row is what it is: whoever wrote it has left it so."""
    if not reconcile.needs_mending(container) or reconcile.is_watched(home, container):
        return
    if container.status in containers.UP:
        _bury(home, container)
        if not container.settings.auto_remove:
            return
    free = container.settings.auto_remove or container.status == "creating"
    if container.status == "creating":
        _unstage(home, container)
    erase(home, container, volumes="free" if free else "retire")


def finish(home: Home, container: Container) -> None:
    """A change of what runs is under way, which is its own affair, or it was killed."""
    from engine import plugging, update

    try:
        with locks.alone(home, container, blocking=False) as held:
            update.mend(home, held.container)
            plugging.mend(home, held.container)
    except (BlockingIOError, ContainerNotFound):
        return


def _bury(home: Home, container: Container) -> None:
    """The monitor died without a word."""
    _clear(home, container)
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


def _clear(home: Home, container: Container) -> None:
    """What a container has only while it runs."""
    cgroup = cgroups.of(container.cgroup)
    cgroup.kill()
    cgroup.remove()
    tree.remove_tree(home.run_folder(container.id))
    _cleared()
    network.release(home, container)


def _unstage(home: Home, container: Container) -> None:
    """Volumes stay; what was being copied into them goes."""
    from volumes import populate

    for mount in home.volumes.mounts(container.id):
        if mount.kind == "volume":
            populate.unstage(home.volumes.folder(mount.source))


def sweep(home: Home, skeletons: list[str], folders: list[str], running: list[str]) -> None:
    """Removes what no row has named: skeletons of images, folders of containers, and what those
    have left that are not ``running`` any more, or were killed before they did.
    """
    skeleton.sweep(home, skeletons)
    for name in running:
        _sweep_run(home, name)
    for name in folders:
        try:
            if name.startswith(GONE):
                if not process.is_anybody(name.rpartition("-")[2]):  # who deleted it died
                    tree.remove_tree(f"{home.root}/containers/{name}")
            elif len(name) == 64:
                _sweep_folder(home, name)
        except (OSError, PyctrError):  # somebody is at work in it, or a later command will do it
            continue


def _sweep_folder(home: Home, container_id: str) -> None:
    with locks.leftover(home, container_id):
        if containers.get(home, container_id) is None:
            erase_files(home, container_id, f"/pyctr/{container_id}")


def _sweep_run(home: Home, container_id: str) -> None:
    container = containers.get(home, container_id)
    if container is None:
        return
    try:
        with locks.alone(home, container, blocking=False) as held:
            if held.container.status not in containers.UP:
                _clear(home, held.container)
    except (BlockingIOError, ContainerNotFound):  # it is being started, or being removed
        return
