"""What happens to the layers of an image on its way: a line for each.

On a terminal the lines stand still and change, elsewhere each state that a person would want in
a log is a line of its own. The words are those of Docker.
"""

from __future__ import annotations

import os
import threading
import time

from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_EVERY = 0.1  # seconds between two updates
_WORDS = {
    "waiting": "Pulling fs layer",
    "fetching": "Downloading",
    "fetched": "Download complete",
    "unpacking": "Extracting",
    "done": "Pull complete",
    "compressing": "Preparing",
    "pushing": "Pushing",
    "pushed": "Pushed",
}
_EXISTS = {"pull": "Already exists", "push": "Layer already exists"}
_BRIEF = ("fetching", "unpacking", "compressing", "pushing")  # only where the line changes


class Layers:
    """Shows states of layers; ``verb`` is pull or push. May be called by several threads."""

    def __init__(self, out: TextIO, verb: str, *, quiet: bool = False) -> None:
        self._out = out
        self._verb = verb
        self._quiet = quiet
        self._terminal = out.isatty()
        self._lines: dict[str, str] = {}
        self._shown = 0.0
        self._height = 0
        self._lock = threading.Lock()

    def __call__(self, digest: str, state: str, done: int, total: int) -> None:
        """A layer's digest, what happens to it, bytes done, bytes in all."""
        if self._quiet:
            return
        words = _EXISTS[self._verb] if state == "exists" else _WORDS.get(state, state.capitalize())
        with self._lock:
            if not self._terminal:
                if state not in _BRIEF:
                    print(f"{digest[:12]}: {words}", file=self._out, flush=True)
                return
            if state in ("fetching", "pushing") and total:
                words += f"  {units.show_bytes(done)}/{units.show_bytes(total)}"
            self._lines[digest] = f"{digest[:12]}: {words}"
            if state not in _BRIEF or time.monotonic() - self._shown > _EVERY:
                self._draw()

    def _draw(self) -> None:
        columns, rows = os.get_terminal_size(self._out.fileno())
        lines = [line[: max(columns - 1, 1)] for line in self._lines.values()]
        lines = lines[-max(rows - 1, 1) :]
        up = f"\x1b[{self._height}A" if self._height else ""
        self._out.write(up + "".join(f"\r\x1b[K{line}\n" for line in lines))
        self._out.flush()
        self._height, self._shown = len(lines), time.monotonic()
