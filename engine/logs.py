"""A container's log: one JSON object a line, with stream and time, in ``log.json``.

The form of Docker's json-file driver: ``{"log": "...\\n", "stream": "stdout", "time": "..."}``.
Bytes that are not UTF-8 are kept as lone surrogates (PEP 383), so nothing is lost. A line that is
not finished is written when it is long, when something else must come first, and at the end.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LINE_MAX = 16 << 10


class Writer:
    """Appends what a container says; each stream's unfinished line waits for its end."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o640)
        self._waiting = {"stdout": b"", "stderr": b""}

    def write(self, stream: str, chunk: bytes) -> None:
        """Records bytes of a stream."""
        *lines, rest = (self._waiting[stream] + chunk).split(b"\n")
        out = [_entry(stream, line + b"\n") for line in lines]
        while len(rest) >= _LINE_MAX:
            out.append(_entry(stream, rest[:_LINE_MAX]))
            rest = rest[_LINE_MAX:]
        self._waiting[stream] = rest
        self._append(b"".join(out))

    def flush(self) -> None:
        """Writes unfinished lines as they are."""
        for stream, rest in self._waiting.items():
            if rest:
                self._append(_entry(stream, rest))
                self._waiting[stream] = b""

    def _append(self, content: bytes) -> None:
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:  # a full disk must not stop the container
            return


def _entry(stream: str, line: bytes) -> bytes:
    from _json import encode_basestring_ascii as quoted

    text = quoted(line.decode("utf-8", "surrogateescape"))
    return f'{{"log":{text},"stream":"{stream}","time":"{timestamp()}"}}\n'.encode()


def timestamp() -> str:
    """Now, as RFC 3339 with nanoseconds in UTC."""
    seconds, nanos = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanos:09}Z"


class Entry:
    """One line of a log."""

    __slots__ = ("content", "stream", "time")

    def __init__(self, content: bytes, stream: str, at: str) -> None:
        self.content = content
        self.stream = stream
        self.time = at


def read(
    path: str,
    *,
    follow: Callable[[], bool] | None = None,
    tail: int | None = None,
    since: str = "",
    until: str = "",
) -> Iterator[Entry]:
    """The entries of a log, the last ``tail`` only, then new ones as long as ``follow()``.

    Times are compared as RFC 3339 text in UTC. A line that a crash cut off is passed over.
    """
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return
    with file:
        if tail is not None:
            _seek_tail(file.fileno(), tail)
        rest = b""
        while True:
            going_on = follow is not None and follow()
            while chunk := file.read(1 << 18):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    entry = _parse(line)
                    if entry is None or entry.time < since or (until and entry.time > until):
                        continue
                    yield entry
            if not going_on:
                return
            time.sleep(0.05)


def _seek_tail(fd: int, lines: int) -> None:
    """Places the descriptor before the last ``lines`` lines, reading from the end."""
    position = os.lseek(fd, 0, os.SEEK_END)
    missing = lines + 1
    while position > 0 and missing > 0:
        size = min(1 << 16, position)
        position -= size
        chunk = os.pread(fd, size, position)
        found = chunk.count(b"\n")
        if found < missing:
            missing -= found
            continue
        at = len(chunk)
        while missing:
            at = chunk.rindex(b"\n", 0, at)
            missing -= 1
        position += at + 1
    os.lseek(fd, position, os.SEEK_SET)


def _parse(line: bytes) -> Entry | None:
    from kernel import quickjson

    try:
        said = quickjson.loads(line)
        content = said["log"].encode("utf-8", "surrogateescape")
        return Entry(content, said["stream"], said["time"])
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
