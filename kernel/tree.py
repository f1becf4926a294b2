"""Trees of files: removing one safely, and writing so that a crash leaves old or new.

Removal works on descriptors, never follows a link and never crosses into another mount
(SECURITY, "removal crosses a mount"): a folder where something is mounted is refused.
"""

from __future__ import annotations

import errno
import os
import stat

from kernel.paths import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV, openat2

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def remove_tree(name: str, *, dir_fd: int | None = None) -> None:
    """Removes ``name`` and all below it; missing is fine. OSError(EXDEV) at a mount point.

    ``dir_fd`` is the folder that holds ``name``, None for the working directory. What was
    removed before an error stays removed.
    """
    try:
        os.unlink(name, dir_fd=dir_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):  # EISDIR on Linux, EPERM in POSIX
        pass
    parent, own = os.path.split(name)
    parent_fd = os.open(parent or ".", os.O_PATH | os.O_DIRECTORY, dir_fd=dir_fd)
    try:
        _remove_folder(parent_fd, own, name)
    finally:
        os.close(parent_fd)


def _remove_folder(parent_fd: int, name: str, shown: str) -> None:
    resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
    try:
        fd = openat2(parent_fd, name, _FOLDER, 0, resolve)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise OSError(errno.EXDEV, "something is mounted here; not removed", shown) from None
        raise
    try:
        # Read the names before removing any: a folder that changes under readdir may skip some.
        with os.scandir(fd) as entries:
            inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for entry_name, is_folder in inside:
            if is_folder:
                _remove_folder(fd, entry_name, f"{shown}/{entry_name}")
                continue
            try:
                os.unlink(entry_name, dir_fd=fd)
            except FileNotFoundError:
                continue
            except IsADirectoryError:
                _remove_folder(fd, entry_name, f"{shown}/{entry_name}")
    finally:
        os.close(fd)
    try:
        os.rmdir(name, dir_fd=parent_fd)
    except FileNotFoundError:
        return


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
    """Bytes that the files below ``path`` take on disk; each hard-linked file counts once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [path]
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except FileNotFoundError:
            continue
        with entries:
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(info.st_mode):
                    pending.append(entry.path)
                elif info.st_nlink > 1:
                    if (info.st_dev, info.st_ino) in seen:
                        continue
                    seen.add((info.st_dev, info.st_ino))
                total += info.st_blocks * 512
    return total
