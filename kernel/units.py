"""Quantities as people write and read them: ``64m`` bytes, ``1h30m``, ``3 minutes ago``."""

from __future__ import annotations

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DIGITS = frozenset("0123456789")


def parse_bytes(word: str, base: int = 1024) -> int:
    """Bytes of ``1024``, ``64m``, ``1.5g``, ``2GiB`` (powers of ``base``); ValueError otherwise."""
    text = word.lower().removesuffix("b").removesuffix("i")
    unit = text[-1:] if text[-1:] in _UNITS else ""
    return int(_number(word, text.removesuffix(unit) if unit else text) * base ** _UNITS[unit])


def parse_duration(word: str) -> float:
    """Seconds of ``90``, ``10s``, ``1h30m``, ``250ms``; ValueError otherwise."""
    if word and set(word) <= _DIGITS | {"."}:
        return _number(word, word)
    total, rest = 0.0, word
    while rest:
        number = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(number) :]
        unit = rest[: len(rest) - len(rest.lstrip("msdh"))]
        unit = unit if unit in _SECONDS else unit[:1]
        if unit not in _SECONDS:
            raise ValueError(f"{word!r} is not like 10s or 1h30m")
        total += _number(word, number) * _SECONDS[unit]
        rest = rest[len(unit) :]
    if not word:
        raise ValueError("a duration is missing")
    return total


def _number(word: str, text: str) -> float:
    whole, dot, fraction = text.partition(".")
    digits = whole + fraction
    if not (whole and digits.isascii() and digits.isdigit() and len(digits) <= 18) or (
        dot and not fraction
    ):
        raise ValueError(f"{word!r} is not a number with a unit such as k, m or g")
    return float(text) if dot else int(whole)


def show_bytes(size: int, digits: int = 3) -> str:
    """``1.2MB``, ``987kB``: powers of 1000 and so many digits, as Docker shows them."""
    return _shown(size, 1000, ("B", "kB", "MB", "GB", "TB", "PB"), digits)


def show_binary(size: int) -> str:
    """``7.654GiB``: powers of 1024, as Docker shows memory."""
    return _shown(size, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"), 4)


def _shown(size: int, base: int, units: tuple[str, ...], digits: int) -> str:
    value, at = float(size), 0
    # What would be rounded up to the next unit is that unit: 999.9kB are 1MB.
    while float(f"{value:.{digits}g}") >= base and at < len(units) - 1:
        value, at = value / base, at + 1
    shown = f"{value:.{digits}g}"
    return f"{value:.0f}{units[at]}" if "e" in shown else f"{shown}{units[at]}"


def show_age(seconds: float) -> str:
    """``Less than a second``, ``5 seconds``, ``About a minute``, ``3 weeks``: Docker's words."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return "1 second" if int(seconds) == 1 else f"{int(seconds)} seconds"
    minutes = int(seconds // 60)
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(minutes / 60 + 0.5)
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for unit, length in (("day", 24), ("week", 24 * 7), ("month", 24 * 30), ("year", 24 * 365)):
        following = {"day": 24 * 14, "week": 24 * 60, "month": 24 * 730}.get(unit)
        if following is None or hours < following:
            count = hours // length
            break
    return f"{count} {unit}s" if count != 1 else f"1 {unit}"
