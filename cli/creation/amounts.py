"""How much, in words: what the value of a limit must look like.

As in :mod:`cli.creation.readers`, each function turns the word into a value or raises ValueError.
"""

from __future__ import annotations

import os

from cli.creation.readers import positive
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MINIMUM = 6 << 20  # bytes of memory, Docker's


def unless_zero(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """``read``, but 0 is a word for "no limit"."""
    return lambda text: 0 if text == "0" else read(text)


def memory(text: str) -> int:
    size = units.parse_bytes(text)
    if size < _MINIMUM:
        raise ValueError("the minimum is 6m")
    return size


def swap(text: str) -> int:
    return -1 if text == "-1" else memory(text)


def swappiness(text: str) -> int:
    if text == "-1":  # the host's own
        return -1
    return _between(text, 0, 100)


def cpus(text: str) -> int:
    """Billionths of a CPU."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or not whole or len(fraction) > 9:
        raise ValueError("it is a number of CPUs such as 1.5")
    nano = int(whole) * 10**9 + int(fraction.ljust(9, "0"))
    if not 10**7 <= nano <= (os.cpu_count() or 1) * 10**9:
        raise ValueError(f"it is between 0.01 and {os.cpu_count()}, the CPUs of this host")
    return nano


def period(text: str) -> int:
    """Microseconds."""
    return _between(text, 1000, 1_000_000)


def quota(text: str) -> int:
    """Microseconds; -1 for no quota."""
    if text == "-1":
        return -1
    if positive(text) < 1000:
        raise ValueError("it is 1000 microseconds at least, or -1")
    return int(text)


def shares(text: str) -> int:
    return _between(text, 2, 262144)


def cpu_list(text: str) -> str:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        words = (first, last) if dash else (first,)
        if not all(word.isascii() and word.isdigit() and len(word) < 6 for word in words) or (
            dash and int(last) < int(first)
        ):
            raise ValueError("it is a list such as 0-2,4")
    return text


def pids(text: str) -> int:
    return 0 if text in ("-1", "0") else positive(text)


def weight(text: str) -> int:
    return _between(text, 10, 1000)


def device_weight(text: str) -> tuple[str, int]:
    path, word = _device(text, "WEIGHT")
    return path, weight(word)


def device_bytes(text: str) -> tuple[str, int]:
    """(path, bytes a second); 0 for no limit."""
    path, word = _device(text, "RATE")
    return path, units.parse_bytes(word)


def device_operations(text: str) -> tuple[str, int]:
    """(path, operations a second); 0 for no limit."""
    path, word = _device(text, "RATE")
    return path, positive(word)


def _device(text: str, word: str) -> tuple[str, str]:
    path, colon, value = text.rpartition(":")  # a path may have colons, as those of /dev/disk have
    if not colon or not path.startswith("/dev/") or "\0" in path:
        raise ValueError(f"write /dev/NAME:{word}")
    return path, value


def oom_score(text: str) -> int:
    return _between(text, -1000, 1000)


def _between(text: str, low: int, high: int) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"it is a whole number between {low} and {high}")
    return int(text)
