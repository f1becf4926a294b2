"""Signals by number and by name, without :mod:`signal` (its enums cost more than they give here).

``_signal`` is the C module underneath; its functions are those of :mod:`signal` on plain ints.
"""

from __future__ import annotations

import _signal
from _signal import (
    SIG_BLOCK,
    SIG_DFL,
    SIG_IGN,
    SIG_SETMASK,
    SIG_UNBLOCK,
    SIGALRM,
    SIGBUS,
    SIGCHLD,
    SIGCONT,
    SIGFPE,
    SIGHUP,
    SIGILL,
    SIGINT,
    SIGKILL,
    SIGPIPE,
    SIGQUIT,
    SIGSEGV,
    SIGSTOP,
    SIGSYS,
    SIGTERM,
    SIGTRAP,
    SIGTSTP,
    SIGTTIN,
    SIGTTOU,
    SIGURG,
    SIGUSR1,
    SIGUSR2,
    SIGWINCH,
    SIGXFSZ,
    pthread_sigmask,
    set_wakeup_fd,
    signal,
)

__all__ = [
    "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGKILL",
    "SIGPIPE", "SIGQUIT", "SIGSEGV", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP",
    "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGXFSZ", "SIG_BLOCK",
    "SIG_DFL", "SIG_IGN", "SIG_SETMASK", "SIG_UNBLOCK", "name", "names", "number",
    "pthread_sigmask", "set_wakeup_fd", "signal",

]  # fmt: skip


def names() -> dict[str, int]:
    """Every signal of this machine: ``SIGTERM`` to its number."""
    return {
        key: int(value)
        for key, value in vars(_signal).items()
        if key.startswith("SIG") and key[3] != "_" and isinstance(value, int)
    }


def number(word: str) -> int:
    """``KILL``, ``SIGKILL``, ``kill`` or ``9``, also ``RTMIN+3``; ValueError otherwise."""
    if word.isascii() and word.isdigit():
        value = int(word)
    else:
        base, sign, offset = word.upper().removeprefix("SIG"), "", "0"
        for mark in "+-":
            if mark in base:
                base, sign, offset = base.partition(mark)
        found = names().get(f"SIG{base}")
        if found is None or not offset.isdigit() or (sign and base not in ("RTMIN", "RTMAX")):
            raise ValueError(f"unknown signal {word!r}")
        value = found + int(f"{sign}{offset}")
    if not 1 <= value <= 64:
        raise ValueError(f"signal {word!r} is out of range")
    return value


def name(value: int) -> str:
    """``SIGTERM`` for 15; the number itself where there is no name."""
    return next((key for key, own in names().items() if own == value), str(value))
