"""What a build needs of the floor above: processes, images from registries, folders.

This room knows no container's life; :mod:`engine.build` does it, and a test may do it otherwise.
"""

from __future__ import annotations

from images.build.mounts import RunMount
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from images.store import Image, Store


class Mounted(Record):
    """A mount of RUN, with where its files come from.

    ``path`` is on the host, ``lower`` a stack of which ``wanted.source`` is a part, ``content``
    that of a secret. One of them is given, none for tmpfs.
    """

    wanted: RunMount
    path: str = ""
    lower: tuple[str, ...] = ()
    content: bytes | None = None


class Command(Record):
    """What RUN runs. ``script`` is a file that it finds at ``args[0]``, if there is one."""

    args: tuple[str, ...]
    env: tuple[str, ...]
    workdir: str
    user: str
    network: str  # its name, host or none
    mounts: tuple[Mounted, ...] = ()
    script: str = ""


class Runner:
    """What :mod:`images.build` asks for."""

    @property
    def store(self) -> Store:
        """The store; asked for anew after each call of :meth:`idle` and :meth:`run`."""
        raise NotImplementedError

    def idle(self) -> None:
        """Closes what must not be open while the process forks."""
        raise NotImplementedError

    def image(self, name: str, platform: str) -> Image:
        """An image by its name, brought in if it is missing."""
        raise NotImplementedError

    def workspace(self) -> AbstractContextManager[str]:
        """An empty folder on the store's file system, which is removed after an end of any kind."""
        raise NotImplementedError

    def owner(self, root: int, text: str) -> tuple[int, int]:
        """(uid, gid) of ``user[:group]`` in a root; without a group the gid is the user's."""
        raise NotImplementedError

    def run(
        self, folder: str, lower: tuple[str, ...], command: Command, output: Callable[[bytes], None]
    ) -> int:
        """Runs a command on a union of ``lower`` and ``folder``/upper; returns its exit code.

        ``folder`` is a workspace with ``upper``, ``work`` and ``rootfs``.
        """
        raise NotImplementedError
