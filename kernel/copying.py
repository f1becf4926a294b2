"""Copying files faithfully, on descriptors, without following a link.

Content (holes stay holes, blocks are shared where the file system can), owner, mode, times,
hard links within the tree, extended attributes, ACLs, device nodes and pipes. Sockets are left
out. Source and target may be changed by somebody hostile meanwhile: each entry is opened once,
without following it, and judged by what was opened (:mod:`kernel.walk`); what is made is made
exclusively, in a folder that is held open.

Source: ioctl_ficlonerange(2), copy_file_range(2), lseek(2) SEEK_DATA, xattr(7).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from kernel.paths import (
    RESOLVE_BENEATH,
    RESOLVE_NO_SYMLINKS,
    fchown_path,
    is_kernel_filesystem,
    mount_id,
    openat2,
    utimens_path,
)
from kernel.record import Record
from kernel.walk import reopen, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernel.walk import Visit

_FICLONE = 0x40049409
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_CAPABILITY = "security.capability"
_CHUNK = 1 << 20
_EXTENT = 1 << 26  # at once by the kernel: often enough to tell how far it is
_NOWHERE = -1  # the target of a folder in which nothing may be made
_UNSUPPORTED = (
    errno.EXDEV,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EBADF,
)


class Manner(Record):
    """How files are copied.

    ``owner`` (uid, gid) gets what is made, None keeps the owners. Without ``privileges`` no file
    gains set-user-ID, set-group-ID or capabilities, and device nodes are left out. ``merge``
    copies into what is there: files are replaced, folders entered; a folder that was there keeps
    its attributes, unless owners are kept or with ``renew``.

    ``mode`` makes the permissions out of st_mode, ``xattr`` says which extended attributes travel
    (None: all but trusted ones), and no time is later than ``latest``, in nanoseconds.
    """

    owner: tuple[int, int] | None = None
    privileges: bool = True
    merge: bool = False
    renew: bool = False
    mode: Callable[[int], int] | None = None
    xattr: Callable[[str], bool] | None = None
    latest: int | None = None


FAITHFUL = Manner()


class Copy:
    """One copy, into ``target``; ``size`` bytes and ``left_out`` device nodes so far.

    ``told`` gets the number of bytes after each piece, and 0 before each entry; what it raises
    ends the copy.
    """

    def __init__(
        self, target: int, manner: Manner = FAITHFUL, told: Callable[[int], None] | None = None
    ) -> None:
        self._target = target
        self._manner = manner
        self._told = told or (lambda _size: None)
        self._links: dict[tuple[int, int], str] = {}
        self._own = {_identity(target)}
        self.size = 0
        self.left_out = 0

    def below(self, visits: Iterator[Visit]) -> None:
        """What a walk of a folder gives, which may leave things out; its attributes stay there."""
        self._below(visits, self._target, "")

    def content(self, source: int) -> None:
        """What is below the folder ``source``, and its attributes."""
        self._below(walk(source, kernel=False), self._target, "")
        if not self._manner.merge or self._manner.owner is None:
            copy_attributes(source, self._target, self._manner)

    def entry(self, source: int, name: str) -> None:
        """The file or folder of a descriptor, which may be O_PATH, as ``name``."""
        self._told(0)
        info = os.fstat(source)
        if not stat.S_ISDIR(info.st_mode):
            self._file(source, info, self._target, name, name)
            return
        made, fresh = self._folder(self._target, name)
        try:
            self._own.add(_identity(made))
            readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=source)
            try:
                self._below(walk(readable, kernel=False), made, f"{name}/")
            finally:
                os.close(readable)
            self._leave(source, made, fresh)
        finally:
            _close(made)

    def _below(self, visits: Iterator[Visit], target: int, prefix: str) -> None:
        targets = [(target, True)]
        try:
            for one in visits:
                if one.leaving:
                    made, fresh = targets.pop()
                    try:
                        self._leave(one.fd, made, fresh)
                    finally:
                        _close(made)
                    continue
                if one.is_folder and (one.info.st_dev, one.info.st_ino) in self._own:
                    one.skip = True  # the copy itself, below its source
                    continue
                self._told(0)
                into = targets[-1][0]
                if into == _NOWHERE:
                    why = "the kernel makes up the files here: nothing can be copied to it"
                    raise OSError(errno.EPERM, why, prefix + one.path)
                if one.is_folder:
                    targets.append(self._folder(into, one.name))
                else:
                    self._file(one.fd, one.info, into, one.name, prefix + one.path)
        finally:
            for made, _ in targets[1:]:
                _close(made)

    def _folder(self, target: int, name: str) -> tuple[int, bool]:
        """(the descriptor of a folder to copy into, whether it was made now)."""
        if self._manner.merge:
            there = make_way(target, name, stat.S_IFDIR)
            if there != _NOWHERE:
                try:
                    if is_kernel_filesystem(there):
                        return _NOWHERE, False
                    return os.open(".", _FOLDER, dir_fd=there), False
                finally:
                    os.close(there)
        os.mkdir(name, 0o700, dir_fd=target)
        return os.open(name, _FOLDER, dir_fd=target), True

    def _leave(self, source: int, made: int, fresh: bool) -> None:
        """The attributes of a folder, last: what is made in it changes its times."""
        wanted = fresh or self._manner.owner is None or self._manner.renew
        if made != _NOWHERE and wanted:
            copy_attributes(source, made, self._manner)

    def _file(self, fd: int, info: os.stat_result, target: int, name: str, path: str) -> None:
        kind, key = stat.S_IFMT(info.st_mode), (info.st_dev, info.st_ino)
        if kind == stat.S_IFSOCK:
            return
        if kind in (stat.S_IFCHR, stat.S_IFBLK) and not self._manner.privileges:
            self.left_out += 1
            return
        there = make_way(target, name, kind) if self._manner.merge else _NOWHERE
        if there != _NOWHERE:
            self._overwrite(fd, info, there)
            return
        if key in self._links and self._link(self._links[key], target, name):
            return
        if info.st_nlink > 1:
            self._links[key] = path
        if kind == stat.S_IFREG:
            self._regular(fd, info, target, name)
            return
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink("", dir_fd=fd), name, dir_fd=target)
        else:
            os.mknod(name, kind | 0o600, info.st_rdev, dir_fd=target)
        made = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=target)
        try:
            if stat.S_IFMT(os.fstat(made).st_mode) == kind:  # nobody put another one in its place
                copy_attributes(fd, made, self._manner)
        finally:
            os.close(made)

    def _regular(self, fd: int, info: os.stat_result, target: int, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        made = os.open(name, flags, 0o600, dir_fd=target)
        try:
            self._fill(fd, made, info.st_size, attributes=True)
        except BaseException:
            os.unlink(name, dir_fd=target)  # half a file is worse than none
            raise
        finally:
            os.close(made)

    def _overwrite(self, fd: int, info: os.stat_result, there: int) -> None:
        """Into a file that is a mount point: removing it would unmount it in its namespace."""
        try:
            made = reopen(there, os.O_WRONLY | os.O_TRUNC)
        finally:
            os.close(there)
        try:
            self._fill(fd, made, info.st_size, attributes=False)
        finally:
            os.close(made)

    def _fill(self, fd: int, made: int, size: int, *, attributes: bool) -> None:
        source = reopen(fd)
        try:
            copy_content(source, made, size, self._counted)
            if attributes:
                copy_attributes(source, made, self._manner, opened=True)
        finally:
            os.close(source)

    def _counted(self, size: int) -> None:
        self.size += size
        self._told(size)

    def _link(self, path: str, target: int, name: str) -> bool:
        """A further name of a file that was copied before; False where that is not possible."""
        parent, _, own = path.rpartition("/")
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
        try:
            folder = openat2(self._target, parent or ".", os.O_PATH | os.O_DIRECTORY, 0, resolve)
            try:
                os.link(own, name, src_dir_fd=folder, dst_dir_fd=target, follow_symlinks=False)
            finally:
                os.close(folder)
        except OSError as error:
            # Another mount, a path longer than the kernel takes, or somebody moved it meanwhile.
            if error.errno in (
                errno.EXDEV,
                errno.EMLINK,
                errno.ENAMETOOLONG,
                errno.ENOENT,
                errno.ENOTDIR,
                errno.ELOOP,
            ):
                return False
            raise
        return True


def _identity(fd: int) -> tuple[int, int]:
    if fd == _NOWHERE:
        return (0, 0)
    info = os.fstat(fd)
    return (info.st_dev, info.st_ino)


def _close(fd: int) -> None:
    if fd != _NOWHERE:
        os.close(fd)


def copy_tree(source_fd: int, target_fd: int) -> None:
    """Copies what is below one folder into another, empty one, and the folder's attributes."""
    Copy(target_fd).content(source_fd)


