"""How far long work is, on standard error, and only where a person looks at it."""

from __future__ import annotations

import io
import os
import sys
import time

from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

_EVERY = 0.1  # seconds between two updates


class Progress(io.RawIOBase):
    """A reader that shows how many bytes went through it, and the share where the size is known."""

    def __init__(self, stream: IO[bytes], word: str) -> None:
        self._stream = stream
        self._word = word
        self._done = 0
        self._shown = 0.0
        try:
            self._size = os.fstat(stream.fileno()).st_size
        except OSError:
            self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._done += len(chunk)
        self._show(last=not chunk)
        return len(chunk)

    def _show(self, *, last: bool) -> None:
        now = time.monotonic()
        if last:
            sys.stderr.write("\r\x1b[K")
        elif now - self._shown > _EVERY:
            self._shown = now
            share = f" of {units.show_bytes(self._size)}" if self._size else ""
            sys.stderr.write(f"\r\x1b[K{self._word} {units.show_bytes(self._done)}{share}")
        sys.stderr.flush()


def shown(stream: IO[bytes], word: str, *, quiet: bool = False) -> IO[bytes]:
    """The stream, watched if standard error is a terminal."""
    if quiet or not sys.stderr.isatty():
        return stream
    return io.BufferedReader(Progress(stream, word), 1 << 18)  # type: ignore[type-var]
