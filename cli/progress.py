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


class Meter:
    """Shows how many bytes are done, and of how many, where somebody looks and is not ``quiet``.

    A context manager: at the end the line is wiped away.
    """

    def __init__(self, word: str, size: int = 0, *, quiet: bool = False) -> None:
        self._word = word
        self._share = f" of {units.show_bytes(size)}" if size else ""
        self._seen = not quiet and sys.stderr.isatty()
        self._done = 0
        self._shown = 0.0

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()

    def add(self, size: int) -> None:
        """``size`` more bytes are done."""
        self._done += size
        now = time.monotonic()
        if self._seen and now - self._shown > _EVERY:
            self._shown = now
            sys.stderr.write(f"\r\x1b[K{self._word} {units.show_bytes(self._done)}{self._share}")
            sys.stderr.flush()

    def end(self) -> None:
        """Wipes the line away."""
        if self._seen and self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = 0.0


class Progress(io.RawIOBase):
    """A reader that shows how many bytes went through it, and the share where the size is known."""

    def __init__(self, stream: IO[bytes], word: str) -> None:
        self._stream = stream
        try:
            size = os.fstat(stream.fileno()).st_size
        except OSError:
            size = 0
        self._meter = Meter(word, size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        if chunk:
            self._meter.add(len(chunk))
        else:
            self._meter.end()
        return len(chunk)


def shown(stream: IO[bytes], word: str, *, quiet: bool = False) -> IO[bytes]:
    """The stream, watched if standard error is a terminal."""
    if quiet or not sys.stderr.isatty():
        return stream
    return io.BufferedReader(Progress(stream, word), 1 << 18)  # type: ignore[type-var]
