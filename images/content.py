"""Bytes on their way into the store: kept under their digest, then unpacked from there."""

from __future__ import annotations

import hashlib
import os

from images import compression
from images.errors import ImageError
from overlay import layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from images.store import Store

_CHUNK = 1 << 18


def keep(stream: IO[bytes], store: Store) -> str:
    """Copies a stream into the blobs; returns its sha256 in hex. It is synced, then renamed."""
    temporary = f"{store.root}/blobs/sha256/.new-{os.getpid()}"
    seen = hashlib.sha256()
    try:
        with open(temporary, "xb") as out:
            while chunk := stream.read(_CHUNK):
                seen.update(chunk)
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        os.rename(temporary, store.blob(seen.hexdigest()))
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    return seen.hexdigest()


def unpacked(blob: str, folder: str) -> tuple[str, int]:
    """Unpacks a kept layer archive into an empty folder; returns (diff id, bytes of files)."""
    with open(blob, "rb") as file:
        hashing = _Hashing(compression.opened(file))
        try:
            size = layers.unpack(hashing, folder)  # type: ignore[arg-type]
            while hashing.read(_CHUNK):  # padding after the end of the archive counts as well
                pass
        except compression.damaged() as error:
            raise ImageError("the layer archive is damaged", str(error)) from None
    return hashing.hexdigest(), size


class _Hashing:
    """A reader that knows the sha256 of what went through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._seen = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._seen.update(chunk)
        return chunk

    def hexdigest(self) -> str:
        return self._seen.hexdigest()
