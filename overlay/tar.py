"""Reading tar headers from a stream, by our own hand: strict, lean, and trusting nothing.

ustar, pax and GNU archives, as tar, bsdtar and Python write them: long names, numbers in base
256, extended attributes, sparse files in all four forms. What is damaged or says two things at
once is refused (:class:`TarError`), for another reader may understand it otherwise; memory is
bounded whatever an archive claims. Names are as they stand there: whoever writes cleans them.

:mod:`tarfile` is the oracle of the tests, and four times as slow.

Source: pax(1), "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar
Format" and "Storing Sparse Files"; tar(5).
"""

from __future__ import annotations

import os
import stat
import zlib

from overlay import tarsparse
from overlay.tarfields import TarError, decimal, fraction, number, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

BLOCK = 512
XATTR = "SCHILY.xattr."  # how pax headers name extended attributes

HARD_LINK = 0  # the kind of an entry that is another name of a file
_KINDS = {
    b"0": stat.S_IFREG,
    b"\0": stat.S_IFREG,
    b"7": stat.S_IFREG,  # contiguous
    b"S": stat.S_IFREG,  # sparse
    b"1": HARD_LINK,
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"5": stat.S_IFDIR,
    b"6": stat.S_IFIFO,
}
_EXTENDED = b"xgLKX"
_HEADER_MAX = 1 << 20  # of one extended header: names and attributes are far smaller
_EXTENDED_MAX = 100  # such headers in a row before one entry
_READ = 1 << 20
_READ_AHEAD = 1 << 14  # where much is skipped
_ID_MAX = (1 << 32) - 2  # the last one means "leave it" to chown(2)
_USTAR, _STAR = b"ustar\0", b"tar\0"


class Entry:
    """One file of an archive.

    ``kind`` is an S_IF* of stat(2) or :data:`HARD_LINK`. ``size`` is that of the file, holes
    included; ``mtime`` in nanoseconds. ``pieces`` are (offset, length) of a sparse file's data.
    """

    __slots__ = ("device", "gid", "kind", "link", "mode", "mtime", "name", "pieces", "size", "uid",
                 "xattrs")  # fmt: skip

    def __init__(self, name: str, kind: int, mode: int, uid: int, gid: int) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = 0
        self.mtime = 0
        self.link = ""
        self.device = (0, 0)
        self.xattrs: dict[str, bytes] = {}
        self.pieces: list[tuple[int, int]] | None = None


