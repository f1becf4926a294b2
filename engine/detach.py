"""The keys with which a person leaves a container running: how they are written and recognised.

They are written as Docker writes them: ``ctrl-p,ctrl-q``, parts with commas between; each is a
single character or ``ctrl-`` with one of a-z @ [ \\ ] ^ _ (ascii(7): the control characters 0 to
31), or ``DEL``.
"""

from __future__ import annotations

DEFAULT = b"\x10\x11"  # ctrl-p,ctrl-q

_CONTROL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse(text: str) -> bytes:
    """The bytes that a terminal sends for a sequence; the default one for "". ValueError."""
    return bytes(map(_key, text.split(","))) if text else DEFAULT


def _key(word: str) -> int:
    if len(word) == 1 and " " <= word <= "~":
        return ord(word)
    value = word.removeprefix("ctrl-")
    if value != word and len(value) == 1 and value in _CONTROL:
        return _CONTROL.index(value)
    if word == "DEL":
        return 127
    raise ValueError(
        f"{word!r} is no key: write single characters or ctrl- with one of a-z @ [ \\ ] ^ _,"
        " and commas between them"
    )


def split(keys: bytes, held: bytes, chunk: bytes) -> tuple[bytes, bytes, bool]:
    """(what to pass on, what to hold back, whether the person left) after ``chunk`` was typed.

    Held back is the longest end of what was typed that may become ``keys``; it comes again as
    ``held`` with the next chunk.
    """
    text = held + chunk
    at = text.find(keys)
    if at >= 0:
        return text[:at], b"", True
    for size in range(min(len(keys) - 1, len(text)), 0, -1):
        if text.endswith(keys[:size]):
            return text[:-size], text[-size:], False
    return text, b"", False
