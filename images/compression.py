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
    kind = kind_at(head)
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


def kind_of(path: str) -> str:
    """gzip, bzip2, xz, zstd, or "" for a plain file."""
    with open(path, "rb") as file:
        return kind_at(file.read(8))


def kind_at(head: bytes) -> str:
    """The same of content that begins with ``head``."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def recompress(path: str, out: IO[bytes]) -> str:
    """Writes a kept archive as gzip, always the same bytes for the same content; its digest."""
    import gzip
    import hashlib
    import shutil

    with open(path, "rb") as file, gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
        shutil.copyfileobj(opened(file), packed, 1 << 20)
    out.flush()
    out.seek(0)
    return hashlib.file_digest(out, "sha256").hexdigest()  # type: ignore[arg-type]


def damaged() -> tuple[type[Exception], ...]:
    """The exceptions that mean damaged compressed input."""
    import lzma
    import zlib

    return (EOFError, zlib.error, lzma.LZMAError)
