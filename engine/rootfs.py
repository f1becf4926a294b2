"""The files of one container, while somebody reads or writes them from outside.

A running container shows its own mount namespace: volumes, binds and tmpfs as its processes see
them. One that does not run is mounted for us alone, as a start would: for reading over a writable
layer in memory, so that it can be started meanwhile; for writing with its own writable layer, under
its lock, because no layer may be the upperdir of two unions. Its tmpfs mounts are empty then, and
read-only: what would be written there would be lost. Nobody removes the container meanwhile, and
its volumes are held, so that none is replaced or removed under our hands.
"""

from __future__ import annotations

import os
import select

from engine import compose, containers, files, locks, reconcile, skeleton
from engine.errors import ContainerConflict
from kernel import process
from overlay.union import Union, reuse
from runtime import rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from kernel.locks import Lock


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
        try:
            while self._root is None:
                fresh = self.container = containers.require(self._home, self.container)
                if containers.is_running(fresh):
                    self._root = self._running(fresh)
                elif fresh.status in containers.ALIVE:
                    reconcile.settle(self._home, fresh)
                else:
                    self._root = self._stopped(fresh)
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
            self._locks.pop().release()

    def has_ended(self) -> bool:
        """Whether a container that ran at the beginning does so no longer."""
        if self.pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def _running(self, container: Container) -> rootfs.Root | None:
        """None if it has just ended."""
        reading = locks.reading(self._home, container).take()
        try:
            pidfd = process.pidfd_open(container.pid)
            try:
                root = rootfs.of_process(container.pid, container.start_time)
            except BaseException:
                os.close(pidfd)
                raise
        except ProcessLookupError:
            reading.release()
            return None
        except BaseException:
            reading.release()
            raise
        self._locks.append(reading)
        self.pidfd = pidfd
        return root

    def _stopped(self, container: Container) -> rootfs.Root | None:
        """None if it was started before we had its lock."""
        home = self._home
        if self._writing:
            held = locks.alone(home, container).take()
            self._locks.append(held)
            if held.container.status in containers.ALIVE:
                self._locks.pop().release()
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
                self._locks.append(home.volumes.claim(mount.source)[1])
        folder = home.folder(container.id)
        if self._writing and not os.path.exists(f"{folder}/hosts"):
            files.write(home, container)
        needed = {mount.destination for mount in mounts} if self._writing else set()
        spec = {
            "root": {"readonly": container.settings.readonly},
            "mounts": [
                _shown(entry)
                for entry in compose.file_mounts(home, container, mounts)
                if entry["destination"] in needed or _is_there(entry)
            ],
        }
        image = home.images.get(container.image_id)
        if container.settings.auto_remove:
            reuse(f"{folder}/work")  # of a start that failed
        union = Union(skeleton.lower(home, image), f"{folder}/upper", f"{folder}/work")
        return rootfs.assembled(spec, union, f"{folder}/rootfs", throwaway=not self._writing)


def _is_there(entry: dict[str, Any]) -> bool:
    """Whether a mount has what it needs: what is missing on the host keeps nobody from the rest."""
    return entry["type"] == "tmpfs" or os.path.exists(entry["source"])


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    """A mount as a container that does not run has it."""
    if entry["type"] != "tmpfs":
        return entry
    return {**entry, "options": [*entry["options"], "ro"]}
