"""The fields of a tar header: numbers, times, and the error for what makes no sense.

Source: pax(1), "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (base 256).
"""

from __future__ import annotations

from overlay.errors import OverlayError

SECONDS_MAX = 1 << 40  # far beyond what any file system knows


class TarError(OverlayError):
    """An archive that is damaged or makes no sense."""

    def __init__(self, why: str) -> None:
        super().__init__("the archive is damaged", why)


def number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=True)
        return value if field[0] & 0x40 else value + (1 << (8 * len(field) - 1))
    digits = field.partition(b"\0")[0].strip(b" ") or b"0"
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise TarError(f"{field!r} is no number")


def decimal(text: bytes) -> int:
    """A number in decimal digits."""
    if not text.isdigit() or len(text) > 20:
        raise TarError(f"{text[:40]!r} is no number")
    return int(text)


def seconds(field: bytes) -> int:
    """A time in the header, in nanoseconds since 1970, within what can be set."""
    return max(-SECONDS_MAX, min(number(field), SECONDS_MAX)) * 10**9


def fraction(text: bytes) -> int:
    """A time in a pax record, in nanoseconds since 1970, within what can be set."""
    whole, _, part = text.partition(b".")
    digits = whole.removeprefix(b"-")
    if not (digits.isdigit() and len(digits) < 40 and (part or b"0").isdigit()):
        raise TarError(f"{text[:40]!r} is no time")
    value = min(int(digits), SECONDS_MAX) * 10**9 + int(part[:9].ljust(9, b"0"))
    return -value if whole[:1] == b"-" else value
