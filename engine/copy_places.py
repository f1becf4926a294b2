"""Where SRC and DEST of `cp` are: on the host, or in a container, each with its way of opening.

A path of the container is resolved from a descriptor of its root, in which links and ``..`` stay,
to a descriptor; from there on single names are opened, and no link is followed but by reading it
and resolving it anew from the root.

Source: openat2(2), RESOLVE_IN_ROOT; Docker's documentation, "docker container cp".
"""

from __future__ import annotations

import errno
import os
import stat

from engine import copy_rules
from engine.copy_rules import CopyError, Spelling
from kernel.paths import TMPFS_MAGIC, fs_magic, is_kernel_filesystem, mount_id, open_in_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.rootfs import Rootfs

_FOLLOWED = 40  # links at the end of a path, as many as the kernel follows
_KINDS = {
    stat.S_IFREG: copy_rules.FILE,
    stat.S_IFDIR: copy_rules.FOLDER,
    stat.S_IFLNK: copy_rules.LINK,
}


class Host:
    """The caller's own file system: a path is what the host makes of it."""

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CLOEXEC)

    def check_source(self, fd: int, source: Spelling) -> None:
        """Nothing is forbidden here."""

    def check_target(self, found: Found, how: str, destination: Spelling) -> None:
        """The kernel says what is."""


class Inside:
    """A container's file system, with all that is mounted in it."""

    def __init__(self, rootfs: Rootfs) -> None:
        self._rootfs = rootfs

    def open(self, path: str, flags: int) -> int:
        return open_in_root(self._rootfs.fd, path, flags)

    def check_source(self, fd: int, source: Spelling) -> None:
        """CopyError for what is the kernel's and not the container's."""
        if is_kernel_filesystem(fd):
            raise CopyError(
                f"cannot copy {source.shown}",
                "the kernel makes it up when it is read",
                f"read it inside: pyctr exec {self._rootfs.container.name} cat {source.path}",
            )

    def check_target(self, found: Found, how: str, destination: Spelling) -> None:
        """CopyError for a place that may not be written."""
        what = f"cannot copy to {destination.shown}"
        fd = found.parent if how == copy_rules.AS and not found.is_mount_point() else found.fd
        if is_kernel_filesystem(fd):
            raise CopyError(what, "the kernel makes up the files there")
        if not os.fstatvfs(fd).f_flag & os.ST_RDONLY:
            return
        if os.fstat(fd).st_dev == os.fstat(self._rootfs.fd).st_dev:
            raise CopyError(what, "container rootfs is marked read-only")
        if fs_magic(fd) == TMPFS_MAGIC and self._rootfs.pidfd < 0:
            raise CopyError(
                what,
                "it is in a tmpfs mount, which is there only while the container runs",
                f"start it first: pyctr start {self._rootfs.container.name}",
            )
        raise CopyError(what, "mounted volume is marked read-only")


class Found:
    """Where DEST leads: ``fd`` is what is there, ``parent`` and ``name`` its place, -1 if none."""

    def __init__(self, kind: str, fd: int = -1, parent: int = -1, name: str = "") -> None:
        self.kind = kind
        self.fd = fd
        self.parent = parent
        self.name = name

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_exc: object) -> None:
        close(self.fd)
        close(self.parent)

    def is_mount_point(self) -> bool:
        """Whether something is mounted just there."""
        both = self.fd >= 0 and self.parent >= 0
        return both and mount_id(self.fd) != mount_id(self.parent)


def find_source(side: Host | Inside, source: Spelling, follow: bool) -> tuple[str, int]:
    """(kind, O_PATH descriptor) of SRC, -1 if it is missing."""
    flags = os.O_PATH | (0 if follow or source.folder else os.O_NOFOLLOW)
    try:
        fd = side.open(source.path, flags)
    except (FileNotFoundError, NotADirectoryError):
        return copy_rules.MISSING, -1
    return _kind(fd), fd


def find_destination(side: Host | Inside, destination: Spelling) -> Found:
    """Follows DEST to its end, also where a link leads to what is not there yet."""
    path = destination.path
    for _ in range(_FOLLOWED):
        folder, _, name = path.rpartition("/")
        parent = -1
        try:
            if name in ("", ".", ".."):
                return Found(copy_rules.FOLDER, side.open(path, os.O_PATH | os.O_DIRECTORY))
            parent = side.open(folder or "/", os.O_PATH | os.O_DIRECTORY)
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return Found(copy_rules.MISSING, -1, parent, name)
        except BaseException:
            close(parent)
            raise
        kind = _kind(fd)
        if kind != copy_rules.LINK:
            return Found(kind, fd, parent, name)
        target = os.readlink("", dir_fd=fd)
        path = target if target.startswith("/") else f"{folder}/{target}"
        os.close(fd)
        os.close(parent)
    raise OSError(errno.ELOOP, "too many links", destination.path)


def _kind(fd: int) -> str:
    return _KINDS.get(stat.S_IFMT(os.fstat(fd).st_mode), copy_rules.SPECIAL)


def close(fd: int) -> None:
    """Closes a descriptor, if it is one."""
    if fd >= 0:
        os.close(fd)
