"""Locks on files, one for each object, released by the kernel when their holder dies."""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Lock:
    """An exclusive flock(2) on ``path``, as a context manager.

    The file is made when missing; its folder must exist. If the file was removed or replaced
    while we waited (its object was removed), the lock is taken anew on what stands there now.
    ``blocking=False`` raises BlockingIOError instead of waiting. Removing the file is the
    holder's affair.
    """

    def __init__(self, path: str, *, blocking: bool = True, shared: bool = False) -> None:
        self.path = path
        self._operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        if not blocking:
            self._operation |= fcntl.LOCK_NB
        self._fd = -1

    def take(self) -> Self:
        """Waits for the lock; a ``with`` block that follows releases it."""
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, self._operation)
                if self._still_there(fd):
                    self._fd = fd
                    return self
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def release(self) -> None:
        """Gives it back."""
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> Self:
        return self if self._fd >= 0 else self.take()

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def fileno(self) -> int:
        """The locked descriptor; a child that inherits it shares the lock."""
        return self._fd

    def _still_there(self, fd: int) -> bool:
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))
