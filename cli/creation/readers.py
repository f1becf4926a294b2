"""What a word on the command line must look like: one function for each kind of value.

Each turns the word into a value, or raises ValueError (or a UsageError) that says what it
should be.
"""

from __future__ import annotations

import os

from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volumes.requests import Request

_HOST_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
STREAMS = ("stdin", "stdout", "stderr")
_ULIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
    "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


def volume(text: str) -> Request:
    from volumes.requests import parse_volume

    return parse_volume(text, os.getcwd())


def positive(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("it is not a whole number")
    return int(text)


def env(text: str) -> str:
    name = text.partition("=")[0]
    if not name or "\0" in text:
        raise ValueError("write NAME=value, or NAME to take it from this environment")
    return text


def env_entry(text: str) -> str:
    """``NAME`` takes its value from this environment, and is left out where that has none."""
    if "=" in text or text not in os.environ:
        return text
    return f"{text}={os.environ[text]}"


def pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise ValueError("write key=value")
    return key, value


def label(text: str) -> tuple[str, str]:
    key, _, value = text.lstrip().partition("=")
    if not key or " " in key or "\t" in key:
        raise ValueError("write key=value; a key has no white space in it")
    return key, value


def sysctl(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise ValueError("write name=value, for example net.core.somaxconn=1024")
    first = next((char for char in key if char in "./"), "")
    if first == "/":  # a path; in a name with dots, slashes and dots change places (sysctl.d(5))
        key = key.translate(str.maketrans("./", "/."))
    return key, value


def ulimit(text: str) -> tuple[str, tuple[int, int]]:
    name, sign, value = text.partition("=")
    soft, colon, hard = value.partition(":")
    if name not in _ULIMITS or not sign:
        raise ValueError(f"write name=soft[:hard], name being one of {' '.join(_ULIMITS)}")
    low, high = (_limit(word) for word in (soft, hard if colon else soft))
    if high != -1 and (low > high or low == -1):
        raise ValueError("the soft limit is above the hard limit")
    return name, (low, high)


def _limit(word: str) -> int:
    if word in ("-1", "unlimited"):
        return -1
    return positive(word)


def is_host_name(text: str) -> bool:
    """Whether it is made as host names are; there is no limit of its length."""
    return bool(text) and set(text) <= _HOST_LETTERS and text[0] not in "-."


def hostname(text: str) -> str:
    if len(text) > 64 or not is_host_name(text):
        raise ValueError("it has at most 64 letters, digits, dots and dashes")
    return text


def signal(text: str) -> str:
    from kernel import signals

    signals.number(text)
    return text


def stream(text: str) -> str:
    if text.lower() not in STREAMS:
        raise ValueError("the streams are stdin, stdout and stderr")
    return text.lower()


def working_dir(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("it is not an absolute path")
    return text


def user(text: str) -> str:
    if len(text) > 256 or text.count(":") > 1 or text.startswith(":") or "\0" in text:
        raise ValueError("write user, uid, user:group or uid:gid")
    return text


def seconds(text: str) -> float:
    """Patience: seconds or a duration; -1 waits for ever."""
    if text == "-1":
        return -1.0
    return units.parse_duration(text)


def restart(text: str) -> tuple[str, int]:
    """(policy, how often at most; 0: as often as needed) of --restart."""
    policy, colon, most = text.partition(":")
    if policy not in ("no", "on-failure", "always", "unless-stopped"):
        raise ValueError("it is no, on-failure[:max-retries], always or unless-stopped")
    if not colon:
        return policy, 0
    if policy != "on-failure":
        raise ValueError("maximum retry count can only be used with on-failure")
    if not most.isascii() or not most.isdigit() or len(most) > 9:
        raise ValueError("maximum retry count must be a whole number")
    return policy, int(most)


def nanoseconds(text: str) -> int:
    """A duration with its unit, at least a millisecond; 0 where the default is to count."""
    if text == "0":
        return 0
    if text[-1:].isdigit():
        raise ValueError("a unit is missing: write 30s, 1m30s or 500ms")
    found = round(units.parse_duration(text) * 10**9)
    if 0 < found < 10**6:
        raise ValueError("it cannot be less than 1ms")
    return found


def platform(text: str) -> str:
    """A platform as people write it, in the words of images."""
    from images import platforms

    return str(platforms.parse(text))
