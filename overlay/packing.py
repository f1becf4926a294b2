"""Packing files into a tar stream, in the order of names, ids numeric, links never followed.

Whoever owns the files may change them meanwhile: what was opened decides what an entry is
(:mod:`kernel.walk`), and a file keeps the size that it began with. Sockets are left out, and so is
what the kernel makes up (proc, sysfs and their kind are empty folders).

Most headers are made here, in a tenth of tarfile's time; what needs an extended one is left to it.

Source: pax(1), "ustar Interchange Format" and "pax Extended Header"; tar(5).
"""

from __future__ import annotations

import os
import stat

from kernel import trace
from kernel.walk import reopen, walk
from overlay.tar import XATTR
from overlay.xattrs import is_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from typing import IO

    from kernel.walk import Visit

_header_written = trace.point("overlay.packing.header_written")

_BUFFER = 1 << 18
_BLOCK = 512
_RECORD = 20 * _BLOCK
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
        self._out = out
        self._waiting = bytearray()
        self._written = 0
        self._newest = newest
        self._links: dict[tuple[int, int], str] = {}

    def close(self) -> None:
        """Writes the end of the archive."""
        self._write(bytes(2 * _BLOCK))
        self._write(bytes(-self._written % _RECORD))
        self._flush()

    def add(self, entry: tarfile.TarInfo, content: int = -1) -> None:
        """One entry; ``content`` is a descriptor of what a file holds: ``entry.size`` bytes."""
        self._write(header(entry))
        _header_written()
        left = entry.size if content >= 0 else 0
        while left:
            chunk = os.read(content, min(left, _BUFFER)) or bytes(min(left, _BUFFER))
            self._write(chunk)  # zeroes for a file that shrank
            left -= len(chunk)
        self._write(bytes(-self._written % _BLOCK))

    def _write(self, content: bytes) -> None:
        self._written += len(content)
        self._waiting += content
        if len(self._waiting) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        self._out.write(self._waiting)
        self._waiting = bytearray()  # a new one: the other may still be looked at

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
        entry = self._described(fd, info, name)
        key = (info.st_dev, info.st_ino)
        if stat.S_ISDIR(info.st_mode):
            self.add(entry)
        elif info.st_nlink > 1 and key in self._links:
            entry.type, entry.linkname, entry.size = b"1", self._links[key], 0
            self.add(entry)
        else:
            if info.st_nlink > 1:
                self._links[key] = entry.name
            if entry.size == 0:
                self.add(entry)
                return
            content = reopen(fd)
            try:
                self.add(entry, content)
            finally:
                os.close(content)

    def _described(self, fd: int, info: os.stat_result, name: str) -> tarfile.TarInfo:
        import tarfile

        entry = tarfile.TarInfo(name)
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
        if is_kept(name):
            try:
                value = os.getxattr(path, name)
            except OSError:  # removed just now
                continue
            found[XATTR + name] = value.decode("utf-8", "surrogateescape")
    return found


def header(entry: tarfile.TarInfo) -> bytes:
    """The header of an entry: one block of ustar, or what tarfile makes of it with an extended
    one where a name, a number or an attribute needs that."""
    import tarfile

    name = f"{entry.name}/" if entry.type == b"5" and entry.name[-1:] != "/" else entry.name
    device = entry.type in (b"3", b"4")
    numbers = (
        (entry.mode & 0o7777, 8), (entry.uid, 8), (entry.gid, 8), (entry.size, 12),
        (int(entry.mtime), 12),
    )  # fmt: skip
    short = len(name) <= 100 and len(entry.linkname) <= 100 and (name + entry.linkname).isascii()
    fits = all(0 <= number < 8 ** (width - 1) for number, width in numbers)
    if entry.pax_headers or not short or not fits or device or entry.uname or entry.gname:
        return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    block = bytearray(_BLOCK)
    block[: len(name)] = name.encode()
    at = 100
    for number, width in numbers:
        block[at : at + width - 1] = b"%0*o" % (width - 1, number)
        at += width
    block[148:156] = b" " * 8
    block[156:157] = entry.type
    block[157 : 157 + len(entry.linkname)] = entry.linkname.encode()
    block[257:265] = b"ustar\x0000"
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)