class Reader:
    """Iterates over the entries of an uncompressed stream; TarError where it is damaged."""

    def __init__(self, stream: IO[bytes], *, seekable: bool = False) -> None:
        self._stream = stream
        self._seekable = seekable
        self._size = _READ if not seekable else _READ_AHEAD
        self._buffer = b""
        self._at = 0
        self._left = 0  # of the current entry's content
        self._padding = 0
        self._global: dict[str, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        first = True
        while True:
            self.skip()
            extended: dict[str, bytes] = {}
            long: dict[bytes, bytes] = {}
            block = self._block(end=True)
            for _ in range(_EXTENDED_MAX):
                if not block or block[156] not in _EXTENDED or not any(block):
                    break
                self._extended(block, extended, long)
                block = self._block()
            if not block or not block.strip(b"\0"):
                if extended or long or (first and not block):
                    raise TarError("it ends after an extended header" if block else "it is empty")
                return
            first = False
            yield self._entry(block, {**self._global, **extended}, long)

    # -- content ---------------------------------------------------------------------------

    def content(self) -> Iterator[bytes]:
        """What is left of the current entry's data, in pieces of at most a megabyte or so."""
        while self._left:
            there = len(self._buffer) - self._at
            if there <= 0:
                self._buffer, self._at = self._stream.read(self._size), 0
                there = len(self._buffer)
                if not there:
                    raise TarError("it is cut off")
            size = min(there, self._left)
            if size == len(self._buffer):
                piece, self._buffer, self._at = self._buffer, b"", 0
            else:
                piece = self._buffer[self._at : self._at + size]
                self._at += size
            self._left -= size
            yield piece

    def skip(self) -> None:
        """To the next header; where the stream allows it, without reading."""
        there = len(self._buffer) - self._at
        if self._seekable and self._left > there:
            end = self._stream.tell() + self._left - there
            try:
                self._stream.seek(end - 1)  # so that a missing end is noticed
                there = len(self._stream.read(1))
            except OSError:  # further than any file goes
                there = 0
            if not there:
                raise TarError("it is cut off")
            self._buffer, self._at, self._left = b"", 0, 0
        for _ in self.content():
            pass
        if self._padding:
            self._take(self._padding)
            self._padding = 0

    def tell(self) -> int:
        """Where the current entry's content begins, or goes on, in a stream that is a file."""
        return self._stream.tell() - len(self._buffer) + self._at

    def _take(self, size: int) -> bytes:
        """Exactly ``size`` bytes; fewer only at the end of the stream."""
        end = self._at + size
        if end > len(self._buffer):
            parts = [self._buffer[self._at :]]
            there = len(parts[0])
            while there < size:
                more = self._stream.read(self._size)
                if not more:
                    break
                parts.append(more)
                there += len(more)
            self._buffer, self._at, end = b"".join(parts), 0, size
        taken = self._buffer[self._at : end]
        self._at = min(end, len(self._buffer))
        return taken

    def _block(self, *, end: bool = False) -> bytes:
        """The next block; with ``end`` also none, where the stream is over."""
        block = self._take(BLOCK)
        if len(block) != BLOCK and (block or not end):
            raise TarError("it is cut off")
        return block

    def _data(self, size: int) -> bytes:
        """Data that is no file's, with its padding."""
        if size > _HEADER_MAX:
            raise TarError(f"an extended header of {size} bytes")
        data = self._take(size)
        if len(data) != size or len(self._take(-size % BLOCK)) != -size % BLOCK:
            raise TarError("it is cut off")
        return data

    # -- headers ---------------------------------------------------------------------------

    def _extended(self, block: bytes, extended: dict[str, bytes], long: dict[bytes, bytes]) -> None:
        """A header about the entry that follows, or about all of them."""
        _check(block)
        data = self._data(number(block[124:136]))
        kind = block[156:157]
        if kind in (b"L", b"K"):
            long[kind] = data.partition(b"\0")[0]
            return
        into = self._global if kind == b"g" else extended
        into.update(_records(data))
        if sum(map(len, into.values())) > _HEADER_MAX:
            raise TarError("extended headers that fill the memory")

    def _entry(self, block: bytes, pax: dict[str, bytes], long: dict[bytes, bytes]) -> Entry:
        _check(block)
        flag = block[156:157]
        raw = block[:100].partition(b"\0")[0]
        if block[257:263] == _USTAR and block[345]:
            length = 131 if block[508:512] == _STAR else 155
            raw = block[345 : 345 + length].partition(b"\0")[0] + b"/" + raw
        name = _name("path", raw, pax, long.get(b"L"))
        if "GNU.sparse.name" in pax:
            name = _text(pax["GNU.sparse.name"])
        kind = _KINDS.get(flag, -1)
        if kind < 0:
            raise TarError(f"entry {name!r} is of unknown type {flag!r}")
        if flag == b"\0" and name.endswith("/"):
            kind = stat.S_IFDIR
        entry = Entry(
            name,
            kind,
            number(block[100:108]) & 0o7777,
            _decimal(pax, "uid", block[108:116], _ID_MAX),
            _decimal(pax, "gid", block[116:124], _ID_MAX),
        )
        entry.mtime = fraction(pax["mtime"]) if "mtime" in pax else seconds(block[136:148])
        if kind == stat.S_IFREG:
            stored = _decimal(pax, "size", block[124:136], (1 << 62))
            entry.size = self._left = stored
            self._padding = -stored % BLOCK
            self._sparse(entry, block, pax)
        elif kind in (HARD_LINK, stat.S_IFLNK):
            link = block[157:257].partition(b"\0")[0]
            entry.link = _name("linkpath", link, pax, long.get(b"K"))
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            major = _decimal(pax, "SCHILY.devmajor", block[329:337], (1 << 12) - 1)
            entry.device = major, _decimal(pax, "SCHILY.devminor", block[337:345], (1 << 20) - 1)
        if pax:
            start = len(XATTR)
            entry.xattrs = {k[start:]: v for k, v in pax.items() if k.startswith(XATTR)}
        return entry

    def _sparse(self, entry: Entry, block: bytes, pax: dict[str, bytes]) -> None:
        """A sparse file's pieces, in the header, in headers of their own or before the data."""
        if block[156:157] == b"S":
            entry.pieces, entry.size = tarsparse.in_headers(block, self._block)
        elif pax.get("GNU.sparse.major") == b"1" and pax.get("GNU.sparse.minor") == b"0":
            entry.pieces, entry.size, used = tarsparse.before_data(pax, self._block, self._left)
            self._left -= used
        elif "GNU.sparse.major" in pax:
            raise TarError(f"entry {entry.name!r} is sparse in a way that is not known")
        elif "GNU.sparse.map" in pax or "GNU.sparse.numblocks" in pax:
            entry.pieces, entry.size = tarsparse.in_records(pax)
        if entry.pieces is not None:
            tarsparse.check(entry.pieces, entry.size, self._left)


def is_header(block: bytes) -> bool:
    """Whether a block is the header of an entry."""
    try:
        if len(block) == BLOCK and any(block):
            _check(block)
            return True
    except TarError:
        pass
    return False


def _check(block: bytes) -> None:
    """The header's checksum: the sum of its bytes, those of the sum itself taken as spaces."""
    told = number(block[148:156])
    rest = 256 - sum(block[148:156])
    half = zlib.adler32(block) & 0xFFFF  # 1 and that sum, modulo a prime: by far the fastest way
    if (half - 1 - told + rest) % 65521 == 0:
        return
    plain = sum(block) + rest
    signed = plain - 256 * sum(b > 127 for b in block[:148] + block[156:])  # some old tars
    if told not in (plain, signed):
        raise TarError("a header's checksum is wrong")


def _decimal(pax: dict[str, bytes], key: str, field: bytes, most: int) -> int:
    """A number from the extended header, or from the field."""
    value = decimal(pax[key]) if key in pax else number(field)
    if not 0 <= value <= most:
        raise TarError(f"{key} {value} is out of range")
    return value


def _name(key: str, raw: bytes, pax: dict[str, bytes], long: bytes | None) -> str:
    told = pax.get(key)
    if told is not None and long is not None and told != long:
        raise TarError(f"an entry has two names, {_text(told)!r} and {_text(long)!r}")
    return _text(told if told is not None else long if long is not None else raw)


def _text(raw: bytes) -> str:
    if b"\0" in raw:
        raise TarError(f"{raw[:200]!r} is no name")
    return os.fsdecode(raw)


def _records(data: bytes) -> dict[str, bytes]:
    """The records of a pax header; an empty value is none. Pieces of sparse files are collected."""
    found: dict[str, bytes] = {}
    at = 0
    while at < len(data):
        length, space, _ = data[at : at + 20].partition(b" ")
        end = at + int(length) if space and length.isdigit() else 0
        record = data[at + len(length) + 1 : end]
        key, equals, value = record.partition(b"=")
        if not (at < end <= len(data) and equals and key and record.endswith(b"\n")):
            raise TarError("an extended header makes no sense")
        at = end
        word = key.decode("utf-8", "surrogateescape")
        if word in ("GNU.sparse.offset", "GNU.sparse.numbytes"):  # version 0.0: one for each piece
            before = found.get("GNU.sparse.map")
            found["GNU.sparse.map"] = (before + b"," if before else b"") + value[:-1]
        elif len(value) > 1:
            found[word] = value[:-1]
        else:
            found.pop(word, None)
    return found
