"""Reading a container's log, which may be going on and may lie in several files.

A reader keeps open what it reads, so a file that is set aside, compressed or removed meanwhile is
still read to its end. Then it goes on with what came after: files with higher numbers, the current
one last. Every line comes once, in order; lines are missing only where the log has thrown them
away before they were reached.
"""

from __future__ import annotations

import os
import time

from engine import logopts, logs
from engine.errors import EngineError
from kernel import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any

    from engine.containers import Container
    from engine.home import Home

_CHUNK = 1 << 18
_PAUSE = 0.05  # seconds between two looks at a log that is followed
_TRIES = 100


class Entry:
    """One line of a log; ``attributes`` are what labels, env and tag asked to be kept."""

    __slots__ = ("attributes", "content", "stream", "time")

    def __init__(self, content: bytes, stream: str, at: str, attributes: dict[str, str]) -> None:
        self.content = content
        self.stream = stream
        self.time = at
        self.attributes = attributes


def of(
    home: Home,
    container: Container,
    *,
    follow: Callable[[], bool] | None = None,
    tail: int | None = None,
    since: str = "",
    until: str = "",
) -> Iterator[Entry]:
    """:func:`read` of a container's log, wherever its driver keeps it.

    EngineError for a driver that keeps nothing, or whose log cannot be read here.
    """
    if container.settings.log_driver == "journald":
        from engine import journalread

        return journalread.read(container, follow=follow, tail=tail, since=since, until=until)
    path = logopts.path(home, container)
    if not path:
        raise EngineError(
            f"cannot read the log of container {container.name}",
            "configured logging driver does not support reading",
            exit_code=1,
        )
    return read(path, follow=follow, tail=tail, since=since, until=until)


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
    parts = _open(path, 0)
    if tail is not None:
        parts = _last(parts, tail)
    last: _Part | None = None
    try:
        while True:
            going_on = follow is not None and follow()
            while parts:
                last = parts.pop(0)
                yield from _between(last.entries(), since, until)
                if parts:
                    last.close()
            if follow is None:
                return
            if last is None:
                parts = _open(path, 0)
            else:
                set_aside = last.is_set_aside(path)  # then nothing is added to it any more
                yield from _between(last.entries(), since, until)
                parts = _open(path, last.number) if set_aside else []
                if parts:
                    last.close()
            if parts:
                continue
            if not going_on:
                return
            time.sleep(_PAUSE)
    finally:
        for part in (*parts, *([last] if last is not None else [])):
            part.close()


def details(entry: Entry) -> str:
    """The attributes of an entry as `logs --details` shows them: ``key=value,...``, escaped."""
    if not entry.attributes:
        return ""
    from urllib.parse import quote_plus

    pairs = sorted(entry.attributes.items())
    return ",".join(f"{quote_plus(str(key))}={quote_plus(str(value))}" for key, value in pairs)


def _between(entries: Iterator[Entry], since: str, until: str) -> Iterator[Entry]:
    for entry in entries:
        if entry.time >= since and not (until and entry.time > until):
            yield entry


def _open(path: str, after: int) -> list[_Part]:
    """The files of a log with numbers above ``after``, the oldest first, the current one last."""
    for _ in range(_TRIES):
        parts = _try_to_open(path, after)
        if parts is not None:
            return parts
    return []


def _try_to_open(path: str, after: int) -> list[_Part] | None:
    """The same, None if a file was set aside or compressed while we looked.

    The current file is opened first: whatever is set aside before it has a number by then.
    """
    try:
        current = open(path, "rb")
    except FileNotFoundError:  # not yet, or a crash came between two renames
        current = None
    parts: list[_Part] = []
    number = 0
    try:
        for number, name in logs.set_aside(path) if os.path.isdir(os.path.dirname(path)) else []:
            if number > after and not (parts and parts[-1].number == number):
                parts.append(_Part(name, number))
        if current is None:
            return parts
        if not os.path.samestat(os.stat(path), os.fstat(current.fileno())):
            raise FileNotFoundError
        made = _Part(path, number + 1, current)
        current = None
        return [*parts, made]
    except FileNotFoundError:
        for part in parts:
            part.close()
        return None
    finally:
        if current is not None:
            current.close()


def _last(parts: list[_Part], count: int) -> list[_Part]:
    """The parts that have the last ``count`` lines, the first of them placed before those."""
    kept: list[_Part] = []
    for part in reversed(parts):
        if count > 0 or not kept:
            count -= part.skip_to_last(count)
            kept.insert(0, part)
        else:
            part.close()
    return kept


class _Part:
    """One file of a log, read from where it stands; ``number`` is, or will be, its number."""

    def __init__(self, path: str, number: int, file: IO[bytes] | None = None) -> None:
        self.number = number
        self._file = file or open(path, "rb")
        self._packed = path.endswith(".gz")
        self._rest = b""
        self._skip = 0
        self._unpacker: Any = None

    def close(self) -> None:
        self._file.close()

    def is_set_aside(self, path: str) -> bool:
        """Whether another file has taken the place of this one."""
        try:
            return not os.path.samestat(os.stat(path), os.fstat(self._file.fileno()))
        except FileNotFoundError:  # in a moment, or never: a crash came between two renames
            return False

    def entries(self) -> Iterator[Entry]:
        """What can be read now."""
        for line in self._lines():
            entry = _parse(line)
            if entry is not None:
                yield entry

    def skip_to_last(self, count: int) -> int:
        """Places it before its last ``count`` lines; how many lines are left."""
        if not self._packed:
            return _seek_tail(self._file.fileno(), count)
        total = sum(1 for _ in self._lines())
        self._file.seek(0)
        self._rest, self._unpacker = b"", None
        self._skip = max(0, total - count)
        return min(total, count)

    def _lines(self) -> Iterator[bytes]:
        while chunk := self._file.read(_CHUNK):
            *lines, self._rest = (self._rest + self._plain(chunk)).split(b"\n")
            for line in lines:
                if self._skip:
                    self._skip -= 1
                else:
                    yield line

    def _plain(self, chunk: bytes) -> bytes:
        if not self._packed:
            return chunk
        import zlib

        if self._unpacker is None:
            self._unpacker = zlib.decompressobj(wbits=31)
        plain: bytes = self._unpacker.decompress(chunk)
        return plain


def _seek_tail(fd: int, lines: int) -> int:
    """Places the descriptor before the last ``lines`` lines, reading from the end; their number."""
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
    return lines + 1 - missing if missing else lines


def _parse(line: bytes) -> Entry | None:
    try:
        said = quickjson.loads(line)
        content = said["log"].encode("utf-8", "surrogateescape")
        return Entry(content, said["stream"], said["time"], dict(said.get("attrs") or {}))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
