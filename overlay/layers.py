"""Layer archives: a tar stream becomes a folder that overlayfs can stack, and back.

An archive is hostile. Only its headers are parsed by :mod:`tarfile`; every entry is written by
this module, on descriptors, below the layer's folder: names are cleaned, ``..`` is refused, the
parent is resolved with openat2(RESOLVE_IN_ROOT), and nothing is ever opened through a link that
the archive planted. Ownership is numeric. Whiteouts (``.wh.name``, ``.wh..wh..opq``) become what
overlayfs reads: a character device 0/0 and the attribute ``trusted.overlay.opaque``.

Source: OCI image specification, layer.md; Documentation/filesystems/overlayfs.rst; pax(1).
"""

from __future__ import annotations

import os
import stat

from kernel import tree
from kernel.paths import make_in_root, open_in_root
from kernel.record import Record
from overlay.errors import OverlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator
    from typing import IO

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"

_XATTR = "SCHILY.xattr."
_CHUNK = 1 << 16
_ZEROES = bytes(_CHUNK)
_HEADER_MAX = 1 << 20  # of one extended header: names and attributes are far smaller
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Limits(Record):
    """What an archive may ask for before it is refused as a bomb: entries, and bytes of files."""

    entries: int = 4_000_000
    size: int = 256 << 30


