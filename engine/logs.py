"""A container's log: one JSON object a line, with stream and time.

The form of Docker's json-file driver: ``{"log": "...\\n", "stream": "stdout", "time": "..."}``.
Bytes that are not UTF-8 are kept as lone surrogates (PEP 383), so nothing is lost.

Where the log has a limit, a full file is set aside and a new one takes its place:

    log.json            what is written now
    log.json.7          set aside; the highest number is the youngest, and numbers do not change
    log.json.6.gz       the same, compressed
    log.json.new, *.part    what a crash may leave; swept when the log is opened again

The new file is made before the old one is renamed, each by one call, so whoever follows the log
finds every line once (:mod:`engine.logread`); a crash between the two leaves no ``log.json``, and
nothing is lost. The oldest file goes where there are too many. Compression is the work of a child,
so that the container does not wait for it.
"""

from __future__ import annotations

import os
import time

from engine import logopts
from engine.loglines import Log
from engine.logopts import Limits
from kernel import signals, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.containers import Container
    from engine.home import Home

_made = trace.point("engine.logs.made")
_set_aside = trace.point("engine.logs.set_aside")
_rotated = trace.point("engine.logs.rotated")
_compressed = trace.point("engine.logs.compressed")

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def of(home: Home, container: Container) -> Log | None:
    """The log of a container, open for writing; None if its driver keeps none."""
    settings = container.settings
    if settings.log_driver == "journald":
        from engine import journal

        return journal.Writer(container)
    path = logopts.path(home, container)
    if not path:
        return None
    attributes = logopts.attributes(container) if settings.log_opts else {}
    return Writer(path, logopts.of(settings), attributes)


