"""Packing files into a tar stream, in the order of names, ids numeric, links never followed.

Whoever owns the files may change them meanwhile: what was opened decides what an entry is
(:mod:`kernel.walk`), and a file keeps the size that it began with. Sockets are left out, and so is
what the kernel makes up (proc, sysfs and their kind are empty folders).

Source: pax(1), "pax Extended Header"; tar(5).
"""

from __future__ import annotations

import os
import stat

from kernel.walk import reopen, walk
from overlay.unpacking import XATTR, kept_xattr

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from typing import IO

    from kernel.walk import Visit

_BUFFER = 1 << 18
_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}


class Packer:
    """Writes a tar stream to ``out``; :meth:`close` ends it.

    What is younger than ``newest`` (a unix time) gets that time.
    """

    def __init__(self, out: IO[bytes], newest: int | None = None) -> None:
        import tarfile

        self._newest = newest

        self.archive = tarfile.open(
            fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8", bufsize=_BUFFER
        )
        self.archive.copybufsize = _BUFFER  # type: ignore[attr-defined]
        self._links: dict[tuple[int, int], str] = {}

    def close(self) -> None:
        """Writes the end of the archive."""
        self.archive.close()

    def below(self, folder_fd: int, prefix: str = "") -> None:
        """Everything below a folder; ``prefix`` comes before each name."""
        for one in walk(folder_fd, kernel=False):
            if not one.leaving:
                self.visit(one, prefix + one.path)

    def visit(self, one: Visit, name: str) -> None:
        """One file or folder of a walk."""
        self.entry(one.fd, one.info, name)

    def entry(self, fd: int, info: os.stat_result, name: str) -> None:
        """One file or folder without what is below it, by a descriptor that may be O_PATH."""
        if stat.S_IFMT(info.st_mode) not in _TYPES:
            return
        entry = self._header(fd, info, name)
        key = (info.st_dev, info.st_ino)
        if stat.S_ISDIR(info.st_mode):
            self.archive.addfile(entry)
        elif info.st_nlink > 1 and key in self._links:
            entry.type, entry.linkname, entry.size = b"1", self._links[key], 0
            self.archive.addfile(entry)
        else:
            if info.st_nlink > 1:
                self._links[key] = entry.name
            if entry.size == 0:
                self.archive.addfile(entry)
                return
            content = reopen(fd)
            try:
                self.archive.addfile(entry, _Exactly(content, info.st_size))
            finally:
                os.close(content)

    def _header(self, fd: int, info: os.stat_result, name: str) -> tarfile.TarInfo:
        entry: tarfile.TarInfo = self.archive.tarinfo(name)
        entry.uid, entry.gid = info.st_uid, info.st_gid
        entry.mode, entry.mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
        if self._newest is not None:
            entry.mtime = min(entry.mtime, self._newest)
        entry.type = _TYPES[stat.S_IFMT(info.st_mode)]
        if entry.type == b"0":
            entry.size = info.st_size
        elif entry.type == b"2":
            entry.linkname = os.readlink("", dir_fd=fd)
        elif entry.type in (b"3", b"4"):
            entry.devmajor, entry.devminor = os.major(info.st_rdev), os.minor(info.st_rdev)
        if entry.type != b"2":
            entry.pax_headers = _pax_xattrs(fd)
        return entry


def pack(folder_fd: int, out: IO[bytes], newest: int | None = None) -> None:
    """Everything below a folder, which has no entry of its own."""
    packer = Packer(out, newest)
    packer.below(folder_fd)
    packer.close()


def pack_as(fd: int, name: str, out: IO[bytes]) -> None:
    """The file or folder of a descriptor, which may be O_PATH, as ``name``, with what is below."""
    packer = Packer(out)
    info = os.fstat(fd)
    packer.entry(fd, info, name)
    if stat.S_ISDIR(info.st_mode):
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        try:
            packer.below(readable, f"{name}/")
        finally:
            os.close(readable)
    packer.close()


def _pax_xattrs(fd: int) -> dict[str, str]:
    path = f"/proc/self/fd/{fd}"
    found = {}
    for name in sorted(os.listxattr(path)):
        if kept_xattr(name):
            try:
                value = os.getxattr(path, name)
            except OSError:  # removed just now
                continue
            found[XATTR + name] = value.decode("utf-8", "surrogateescape")
    return found


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
