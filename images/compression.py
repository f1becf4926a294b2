"""Plain bytes out of a compressed stream, whatever the compression, within limits; and back.

gzip goes through ISA-L (three times as fast as zlib), zstd through the module that Python has
itself from 3.14. Whatever a library says about damaged input, a reader raises :class:`Damaged`.
Two limits keep a small archive from becoming a large one: a zstd window is refused above what
`zstd -d` takes without being asked, and content that grows more than gzip can is a bomb.

Source: RFC 1952 (gzip), RFC 8878 (zstd, "Window Descriptor"), RFC 1951 (deflate: at most 1032
bytes for one).
"""

from __future__ import annotations

import io

from images.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_SKIPPABLE = (b"\x2a\x4d\x18", range(0x50, 0x60))  # a zstd frame that says nothing may come first
_WINDOW_LOG_MAX = 27  # 128 MiB
_XZ_MEMORY_MAX = 128 << 20
_RATIO_MAX = 1100
_ALWAYS_FINE = 1 << 30  # bytes of plain content, however small they were before
_LEVEL = 3  # the best of ISA-L, about zlib's 4 in size
_CHUNK = 1 << 18


class Damaged(Exception):
    """Compressed input that ends early or makes no sense."""


def opened(stream: IO[bytes]) -> IO[bytes]:
    """A reader of the uncompressed content; the kind of compression is seen by its magic.

    Its ``read`` raises :class:`Damaged`, and ImageError for what unpacks to more than it may.
    """
    peeking: Any = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)
    kind = kind_at(peeking.peek(8)[:8])
    plain: Any = _Plain(peeking, kind) if kind else peeking
    return plain  # type: ignore[no-any-return]


def may_be_archive(head: bytes) -> bool:
    """Whether something begins as a tar archive does, compressed or not."""
    return head[257:262] == b"ustar" or bool(kind_at(head))


def is_compressed(reader: IO[bytes]) -> bool:
    """Whether a reader of :func:`opened` uncompresses."""
    return isinstance(reader, _Plain)


class _Plain(io.RawIOBase):
    """What a compressed stream says."""

    def __init__(self, stream: Any, kind: str) -> None:
        self._packed = _Counting(stream)
        self._reader, self._bad = _reader(self._packed, kind)
        self._kind = kind
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        """As of every reader."""
        try:
            chunk: bytes = self._reader.read(size)
        except self._bad as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the stream itself
            raise Damaged(f"{self._kind}: {error}") from None
        self._size += len(chunk)
        if self._size > _ALWAYS_FINE and self._size > _RATIO_MAX * self._packed.size:
            raise ImageError(
                "the archive is refused",
                f"{self._packed.size} bytes became more than {self._size - 1}",
                "uncompress it first if it is really meant",
            )
        return chunk


class _Counting(io.RawIOBase):
    """A stream that knows how much of it was read."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        size: int = self._stream.readinto1(buffer)
        self.size += size
        return size


def _reader(stream: Any, kind: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """A reader, and what it raises for damaged input."""
    buffered = io.BufferedReader(stream, _CHUNK)
    if kind == "gzip":
        from isal import igzip, igzip_lib

        bad: Any = (EOFError, OSError, igzip_lib.IsalError)
        return igzip.IGzipFile(fileobj=buffered), bad
    if kind == "zstd":
        zstd = _zstd()
        options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
        return zstd.ZstdFile(buffered, options=options), (EOFError, zstd.ZstdError)
    if kind == "bzip2":
        import bz2

        return bz2.BZ2File(buffered), (EOFError, OSError, ValueError)
    import lzma

    return _Xz(buffered), (EOFError, lzma.LZMAError)


class _Xz:
    """lzma.LZMAFile has no limit of memory, and a header may ask for gigabytes."""

    def __init__(self, stream: Any) -> None:
        import lzma

        self._stream = stream
        self._new: Any = lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_MAX)
        self._decompressor = self._new()

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; none only at the end."""
        while True:
            if self._decompressor.eof:  # streams may follow each other, with zeroes between
                rest = self._decompressor.unused_data.lstrip(b"\0")
                while not rest:
                    more = self._stream.read(_CHUNK)
                    if not more:
                        return b""
                    rest = more.lstrip(b"\0")
                self._decompressor = self._new()
            elif self._decompressor.needs_input:
                rest = self._stream.read(_CHUNK)
                if not rest:
                    raise EOFError("it ends early")
            else:
                rest = b""
            chunk = self._decompressor.decompress(rest, size)
            if chunk:
                return chunk


def _zstd() -> Any:
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    return zstd


def kind_of(path: str) -> str:
    """gzip, bzip2, xz, zstd, or "" for a plain file."""
    with open(path, "rb") as file:
        return kind_at(file.read(8))


def kind_at(head: bytes) -> str:
    """The same of content that begins with ``head``."""
    if head[1:4] == _SKIPPABLE[0] and head[0] in _SKIPPABLE[1]:
        return "zstd"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def recompress(path: str, out: IO[bytes]) -> str:
    """Writes a kept archive as gzip, the same bytes for the same content; returns its digest.

    The bytes are the same on one kind of processor, for ISA-L has code for each.
    """
    import hashlib
    import shutil

    from isal import igzip

    with open(path, "rb") as file, igzip.IGzipFile("", "wb", _LEVEL, out, mtime=0) as packed:
        shutil.copyfileobj(opened(file), packed, _CHUNK)
    out.flush()
    out.seek(0)
    return hashlib.file_digest(out, "sha256").hexdigest()  # type: ignore[arg-type]
