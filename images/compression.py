"""Plain bytes out of a compressed stream, whatever the compression, within limits."""

from __future__ import annotations

import io

from images.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def opened(stream: IO[bytes]) -> IO[bytes]:
    """A reader of the uncompressed content; gzip, bzip2 and xz are recognised by their magic.

    ImageError for zstd, by name. Damaged input raises OSError, EOFError or an error of zlib when
    it is read: see :data:`DAMAGED`.
    """
    peeking = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[type-var]
    head = peeking.peek(8)[:8]
    kind = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")
    if kind == "gzip":
        import gzip

        return gzip.GzipFile(fileobj=peeking)  # type: ignore[return-value]
    if kind == "bzip2":
        import bz2

        return bz2.BZ2File(peeking)
    if kind == "xz":
        import lzma

        return lzma.LZMAFile(peeking)
    if kind == "zstd":
        raise ImageError(
            "zstd compression is not supported yet",
            "Python's standard library has none before 3.14",
            "recompress it: zstd -d < layer | gzip",
        )
    return peeking


def damaged() -> tuple[type[Exception], ...]:
    """The exceptions that mean damaged compressed input."""
    import lzma
    import zlib

    return (EOFError, zlib.error, lzma.LZMAError)