def unpack(stream: IO[bytes], folder: str, limits: Limits = Limits()) -> int:  # noqa: B008
    """Writes an uncompressed layer archive into the empty ``folder``; returns bytes of files.

    OverlayError if the archive is damaged, escapes, or exceeds ``limits``. A failure leaves
    a part of the layer: the caller removes the folder.
    """
    import tarfile

    writer = _Writer(folder, limits)
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_header_class()) as archive:
            for entry in archive:
                writer.add(entry, archive)
        writer.finish()
    except tarfile.TarError as error:
        raise OverlayError("the layer archive is damaged", str(error)) from None
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
    """A path relative to the layer, "" for its root; OverlayError if it points outside."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise OverlayError("the layer archive is refused", f"entry {name!r} leaves the layer")
    return "/".join(parts)


class _Writer:
    """Writes entries below one folder; remembers folders' times, set when all is written."""

    def __init__(self, folder: str, limits: Limits) -> None:
        self._root = os.open(folder, _FOLDER)
        self._limits = limits
        self._entries = 0
        self._times: dict[str, float] = {}
        self._parent = ("", os.dup(self._root))
        self.size = 0

    def close(self) -> None:
        os.close(self._parent[1])
        os.close(self._root)

    def finish(self) -> None:
        """Sets the folders' times, deepest first."""
        for name in sorted(self._times, reverse=True):
            try:
                fd = open_in_root(self._root, name or ".", os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue  # a later entry replaced the folder
            os.utime(fd, (self._times[name], self._times[name]))
            os.close(fd)

    def add(self, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        self._count(entry)
        name = clean_name(entry.name)
        if not name:
            if entry.isdir():
                self._attributes(self._root, ".", entry)
                self._times[""] = entry.mtime
            return
        parent, _, own = name.rpartition("/")
        at = self._folder(parent)
        if own == OPAQUE:
            os.setxattr(at, OPAQUE_XATTR, b"y")
        elif own.startswith(WHITEOUT):
            self._whiteout(at, own[len(WHITEOUT) :])
        else:
            self._make(at, own, name, entry, archive)

    def _count(self, entry: tarfile.TarInfo) -> None:
        self._entries += 1
        self.size += entry.size if entry.isreg() else 0
        if self._entries > self._limits.entries or self.size > self._limits.size:
            raise OverlayError(
                "the layer archive is refused",
                f"more than {self._limits.entries} entries or {self._limits.size} bytes",
            )

    def _folder(self, path: str) -> int:
        """A descriptor of a folder of the layer, made where it is missing."""
        known, fd = self._parent
        if path == known:
            return fd
        try:
            found = make_in_root(self._root, path)
        except FileExistsError:
            raise OverlayError(
                "the layer archive is refused", f"{path!r} is below a link to nowhere"
            ) from None
        try:
            opened = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_DIRECTORY)
        except NotADirectoryError:
            raise OverlayError(
                "the layer archive is refused", f"{path!r} is a file and a folder"
            ) from None
        finally:
            os.close(found)
        os.close(fd)
        self._parent = (path, opened)
        return opened

    def _forget_parent(self) -> None:
        os.close(self._parent[1])
        self._parent = ("", os.dup(self._root))

    def _whiteout(self, at: int, own: str) -> None:
        """Hides ``own`` of the layers below; what this layer itself brings stays."""
        if own.startswith(WHITEOUT):  # bookkeeping of aufs
            return
        if own in ("", ".", ".."):
            raise OverlayError("the layer archive is refused", f"whiteout of {own!r}")
        try:
            os.mknod(own, stat.S_IFCHR, 0, dir_fd=at)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(own, dir_fd=at, follow_symlinks=False).st_mode):
                _set_opaque(at, own)

    def _make(
        self, at: int, own: str, name: str, entry: tarfile.TarInfo, archive: tarfile.TarFile
    ) -> None:
        hidden = self._clear(at, own, entry)
        if entry.isdir():
            if hidden is not None:
                os.mkdir(own, 0o700, dir_fd=at)
                if hidden:
                    _set_opaque(at, own)
            self._times[name] = entry.mtime
        elif entry.isreg():
            self._file(at, own, entry, archive)
        elif entry.issym():
            os.symlink(entry.linkname, own, dir_fd=at)
        elif entry.islnk():
            self._hard_link(at, own, entry)
            return
        elif entry.ischr() or entry.isblk() or entry.isfifo():
            self._node(at, own, entry)
        else:
            raise OverlayError(
                "the layer archive is refused", f"entry {name!r} is of unknown type {entry.type!r}"
            )
        self._attributes(at, own, entry)

    def _clear(self, at: int, own: str, entry: tarfile.TarInfo) -> bool | None:
        """Removes what an earlier entry left at a name: None keeps a folder, True was hidden."""
        try:
            there = os.stat(own, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(there.st_mode):
            if entry.isdir():
                return None
            tree.remove_tree(own, dir_fd=at)
            self._forget_parent_unless(at)
            return False
        os.unlink(own, dir_fd=at)
        return stat.S_ISCHR(there.st_mode) and there.st_rdev == 0

    def _forget_parent_unless(self, at: int) -> None:
        """A removed folder may not stay the cached one; the parent in use is not affected."""
        if self._parent[1] != at:
            self._forget_parent()

    def _file(self, at: int, own: str, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        source = archive.extractfile(entry)
        fd = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
        try:
            left = entry.size
            while source is not None and left:
                chunk = source.read(min(_CHUNK, left))
                if not chunk:
                    raise OverlayError("the layer archive is damaged", f"{entry.name!r} is cut off")
                left -= len(chunk)
                write_sparse(fd, chunk)
            os.ftruncate(fd, entry.size)
        finally:
            os.close(fd)

    def _hard_link(self, at: int, own: str, entry: tarfile.TarInfo) -> None:
        target = clean_name(entry.linkname)
        parent, _, base = target.rpartition("/")
        try:
            source = open_in_root(self._root, parent or ".", os.O_PATH | os.O_DIRECTORY)
            try:
                os.link(base, own, src_dir_fd=source, dst_dir_fd=at, follow_symlinks=False)
            finally:
                os.close(source)
        except OSError as error:
            raise OverlayError(
                "the layer archive is refused",
                f"hard link {entry.name!r} to {entry.linkname!r}: {error.strerror}",
            ) from None

    def _node(self, at: int, own: str, entry: tarfile.TarInfo) -> None:
        kind = stat.S_IFIFO
        if not entry.isfifo():
            kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
            if entry.ischr() and entry.devmajor == entry.devminor == 0:
                raise OverlayError(
                    "the layer archive is refused", f"{entry.name!r} is a whiteout in disguise"
                )
        os.mknod(own, kind | 0o600, os.makedev(entry.devmajor, entry.devminor), dir_fd=at)

    def _attributes(self, at: int, own: str, entry: tarfile.TarInfo) -> None:
        """Owner, then mode (chown clears setuid), then attributes, then times."""
        os.chown(own, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
        if entry.issym():
            os.utime(own, (entry.mtime, entry.mtime), dir_fd=at, follow_symlinks=False)
            return
        fd = os.open(own, os.O_PATH | os.O_NOFOLLOW, dir_fd=at)
        try:
            path = f"/proc/self/fd/{fd}"
            os.chmod(path, entry.mode & 0o7777)
            for key, value in entry.pax_headers.items():
                if key.startswith(_XATTR) and kept_xattr(key[len(_XATTR) :]):
                    os.setxattr(path, key[len(_XATTR) :], value.encode("utf-8", "surrogateescape"))
            os.utime(path, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)


def _set_opaque(at: int, own: str) -> None:
    fd = os.open(own, _FOLDER, dir_fd=at)
    os.setxattr(fd, OPAQUE_XATTR, b"y")
    os.close(fd)


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


def pack(folder_fd: int, out: IO[bytes], *, layer: bool = True) -> None:
    """Writes everything below a folder as a tar stream, in the order of names, ids numeric.

    With ``layer`` the folder is an upperdir: its whiteouts and opaque folders become those of
    the OCI layer format. Links are never followed; what is not a plain file is archived as
    itself, sockets are left out. A file that changes meanwhile keeps the size it began with.
    """
    import tarfile

    links: dict[tuple[int, int], str] = {}
    with tarfile.open(
        fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8"
    ) as archive:
        _pack_folder(archive, folder_fd, "", layer, links)


def _pack_folder(
    archive: tarfile.TarFile,
    folder_fd: int,
    prefix: str,
    layer: bool,
    links: dict[tuple[int, int], str],
) -> None:
    if layer and is_opaque(folder_fd):
        archive.addfile(_empty(archive, f"{prefix}{OPAQUE}"))
    for own in sorted(os.listdir(folder_fd)):
        try:
            info = os.stat(own, dir_fd=folder_fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISSOCK(info.st_mode):
            continue
        if layer and is_whiteout(info):
            archive.addfile(_empty(archive, f"{prefix}{WHITEOUT}{own}"))
            continue
        _pack_entry(archive, folder_fd, own, prefix, layer, links)


def _pack_entry(
    archive: tarfile.TarFile,
    parent_fd: int,
    own: str,
    prefix: str,
    layer: bool,
    links: dict[tuple[int, int], str],
) -> None:
    """One entry; what the *opened* descriptor is decides, not what stood there before."""
    for fd, info in _opened(parent_fd, own):
        entry = _header(archive, f"{prefix}{own}", fd, info)
        key = (info.st_dev, info.st_ino)
        if stat.S_ISDIR(info.st_mode):
            archive.addfile(entry)
            _pack_folder(archive, fd, f"{prefix}{own}/", layer, links)
        elif info.st_nlink > 1 and key in links:
            entry.type, entry.linkname, entry.size = b"1", links[key], 0
            archive.addfile(entry)
        else:
            links[key] = entry.name
            if stat.S_ISREG(info.st_mode):
                archive.addfile(entry, _Exactly(fd, info.st_size))
            else:
                archive.addfile(entry)


def _opened(parent_fd: int, own: str) -> Iterator[tuple[int, os.stat_result]]:
    try:
        there = os.stat(own, dir_fd=parent_fd, follow_symlinks=False)
        readable = stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY if readable else os.O_PATH
        fd = os.open(own, flags | os.O_NOFOLLOW, dir_fd=parent_fd)
    except FileNotFoundError:
        return
    try:
        info = os.fstat(fd)
        if stat.S_IFMT(info.st_mode) == stat.S_IFMT(there.st_mode):
            yield fd, info
    finally:
        os.close(fd)


def _header(archive: tarfile.TarFile, name: str, fd: int, info: os.stat_result) -> tarfile.TarInfo:
    entry = archive.tarinfo(name)
    entry.uid, entry.gid = info.st_uid, info.st_gid
    entry.mode, entry.mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
    kinds = {
        stat.S_IFREG: b"0",
        stat.S_IFLNK: b"2",
        stat.S_IFCHR: b"3",
        stat.S_IFBLK: b"4",
        stat.S_IFDIR: b"5",
        stat.S_IFIFO: b"6",
    }
    entry.type = kinds[stat.S_IFMT(info.st_mode)]
    if entry.type == b"0":
        entry.size = info.st_size
    elif entry.type == b"2":
        entry.linkname = os.readlink("", dir_fd=fd)
    elif entry.type in (b"3", b"4"):
        entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
    if entry.type != b"2":
        entry.pax_headers = _pax_xattrs(fd)
    return entry


def _pax_xattrs(fd: int) -> dict[str, str]:
    path = f"/proc/self/fd/{fd}"
    found = {}
    for name in sorted(os.listxattr(path)):
        if kept_xattr(name):
            found[_XATTR + name] = os.getxattr(path, name).decode("utf-8", "surrogateescape")
    return found


def _empty(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    entry = archive.tarinfo(name)
    entry.mode = 0
    return entry


class _Exactly:
    """Reads exactly ``size`` bytes of a descriptor; a file that shrank is filled with zeroes."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd, self._left = fd, size

    def read(self, size: int = -1) -> bytes:
        size = self._left if size < 0 else min(size, self._left)
        chunk = os.read(self._fd, size) if size else b""
        chunk = chunk or bytes(size)
        self._left -= len(chunk)
        return chunk if len(chunk) == size else chunk + self.read(size - len(chunk))


def is_whiteout(info: os.stat_result) -> bool:
    """Whether overlayfs hides a name with this file: a character device 0/0."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(folder_fd: int) -> bool:
    """Whether overlayfs shows nothing of the layers below in this folder."""
    try:
        return os.getxattr(folder_fd, OPAQUE_XATTR) == b"y"
    except OSError:
        return False
