"""Path resolution that a hostile tree cannot steer: openat2(2) and its helpers.

A path of a container is resolved once, from a descriptor of its root, to a descriptor; from there
on only descriptors are used. See SECURITY and openat2(2), RESOLVE_IN_ROOT.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from kernel.libc import call, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

RESOLVE_NO_XDEV = 0x1
RESOLVE_NO_MAGICLINKS = 0x2
RESOLVE_NO_SYMLINKS = 0x4
RESOLVE_BENEATH = 0x8
RESOLVE_IN_ROOT = 0x10

AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000

RENAME_NOREPLACE = 0x1
RENAME_EXCHANGE = 0x2

CLOSE_RANGE_CLOEXEC = 0x4

PROC_SUPER_MAGIC = 0x9FA0
SYSFS_MAGIC = 0x62656572
DEVPTS_SUPER_MAGIC = 0x1CD1
TMPFS_MAGIC = 0x01021994
OVERLAYFS_SUPER_MAGIC = 0x794C7630
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270

# File systems whose files are the kernel's own words, not somebody's data (linux/magic.h).
_KERNEL_FILESYSTEMS = frozenset(
    (
        PROC_SUPER_MAGIC,
        SYSFS_MAGIC,
        DEVPTS_SUPER_MAGIC,
        CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC,
        0x19800202,  # mqueue
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x73636673,  # securityfs
        0x62656570,  # configfs
        0xCAFE4A11,  # bpf
        0x6165676C,  # pstore
        0xDE5E81E4,  # efivarfs
        0x6E736673,  # nsfs
        0x0187,  # autofs
        0x42494E4D,  # binfmt_misc
        0xF97CFF8C,  # selinuxfs
    )
)

_STATFS_SIZE = 256  # more than struct statfs has, which begins with f_type
_NR_CLOSE_RANGE = 436
_NR_OPENAT2 = 437
_EAGAIN_TRIES = 64
_LINKS_MAX = 40  # followed in one path, as many as the kernel does

_OPEN_HOW = struct.Struct("QQQ")  # struct open_how, linux/openat2.h: flags, mode, resolve


def openat2(dir_fd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """openat2(2), close-on-exec.

    EAGAIN (a rename raced with the resolution of ..) is tried again a bounded number of times.
    """
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    encoded = os.fsencode(path)
    for attempt in range(_EAGAIN_TRIES):
        try:
            return syscall(
                "openat2",
                _NR_OPENAT2,
                dir_fd,
                encoded,
                how,
                len(how),
                path=path,
            )
        except BlockingIOError:
            if attempt == _EAGAIN_TRIES - 1:
                raise
    raise AssertionError("unreachable")


def open_in_root(root_fd: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Opens ``path`` as a process with ``root_fd`` as its root would: links stay inside it."""
    return openat2(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)


def open_real(root_fd: int, path: str, flags: int = os.O_PATH | os.O_NOFOLLOW) -> int:
    """Opens a path in which no link may be, as :func:`real_in_root` gives it; ELOOP otherwise."""
    return openat2(root_fd, path or ".", flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


def real_in_root(root_fd: int, path: str) -> str:
    """Where ``path`` leads to for a process with ``root_fd`` as its root: a path without links,
    relative to the root, "" for itself. Its last parts may be missing.

    What is not there cannot be a link: ``..`` takes it off by the letter. OSError: ELOOP for too
    many links, ENOTDIR for a path through a file. Somebody may put a link in afterwards: use the
    result with :func:`open_real`.
    """
    left = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        done.append(part)
        try:
            fd = open_real(root_fd, "/".join(done))
        except FileNotFoundError:
            continue
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                continue
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, "too many links", path)
            target = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        done = [] if target.startswith("/") else done[:-1]
        left += target.split("/")[::-1]
    return "/".join(done)


def make_in_root(
    root_fd: int,
    path: str,
    mode: int = 0o755,
    *,
    directory: bool = True,
    made: Callable[[int], None] | None = None,
) -> int:
    """An O_PATH descriptor of ``path`` inside ``root_fd``, made where it is missing.

    Every missing component is made by mkdirat on the descriptor of its resolved parent, the last
    one, unless ``directory``, as an empty file (O_EXCL, O_NOFOLLOW). Dangling links are never
    followed into being. ``made`` gets an O_PATH descriptor of each thing that was made. The caller
    closes the descriptor. OSError otherwise.
    """
    try:
        return open_in_root(root_fd, path)
    except FileNotFoundError:
        pass
    parts = [part for part in path.split("/") if part not in ("", ".")]
    current = os.dup(root_fd)
    walked = ""
    try:
        for index, part in enumerate(parts):
            walked = f"{walked}/{part}"
            last = index == len(parts) - 1
            try:
                following = open_in_root(root_fd, walked)
            except FileNotFoundError:
                if last and not directory:
                    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY
                    os.close(os.open(part, flags, mode, dir_fd=current))
                else:
                    os.mkdir(part, mode if last else 0o755, dir_fd=current)
                following = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=current)
                if made is not None:
                    made(following)
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current


def renameat2(
    old_dir_fd: int, old_path: str, new_dir_fd: int, new_path: str, flags: int = 0
) -> None:
    """renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE."""
    call(
        "renameat2",
        old_dir_fd,
        os.fsencode(old_path),
        new_dir_fd,
        os.fsencode(new_path),
        flags,
        path=new_path,
    )


def fchown_path(fd: int, uid: int, gid: int) -> None:
    """fchownat(2) with AT_EMPTY_PATH: the owner of what an O_PATH descriptor is, links too."""
    call("fchownat", fd, b"", uid, gid, _AT_EMPTY_PATH)


def utimens_path(fd: int, accessed: int, modified: int) -> None:
    """utimensat(2) with AT_EMPTY_PATH (5.8), of an O_PATH descriptor; nanoseconds since 1970."""
    times = struct.pack("llll", *divmod(accessed, 10**9), *divmod(modified, 10**9))
    call("utimensat", fd, b"", times, _AT_EMPTY_PATH)


def close_range(first: int, last: int = 0x7FFFFFFF, flags: int = 0) -> None:
    """close_range(2): closes, or with CLOSE_RANGE_CLOEXEC marks, the descriptors of a range."""
    syscall("close_range", _NR_CLOSE_RANGE, first, last, flags)


def keep_only(kept: set[int]) -> None:
    """Closes all other descriptors; those of the standard streams lead to /dev/null instead."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        if fd not in kept:
            os.dup2(null, fd)
    below = 3
    for fd in sorted(fd for fd in kept if fd > 2):
        if fd > below:
            close_range(below, fd - 1)
        below = fd + 1
    close_range(below)


def fs_magic(fd: int) -> int:
    """The type of the file system that holds ``fd`` (statfs(2), f_type)."""
    from kernel.foreign import buffer

    held = buffer(_STATFS_SIZE)
    call("fstatfs", fd, held)
    return int(struct.unpack_from("l", held)[0]) & 0xFFFFFFFF


def is_kernel_filesystem(fd: int) -> bool:
    """Whether ``fd`` lies in proc, sysfs, a control group or another file system of that kind."""
    return fs_magic(fd) in _KERNEL_FILESYSTEMS


def mount_id(fd: int) -> int:
    """The mount that ``fd`` was opened through (proc_pid_fdinfo(5)): a mount point has another
    one than the folder that holds it, in whichever mount namespace.
    """
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("mnt_id:"))


def syncfs(fd: int) -> None:
    """syncfs(2): everything of the file system that holds ``fd`` reaches the disk."""
    call("syncfs", fd)
