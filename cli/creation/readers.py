"""What a word on the command line must look like: one function for each kind of value.

Each turns the word into a value, or raises ValueError (or a UsageError) that says what it
should be.
"""

from __future__ import annotations

import os

from cli.errors import UsageError
from kernel import units
from volumes.requests import parse_volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from volumes.requests import Request

_HOST_WORDS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
STREAMS = ("stdin", "stdout", "stderr")
_ULIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
    "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


def volume(text: str) -> Request:
    return parse_volume(text, os.getcwd())


def positive(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("it is not a whole number")
    return int(text)


def pids(text: str) -> int:
    return 0 if text in ("-1", "0") else positive(text)


def memory(text: str) -> int:
    size = units.parse_bytes(text)
    if size < 6 << 20:
        raise ValueError("the minimum memory limit is 6m")
    return size


def swap(text: str) -> int:
    return -1 if text == "-1" else units.parse_bytes(text)


def cpus(text: str) -> int:
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit() or not whole or len(fraction) > 9:
        raise ValueError("it is a number of CPUs such as 1.5")
    nano = int(whole) * 10**9 + int(fraction.ljust(9, "0") or 0)
    if not 10**7 <= nano <= (os.cpu_count() or 1) * 10**9:
        raise ValueError(f"it is between 0.01 and {os.cpu_count()}, the CPUs of this host")
    return nano


def cpu_list(text: str) -> str:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and (not last.isdigit() or int(last) < int(first))):
            raise ValueError("it is a list such as 0-2,4")
    return text


def oom_score(text: str) -> int:
    if not text.lstrip("-").isdigit() or not -1000 <= int(text) <= 1000:
        raise ValueError("it is between -1000 and 1000")
    return int(text)


def weight(text: str) -> int:
    if not text.isdigit() or not (10 <= int(text) <= 1000 or text == "0"):
        raise ValueError("it is between 10 and 1000")
    return int(text)


def shares(text: str) -> int:
    if not 2 <= positive(text) <= 262144:
        raise ValueError("it is between 2 and 262144")
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


def env_file(path: str) -> list[str]:
    """The entries of an environment file: NAME=value or NAME a line, # begins a comment."""
    try:
        with open(path) as file:
            lines = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}", str(error)) from None
    kept = [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for line in kept:
        if not line.partition("=")[0] or " " in line.partition("=")[0]:
            raise UsageError(f"invalid line in {path}", f"{line!r} is not NAME=value")
    return [env_entry(line) for line in kept]


def pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise ValueError("write key=value")
    return key, value


def sysctl(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise ValueError("write name=value, for example net.core.somaxconn=1024")
    return key.replace("/", "."), value


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


def hostname(text: str) -> str:
    if not text or len(text) > 64 or not set(text) <= _HOST_WORDS or text[0] in "-.":
        raise ValueError("it has at most 64 letters, digits, dots and dashes")
    return text


def network(text: str) -> str:
    if text not in ("none", "host"):
        raise UsageError(
            f"network {text!r} is not supported yet", "pyctr knows none (the default) and host"
        )
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


def security(text: str) -> str:
    word = text.replace(":", "=", 1)
    if word in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges=false"):
        return word
    if word == "seccomp=unconfined":
        return word
    raise UsageError(
        f"security option {text!r} is not supported",
        "pyctr knows no-new-privileges and seccomp=unconfined",
    )


def seconds(text: str) -> float:
    """Patience: seconds or a duration; -1 waits for ever."""
    if text == "-1":
        return -1.0
    return units.parse_duration(text)
