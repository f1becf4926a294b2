"""What waits for one reader: the first of it in memory, the rest in a file without a name.

A :class:`Backlog` is a queue of bytes for a client that is slower than its container::

    oldest  | head: memory | file: a ring on the disk | tail: memory |  newest

Nothing is kept on the disk while the head is enough. The file never had a name (open(2),
O_TMPFILE): it costs no removal, and a crash leaves nothing. The tail holds only what the file does
not take, because it has reached its limit, or the disk has; whoever feeds the queue stops while
:attr:`is_full`. Order is kept, whatever happens.
"""

from __future__ import annotations

import os

MEMORY = 1 << 20  # bytes that wait in memory before the file is used
LIMIT = 1 << 30  # bytes that wait in the file at most, and its size at most
_CHUNK = 1 << 18  # bytes between memory and file at a time


class Backlog:
    """``folder`` is where the file is made when it is needed; `close` frees everything."""

    def __init__(self, folder: str, memory: int = MEMORY, limit: int = LIMIT) -> None:
        self.folder = folder
        self._memory = memory
        self._limit = limit
        self._head = bytearray()
        self._tail = bytearray()
        self._fd = -1
        self._oldest = 0  # where the file's first byte is
        self._filed = 0  # how many bytes the file has

    def __len__(self) -> int:
        return len(self._head) + self._filed + len(self._tail)

    @property
    def is_full(self) -> bool:
        """Whether more has come than the file takes; :meth:`settle` tries again."""
        return bool(self._tail)

    def append(self, content: bytes) -> None:
        """Adds bytes at the end. Never fails: what does not fit the file stays in memory."""
        if not self._filed and not self._tail and len(self._head) + len(content) <= self._memory:
            self._head += content
            return
        self._tail += content
        self.settle()

    def first(self, size: int) -> bytes:
        """The oldest bytes: at most ``size``, at least one unless nothing waits."""
        return bytes(self._head[:size])

    def take(self, count: int) -> None:
        """Drops ``count`` bytes of what :meth:`first` gave. OSError if the disk cannot be read."""
        del self._head[:count]
        self.settle()

    def settle(self) -> None:
        """Moves everything one place forward, as far as there is room."""
        if not self._head:
            self._read_file()
        if not self._head:
            self._head, self._tail = self._tail[: self._memory], self._tail[self._memory :]
        self._write_file()

    def close(self) -> None:
        """Forgets all that waits."""
        self._head, self._tail = bytearray(), bytearray()
        self._oldest = self._filed = 0
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read_file(self) -> None:
        size = min(self._filed, self._limit - self._oldest, self._memory, _CHUNK)
        if not size:
            return
        chunk = os.pread(self._fd, size, self._oldest)
        if not chunk:
            raise OSError(5, "what waits for a client cannot be read again")  # EIO
        self._head += chunk
        self._filed -= len(chunk)
        self._oldest = (self._oldest + len(chunk)) % self._limit
        if not self._filed:
            self._oldest = 0
            os.ftruncate(self._fd, 0)

    def _write_file(self) -> None:
        while self._tail and self._filed < self._limit:
            newest = (self._oldest + self._filed) % self._limit
            room = min(self._limit - self._filed, self._limit - newest, _CHUNK)
            try:
                if self._fd < 0:
                    flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
                    self._fd = os.open(self.folder, flags, 0o600)
                written = os.pwrite(self._fd, self._tail[:room], newest)
            except OSError:  # the disk is full, or this file system has no such files
                return
            del self._tail[:written]
            self._filed += written
