"""The files of one container, while somebody reads or writes them from outside.

A running container shows its own mount namespace: volumes, binds and tmpfs as its processes see
them. One that does not run is mounted for us alone, as a start would: for reading over a writable
layer in memory, so that it can be started meanwhile; for writing with its own writable layer, under
its lock, because no layer may be the upperdir of two unions. Its tmpfs mounts are empty then, and
read-only: what would be written there would be lost. Volumes are held, so that none is replaced or
removed under our hands.
"""

from __future__ import annotations

import os
import select
import time

from engine import compose, containers, files, locks, reconcile, skeleton
from engine.errors import ContainerConflict, ContainerNotFound, EngineError
from kernel import process
from overlay.union import Union
from runtime import rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from kernel.locks import Lock

_SETTLE = 20.0  # seconds that a monitor may take to record an end


class Rootfs:
    """A context manager; ``fd`` is an O_PATH descriptor of the container's root.

    ``container`` is the row as it was then, ``pidfd`` the first process of a running one, else
    -1. ContainerNotFound, ContainerConflict, RuntimeFailure.
    """

    def __init__(self, home: Home, container: Container, *, writing: bool) -> None:
        self._home = home
        self._writing = writing
        self._locks: list[Lock] = []
        self._root: rootfs.Root | None = None
        self.container = container
        self.pidfd = -1
        self.fd = -1

    def __enter__(self) -> Rootfs:
        deadline = time.monotonic() + _SETTLE
        try:
            while self._root is None:
                fresh = containers.get(self._home, self.container.id)
                if fresh is None:
                    raise ContainerNotFound(f"no such container: {self.container.name}")
                self.container = fresh
                if containers.is_running(fresh):
                    self._root = self._running(fresh)
                elif fresh.status in containers.ALIVE:
                    _settle(self._home, fresh, deadline)
                else:
                    self._root = self._stopped()
        except BaseException:
            self.__exit__()
            raise
        self.fd = self._root.fd
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._root is not None:
            self._root.close()
            self._root = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        while self._locks:
            self._locks.pop().__exit__()

    def has_ended(self) -> bool:
        """Whether a container that ran at the beginning does so no longer."""
        if self.pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def _running(self, fresh: Container) -> rootfs.Root | None:
        try:
            self.pidfd = process.pidfd_open(fresh.pid)
            return rootfs.of_process(fresh.pid, fresh.start_time)
        except ProcessLookupError:  # it has just ended
            if self.pidfd >= 0:
                os.close(self.pidfd)
                self.pidfd = -1
            return None

    def _stopped(self) -> rootfs.Root | None:
        """None if it was started before we had its lock."""
        home, container = self._home, self.container
        if self._writing:
            held = locks.alone(home, container).take()
            self._locks.append(held)
            if held.container.status in containers.ALIVE:
                self._locks.pop().__exit__()
                return None
            container = self.container = held.container
        else:
            self._locks.append(locks.reading(home, container).take())
        if container.status in ("creating", "removing"):
            raise ContainerConflict(
                f"cannot open the files of container {container.name}", f"it is {container.status}"
            )
        mounts = home.volumes.mounts(container.id)
        for mount in mounts:
            if mount.kind == "volume":
                home.volumes.ensure(mount.source)
                self._locks.append(home.volumes.lock(mount.source).__enter__())
        folder = home.folder(container.id)
        if self._writing and not os.path.exists(f"{folder}/hosts"):
            files.write(home, container)
        entries = compose.file_mounts(home, container, mounts)
        spec = {
            "root": {"readonly": container.settings.readonly},
            "mounts": [entry for entry in map(self._shown, entries) if entry],
        }
        image = home.images.get(container.image_id)
        union = Union(skeleton.lower(home, image), f"{folder}/upper", f"{folder}/work")
        return rootfs.assembled(spec, union, f"{folder}/rootfs", throwaway=not self._writing)

    def _shown(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """How one of the mounts is shown; None if only a start needs what it lacks."""
        if entry["type"] == "tmpfs":
            return {**entry, "options": [*entry["options"], "ro"]}
        if not self._writing and not os.path.exists(entry["source"]):
            return None
        return entry


def _settle(home: Home, container: Container, deadline: float) -> None:
    """Gives the monitor of a container that has ended the time to say so."""
    if reconcile.mend(home, container):
        return
    if time.monotonic() > deadline:
        raise EngineError(
            f"container {container.name} has ended, but its monitor does not record it",
            f"process {container.monitor_pid} is stuck",
        )
    time.sleep(0.005)
