"""Moments as people write them: ``2026-01-31T12:00:00``, a unix time, or how long ago (``10m``).

Source: Docker's documentation of `docker events` and `docker logs`, --since and --until; RFC 3339.
"""

from __future__ import annotations

import time

from kernel import units

_SECOND = 10**9
_DIGITS = frozenset("0123456789")
_FAR = 1 << 33  # seconds: the year 2242


def read(text: str) -> int:
    """Nanoseconds since 1970. A date without a zone is local time. ValueError otherwise."""
    ago = text.removeprefix("-")
    if ago[:1].isdigit() and ago[-1] not in "0123456789Zz" and "T" not in text and ":" not in text:
        seconds = units.parse_duration(ago)
        return time.time_ns() + int((seconds if ago != text else -seconds) * _SECOND)
    if text and set(text) <= _DIGITS | {"."}:
        return _unix(text)
    return _date(text)


def _unix(text: str) -> int:
    whole, _, fraction = text.partition(".")
    if not (whole and set(whole + fraction) <= _DIGITS and len(whole) <= 11):
        raise ValueError(f"{text!r} is not a unix time")
    if int(whole) > _FAR:
        raise ValueError(f"{text!r} is too far in the future; a unix time is in seconds")
    return int(whole) * _SECOND + int(fraction[:9].ljust(9, "0"))


def _date(text: str) -> int:
    from datetime import UTC, datetime

    head, dot, rest = text.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    zone = rest[len(digits) :]
    if dot and not digits:
        raise ValueError(f"{text!r} is not a moment")
    if len(head) == 11 and head[-1] in "zZ":  # 2026-01-31Z
        head, zone = head[:-1] + "T00:00:00", "Z"
    try:
        at = datetime.fromisoformat(head + zone)
        seconds = int((at if at.tzinfo else at.astimezone()).astimezone(UTC).timestamp())
    except (ValueError, OverflowError, OSError):
        raise ValueError("it is like 2026-01-31T12:00:00, 1769860800 or 10m") from None
    return seconds * _SECOND + int(digits[:9].ljust(9, "0"))


def seconds(text: str) -> float | None:
    """The unix time of a date in RFC 3339, as images have it; None if it is none."""
    quick = _plain_utc(text)
    if quick is not None:
        return quick
    try:
        return _date(text) / _SECOND
    except ValueError:
        return None


def _plain_utc(text: str) -> float | None:
    """The usual case, ``2026-01-31T12:00:00Z``: importing datetime takes longer than a query."""
    if len(text) != 20 or text[4::3] != "--T::Z":
        return None
    words = text[:4], *(text[at : at + 2] for at in (5, 8, 11, 14, 17))
    if not all(set(word) <= _DIGITS for word in words):
        return None
    year, month, day, hour, minute, second = map(int, words)
    if not (year >= 1970 and 1 <= month <= 12 and 1 <= day <= 28 and hour < 24):
        return None  # ends of months are for those who know the calendar
    if minute > 59 or second > 59:
        return None
    # Days since 1970 of a year that begins in March, so that a leap day is its last.
    years, shifted = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * years + years // 4 - years // 100 + years // 400
    days += (153 * shifted + 2) // 5 + day - 1 - 719468
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)


def utc(moment: int) -> str:
    """RFC 3339 with nanoseconds, in UTC: as logs have it."""
    seconds, nanos = divmod(moment, _SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanos:09}Z"


def local(moment: int) -> str:
    """RFC 3339 with nanoseconds, in local time: as a person reads it."""
    seconds, nanos = divmod(moment, _SECOND)
    at = time.localtime(seconds)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', at)}.{nanos:09}{_offset(at.tm_gmtoff)}"


def _offset(seconds: int) -> str:
    if not seconds:
        return "Z"
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f"{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}"


def day_and_time(seconds: float) -> str:
    """``2026-01-31 12:00:00 +0100 CET``, as tables show a moment."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(seconds))
