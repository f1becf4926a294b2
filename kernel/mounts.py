"""mount(2) and the mount API of Linux 5.2: detached mounts as file descriptors.

The new calls are preferred: a mount made by :func:`fsmount` or cloned by :func:`open_tree` is
attached nowhere, gets its attributes while nobody can reach it, and is placed by descriptor.
Paths are ``str``; every function raises :class:`OSError`.
"""

from __future__ import annotations

import os
import struct

from kernel.libc import call, number, syscall

# mount(2), linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_BIND = 0x1000
MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000
MS_STRICTATIME = 0x1000000
MNT_DETACH = 0x2

# fsmount(2), mount_setattr(2)
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x0
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# fsconfig(2)
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_NO_AUTOMOUNT = 0x800
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

_NR_OPEN_TREE = 428
_NR_MOVE_MOUNT = 429
_NR_FSOPEN = 430
_NR_FSCONFIG = 431
_NR_FSMOUNT = 432
_NR_MOUNT_SETATTR = 442

# struct mount_attr, linux/mount.h: attr_set, attr_clr, propagation, userns_fd
_MOUNT_ATTR = struct.Struct("QQQQ")


def mount(
    source: str | None, target: str, fstype: str | None, flags: int = 0, data: str | None = None
) -> None:
    """mount(2). ``data`` may not be longer than a page less one byte."""
    call(
        "mount",
        None if source is None else os.fsencode(source),
        os.fsencode(target),
        None if fstype is None else fstype.encode(),
        flags,
        None if data is None else os.fsencode(data),
        path=target,
    )


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    call("umount2", os.fsencode(target), flags, path=target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2); both may be "." (see the NOTES of the manual page)."""
    syscall(
        "pivot_root",
        number("pivot_root"),
        os.fsencode(new_root),
        os.fsencode(put_old),
        path=new_root,
    )


def fsopen(fstype: str) -> int:
    """fsopen(2): a configuration context of a new file system, close-on-exec."""
    return syscall("fsopen", _NR_FSOPEN, fstype.encode(), FSOPEN_CLOEXEC, path=fstype)


def fsconfig_string(fd: int, key: str, value: str) -> None:
    """fsconfig(2), FSCONFIG_SET_STRING. The kernel takes at most 255 bytes of ``value``."""
    _fsconfig(fd, FSCONFIG_SET_STRING, key, os.fsencode(value), 0, value)


def fsconfig_flag(fd: int, key: str) -> None:
    """fsconfig(2), FSCONFIG_SET_FLAG."""
    _fsconfig(fd, FSCONFIG_SET_FLAG, key, None, 0, key)


def fsconfig_create(fd: int) -> None:
    """fsconfig(2), FSCONFIG_CMD_CREATE: makes the superblock. Errors carry the kernel's log."""
    try:
        _fsconfig(fd, FSCONFIG_CMD_CREATE, None, None, 0, "")
    except OSError as error:
        log = fs_context_log(fd)
        if log and error.errno is not None:
            raise OSError(error.errno, f"{error.strerror} ({log})") from None
        raise


def fs_context_log(fd: int) -> str:
    """What the kernel wrote about the context ``fd`` (fsopen(2), "Message retrieval")."""
    lines = []
    while True:
        try:
            line = os.read(fd, 4096)
        except OSError:  # ENODATA: no message is left
            break
        if not line:
            break
        lines.append(line.decode(errors="replace").strip())
    return "; ".join(lines)


def _fsconfig(
    fd: int, command: int, key: str | None, value: bytes | None, aux: int, path: str
) -> None:
    encoded = None if key is None else key.encode()
    syscall("fsconfig", _NR_FSCONFIG, fd, command, encoded, value, aux, path=path)


def fsmount(fd: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of the context's superblock, close-on-exec."""
    return syscall("fsmount", _NR_FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes)


def open_tree(dir_fd: int, path: str, flags: int) -> int:
    """open_tree(2); with OPEN_TREE_CLONE a detached bind mount. Close-on-exec."""
    return syscall(
        "open_tree",
        _NR_OPEN_TREE,
        dir_fd,
        os.fsencode(path),
        flags | OPEN_TREE_CLOEXEC,
        path=path,
    )


def move_mount(from_fd: int, to_fd: int, path: str = "") -> None:
    """move_mount(2) by two descriptors; ``path`` only names the place in errors."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    syscall("move_mount", _NR_MOVE_MOUNT, from_fd, b"", to_fd, b"", flags, path=path)


def move_mount_at(from_fd: int, target: str) -> None:
    """move_mount(2) onto a trusted path."""
    syscall(
        "move_mount",
        _NR_MOVE_MOUNT,
        from_fd,
        b"",
        AT_FDCWD,
        os.fsencode(target),
        MOVE_MOUNT_F_EMPTY_PATH,
        path=target,
    )


def mount_setattr(
    fd: int,
    path: str = "",
    flags: int = AT_EMPTY_PATH,
    *,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
    userns_fd: int = -1,
) -> None:
    """mount_setattr(2). ``flags`` may add AT_RECURSIVE; ``propagation`` is one MS_* type."""
    attr = _MOUNT_ATTR.pack(attr_set, attr_clr, propagation, userns_fd if userns_fd >= 0 else 0)
    syscall(
        "mount_setattr",
        _NR_MOUNT_SETATTR,
        fd,
        os.fsencode(path),
        flags,
        attr,
        len(attr),
        path=path,
    )
