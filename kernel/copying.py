"""Copying a tree of files faithfully, on descriptors, without following a link.

Content (holes stay holes, blocks are shared where the file system can), owner, mode, times,
hard links within the tree, extended attributes, ACLs, device nodes and pipes. Sockets are left
out. The source may be hostile: each entry is opened with O_NOFOLLOW and judged by what was opened.

Source: ioctl_ficlonerange(2), copy_file_range(2), lseek(2) SEEK_DATA, xattr(7).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

_FICLONE = 0x40049409
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_CHUNK = 1 << 20
_UNSUPPORTED = (
    errno.EXDEV,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EBADF,
)


class _Copy:
    """One copy: remembers hard links by (device, inode) as paths below the target."""

    def __init__(self, target_root: int) -> None:
        self._target_root = target_root
        self._links: dict[tuple[int, int], str] = {}

    def folder(self, source: int, target: int, prefix: str) -> None:
        for name in os.listdir(source):
            self._entry(source, target, name, prefix)
        copy_attributes(source, target)

    def _entry(self, source_dir: int, target_dir: int, name: str, prefix: str) -> None:
        try:
            seen = os.stat(name, dir_fd=source_dir, follow_symlinks=False).st_mode
            flags = os.O_PATH | os.O_NOFOLLOW
            if stat.S_ISDIR(seen):
                flags = _FOLDER
            elif stat.S_ISREG(seen):
                flags = _FILE
            fd = os.open(name, flags, dir_fd=source_dir)
        except FileNotFoundError:
            return  # removed while we walked
        try:
            info = os.fstat(fd)
            if stat.S_IFMT(info.st_mode) != stat.S_IFMT(seen) or stat.S_ISSOCK(info.st_mode):
                return
            self._make(fd, info, target_dir, name, f"{prefix}{name}")
        finally:
            os.close(fd)

    def _make(self, fd: int, info: os.stat_result, target: int, name: str, path: str) -> None:
        kind, key = stat.S_IFMT(info.st_mode), (info.st_dev, info.st_ino)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target)
            made = os.open(name, _FOLDER, dir_fd=target)
            try:
                self.folder(fd, made, f"{path}/")
            finally:
                os.close(made)
            return
        if key in self._links:
            os.link(
                self._links[key],
                name,
                src_dir_fd=self._target_root,
                dst_dir_fd=target,
                follow_symlinks=False,
            )
            return
        if info.st_nlink > 1:
            self._links[key] = path
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink("", dir_fd=fd), name, dir_fd=target)
            os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
            times = (info.st_atime_ns, info.st_mtime_ns)
            os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)
        elif kind == stat.S_IFREG:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            made = os.open(name, flags, 0o600, dir_fd=target)
            try:
                copy_content(fd, made, info.st_size)
                copy_attributes(fd, made)
            finally:
                os.close(made)
        else:
            os.mknod(name, kind | 0o600, info.st_rdev, dir_fd=target)
            made = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=target)
            try:
                copy_attributes(fd, made)
            finally:
                os.close(made)


def copy_tree(source_fd: int, target_fd: int) -> None:
    """Copies what is below one folder into another, empty one, and the folder's attributes."""
    _Copy(target_fd).folder(source_fd, target_fd, "")


def clone(source: int, target: int) -> None:
    """ioctl_ficlone(2): the file ``target`` shares the blocks of ``source`` from now on."""
    fcntl.ioctl(target, _FICLONE, source)


def copy_content(source: int, target: int, size: int) -> None:
    """The bytes of a regular file into an empty one: cloned, or copied extent by extent."""
    try:
        clone(source, target)
        return
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
            end = min(os.lseek(source, at, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            if error.errno != errno.EINVAL:
                raise
            end = size  # no SEEK_DATA here: one extent
        at = _copy_extent(source, target, at, end)
        if at < end:
            return  # the file shrank while it was read


def _copy_extent(source: int, target: int, at: int, end: int) -> int:
    while at < end:
        try:
            done = os.copy_file_range(source, target, end - at, at, at)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            done = os.pwrite(target, os.pread(source, min(_CHUNK, end - at), at), at)
        if done == 0:
            break
        at += done
    return at


def copy_attributes(source: int, target: int) -> None:
    """Owner, then mode (chown clears setuid), extended attributes, and times last."""
    info = os.fstat(source)
    source_path, target_path = f"/proc/self/fd/{source}", f"/proc/self/fd/{target}"
    os.chown(target_path, info.st_uid, info.st_gid)
    os.chmod(target_path, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(source_path):
        if not name.startswith("trusted."):
            try:
                os.setxattr(target_path, name, os.getxattr(source_path, name))
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENODATA):
                    raise
    os.utime(target_path, ns=(info.st_atime_ns, info.st_mtime_ns))
