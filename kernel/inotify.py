"""inotify(7): being told when files change."""

from __future__ import annotations

import os
import select
import struct

from kernel import libc

IN_MODIFY = 0x002
IN_MOVED_TO = 0x080
IN_CREATE = 0x100

_EVENT = struct.Struct("iIII")
_LARGEST = _EVENT.size + 256  # NAME_MAX and its zero byte


class Watch:
    """An inotify instance. OSError(EMFILE) where the host allows no more of them."""

    def __init__(self) -> None:
        self._fd = libc.call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)

    def add(self, path: str, mask: int) -> None:
        """Watches a file or folder for the events of ``mask``."""
        libc.call("inotify_add_watch", self._fd, os.fsencode(path), mask, path=path)

    def wait(self, seconds: float | None) -> bool:
        """Waits until something happens (at most ``seconds``), and takes note; whether it did."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(None if seconds is None else max(0, seconds * 1000)):
            return False
        try:
            while os.read(self._fd, 64 * _LARGEST):
                pass
        except BlockingIOError:
            pass
        return True

    def close(self) -> None:
        """Ends all watches."""
        os.close(self._fd)
