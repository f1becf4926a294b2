"""The log of the database, ``state.db-wal``: room for it beforehand, and whether it has grown.

A change of the database is written to its log first. On a full disk it must still be possible to
say what goes: so the log has its room from the beginning.

Source: sqlite.org, "The WAL File Format": a header of 32 bytes, then frames of 24 bytes and a page;
a frame counts only if it has the salts of the header.
"""

from __future__ import annotations

import os

_ROOM = 1 << 20  # bytes: two hundred pages (engine.home, wal_autocheckpoint) and one large change
_LONG = 100  # pages: who opens the database alone reads all that counts
_HEADER, _FRAME = 32, 24  # bytes


def reserve(path: str) -> None:
    """Gives the log the room that it ever needs.

    SQLite writes into what is there, again and again, and does not shorten it unless it is asked
    to. Where the room is not to be had, or cannot be had beforehand, it grows as it is needed.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _ROOM)
    except OSError:
        pass
    finally:
        os.close(fd)


def is_long(path: str) -> bool:
    """Whether as many pages count that it is worth folding them into the database."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # there is none
        return False
    try:
        header = os.pread(fd, _HEADER, 0)
        page = int.from_bytes(header[8:12], "big")
        frame = os.pread(fd, _FRAME, _HEADER + (_FRAME + page) * _LONG)
    finally:
        os.close(fd)
    return page > 0 and len(frame) == _FRAME and frame[8:16] == header[16:24]
