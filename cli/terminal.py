"""The person's own terminal: its size, and raw while it is shared with a container."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def size(fd: int = 1) -> tuple[int, int]:
    """(columns, rows) of a terminal, (0, 0) if it is none."""
    for candidate in (fd, 0, 2):
        try:
            found = os.get_terminal_size(candidate)
        except OSError:
            continue
        return found.columns, found.lines
    return 0, 0


class Raw:
    """The terminal at ``fd`` passes every key on, and is itself again afterwards (termios(3))."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] = []

    def __enter__(self) -> Raw:
        if os.isatty(self._fd):
            import termios as t

            self._before = t.tcgetattr(self._fd)
            raw = t.tcgetattr(self._fd)
            raw[0] &= ~(
                t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON
            )
            raw[1] &= ~t.OPOST
            raw[2] = raw[2] & ~(t.CSIZE | t.PARENB) | t.CS8
            raw[3] &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
            t.tcsetattr(self._fd, t.TCSADRAIN, raw)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._before:
            import termios

            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)
