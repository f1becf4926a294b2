"""Content by its digest: whatever came from outside, kept under what it is.

    <folder>/<digest>          complete, verified, synced; never changed
    <folder>/.part-<digest>    on its way; goes on where it stopped, also after a crash
    <folder>/.new-...          of a digest that is known only in the end

There is no lock for all. Whoever relies on content holds a shared flock(2) on the file itself
(:class:`Held`); whoever brings it holds an exclusive one on the ``.part-`` file, so that a second
one waits and shares the work; whoever removes it takes an exclusive lock without waiting, and
leaves alone what somebody holds.

Source: OCI image specification, descriptor.md, "Digests"; flock(2).
"""

from __future__ import annotations

import os

from images.errors import ImageError
from kernel import trace
from kernel.locks import Held, hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from collections.abc import Callable
    from typing import IO, Protocol

    class Watcher(Protocol):
        """Somebody who reads a file while it is written."""

        def start(self, path: str) -> None: ...
        def grew(self) -> None: ...
        def complete(self) -> None: ...


_CHUNK = 1 << 20

_part_written = trace.point("images.blobs.part_written")
_placed = trace.point("images.blobs.placed")
_made = trace.point("images.blobs.made")
_named = trace.point("images.blobs.named")


class Blobs:
    """The blobs of one folder. All digests are hex digits of sha256, without ``sha256:``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path(self, digest: str) -> str:
        """Where content of that digest is kept."""
        return f"{self.folder}/{digest}"

    def size(self, digest: str) -> int:
        """Bytes of content that is there."""
        return os.stat(self.path(digest)).st_size

    def read(self, digest: str) -> bytes:
        """Small content as a whole. FileNotFoundError."""
        with open(self.path(digest), "rb") as file:
            return file.read()

    def hold(self, digest: str) -> Held | None:
        """Keeps content from being removed as long as the result is held; None if not there."""
        try:
            return hold(self.path(digest))
        except FileNotFoundError:
            return None

    def keep(self, stream: IO[bytes]) -> tuple[str, Held]:
        """Keeps a stream whose digest nobody has promised; returns it."""
        return self.make(lambda out: pour(stream, out))

    def make(
        self, fill: Callable[[IO[bytes]], object], watcher: Watcher | None = None
    ) -> tuple[str, Held]:
        """Keeps what ``fill`` writes into the stream that it gets; returns its digest.

        ``watcher`` is told of the file while it grows.
        """
        import hashlib

        temporary = f"{self.folder}/.new-{os.getpid()}-{os.urandom(4).hex()}"
        seen = hashlib.sha256()
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with hold(temporary, exclusive=True) as own:  # so that nobody takes it for a leftover
                if watcher is not None:
                    watcher.start(temporary)
                fill(_Hashing(fd, seen, watcher))  # type: ignore[arg-type]
                if watcher is not None:
                    watcher.complete()
                os.fsync(fd)
                _made()
                held = self._named(own, temporary, seen.hexdigest())
                _named()
                return seen.hexdigest(), held
        finally:
            os.close(fd)
            os.unlink(temporary)

    def _named(self, own: Held, temporary: str, digest: str) -> Held:
        """Gives complete content its name, or holds what has it already."""
        while True:
            if not _place(temporary, self.path(digest)):
                held = self.hold(digest)
                if held is not None:
                    return held
                continue
            own.share()
            if own.is_at(self.path(digest)):
                return own.another()

    def fetch(
        self,
        digest: str,
        size: int,
        opened_at: Callable[[int], IO[bytes]],
        progress: Callable[[int], None] | None = None,
    ) -> Held:
        """Content of a known digest and size, from here or from ``opened_at(offset)``.

        What an earlier attempt left is gone on with; a second process waits for the first and
        takes what it brought. ``progress`` is told how many bytes are there. ImageError if the
        content is not what was promised: nothing of it is kept then.
        """
        while True:
            held = self.hold(digest)
            if held is not None:
                return held
            part = f"{self.folder}/.part-{digest}"
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(part, flags, 0o600))
            try:
                bringing = hold(part, exclusive=True)
            except FileNotFoundError:  # another one finished it, or gave it up
                continue
            with bringing:
                if os.path.exists(self.path(digest)):
                    os.unlink(part)
                    continue
                self._complete(part, digest, size, opened_at, progress)

    def _complete(
        self,
        part: str,
        digest: str,
        size: int,
        opened_at: Callable[[int], IO[bytes]],
        progress: Callable[[int], None] | None,
    ) -> None:
        import hashlib

        seen = hashlib.sha256()
        fd = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            there = _hash_existing(fd, seen)
            if there > size:
                os.ftruncate(fd, 0)
                os.lseek(fd, 0, os.SEEK_SET)
                seen, there = hashlib.sha256(), 0
            if there < size:
                with opened_at(there) as stream:
                    there += _copy(stream, fd, seen, size - there, progress, there)
            if there != size or seen.hexdigest() != digest:
                if there == size:  # what is shorter was cut off, and can be gone on with
                    os.unlink(part)
                raise ImageError(
                    "content is not what was promised",
                    f"sha256:{seen.hexdigest()} of {there} bytes instead of sha256:{digest}"
                    f" of {size}",
                    "try again; if it happens again, the source is damaged",
                )
            os.fsync(fd)
            _part_written()
            _place(part, self.path(digest))
            os.unlink(part)
            _placed()
        finally:
            os.close(fd)


class _Hashing:
    """A writer on a descriptor that tells a digest what goes through it."""

    def __init__(self, fd: int, seen: hashlib._Hash, watcher: Watcher | None = None) -> None:
        self._fd, self._seen, self._watcher = fd, seen, watcher

    def write(self, chunk: bytes) -> int:
        self._seen.update(chunk)
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._fd, view) :]
        if self._watcher is not None:
            self._watcher.grew()
        return len(chunk)


def pour(stream: IO[bytes], out: IO[bytes]) -> None:
    """Writes all of a stream."""
    while chunk := stream.read(_CHUNK):
        out.write(chunk)


def _place(temporary: str, path: str) -> bool:
    """Gives content its name, unless it is there: somebody may hold what stands there."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _hash_existing(fd: int, seen: hashlib._Hash) -> int:
    total = 0
    while chunk := os.read(fd, _CHUNK):
        seen.update(chunk)
        total += len(chunk)
    return total


def _copy(
    stream: IO[bytes],
    fd: int,
    seen: hashlib._Hash,
    most: int,
    progress: Callable[[int], None] | None = None,
    before: int = 0,
) -> int:
    """Copies a stream to a descriptor; more than ``most`` bytes are not taken."""
    total, out = 0, _Hashing(fd, seen)
    while total < most:
        chunk = stream.read(min(_CHUNK, most - total))
        if not chunk:
            break
        out.write(chunk)
        total += len(chunk)
        if progress is not None:
            progress(before + total)
    return total
