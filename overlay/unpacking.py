"""Unpacking a tar stream below a folder, by our own hand.

An archive is hostile, and so may be whoever else uses the folder. :mod:`overlay.tar` reads it,
and every entry is written by this module, on descriptors: names are cleaned, ``..`` is refused, a
parent is resolved with openat2(RESOLVE_IN_ROOT), and nothing is ever opened through a link at its
own name. Ownership is numeric. What an archive of an image's layer means besides is
the business of :mod:`overlay.layers`.

Source: pax(1); tar(5); SECURITY, "layer archives".
"""

from __future__ import annotations

import errno
import os
import stat

from kernel import trace
from kernel.copying import make_way
from kernel.paths import (
    fchown_path,
    is_kernel_filesystem,
    make_in_root,
    open_in_root,
    utimens_path,
)
from kernel.record import Record
from kernel.walk import reopen
from overlay import tar
from overlay.errors import OverlayError
from overlay.tarfields import TarError
from overlay.xattrs import is_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from overlay.tar import Entry, Reader

_entry_written = trace.point("overlay.unpacking.entry_written")

_HOLE = 1 << 16  # zeroes of this size become a hole
_ZEROES = bytes(_HOLE)

# What an archive asks for, and not the disk, is to blame for.
_ITS_FAULT = (
    errno.EEXIST,
    errno.EFBIG,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.EMLINK,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EOVERFLOW,
    errno.ERANGE,
    errno.E2BIG,
)


class Limits(Record):
    """What an archive may ask for before it is refused as a bomb: entries, and bytes of files."""

    entries: int = 4_000_000
    size: int = 256 << 30


UNLIMITED = Limits(1 << 62, 1 << 62)


def unpack(stream: IO[bytes], writer: Writer) -> int:
    """Gives all entries of an uncompressed tar stream to ``writer``, which it closes.

    Returns the bytes of files. OverlayError if the archive is damaged, escapes, exceeds the
    limits, or asks for what no file system has; OSError of a system call that fails otherwise.
    What was written before stays.
    """
    reader = tar.Reader(stream)
    try:
        for entry in reader:
            try:
                writer.add(entry, reader)
                _entry_written()
            except OSError as error:
                if error.errno not in _ITS_FAULT:
                    raise
                reason = error.strerror or os.strerror(error.errno)
                why = f"entry {entry.name[:200]!r}: {reason.lower()}"
                raise OverlayError(f"{writer.what} is refused", why) from None
        writer.finish()
    except TarError as error:
        raise OverlayError(f"{writer.what} is damaged", error.why) from None
    finally:
        writer.close()
    return writer.size


