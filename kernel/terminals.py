"""Pseudo terminals: the calls of ioctl_tty(2) that :mod:`os` lacks."""

from __future__ import annotations

import fcntl
import os
import struct

_TIOCSWINSZ = 0x5414
_TIOCGPTPEER = 0x5441


def set_size(fd: int, columns: int, rows: int) -> None:
    """TIOCSWINSZ; the programs on it get SIGWINCH if that is a change."""
    fcntl.ioctl(fd, _TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def open_peer(master: int) -> int:
    """TIOCGPTPEER: the terminal's side of a pty master, close-on-exec; never by its path."""
    return int(fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))


def hold_open(master: int) -> int:
    """A descriptor that keeps a terminal from hanging up; -1 if it has done so already.

    A terminal that nobody has open is hung up, and so is whoever opens it again later: a program
    that closes its streams for a while must not be killed for that.
    """
    try:
        return open_peer(master)
    except OSError:
        return -1