class Writer(Log):
    """Appends lines to a file; ``attributes`` are kept with each."""

    def __init__(
        self, path: str, limits: Limits | None = None, attributes: dict[str, str] | None = None
    ) -> None:
        super().__init__()
        self._path = path
        self._limits = limits or Limits()
        self._given = attributes or {}
        self._attributes = _attributes(self._given)
        self._child = self._pidfd = -1
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if self._limits.max_size:
            _sweep(path)
        self._fd = os.open(path, _FLAGS, 0o640)
        self._size = os.fstat(self._fd).st_size
        self._end_line()
        self._compress()

    def close(self) -> None:
        """No more is written; compression that is under way is left to the next start."""
        if self._child > 0:
            os.kill(self._child, signals.SIGKILL)
            self._reap()
        os.close(self._fd)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The child that compresses, if there is one: ready when it has ended."""
        return (self._pidfd,) if self._pidfd >= 0 else ()

    def reap(self, ready: set[int]) -> None:
        """Takes leave of the child if it has ended; another one does what was added meanwhile.

        If it failed (a full disk), that waits until the next file is full.
        """
        if self._pidfd in ready and self._reap() == 0:
            self._compress()

    def save(self) -> dict[str, Any] | None:
        """What :meth:`restore` needs; None while a child compresses."""
        if self._child > 0:
            return None
        return {
            "path": self._path,
            "limits": list(self._limits.as_dict().values()),
            "attributes": self._given,
            "waiting": {name: rest.decode("latin-1") for name, rest in self._waiting.items()},
        }

    @staticmethod
    def restore(saved: dict[str, Any]) -> Writer:
        """The log that was saved, opened anew."""
        made = Writer(saved["path"], Limits(*saved["limits"]), saved["attributes"])
        made._waiting = {name: rest.encode("latin-1") for name, rest in saved["waiting"].items()}
        return made

    def _entry(self, stream: str, line: bytes) -> bytes:
        from _json import encode_basestring_ascii as quoted

        text = quoted(line.decode("utf-8", "surrogateescape"))
        head = f'{{"log":{text},"stream":"{stream}"{self._attributes},'
        return f'{head}"time":"{timestamp()}"}}\n'.encode()

    def record(self, stream: str, lines: list[bytes]) -> None:
        """Appends lines; a file that is full is set aside before."""
        entries = [self._entry(stream, line) for line in lines]
        limit = self._limits.max_size
        if not limit:
            self._put(entries)
            return
        batch: list[bytes] = []
        size = self._size
        for entry in entries:
            if size >= limit:
                self._put(batch)
                self._rotate()
                batch, size = [], self._size
            batch.append(entry)
            size += len(entry)
        self._put(batch)

    def _put(self, entries: Iterable[bytes]) -> None:
        content = b"".join(entries)
        view = memoryview(content)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
            self._size += len(content)
        except OSError:  # a full disk must not stop the container, nor leave half a line
            try:
                os.ftruncate(self._fd, self._size)
            except OSError:
                return

    def _end_line(self) -> None:
        """A line that a crash has cut off must not spoil the next one."""
        if self._size:
            with open(self._path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    self._put([b"\n"])

    # -- rotation --------------------------------------------------------------------------

    def _rotate(self) -> None:
        """Sets the full file aside and begins a new one; if that cannot be, the old one grows."""
        new = f"{self._path}.new"
        try:
            fd = os.open(new, _FLAGS | os.O_TRUNC, 0o640)
        except OSError:
            return
        _made()
        try:
            if self._limits.max_files > 1:
                number = max((number for number, _ in set_aside(self._path)), default=0) + 1
                os.rename(self._path, f"{self._path}.{number}")
                _set_aside()
            os.rename(new, self._path)
        except OSError:  # somebody took the files away: what is written goes on where it was
            os.close(fd)
            return
        os.close(self._fd)
        self._fd, self._size = fd, 0
        _rotated()
        self._prune()
        self._compress()

    def _prune(self) -> None:
        found = set_aside(self._path)
        numbers = sorted({number for number, _ in found})
        gone = numbers[: max(0, len(numbers) - (self._limits.max_files - 1))]
        for number, name in found:
            if number in gone:
                _unlink(name)

    def _compress(self) -> None:
        """Has a child compress what is set aside, one child at a time."""
        if not self._limits.compress or self._child > 0:
            return
        plain = [name for _, name in set_aside(self._path) if not name.endswith(".gz")]
        if not plain:
            return
        parent = os.getpid()
        try:
            child = os.fork()
        except OSError:  # later, then
            return
        if child == 0:
            _compress_all(plain, parent)
        self._child, self._pidfd = child, os.pidfd_open(child)

    def _reap(self) -> int:
        """Waits for the child; its wait status."""
        status = os.waitpid(self._child, 0)[1]
        os.close(self._pidfd)
        self._child = self._pidfd = -1
        return status


def timestamp() -> str:
    """Now, as RFC 3339 with nanoseconds in UTC."""
    seconds, nanos = divmod(time.time_ns(), 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanos:09}Z"


def set_aside(path: str) -> list[tuple[int, str]]:
    """(number, path) of each file that was set aside, the oldest first.

    A number may come twice, plain and compressed, where a compression has just ended or a crash
    came in between: both have the same lines.
    """
    folder, _, base = path.rpartition("/")
    found = []
    for name in os.listdir(folder):
        if name.startswith(f"{base}."):
            word = name[len(base) + 1 :].removesuffix(".gz")
            if word.isascii() and word.isdigit():
                found.append((int(word), f"{folder}/{name}"))
    return sorted(found)


def _attributes(given: dict[str, str]) -> str:
    from kernel import quickjson

    return f',"attrs":{quickjson.dumps(given)}' if given else ""


def _sweep(path: str) -> None:
    """Removes what a crash left: half-made files, and the plain one beside a compressed one."""
    folder, _, base = path.rpartition("/")
    for name in os.listdir(folder):
        if name == f"{base}.new" or (name.startswith(f"{base}.") and name.endswith(".part")):
            _unlink(f"{folder}/{name}")
    names = {name for _, name in set_aside(path)}
    for name in names:
        if f"{name}.gz" in names:
            _unlink(name)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _compress_all(names: list[str], parent: int) -> None:
    """The child: compresses files, each complete under its new name before the old one goes."""
    code = 1
    try:
        from kernel import process
        from kernel.paths import close_range

        process.set_pdeathsig(signals.SIGKILL)
        if os.getppid() == parent:
            close_range(3)  # the container's streams and our socket are not ours to keep open
            os.nice(10)
            for name in names:
                _compress_one(name)
            code = 0
    finally:
        os._exit(code)


def _compress_one(name: str) -> None:
    import zlib

    part = f"{name}.gz.part"
    try:
        with open(name, "rb") as plain, open(part, "wb") as out:
            os.fchmod(out.fileno(), 0o640)
            packer = zlib.compressobj(wbits=31)  # with the header of gzip
            while chunk := plain.read(1 << 18):
                out.write(packer.compress(chunk))
            out.write(packer.flush())
    except FileNotFoundError:  # it was one too many meanwhile
        return
    os.rename(part, f"{name}.gz")
    _compressed()
    _unlink(name)
