"""Unpacking a tar stream below a folder, by our own hand.

An archive is hostile, and so may be whoever else uses the folder. Only headers are parsed by
:mod:`tarfile`; every entry is written by this module, on descriptors: names are cleaned, ``..`` is
refused, a parent is resolved with openat2(RESOLVE_IN_ROOT), and nothing is ever opened through a
link at its own name. Ownership is numeric. What an archive of an image's layer means besides is
the business of :mod:`overlay.layers`.

Source: pax(1); tar(5); SECURITY, "layer archives".
"""

from __future__ import annotations

import errno
import os
import stat

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
from overlay.errors import OverlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable
    from typing import IO

XATTR = "SCHILY.xattr."  # how pax headers name extended attributes

_CHUNK = 1 << 16
_ZEROES = bytes(_CHUNK)
_HEADER_MAX = 1 << 20  # of one extended header: names and attributes are far smaller
_BUFFER = 1 << 18


class Limits(Record):
    """What an archive may ask for before it is refused as a bomb: entries, and bytes of files."""

    entries: int = 4_000_000
    size: int = 256 << 30


UNLIMITED = Limits(1 << 62, 1 << 62)


def unpack(stream: IO[bytes], writer: Writer) -> int:
    """Gives all entries of an uncompressed tar stream to ``writer``, which it closes.

    Returns the bytes of files. OverlayError if the archive is damaged, escapes, or exceeds the
    limits; OSError of a system call. What was written before stays.
    """
    import tarfile

    try:
        with tarfile.open(
            fileobj=stream, mode="r|", tarinfo=_header_class(), bufsize=_BUFFER
        ) as archive:
            for entry in archive:
                writer.add(entry, archive)
        writer.finish()
    except tarfile.TarError as error:
        raise OverlayError(f"{writer.what} is damaged", str(error)) from None
    finally:
        writer.close()
    return writer.size


