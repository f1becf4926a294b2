"""The file of events begins anew when it is too large, and one old file is kept.

    events.log      what is written now
    events.log.1    what was written before
    events.log.new, events.log.old    names for a moment, left by a crash at worst

The name never points at nothing: the old file gets a second name, then the new one is renamed over
the first. After a crash in between both names are one file, and the next writer begins again. The
first line of a file says which one it is, so a reader knows whether it has missed a whole one.
"""

from __future__ import annotations

import fcntl
import os

from engine import events
from kernel import quickjson, trace

_begun = trace.point("engine.rotation.begun")
_kept = trace.point("engine.rotation.kept")


def rotate(fd: int, file: str) -> None:
    """Puts a new file in the place of ``fd``, unless somebody else has done that. OSError."""
    fcntl.flock(fd, fcntl.LOCK_EX)  # not atomic: the shared lock is gone for a moment
    if not events.is_at(fd, file) or os.fstat(fd).st_size < events.LARGEST:
        return
    fresh, old = f"{file}.new", f"{file}.old"
    _write(fresh, quickjson.dumps({"File": number(fd) + 1}).encode() + b"\n")
    _begun()
    _remove(old)
    os.link(file, old)
    os.rename(old, f"{file}.1")
    _remove(old)  # rename(2) does nothing where both names are one file already
    _kept()
    os.rename(fresh, file)


def number(fd: int) -> int:
    """Which file of events this is; the first one does not say, and is 0."""
    line, newline, _ = os.pread(fd, 100, 0).partition(b"\n")
    try:
        said = quickjson.loads(line) if newline else {}
    except ValueError:
        return 0
    found = said.get("File") if isinstance(said, dict) else None
    return found if isinstance(found, int) else 0


def _write(path: str, content: bytes) -> None:
    _remove(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
