"""What a writable layer changed, compared with the layers below it.

Volumes are not in the union, so nothing of them can appear here.
"""

from __future__ import annotations

import os
import stat

from kernel.paths import open_in_root
from kernel.record import Record
from overlay.layers import is_opaque, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Change(Record):
    """``kind`` is A (added), C (changed) or D (deleted); ``path`` begins with a slash."""

    kind: str
    path: str


def changes(upper_fd: int, below_fd: int) -> Iterator[Change]:
    """Every change of the upperdir against the root of the stack below, parents first."""
    yield from _in_folder(upper_fd, below_fd, "")


def _in_folder(upper_fd: int, below_fd: int, prefix: str) -> Iterator[Change]:
    opaque = prefix != "" and is_opaque(upper_fd)
    if opaque:
        yield from _deleted(below_fd, prefix, set(os.listdir(upper_fd)))
    for name in sorted(os.listdir(upper_fd)):
        path = f"{prefix}/{name}"
        info = os.stat(name, dir_fd=upper_fd, follow_symlinks=False)
        if is_whiteout(info):
            yield Change("D", path)
            continue
        yield Change("C" if _exists(below_fd, path) else "A", path)
        if stat.S_ISDIR(info.st_mode):
            fd = os.open(name, _FOLDER, dir_fd=upper_fd)
            try:
                yield from _in_folder(fd, below_fd, path)
            finally:
                os.close(fd)


def _deleted(below_fd: int, path: str, kept: set[str]) -> Iterator[Change]:
    try:
        fd = open_in_root(below_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        names = sorted(os.listdir(fd))
    finally:
        os.close(fd)
    yield from (Change("D", f"{path}/{name}") for name in names if name not in kept)


def _exists(root_fd: int, path: str) -> bool:
    parent, _, name = path.rpartition("/")
    try:
        fd = open_in_root(root_fd, parent or "/", os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
