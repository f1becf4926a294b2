"""What a container says, cut into the lines that a log driver keeps.

A line that is not finished waits for its end; it is handed on as it is when it is long, when the
program starts anew, and at the end. Each stream has its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LINE_MAX = 16 << 10


class Log:
    """Where the lines go: drivers are subclasses that have :meth:`record` and :meth:`close`.

    :meth:`reap` is to be called with what is ready of ``descriptors``.
    """

    def __init__(self) -> None:
        self._waiting = {"stdout": b"", "stderr": b""}

    def write(self, stream: str, chunk: bytes) -> None:
        """Takes bytes of a stream."""
        *lines, rest = (self._waiting[stream] + chunk).split(b"\n")
        out = [line + b"\n" for line in lines]
        while len(rest) >= _LINE_MAX:
            out.append(rest[:_LINE_MAX])
            rest = rest[_LINE_MAX:]
        self._waiting[stream] = rest
        self.record(stream, out)

    def flush(self) -> None:
        """Hands on unfinished lines as they are."""
        for stream, rest in self._waiting.items():
            if rest:
                self.record(stream, [rest])
                self._waiting[stream] = b""

    def record(self, stream: str, lines: list[bytes]) -> None:
        """Keeps lines, each with its newline if it is finished. Never fails: what cannot be kept
        is lost, and the container goes on.
        """
        raise NotImplementedError

    def close(self) -> None:
        """No more is written."""
        raise NotImplementedError

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the driver wants to have watched."""
        return ()

    def reap(self, ready: set[int]) -> None:
        """Deals with what is ready."""

    def save(self) -> dict[str, Any] | None:
        """What another process needs to go on with this log; None if it cannot now, or at all."""
        return None
