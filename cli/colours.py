"""Colours, where a person looks at a terminal and does not mind.

Source: no-color.org: NO_COLOR, if it is not empty, means none.
"""

from __future__ import annotations

import os

_CODES = {"green": "32", "yellow": "33", "red": "31"}


def painted(text: str, colour: str, fd: int = 1) -> str:
    """The text in a colour, for the descriptor that it will be written to."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in ("dumb", "", None)
    if plain or not os.isatty(fd):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"