def make_way(folder: int, name: str, kind: int) -> int:
    """Makes ``name`` free for something of ``kind`` (S_IFREG, S_IFDIR, ...), removing a file.

    Returns -1, or an O_PATH descriptor of what stays there: a folder where a folder is wanted, and
    a regular file that is a mount point where a file is. A folder never makes way for a file, nor
    a file for a folder: IsADirectoryError, NotADirectoryError.
    """
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
    except FileNotFoundError:
        return -1
    try:
        there = stat.S_IFMT(os.fstat(fd).st_mode)
        if there == kind == stat.S_IFDIR:
            return os.dup(fd)
        if kind == stat.S_IFDIR:
            raise NotADirectoryError(errno.ENOTDIR, "cannot overwrite a file with a folder", name)
        if there == stat.S_IFDIR:
            raise IsADirectoryError(errno.EISDIR, "cannot overwrite a folder with a file", name)
        if mount_id(fd) != mount_id(folder):
            if there == kind == stat.S_IFREG and not is_kernel_filesystem(fd):
                return os.dup(fd)
            raise OSError(errno.EBUSY, "something is mounted here", name)
    finally:
        os.close(fd)
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    return -1


def clone(source: int, target: int) -> None:
    """ioctl_ficlone(2): the file ``target`` shares the blocks of ``source`` from now on."""
    fcntl.ioctl(target, _FICLONE, source)