def _header_class() -> type[tarfile.TarInfo]:
    """A TarInfo that refuses extended headers which would fill the memory."""
    import tarfile

    class Header(tarfile.TarInfo):
        def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
            extended = self.type not in tarfile.SUPPORTED_TYPES or self.type in (
                tarfile.GNUTYPE_LONGNAME,
                tarfile.GNUTYPE_LONGLINK,
                tarfile.XHDTYPE,
                tarfile.XGLTYPE,
                tarfile.SOLARIS_XHDTYPE,
            )
            if extended and self.size > _HEADER_MAX:
                raise tarfile.ReadError(f"an extended header of {self.size} bytes")
            made: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
            return made

    return Header


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
        self._times: dict[str, float] = {}
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
                _set_times(fd, self._times[name])
            finally:
                os.close(fd)

    def add(self, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        """Writes one entry."""
        self._count(entry)
        name = self._cleaned(entry.name)
        if not name:
            if entry.isdir():
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

    def _count(self, entry: tarfile.TarInfo) -> None:
        self._told(0)
        self._entries += 1
        self.size += entry.size if entry.isreg() else 0
        if self._entries > self._limits.entries or self.size > self._limits.size:
            raise self._refused(
                f"more than {self._limits.entries} entries or {self._limits.size} bytes"
            )

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}".strip("/") or "."

    def _folder(self, path: str) -> int:
        """A descriptor of a folder below the base, made where it is missing."""
        known, fd = self._parent
        if path == known:
            return fd
        try:
            found = make_in_root(self._root, self._path(path))
        except FileExistsError:
            raise self._refused(f"{path!r} is below a link to nowhere") from None
        try:
            if is_kernel_filesystem(found):
                raise self._refused(f"{path!r} is in a file system that the kernel makes up")
            opened = reopen(found, os.O_RDONLY | os.O_DIRECTORY)
        except NotADirectoryError:
            raise self._refused(f"{path!r} is a file and a folder") from None
        finally:
            os.close(found)
        self._forget_parent()
        self._parent = (path, opened)
        return opened

    def _forget_parent(self) -> None:
        if self._parent[0] is not None:
            os.close(self._parent[1])
        self._parent = (None, -1)

    def _add(
        self, at: int, own: str, name: str, entry: tarfile.TarInfo, archive: tarfile.TarFile
    ) -> None:
        there = make_way(at, own, _kind(entry, self._refused))
        if there < 0:
            self._make(at, own, name, entry, archive)
            return
        try:
            if entry.isdir():
                if not is_kernel_filesystem(there):
                    self._old_folder(name, there, entry)
            elif entry.islnk():
                raise OSError(errno.EBUSY, "something is mounted here", name)
            else:  # a file that is a mount point
                self._write(reopen(there, os.O_WRONLY | os.O_TRUNC), entry, archive)
        finally:
            os.close(there)

    def _old_folder(self, name: str, fd: int, entry: tarfile.TarInfo) -> None:
        if self._owner is None:
            self._attributes(fd, entry)
            self._times[name] = entry.mtime

    def _make(
        self, at: int, own: str, name: str, entry: tarfile.TarInfo, archive: tarfile.TarFile
    ) -> None:
        """Writes an entry at a name that is free."""
        if entry.islnk():
            self._hard_link(at, own, entry)
            return
        if entry.isdir():
            os.mkdir(own, 0o700, dir_fd=at)
            self._times[name] = entry.mtime
        elif entry.isreg():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            fd = os.open(own, flags, 0o600, dir_fd=at)
            try:
                self._write(fd, entry, archive)
            except BaseException:
                os.unlink(own, dir_fd=at)  # half a file is worse than none
                raise
        elif entry.issym():
            os.symlink(entry.linkname, own, dir_fd=at)
        else:
            self._node(at, own, entry)
        made = os.open(own, os.O_PATH | os.O_NOFOLLOW, dir_fd=at)
        try:
            if stat.S_IFMT(os.fstat(made).st_mode) == _kind(entry, self._refused):
                self._attributes(made, entry)
        finally:
            os.close(made)

    def _write(self, fd: int, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        """The content of a file, into a descriptor that it closes."""
        source = archive.extractfile(entry)
        try:
            left = entry.size
            while source is not None and left:
                chunk = source.read(min(_CHUNK, left))
                if not chunk:
                    raise OverlayError(f"{self.what} is damaged", f"{entry.name!r} is cut off")
                left -= len(chunk)
                write_sparse(fd, chunk)
                self._told(len(chunk))
            os.ftruncate(fd, entry.size)
        finally:
            os.close(fd)

    def _hard_link(self, at: int, own: str, entry: tarfile.TarInfo) -> None:
        target = self._cleaned(entry.linkname)
        parent, _, base = target.rpartition("/")
        try:
            source = open_in_root(self._root, self._path(parent), os.O_PATH | os.O_DIRECTORY)
            try:
                os.link(base, own, src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)
            finally:
                os.close(source)
        except OSError as error:
            raise self._refused(
                f"hard link {entry.name!r} to {entry.linkname!r}: {error.strerror}"
            ) from None

    def _node(self, at: int, own: str, entry: tarfile.TarInfo) -> None:
        kind = _kind(entry, self._refused)
        if kind == stat.S_IFCHR and entry.devmajor == entry.devminor == 0:
            raise self._refused(f"{entry.name!r} is a whiteout in disguise")
        number = 0 if kind == stat.S_IFIFO else os.makedev(entry.devmajor, entry.devminor)
        os.mknod(own, kind | 0o600, number, dir_fd=at)

    def _attributes(self, fd: int, entry: tarfile.TarInfo) -> None:
        """Owner, then mode (chown clears setuid), then attributes, then times."""
        uid, gid = self._owner or (entry.uid, entry.gid)
        fchown_path(fd, uid, gid)
        if not entry.issym():
            path = f"/proc/self/fd/{fd}"
            os.chmod(path, entry.mode & 0o7777)
            for key, value in entry.pax_headers.items():
                if key.startswith(XATTR) and kept_xattr(key[len(XATTR) :]):
                    self._set_xattr(path, key[len(XATTR) :], value)
        _set_times(fd, entry.mtime)

    def _set_xattr(self, path: str, name: str, value: str) -> None:
        try:
            os.setxattr(path, name, value.encode("utf-8", "surrogateescape"))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise


def _kind(entry: tarfile.TarInfo, refused: Callable[[str], OverlayError]) -> int:
    """The S_IF* of what an entry makes; a hard link makes way as a file does."""
    if entry.isdir():
        return stat.S_IFDIR
    if entry.isreg() or entry.islnk():
        return stat.S_IFREG
    if entry.issym():
        return stat.S_IFLNK
    if entry.isfifo():
        return stat.S_IFIFO
    if entry.ischr():
        return stat.S_IFCHR
    if entry.isblk():
        return stat.S_IFBLK
    raise refused(f"entry {entry.name!r} is of unknown type {entry.type!r}")


def _set_times(fd: int, seconds: float) -> None:
    whole = int(seconds // 1)  # a float has no room for all digits
    nanoseconds = whole * 10**9 + int((seconds - whole) * 10**9)
    utimens_path(fd, nanoseconds, nanoseconds)


def write_sparse(fd: int, chunk: bytes) -> None:
    """Writes at the current position, leaving a hole for a chunk of zeroes.

    The caller sets the file's size in the end.
    """
    if chunk == (_ZEROES if len(chunk) == _CHUNK else _ZEROES[: len(chunk)]):
        os.lseek(fd, len(chunk), os.SEEK_CUR)
        return
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]


def kept_xattr(name: str) -> bool:
    """Whether an extended attribute travels with a file; trusted.overlay.* never does."""
    return name == "security.capability" or name.startswith("user.")
