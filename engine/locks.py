"""What keeps one container as it is while somebody changes or reads it. There is no lock of all.

    containers/<id>/lock      alone: creating, starting, ending, pausing, removing
    containers/<id>/reading   shared: reading the writable layer; alone: deleting it

A lock dies with its holder, so a row that says "creating" or "removing" while nobody has the lock
is the leftover of a crash. The command that starts a container hands its lock on to the monitor,
which keeps it until the program runs. Nobody waits in a circle, because these orders hold
everywhere: a container's lock, then its ``reading`` lock, then locks of volumes; who holds any of
them waits for no other container; and nobody waits for a lock within a transaction of the
database.
"""

from __future__ import annotations

import errno
import os

from engine import containers
from engine.errors import ContainerConflict
from kernel import trace
from kernel.locks import Lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_folder_made = trace.point("engine.locks.folder_made")


class Alone(Lock):
    """The lock of a container that has a row; ``container`` is the row as it is under the lock.

    ContainerNotFound if it was removed, also while we waited.
    """

    container: Container

    def __init__(self, home: Home, container: Container, *, blocking: bool = True) -> None:
        super().__init__(_path(home, container.id), blocking=blocking)
        self._home = home
        self._wanted = container

    def take(self) -> Alone:
        while True:
            try:
                super().take()
                break
            except FileNotFoundError:
                containers.require(self._home, self._wanted)
                # Somebody deleted its files by hand. The row can still be removed.
                os.makedirs(self._home.folder(self._wanted.id), mode=0o711, exist_ok=True)
        try:
            self.container = containers.require(self._home, self._wanted)
        except BaseException:
            self.release()
            raise
        return self


class NewFolder(Lock):
    """The folder of a container that has no row yet, made and locked."""

    def take(self) -> NewFolder:
        folder = os.path.dirname(self.path)
        os.makedirs(os.path.dirname(folder), mode=0o711, exist_ok=True)
        while True:
            try:
                os.mkdir(folder, 0o711)
                _folder_made()
                super().take()
                return self
            except FileNotFoundError:  # between the two, a sweep took it for a leftover
                continue


def alone(home: Home, container: Container, *, blocking: bool = True) -> Alone:
    """Nobody else changes the container; BlockingIOError if somebody does and not ``blocking``."""
    return Alone(home, container, blocking=blocking)


def new_folder(home: Home, container_id: str) -> NewFolder:
    """For :mod:`engine.create`."""
    return NewFolder(_path(home, container_id))


def wait(home: Home, container: Container) -> Container:
    """The container as it is once nobody is at work on it; ContainerNotFound if it was removed."""
    with alone(home, container) as held:
        return held.container


def leftover(home: Home, container_id: str) -> Lock:
    """The lock of a folder that has no row; BlockingIOError if somebody is at work in it."""
    return Lock(_path(home, container_id), blocking=False)


class Reading(Lock):
    """The row and the files of a container stay as long as this is held.

    ContainerNotFound if it was removed; ContainerConflict if only its files are gone.
    """

    def __init__(self, home: Home, container: Container) -> None:
        super().__init__(f"{home.folder(container.id)}/reading", shared=True)
        self._home = home
        self._wanted = container

    def take(self) -> Reading:
        try:
            super().take()
        except FileNotFoundError:
            containers.require(self._home, self._wanted)
            raise ContainerConflict(
                f"cannot read the files of container {self._wanted.name}", "they are gone"
            ) from None
        return self


def reading(home: Home, container: Container) -> Reading:
    """For whoever reads the writable layer: without it, half of it may be deleted by then."""
    return Reading(home, container)


class Deleting(Lock):
    """Nobody reads the files any more."""

    def take(self) -> Deleting:
        try:
            super().take()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            # It was never read, and nobody can begin: there is no inode for the file of the lock.
            self._fd = os.open(os.path.dirname(self.path), os.O_RDONLY | os.O_CLOEXEC)
        return self


def deleting(home: Home, container_id: str) -> Lock:
    """Waits for those who read the files; the caller is :func:`alone`."""
    return Deleting(f"{home.folder(container_id)}/reading")


def _path(home: Home, container_id: str) -> str:
    return f"{home.folder(container_id)}/lock"