def clean_name(name: str) -> str:
    """A path relative to the folder, "" for itself; ValueError if it points outside."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise ValueError(name)
    return "/".join(parts)


class Writer:
    """Writes entries below the folder ``base`` of a root, in which links are resolved.

    ``root`` is a descriptor of its own from now on. ``owner`` (uid, gid) gets what is made, and
    folders that were there keep their attributes; None takes all of that from the archive. Files
    are replaced, and a folder never makes way for a file, nor a file for a folder. ``told`` gets
    the number of bytes after each piece, and 0 before each entry; what it raises ends it.
    """

    what, where = "the archive", "the folder"  # for messages

    def __init__(
        self,
        root: int,
        base: str = "",
        *,
        owner: tuple[int, int] | None = None,
        limits: Limits = UNLIMITED,
        told: Callable[[int], None] | None = None,
    ) -> None:
        self._root = os.dup(root)
        self._base = base.strip("/")
        self._owner = owner
        self._limits = limits
        self._told = told or (lambda _size: None)
        self._entries = 0
        self._times: dict[str, int] = {}
        self._parent: tuple[str | None, int] = (None, -1)
        self.size = 0

    def close(self) -> None:
        """Closes the descriptors."""
        self._forget_parent()
        os.close(self._root)

    def finish(self) -> None:
        """Sets the folders' times, deepest first."""
        for name in sorted(self._times, reverse=True):
            try:
                fd = open_in_root(self._root, self._path(name), os.O_PATH | os.O_DIRECTORY)
            except OSError:
                continue  # a later entry replaced the folder
            try:
                utimens_path(fd, self._times[name], self._times[name])
            finally:
                os.close(fd)

    def add(self, entry: Entry, archive: Reader) -> None:
        """Writes one entry."""
        self._count(entry)
        name = self._cleaned(entry.name)
        if not name:
            if entry.kind == stat.S_IFDIR:
                self._old_folder("", self._folder(""), entry)
            return
        parent, _, own = name.rpartition("/")
        self._add(self._folder(parent), own, name, entry, archive)

    def _cleaned(self, name: str) -> str:
        try:
            return clean_name(name)
        except ValueError:
            raise self._refused(f"entry {name!r} leaves {self.where}") from None

    def _refused(self, why: str) -> OverlayError:
        return OverlayError(f"{self.what} is refused", why)

    def _count(self, entry: Entry) -> None:
        self._told(0)
        self._entries += 1
        self.size += entry.size if entry.kind == stat.S_IFREG else 0
        if self._entries > self._limits.entries or self.size > self._limits.size:
            raise self._refused(
                f"more than {self._limits.entries} entries or {self._limits.size} bytes"
            )

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}".strip("/") or "."

    def _folder(self, path: str) -> int:
        """A descriptor of a folder below the base, made where it is missing."""
        known, fd = self._parent
        if path != known:
            fd = self._opened(path)
            self._forget_parent()
            self._parent = (path, fd)
        return fd

    def _opened(self, path: str) -> int:
        """A new descriptor of a folder, in whichever way its path leads there."""
        try:
            found = make_in_root(self._root, self._path(path))
        except FileExistsError:
            raise self._refused(f"{path!r} is below a link to nowhere") from None
        try:
            if is_kernel_filesystem(found):
                raise self._refused(f"{path!r} is in a file system that the kernel makes up")
            return reopen(found, os.O_RDONLY | os.O_DIRECTORY)
        except NotADirectoryError:
            raise self._refused(f"{path!r} is a file and a folder") from None
        finally:
            os.close(found)

    def _forget_parent(self) -> None:
        if self._parent[0] is not None:
            os.close(self._parent[1])
        self._parent = (None, -1)

    def _add(self, at: int, own: str, name: str, entry: Entry, archive: Reader) -> None:
        there = make_way(at, own, _kind(entry))
        if there < 0:
            self._make(at, own, name, entry, archive)
            return
        try:
            if entry.kind == stat.S_IFDIR:
                if not is_kernel_filesystem(there):
                    self._old_folder(name, there, entry)
            elif entry.kind == tar.HARD_LINK:
                raise OSError(errno.EBUSY, "something is mounted here", name)
            else:  # a file that is a mount point
                fd = reopen(there, os.O_WRONLY | os.O_TRUNC)
                try:
                    self._write(fd, entry, archive)
                finally:
                    os.close(fd)
        finally:
            os.close(there)

    def _old_folder(self, name: str, fd: int, entry: Entry) -> None:
        if self._owner is None:
            self._attributes_of_path(fd, entry)
            self._times[name] = entry.mtime

    def _make(self, at: int, own: str, name: str, entry: Entry, archive: Reader) -> None:
        """Writes an entry at a name that is free."""
        if entry.kind == tar.HARD_LINK:
            self._hard_link(at, own, entry)
            return
        if entry.kind == stat.S_IFREG:
            self._regular(at, own, entry, archive)
            return
        if entry.kind == stat.S_IFDIR:
            os.mkdir(own, 0o700, dir_fd=at)
            self._times[name] = entry.mtime
        elif entry.kind == stat.S_IFLNK:
            os.symlink(entry.link, own, dir_fd=at)
        else:
            self._node(at, own, entry)
        made = os.open(own, os.O_PATH | os.O_NOFOLLOW, dir_fd=at)
        try:
            if stat.S_IFMT(os.fstat(made).st_mode) == entry.kind:
                self._attributes_of_path(made, entry)
        finally:
            os.close(made)

    def _regular(self, at: int, own: str, entry: Entry, archive: Reader) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        fd = os.open(own, flags, 0o600, dir_fd=at)
        try:
            self._write(fd, entry, archive)
            self._attributes(fd, entry)
        except BaseException:
            os.unlink(own, dir_fd=at)  # half a file is worse than none
            raise
        finally:
            os.close(fd)

    def _write(self, fd: int, entry: Entry, archive: Reader) -> None:
        """The content of a file, into an empty one."""
        source = archive.content()
        if entry.pieces is None:
            hole = False
            for piece in source:
                hole = write_sparse(fd, piece)
                self._told(len(piece))
            if hole:
                os.ftruncate(fd, entry.size)
            return
        rest = b""
        for offset, length in entry.pieces:
            os.lseek(fd, offset, os.SEEK_SET)
            rest = self._piece(fd, source, rest, length)
        os.ftruncate(fd, entry.size)

    def _piece(self, fd: int, source: Iterator[bytes], rest: bytes, length: int) -> bytes:
        """A piece of a sparse file; returns what was read beyond it."""
        while length:
            rest = rest or next(source)
            part = rest[:length]
            write_all(fd, part)
            self._told(len(part))
            length -= len(part)
            rest = rest[len(part) :]
        return rest

    def _hard_link(self, at: int, own: str, entry: Entry) -> None:
        target = self._cleaned(entry.link)
        parent, _, base = target.rpartition("/")
        try:
            source = open_in_root(self._root, self._path(parent), os.O_PATH | os.O_DIRECTORY)
            try:
                os.link(base, own, src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)
            finally:
                os.close(source)
        except FileExistsError:
            raise
        except OSError as error:
            raise self._refused(
                f"hard link {entry.name!r} to {entry.link!r}: {error.strerror}"
            ) from None

    def _node(self, at: int, own: str, entry: Entry) -> None:
        if entry.kind == stat.S_IFCHR and entry.device == (0, 0):
            raise self._refused(f"{entry.name!r} is a whiteout in disguise")
        number = 0 if entry.kind == stat.S_IFIFO else os.makedev(*entry.device)
        os.mknod(own, entry.kind | 0o600, number, dir_fd=at)

    def _attributes(self, fd: int, entry: Entry) -> None:
        """Owner, then mode (chown clears setuid), then attributes, then times; not of a link."""
        uid, gid = self._owner or (entry.uid, entry.gid)
        os.fchown(fd, uid, gid)
        os.fchmod(fd, entry.mode)
        self._xattrs(fd, entry)
        os.utime(fd, ns=(entry.mtime, entry.mtime))

    def _attributes_of_path(self, fd: int, entry: Entry) -> None:
        """The same by an O_PATH descriptor, of whatever it is."""
        uid, gid = self._owner or (entry.uid, entry.gid)
        fchown_path(fd, uid, gid)
        if entry.kind != stat.S_IFLNK:
            path = f"/proc/self/fd/{fd}"
            os.chmod(path, entry.mode)
            self._xattrs(path, entry)
        utimens_path(fd, entry.mtime, entry.mtime)

    def _xattrs(self, path: str | int, entry: Entry) -> None:
        for name, value in entry.xattrs.items():
            if is_kept(name):
                try:
                    os.setxattr(path, name, value)
                except OSError as error:
                    if error.errno != errno.EOPNOTSUPP:
                        raise


def _kind(entry: Entry) -> int:
    """The S_IF* of what an entry makes; a hard link makes way as a file does."""
    return entry.kind or stat.S_IFREG


def write_sparse(fd: int, piece: bytes) -> bool:
    """Writes at the current position, leaving holes for long runs of zeroes.

    Returns whether it ends in one: the caller sets the file's size then.
    """
    if len(piece) < _HOLE:
        write_all(fd, piece)
        return False
    view, begin, at = memoryview(piece), 0, 0
    while at + _HOLE <= len(piece):
        if piece.startswith(_ZEROES, at):
            write_all(fd, view[begin:at])
            os.lseek(fd, _HOLE, os.SEEK_CUR)
            begin = at + _HOLE
        at += _HOLE
    write_all(fd, view[begin:])
    return begin == len(piece)


def write_all(fd: int, content: bytes | memoryview) -> None:
    """write(2) until all is written."""
    while content:
        written = os.write(fd, content)
        if written == len(content):
            return
        content = content[written:]
