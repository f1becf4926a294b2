"""--chmod of COPY and ADD: an octal number, or what chmod(1) calls a symbolic mode.

    755   04755   u=rwX,go=rX   +x   g-w,o=   u=rw,g=u

Without u, g, o or a before it a change is for all, whatever the umask is.
"""

from __future__ import annotations

import stat

from images.build.errors import BuildError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Mode = Callable[[int], int]  # st_mode to permission bits

_SHIFTS = {"u": 6, "g": 3, "o": 0}
_SPECIAL = {"u": stat.S_ISUID, "g": stat.S_ISGID, "o": stat.S_ISVTX}
_RIGHTS = {"r": 4, "w": 2, "x": 1}
_ALL_EXECUTE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def parse(wanted: str | int) -> Mode:
    """What makes new permissions (12 bits) out of a file's st_mode. BuildError."""
    text = wanted if isinstance(wanted, str) else f"{wanted:o}"
    if text and all(char in "01234567" for char in text):
        number = int(text, 8)
        if number > 0o7777:
            raise _malformed(text, "it is more than 7777")
        return lambda _mode: number
    changes = [change for clause in text.split(",") for change in _clause(clause, text)]

    def symbolic(mode: int) -> int:
        for who, sign, what in changes:
            mode = _changed(mode, who, sign, what)
        return stat.S_IMODE(mode)

    return symbolic


def _clause(clause: str, text: str) -> list[tuple[str, str, str]]:
    """(who, sign, what) of each change in one clause: ``go+r-w`` has two."""
    at = 0
    while at < len(clause) and clause[at] in "ugoa":
        at += 1
    who = "ugo" if at == 0 or "a" in clause[:at] else clause[:at]
    found = []
    while at < len(clause) and clause[at] in "+-=":
        sign = clause[at]
        begin = at = at + 1
        if clause[at : at + 1] in ("u", "g", "o"):
            at += 1
        else:
            while at < len(clause) and clause[at] in "rwxXst":
                at += 1
        found.append((who, sign, clause[begin:at]))
    if at < len(clause) or not found:
        raise _malformed(text, "write an octal number as 755, or changes as u+rw,go=rX")
    return found


def _changed(mode: int, who: str, sign: str, what: str) -> int:
    bits = mask = 0
    for one in who:
        mask |= 7 << _SHIFTS[one] | _SPECIAL[one]
        bits |= _rights(mode, what) << _SHIFTS[one]
        if ("t" if one == "o" else "s") in what:
            bits |= _SPECIAL[one]
    if sign == "+":
        return mode | bits
    if sign == "-":
        return mode & ~bits
    return (mode & ~mask) | bits


def _rights(mode: int, what: str) -> int:
    if what in _SHIFTS:
        return (mode >> _SHIFTS[what]) & 7
    rights = 0
    for char in what:
        rights |= _RIGHTS.get(char, 0)
    if "X" in what and (stat.S_ISDIR(mode) or mode & _ALL_EXECUTE):
        rights |= _RIGHTS["x"]
    return rights


def _malformed(text: str, why: str) -> BuildError:
    return BuildError(f"cannot read --chmod={text}", why)
