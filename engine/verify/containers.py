"""Containers: rows against folders, processes and control groups.

A container that somebody is at work on (who holds its lock) is left out: what it is between two
steps is no finding. How each thing is mended is :mod:`engine.reconcile`'s knowledge.
"""

from __future__ import annotations

import os

from engine import containers, lost, reconcile
from kernel import locks, process, tree
from kernel.finding import Finding
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.containers import Container
    from engine.home import Home


def check(home: Home) -> Iterator[Finding]:
    """All findings about containers."""
    for container in containers.listing(home):
        if not is_busy(home, container.id):
            yield from _container(home, container)
    yield from _leftovers(home)
    yield from _run_folders(home)
    for container_id in lost.names(home.root):
        yield from _lost(home, container_id)


def is_busy(home: Home, container_id: str) -> bool:
    """Whether somebody holds the container's lock."""
    try:
        locks.hold(f"{home.folder(container_id)}/lock", exclusive=True, blocking=False).release()
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _container(home: Home, one: Container) -> Iterator[Finding]:
    about = f"container {one.name}"
    if reconcile.needs_mending(one) and not reconcile.is_watched(home, one):
        what = f"it is recorded as {one.status}, and nobody is at work on it"
        yield Finding(about, what, home.folder(one.id), "record its end, or finish its removal",
                      lambda: reconcile.mend(home, one))  # fmt: skip
        return
    if not os.path.isdir(f"{home.folder(one.id)}/upper"):
        yield Finding(about, "its files are gone", home.folder(one.id),
                      f"remove it: pyctr rm {one.name}; its volumes are there")  # fmt: skip
    if one.status not in containers.UP:
        yield from _control_groups(about, one.cgroup)


def _control_groups(about: str, path: str) -> Iterator[Finding]:
    """The control group of a container that does not run."""
    group = cgroups.of(path)
    left = [folder for folder in group.folders if os.path.isdir(folder)]

    def mend() -> None:
        group.kill()
        group.remove()

    if left:
        count = len(group.pids())
        what = f"its control group is still there, with {count} processes"
        yield Finding(about, what, left[0], "kill what is in it, and remove it", mend)


def _leftovers(home: Home) -> Iterator[Finding]:
    """Folders that no row names, and nobody is at work in."""
    for kind, table in (("containers", "containers"), ("skeletons", "images")):
        for name in sorted(reconcile.strangers(home, kind, table)):
            if process.is_anybody(name.rpartition("-")[2]) or is_busy(home, name):
                continue
            path = f"{home.root}/{kind}/{name}"
            yield Finding(kind, "a command that was killed left this", path, "remove it",
                          lambda: reconcile.sweep(home))  # fmt: skip


def _run_folders(home: Home) -> Iterator[Finding]:
    """What only containers that are up have."""
    names = os.listdir(home.run) if os.path.isdir(home.run) else []
    for name in sorted(one for one in names if containers.is_id(one)):
        container = containers.get(home, name)
        is_up = container is not None and container.status in containers.UP
        if is_up or is_busy(home, name):
            continue
        path = home.run_folder(name)
        yield Finding("containers", "the run folder of a container that is not up", path,
                      "remove it", lambda path=path: tree.remove_tree(path))  # type: ignore[misc]  # fmt: skip


def _lost(home: Home, container_id: str) -> Iterator[Finding]:
    """What :mod:`engine.lost` has kept."""
    about = f"container {container_id[:12]}"
    yield from _control_groups(about, f"/pyctr/{container_id}")
    path = f"{lost.folder(home.root)}/{container_id}"
    yield Finding(about, "the database has lost it; its files are kept", path,
                  "take what you need (upper is what it wrote) and remove the folder")  # fmt: skip
