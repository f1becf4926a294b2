"""Processes that unpack layers: one archive into one folder each, also while it still arrives.

Unpacking is half Python, half kernel, so every layer gets a process of its own, and so does one
that is only being written: :class:`Child` follows the growing file, reads what is there, and waits
for more on a pipe. If the pipe ends before it was told that all is there, its parent is gone, and
so is the child.

Inside, what is compressed is uncompressed and hashed by a thread beside the one that writes files:
both libraries work without the interpreter's lock.
"""

from __future__ import annotations

import io
import os

from images.errors import ImageError
from images.unpacking import Unpacked
from kernel import signals, trace
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

_begun = trace.point("images.unpackers.begun")
_unpacked = trace.point("images.unpackers.unpacked")

_CHUNK = 1 << 20
_AHEAD = 2  # chunks: what a thread may be ahead of the other
_GREW, _COMPLETE = b".", b"!"

# What tells children that their file grew: no other child may keep it open.
_tells: set[int] = set()


class Child:
    """A process that unpacks the archive at a path into an empty folder.

    With ``growing`` the file is still being written: :meth:`grew` and :meth:`complete` tell.
    """

    def __init__(self, blob: str, folder: str, *, growing: bool = False) -> None:
        archive = os.open(blob, os.O_RDONLY | os.O_NOFOLLOW)  # here: it may get another name
        answer, said = os.pipe()
        told, self._tell = os.pipe() if growing else (-1, -1)
        self._answer = answer
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for fd in (*_tells, self._tell):
                    if fd >= 0:
                        os.close(fd)
                os.write(said, _report(archive, folder, told))
            finally:
                os._exit(0)
        os.close(said)
        os.close(archive)
        if growing:
            os.close(told)
            os.set_blocking(self._tell, False)
            _tells.add(self._tell)

    def grew(self) -> None:
        """There is more to read."""
        self._say(_GREW)

    def complete(self) -> None:
        """All is there."""
        os.set_blocking(self._tell, True)
        self._say(_COMPLETE)
        self._quiet()

    def result(self) -> Unpacked:
        """Waits for the end; ImageError if the archive is damaged or refused."""
        os.waitpid(self.pid, 0)
        self.pid = -1
        import json

        try:
            line = json.loads(os.read(self._answer, 4096) or b"{}")
        except ValueError:
            line = {}
        finally:
            self._done()
        if "diff_id" in line:
            return Unpacked(line["diff_id"], line["size"])
        raise ImageError(
            line.get("what", "a layer cannot be unpacked"),
            line.get("why", "the process that did it was killed"),
            line.get("hint", ""),
        )

    def abandon(self) -> None:
        """Ends it, if it has not ended."""
        if self.pid > 0:
            os.kill(self.pid, signals.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = -1
            self._done()

    def _say(self, word: bytes) -> None:
        try:
            os.write(self._tell, word)
        except (BlockingIOError, BrokenPipeError):  # enough was said, or it has failed already
            pass

    def _quiet(self) -> None:
        if self._tell >= 0:
            _tells.discard(self._tell)
            os.close(self._tell)
            self._tell = -1

    def _done(self) -> None:
        self._quiet()
        os.close(self._answer)


def _report(archive: int, folder: str, told: int) -> bytes:
    """Does the work; one line of JSON that says how it went."""
    import json

    line: dict[str, Any]
    try:
        _begun()
        made = unpack_one(archive, folder, told)
        _unpacked()
        line = {"diff_id": made.diff_id, "size": made.size}
    except PyctrError as error:
        line = {"what": error.what, "why": error.why, "hint": error.hint}
    except OSError as error:
        from kernel import hints

        why = (error.strerror or str(error)).lower()
        why += f": {error.filename}" if error.filename else ""
        line = {"what": "a layer cannot be unpacked", "why": why, "hint": hints.of(error.errno)}
    return json.dumps(line)[:4000].encode()


def unpack_one(archive: int, folder: str, told: int = -1) -> Unpacked:
    """Unpacks the archive of a descriptor, which it closes.

    ``told`` is the pipe of a file that is still growing.
    """
    from images import compression
    from overlay import layers

    with open(archive, "rb", buffering=0) as file:
        plain = compression.opened(_Growing(file, told) if told >= 0 else file)  # type: ignore[arg-type]
        ahead = _Ahead(plain) if compression.is_compressed(plain) else None
        source: Any = ahead or plain
        try:
            size = layers.unpack(source, folder)
            while source.read(_CHUNK):  # padding after the end counts as well
                pass
        except compression.Damaged as error:
            raise ImageError("the layer archive is damaged", str(error)) from None
    return Unpacked(ahead.hexdigest() if ahead is not None else "", size)


class _Growing(io.RawIOBase):
    """A file that somebody writes meanwhile."""

    def __init__(self, file: IO[bytes], told: int) -> None:
        self._file: Any = file
        self._told = told
        self._complete = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while True:
            size: int = self._file.readinto(buffer)
            if size or self._complete:
                return size
            words = os.read(self._told, 4096)
            if not words:
                os._exit(1)  # whoever wrote it is gone
            self._complete = _COMPLETE in words


class _Ahead:
    """A reader whose stream is read and hashed by a thread, some chunks ahead."""

    def __init__(self, stream: IO[bytes]) -> None:
        import hashlib
        import queue
        import threading

        self._stream = stream
        self._seen = hashlib.sha256()
        self._over = False
        self._chunks: queue.Queue[bytes | BaseException] = queue.Queue(_AHEAD)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            while chunk := self._stream.read(_CHUNK):
                self._seen.update(chunk)
                self._chunks.put(chunk)
            self._chunks.put(b"")
        except BaseException as error:
            self._chunks.put(error)

    def read(self, _size: int = -1) -> bytes:
        """The next chunk, whatever size was asked for; none at the end."""
        chunk = b"" if self._over else self._chunks.get()
        if isinstance(chunk, BaseException):
            raise chunk
        self._over = not chunk
        return chunk

    def hexdigest(self) -> str:
        """Of all that was read, at the end."""
        return self._seen.hexdigest()
