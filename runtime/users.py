"""Who a container's process is: its own /etc/passwd and /etc/group, read without trusting them.

The files belong to the container: they are opened inside its root, only if they are regular
files, and only the first megabyte counts. Python's :mod:`pwd` would read the host's, or, after
pivot_root, run the container's NSS modules; it is never used (SECURITY, "Python after
pivot_root").
"""

from __future__ import annotations

import os
import stat

from kernel.paths import open_in_root
from kernel.record import Record
from runtime.errors import RuntimeFailure

_FILE_LIMIT = 1 << 20
_LINE_LIMIT = 4096
_ID_MAX = 2**31 - 1


class User(Record):
    """Numbers for setresuid(2) and friends, and the home folder ("/" if nothing is known)."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def lookup(root_fd: int, wanted: str, additional: tuple[str, ...] = ()) -> User:
    """Resolves ``user[:group]`` (names or numbers, "" is root) in the root ``root_fd``.

    A number need not exist in passwd; an unknown name is a RuntimeFailure. Without a group,
    the user's own and its supplementary groups count; with one, it alone. ``additional`` are
    further groups (names or numbers).
    """
    user_word, _, group_word = wanted.partition(":")
    passwd = read_table(root_fd, "/etc/passwd")
    groups = read_table(root_fd, "/etc/group")
    user = _find_user(passwd, user_word or "0")
    if group_word:
        user = user.replace(gid=_find_group(groups, group_word))
    else:
        name = next((row[0] for row in passwd if _row_id(row) == user.uid), user_word)
        user = user.replace(groups=_memberships(groups, name, user.gid))
    extra = tuple(_find_group(groups, word) for word in additional)
    return user.replace(groups=tuple(dict.fromkeys((*user.groups, *extra))))


def read_table(root_fd: int, path: str) -> list[list[str]]:
    """Rows of a colon-separated file in the root; missing, odd or oversized files give none."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    try:
        fd = open_in_root(root_fd, path, flags)
    except OSError:
        return []
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        content = b""
        while len(content) < _FILE_LIMIT and (chunk := os.read(fd, 65536)):
            content += chunk
    finally:
        os.close(fd)
    lines = content[:_FILE_LIMIT].decode("utf-8", "surrogateescape").split("\n")
    return [
        line.split(":") for line in lines if 0 < len(line) <= _LINE_LIMIT and line[0] not in "#+-"
    ]


def parse_id(word: str) -> int | None:
    """A decimal uid or gid, None if the word is a name; RuntimeFailure when out of range."""
    if not (word.isascii() and word.isdigit()):
        return None
    value = int(word) if len(word) < 12 else _ID_MAX + 1
    if value > _ID_MAX:
        raise RuntimeFailure(f"id {word} is out of range", f"the highest is {_ID_MAX}")
    return value


def _row_id(row: list[str]) -> int | None:
    word = row[2] if len(row) > 3 else ""
    return int(word) if word.isascii() and word.isdigit() and len(word) < 11 else None


def _find_user(passwd: list[list[str]], word: str) -> User:
    number = parse_id(word)
    for row in passwd:
        uid = _row_id(row)
        if len(row) < 6 or uid is None or (row[0] != word and uid != number):
            continue
        gid = int(row[3]) if row[3].isascii() and row[3].isdigit() and len(row[3]) < 11 else 0
        return User(uid, gid, (), row[5] or "/")
    if number is None:
        raise RuntimeFailure(
            f"unable to find user {word}",
            "no matching entries in passwd file",
            "name a user of the image's /etc/passwd, or a number",
        )
    return User(number, 0)


def _find_group(groups: list[list[str]], word: str) -> int:
    number = parse_id(word)
    if number is not None:
        return number
    for row in groups:
        if row[0] == word and (gid := _row_id(row)) is not None:
            return gid
    raise RuntimeFailure(
        f"unable to find group {word}",
        "no matching entries in group file",
        "name a group of the image's /etc/group, or a number",
    )


def _memberships(groups: list[list[str]], name: str, own: int) -> tuple[int, ...]:
    found = (
        gid
        for row in groups
        if len(row) > 3 and name in row[3].split(",") and (gid := _row_id(row)) is not None
    )
    return tuple(dict.fromkeys((own, *found)))
