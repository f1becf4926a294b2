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
