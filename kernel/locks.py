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


class Held:
    """A lock on a file or folder that is there, released by :meth:`release` or the kernel."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def release(self) -> None:
        """Lets go; again is fine."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def share(self) -> None:
        """Turns an exclusive lock into a shared one; not in one step (flock(2))."""
        fcntl.flock(self.fd, fcntl.LOCK_SH)

    def is_at(self, path: str) -> bool:
        """Whether what is locked still stands at ``path``."""
        try:
            return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(self.fd))
        except FileNotFoundError:
            return False

    def another(self) -> Held:
        """The same lock once more: it ends when both are released."""
        return Held(os.dup(self.fd))


def hold(path: str, *, exclusive: bool = False, blocking: bool = True) -> Held:
    """Locks what stands at ``path``, a file or a folder, without making it.

    FileNotFoundError if it is not there, or not any more once the lock is ours; BlockingIOError
    without ``blocking`` if somebody else has it.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        operation = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        fcntl.flock(fd, operation if blocking else operation | fcntl.LOCK_NB)
        held = Held(fd)
        if not held.is_at(path):
            raise FileNotFoundError(2, "it was replaced meanwhile", path)
    except BaseException:
        os.close(fd)
        raise
    return held
