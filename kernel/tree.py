"""Trees of files: removing one safely, and writing so that a crash leaves old or new.

Removal works on descriptors, never follows a link and never crosses into another mount
(SECURITY, "removal crosses a mount"): a folder where something is mounted is refused.
"""

from __future__ import annotations

import errno
import os
import stat

from kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2
from kernel.walk import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_DEEP = 64


def remove_tree(name: str, *, dir_fd: int | None = None) -> None:
    """Removes ``name`` and all below it; missing is fine. OSError(EXDEV) at a mount point.

    ``dir_fd`` is the folder that holds ``name``, None for the working directory. What was
    removed before an error stays removed.
    """
    try:
        if _unlink(dir_fd, name):
            return
    except FileNotFoundError:
        return
    parent, own = os.path.split(name)
    parent_fd = os.open(parent or ".", os.O_PATH | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        _remove_folder(parent_fd, own, name)
    finally:
        os.close(parent_fd)


class _Level:
    """A folder being emptied: what is left in it, and where it is."""

    __slots__ = ("fd", "left", "name", "shown")

    def __init__(self, parent_fd: int, name: str, shown: str) -> None:
        resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
        try:
            self.fd = openat2(parent_fd, name, _FOLDER, 0, resolve)
        except OSError as error:
            if error.errno == errno.EXDEV:
                why = "something is mounted here; not removed"
                raise OSError(errno.EXDEV, why, shown) from None
            raise
        self.name, self.shown = name, shown
        try:  # read all names before removing any: readdir may skip some of a folder that changes
            self.left = os.listdir(self.fd)
        except BaseException:
            os.close(self.fd)
            raise


def _remove_folder(parent_fd: int, name: str, shown: str) -> None:
    """Empties and removes a folder; one that is too deep is moved up before it is entered.

    So a tree of any depth takes few descriptors, and no recursion.
    """
    levels: list[_Level] = []
    try:
        try:
            levels.append(_Level(parent_fd, name, shown))
        except FileNotFoundError:
            return
        while levels:
            here = levels[-1]
            if not here.left:
                levels.pop()
                os.close(here.fd)
                above = levels[-1].fd if levels else parent_fd
                try:
                    os.rmdir(here.name, dir_fd=above)
                except FileNotFoundError:
                    pass
                continue
            one = here.left.pop()
            try:
                if _unlink(here.fd, one):
                    continue
                below = _enter(here, one, len(levels))
                if below is not None:
                    levels.append(below)
                    continue
                moved = f".moved-{os.urandom(8).hex()}"
                os.rename(one, moved, src_dir_fd=here.fd, dst_dir_fd=levels[0].fd)
                levels[0].left.append(moved)
            except FileNotFoundError:
                continue
    finally:
        for level in levels:
            os.close(level.fd)


def _enter(here: _Level, name: str, depth: int) -> _Level | None:
    """A folder of that one, which is the ``depth``-th; None if that is too many descriptors."""
    if depth == _DEEP:
        return None
    try:
        return _Level(here.fd, name, f"{here.shown}/{name}")
    except OSError as error:
        if error.errno == errno.EMFILE and depth > 1:
            return None
        raise


def _unlink(parent_fd: int | None, name: str) -> bool:
    """Whether it was no folder, and is gone."""
    try:
        os.unlink(name, dir_fd=parent_fd)
    except (IsADirectoryError, PermissionError):
        if stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
            return False
        raise
    return True


def fsync_path(path: str, *, dir_fd: int | None = None) -> None:
    """fsync(2) of a regular file or a folder (after a rename in it)."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: str, content: bytes, mode: int = 0o600, *, sync: bool = True) -> None:
    """Replaces the file ``path``: after a crash it holds the old content or the new one."""
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if sync:
        fsync_path(os.path.dirname(path) or ".")


def disk_usage(path: str) -> int:
    """Bytes that what is below ``path`` takes on disk; each hard-linked file counts once."""
    return sum(info.st_blocks * 512 for info in _each_once(path))


def content_size(path: str) -> int:
    """Bytes of the regular files below ``path``, as programs see them; each counts once."""
    return sum(info.st_size for info in _each_once(path) if stat.S_ISREG(info.st_mode))


def content_size_of_some(path: str, most: int) -> tuple[int, bool]:
    """:func:`content_size` of the first ``most`` files and folders, and whether that was all."""
    total = 0
    for seen, info in enumerate(_each_once(path)):
        if seen == most:
            return total, False
        total += info.st_size if stat.S_ISREG(info.st_mode) else 0
    return total, True


def _each_once(path: str) -> Iterator[os.stat_result]:
    """What stat(2) says of everything below a folder, which somebody may be changing."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    seen: set[tuple[int, int]] = set()
    try:
        for one in walk(folder, files=False, kernel=False):  # /proc/kcore takes no space
            if one.leaving:
                continue
            if one.info.st_nlink > 1 and not one.is_folder:
                key = (one.info.st_dev, one.info.st_ino)
                if key in seen:
                    continue
                seen.add(key)
            yield one.info
    finally:
        os.close(folder)
