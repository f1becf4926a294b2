"""What a writable layer changed, compared with the layers below it.

The upperdir is walked beside the root of the stack below, both on descriptors. What is in the
upperdir need not be changed: overlayfs copies a file up when a program opens it for writing, and
a folder when something in it changes. So two entries are compared by what a person can have
changed, in Docker's way: kind, mode, owner, device number and capabilities, and of what is no
folder also size and time. A folder in which something changed is changed itself.

Volumes are not in the union, so nothing of them can appear here.

Source: Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"; Docker's
documentation, "docker container diff".
"""

from __future__ import annotations

import os
import stat

from kernel.record import Record
from kernel.walk import names_of, walk
from overlay.layers import is_opaque, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.walk import Visit

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NONE = -1


class Change(Record):
    """``kind`` is A (added), C (changed) or D (deleted); ``path`` begins with a slash."""

    kind: str
    path: str


class _Level:
    """A folder of the upperdir that is being walked.

    ``below`` is the same folder in the stack below, -1 if there is none. ``hidden``: nothing of
    that folder shows through. ``untold`` is the change of this folder itself, which is none
    unless something in it changed.
    """

    def __init__(self, below: int) -> None:
        self.below = below
        self.hidden = False
        self.untold: Change | None = None

    def close(self) -> None:
        if self.below != _NONE:
            os.close(self.below)


def changes(upper_fd: int, below_fd: int) -> Iterator[Change]:
    """Every change of the upperdir against the root of the stack below, parents first."""
    levels = [_Level(os.dup(below_fd))]
    try:
        for one in walk(upper_fd):
            if one.leaving:
                levels.pop().close()
                continue
            for change in _visited(one, levels):
                for level in levels:
                    if level.untold is not None:
                        yield level.untold
                        level.untold = None
                yield change
    finally:
        for level in levels:
            level.close()


def _visited(one: Visit, levels: list[_Level]) -> Iterator[Change]:
    """The changes that one entry makes; a folder becomes a level."""
    parent, path = levels[-1], f"/{one.path}"
    there = _stat(parent.below, one.name)
    if is_whiteout(one.info):
        if there is not None:
            yield Change("D", path)
        return
    level = _Level(_folder(parent.below, one.name, there))
    level.hidden = not one.is_folder or parent.hidden or is_opaque(one.fd)
    if one.is_folder:
        levels.append(level)
    try:
        if there is None:
            yield Change("A", path)
        elif _differ(there, one.info) or _capability(one) != _capability_at(parent.below, one):
            yield Change("C", path)
        elif one.is_folder:
            level.untold = Change("C", path)
        if level.hidden and level.below != _NONE:
            kept = set(names_of(one.fd)) if one.is_folder else set()
            for name in names_of(level.below):
                if name not in kept:
                    yield Change("D", f"{path}/{name}")
    finally:
        if not one.is_folder:
            level.close()


def _stat(folder: int, name: str) -> os.stat_result | None:
    try:
        return None if folder == _NONE else os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _folder(parent: int, name: str, there: os.stat_result | None) -> int:
    if there is None or not stat.S_ISDIR(there.st_mode):
        return _NONE
    return os.open(name, _FOLDER, dir_fd=parent)


def _differ(old: os.stat_result, new: os.stat_result) -> bool:
    if (old.st_mode, old.st_uid, old.st_gid) != (new.st_mode, new.st_uid, new.st_gid):
        return True
    if stat.S_ISDIR(new.st_mode):
        return False
    return (old.st_size, old.st_mtime_ns, old.st_rdev) != (
        new.st_size,
        new.st_mtime_ns,
        new.st_rdev,
    )


def _capability(one: Visit) -> bytes:
    return _attribute(f"/proc/self/fd/{one.fd}") if stat.S_ISREG(one.info.st_mode) else b""


def _capability_at(folder: int, one: Visit) -> bytes:
    regular = stat.S_ISREG(one.info.st_mode)
    return _attribute(f"/proc/self/fd/{folder}/{one.name}") if regular else b""


def _attribute(path: str) -> bytes:
    try:
        return os.getxattr(path, "security.capability")
    except OSError:
        return b""