def copy_content(
    source: int, target: int, size: int, told: Callable[[int], None] | None = None
) -> None:
    """The bytes of a regular file into an empty one: cloned, or copied extent by extent.

    ``told`` gets the number of bytes after each piece, holes included.
    """
    done = told or (lambda _size: None)
    try:
        clone(source, target)
        done(size)
        return
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    if os.fstat(source).st_blocks * 512 >= size:  # without holes
        _copy_extent(source, target, 0, size, done)
        return
    os.ftruncate(target, size)
    at = 0
    while at < size:
        try:
            begin = os.lseek(source, at, os.SEEK_DATA)
            end = min(os.lseek(source, begin, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                done(size - at)
                return
            if error.errno != errno.EINVAL:
                raise
            begin, end = at, size  # no SEEK_DATA here: one extent
        done(begin - at)
        at = _copy_extent(source, target, begin, end, done)
        if at < end:
            return  # the file shrank while it was read


def _copy_extent(source: int, target: int, at: int, end: int, told: Callable[[int], None]) -> int:
    while at < end:
        try:
            done = os.copy_file_range(source, target, min(_EXTENT, end - at), at, at)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            done = os.pwrite(target, os.pread(source, min(_CHUNK, end - at), at), at)
        if done == 0:
            break
        at += done
        told(done)
    return at


def copy_attributes(
    source: int, target: int, manner: Manner = FAITHFUL, *, opened: bool = False
) -> None:
    """Owner, then mode (chown clears setuid), extended attributes, and times last.

    Both descriptors may be O_PATH, unless they are ``opened`` for reading and writing, which
    saves the kernel some paths. A symbolic link has an owner and times only.
    """
    info = os.fstat(source)
    uid, gid = manner.owner or (info.st_uid, info.st_gid)
    times = (info.st_atime_ns, info.st_mtime_ns)
    if manner.latest is not None:
        times = (min(times[0], manner.latest), min(times[1], manner.latest))
    fchown_path(target, uid, gid)
    if stat.S_ISLNK(info.st_mode):
        utimens_path(target, *times)
        return
    mode = stat.S_IMODE(info.st_mode) if manner.mode is None else manner.mode(info.st_mode)
    if not manner.privileges and not stat.S_ISDIR(info.st_mode):
        mode &= ~(stat.S_ISUID | stat.S_ISGID)
    source_path, target_path = (
        (source, target) if opened else (f"/proc/self/fd/{source}", f"/proc/self/fd/{target}")
    )
    os.chmod(target_path, mode)
    for name in os.listxattr(source_path):
        travels = not name.startswith("trusted.") if manner.xattr is None else manner.xattr(name)
        if travels and (manner.privileges or name != _CAPABILITY):
            try:
                os.setxattr(target_path, name, os.getxattr(source_path, name))
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.ENODATA):
                    raise
    utimens_path(target, *times)
