"""Reading what :mod:`engine.events` has recorded: what happened, and what happens from now on.

A reader keeps its file open, so what was written before a rotation is not lost to it; it goes on
with the file that followed. Only a reader that stands still while two whole files are written
misses something, and is told.
"""

from __future__ import annotations

import os
import time

from engine import events, rotation
from kernel import inotify, quickjson
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from engine.home import Home

_CHUNK = 1 << 18
_BEGINNING = b'{"Type"'  # of each event; inside of one the quotes would have backslashes
_INTERVAL = 0.25  # seconds between two looks where the host cannot tell us


class Event(Record):
    """One event; ``moment`` in nanoseconds since 1970."""

    kind: str
    action: str
    identity: str
    attributes: dict[str, str]
    moment: int


def read(
    home: Home,
    *,
    since: int | None = None,
    until: int | None = None,
    on_loss: Callable[[], None] = lambda: None,
) -> Iterator[Event | None]:
    """Events between two moments (nanoseconds), waiting for those to come until ``until``.

    Without ``since`` and ``until`` only what happens from now on. None between two events means
    that the reader is about to wait. ``on_loss`` is called where events were missed.
    """
    tail = _Tail(events.path(home), everything=(since, until) != (None, None), on_loss=on_loss)
    try:
        while True:
            over = until is not None and time.time_ns() >= until
            for line in tail.lines():
                event = parse(line)
                if event is None or event.moment < (since or 0):
                    continue
                if until is None or event.moment <= until:
                    yield event
            if over:
                return
            yield None
            tail.wait(None if until is None else (until - time.time_ns()) / 10**9)
    finally:
        tail.close()


def parse(line: bytes) -> Event | None:
    """An event of one line; None if it is none. Half a line before it (a crash) is passed over."""
    start = line.rfind(_BEGINNING)
    try:
        said: Any = quickjson.loads(line[max(0, start) :])
        actor = said["Actor"]
        attributes = {str(key): str(value) for key, value in actor["Attributes"].items()}
        return Event(
            str(said["Type"]),
            str(said["Action"]),
            str(actor["ID"]),
            attributes,
            int(said["timeNano"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


class _Tail:
    """The lines of the files of events, from one file to the next."""

    def __init__(self, path: str, *, everything: bool, on_loss: Callable[[], None]) -> None:
        self._path = path
        self._on_loss = on_loss
        self._rest = b""
        self._fd = -1
        self._number = -1
        self._watch = _watch(os.path.dirname(path))
        if everything:
            self._advance(lossless=True)
        else:
            self._take(_opened(path))
            if self._fd >= 0:
                os.lseek(self._fd, 0, os.SEEK_END)

    def lines(self) -> Iterator[bytes]:
        """All complete lines that are there now."""
        while True:
            if self._fd < 0:
                self._take(_opened(self._path))
                if self._fd < 0:
                    return
            # In this order: what has lost its name is written no more, so its end is the end.
            is_current = events.is_at(self._fd, self._path)
            chunk = os.read(self._fd, _CHUNK)
            if chunk:
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                yield from lines
            elif is_current:
                return
            else:
                self._rest = b""
                self._advance()

    def _advance(self, *, lossless: bool = False) -> None:
        """Goes on with the file that followed this one."""
        current = _opened(self._path)
        old = _opened(f"{self._path}.1")
        if current >= 0 and old >= 0 and os.path.samestat(os.fstat(current), os.fstat(old)):
            os.close(old)
            old = -1
        found = sorted((rotation.number(fd), fd) for fd in (old, current) if fd >= 0)
        later = [fd for number, fd in found if number > self._number]
        for _, fd in found:
            if fd not in later[:1]:
                os.close(fd)
        before = self._number
        self._take(later[0] if later else -1)
        if self._number > before + 1 and not lossless:
            self._on_loss()

    def _take(self, fd: int) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        if fd >= 0:
            self._number = rotation.number(fd)
            if self._watch is not None:
                self._watch.add(f"/proc/self/fd/{fd}", inotify.IN_MODIFY)

    def wait(self, seconds: float | None) -> None:
        """Waits until there may be more."""
        if self._watch is not None:
            self._watch.wait(seconds)
        else:
            time.sleep(_INTERVAL if seconds is None else max(0.0, min(seconds, _INTERVAL)))

    def close(self) -> None:
        """Closes what is open."""
        if self._watch is not None:
            self._watch.close()
        if self._fd >= 0:
            os.close(self._fd)


def _watch(folder: str) -> inotify.Watch | None:
    """A watch for new files of a folder; None where the host has no more of them to give."""
    try:
        watch = inotify.Watch()
    except OSError:
        return None
    watch.add(folder, inotify.IN_CREATE | inotify.IN_MOVED_TO)
    return watch


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1
