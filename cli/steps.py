"""How far a build is: the steps, and what their commands write.

On a terminal the steps that are under way stand at the bottom with the end of their output, and
change; what is over stays above them. Elsewhere each event is a line that begins with the
number of its step, so that steps which run at once can be told apart.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

_EVERY = 0.1  # seconds between two updates
_COLUMNS, _ROWS = 80, 24  # of a terminal that does not say
_LINES = 5  # of output below a step that is under way


class Steps:
    """Shows the events of a build; ``mode`` is auto, plain or quiet.

    Warnings are shown in any mode.
    """

    def __init__(self, out: TextIO, mode: str) -> None:
        self._out = out
        self._quiet = mode == "quiet"
        self._terminal = mode == "auto" and out.isatty()
        self._titles: dict[int, str] = {}
        self._began: dict[int, float] = {}
        self._text: dict[int, str] = {}  # output that has no end of line yet, or all of the last
        self._height = 0
        self._shown = 0.0

    def __call__(self, event: tuple[Any, ...]) -> None:
        """One event, as :data:`images.build.site.Told` has them."""
        kind, about, *more = event
        if kind == "steps":
            self._titles = {number: _printable(title) for number, title in about.items()}
        elif kind == "warn":
            self._line(f"pyctr: warning: {about}")
        elif not self._quiet:
            self._step(kind, about, more)

    def end(self) -> None:
        """Takes away what changes."""
        self._began.clear()
        if self._terminal:
            self._draw()

    def _step(self, kind: str, number: int, more: list[Any]) -> None:
        title = self._titles.get(number, "")
        if kind == "begin":
            self._began[number] = time.monotonic()
            self._text[number] = ""
            if not self._terminal:
                self._line(f"#{number} {title}")
        elif kind == "output":
            self._output(number, more[0])
            return
        else:
            self._rest(number)
            if number not in self._began and not self._terminal:
                self._line(f"#{number} {title}")
            self._began.pop(number, None)
            words = {"cached": "CACHED", "failed": "ERROR"}
            word = words.get(kind) or f"DONE {more[0]:.1f}s"
            self._line(f"{word:<10} {title}" if self._terminal else f"#{number} {word}")
        if self._terminal:
            self._draw()

    def _output(self, number: int, text: str) -> None:
        *lines, rest = (self._text.get(number, "") + text.replace("\r\n", "\n")).split("\n")
        if self._terminal:
            self._text[number] = "\n".join([*lines[-_LINES:], rest])
            if time.monotonic() - self._shown > _EVERY:
                self._draw()
            return
        for line in lines:
            self._line(f"#{number} {line.rpartition(chr(13))[2]}")
        self._text[number] = rest

    def _rest(self, number: int) -> None:
        """The last line of output, if nothing ended it."""
        text = self._text.pop(number, "")
        if text and not self._terminal:
            self._line(f"#{number} {text}")

    def _line(self, text: str) -> None:
        """A line that stays."""
        self._wipe()
        self._out.write(f"{text}\n")
        self._out.flush()

    def _wipe(self) -> None:
        if self._height:
            self._out.write(f"\x1b[{self._height}A\r\x1b[J")
            self._height = 0

    def _draw(self) -> None:
        size = os.get_terminal_size(self._out.fileno())
        columns, rows = size.columns or _COLUMNS, size.lines or _ROWS
        now, lines = time.monotonic(), []
        for number, began in self._began.items():
            lines.append(f"{now - began:8.1f}s  {self._titles.get(number, '')}")
            shown = [line for line in self._text.get(number, "").split("\n") if line.strip()]
            lines += [f"           {_printable(line)}" for line in shown[-_LINES:]]
        lines = lines[-max(rows - 1, 1) :]
        self._wipe()
        self._out.write("".join(f"{line[: max(columns - 1, 1)]}\n" for line in lines))
        self._out.flush()
        self._height, self._shown = len(lines), now


def _printable(line: str) -> str:
    """What a command wrote, without what would move the cursor."""
    return "".join(char if char.isprintable() else " " for char in line.expandtabs())
