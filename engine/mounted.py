"""What is mounted in a container and therefore in no image of it: for `commit` to tell."""

from __future__ import annotations

import os
import stat

from engine import containers
from kernel import tree
from kernel.errors import PyctrError
from kernel.paths import open_in_root
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home
    from volumes.plan import Mount

_MANY = 100_000  # files that are counted; of a larger folder it is said that it has more


class LeftOut(Record):
    """A mount of a container: volume, bind or tmpfs; ``source`` is a volume's name or a path.

    ``size`` are the bytes of its files, -1 if nobody can say; ``whole`` whether all were counted.
    """

    destination: str
    kind: str
    source: str
    size: int
    whole: bool = True


def left_out(home: Home, container: Container) -> list[LeftOut]:
    """The mounts of a container with their sizes, in the order of their places."""
    mounts = sorted(home.volumes.mounts(container.id), key=lambda one: one.destination)
    found = []
    for one in mounts:
        size, whole = _size(home, container, one)
        found.append(LeftOut(one.destination, one.kind, one.source, size, whole))
    return found


def _size(home: Home, container: Container, one: Mount) -> tuple[int, bool]:
    try:
        if one.kind == "volume":
            return tree.content_size_of_some(home.volumes.data(one.source), _MANY)
        if one.kind == "tmpfs":
            return _in_memory(home, container, one.destination)
        info = os.stat(one.source)
        if stat.S_ISDIR(info.st_mode):
            return tree.content_size_of_some(one.source, _MANY)
        return info.st_size if stat.S_ISREG(info.st_mode) else 0, True
    except (OSError, PyctrError):  # the source is gone, or the container
        return -1, True


def _in_memory(home: Home, container: Container, destination: str) -> tuple[int, bool]:
    """What a tmpfs holds: nothing, unless the container runs."""
    from engine.rootfs import Rootfs

    if not containers.is_running(container):
        return 0, True
    with Rootfs(home, container, writing=False) as root:
        fd = open_in_root(root.fd, destination)
        try:
            return tree.content_size_of_some(f"/proc/self/fd/{fd}", _MANY)
        finally:
            os.close(fd)
