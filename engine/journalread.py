"""Reading what a container has said back from systemd's journal, by journalctl(1).

Only entries that root has sent count: everybody may write to the journal, and any field he likes,
but who sent an entry is noted by the journal itself (the fields that begin with an underscore).

Source: journalctl(1); systemd.journal-fields(7); systemd, "Journal Export Formats", JSON.
"""

from __future__ import annotations

import os
import select
import time

from engine.errors import EngineError
from engine.journal import OWN_FIELDS
from engine.logread import Entry
from kernel import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import Popen
    from typing import Any

    from engine.containers import Container

_CHUNK = 1 << 16
_PAUSE = 0.2  # seconds between two looks at whether the container goes on
_SYNC = 10.0  # seconds that the journal has to write down what it was sent
_PROGRAM = "journalctl"


def read(
    container: Container,
    *,
    follow: Callable[[], bool] | None = None,
    tail: int | None = None,
    since: str = "",
    until: str = "",
) -> Iterator[Entry]:
    """The entries of a container, as :func:`engine.logread.read` gives those of a file.

    EngineError if there is no journalctl, or it fails.
    """
    begin = [] if tail is None else [f"--lines={max(tail, 1)}"]
    if tail is None and since > "1970":
        begin = [f"--since={since[:10]} {since[11:19]} UTC"]
    cursor = ""
    _sync(container)
    for place, entry in _entries(container, begin):
        cursor = place
        if tail != 0 and _is_between(entry, since, until):
            yield entry
    if follow is None:
        return
    for going_on in (follow, None):  # at last, what was said before the end came
        if going_on is None:
            _sync(container)
        rest = [f"--after-cursor={cursor}"] if cursor else []
        for place, entry in _entries(container, rest, going_on):
            cursor = place
            if _is_between(entry, since, until):
                yield entry


def _is_between(entry: Entry, since: str, until: str) -> bool:
    return entry.time >= since and not (until and entry.time > until)


def _sync(container: Container) -> None:
    """Has the journal write down what it was sent; one that does not run is none to wait for."""
    import subprocess

    program = _program(container)
    try:
        subprocess.run(
            [program, "--sync"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SYNC
        )
    except subprocess.TimeoutExpired:
        return


def _entries(
    container: Container, where: list[str], going_on: Callable[[], bool] | None = None
) -> Iterator[tuple[str, Entry]]:
    """(cursor, entry) of what ``where`` says; with ``going_on``, new ones too while it is true."""
    import subprocess

    words = ["--output=json", "--all", "--quiet", "--no-pager", *where]
    if going_on is not None:
        words += ["--follow", "--no-tail"]
    words += [f"CONTAINER_ID_FULL={container.id}", f"_UID={os.geteuid()}"]
    with open(os.memfd_create("errors"), "w+b") as errors:
        program = subprocess.Popen(
            [_program(container), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        with program:
            try:
                for line in _lines(program, going_on):
                    said = quickjson.loads(line)
                    yield said["__CURSOR"], _entry(said)
            finally:
                program.kill()  # of no effect if it has ended by itself
        if program.returncode > 0:
            errors.seek(0)
            why = errors.read().decode(errors="replace").strip()
            raise _error(container, f"{_PROGRAM}: {why or f'exit {program.returncode}'}")


def _lines(program: Popen[bytes], going_on: Callable[[], bool] | None) -> Iterator[bytes]:
    """What a program writes, line by line, until it ends or nothing goes on."""
    assert program.stdout is not None
    fd = program.stdout.fileno()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    rest = b""
    while going_on is None or going_on():
        if not poll.poll(None if going_on is None else _PAUSE * 1000):
            continue
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            program.wait()
            return
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _program(container: Container) -> str:
    import shutil

    found = shutil.which(_PROGRAM)
    if found is None:
        raise _error(container, f"it is in the journal, and there is no program {_PROGRAM}")
    return found


def _error(container: Container, why: str) -> EngineError:
    return EngineError(f"cannot read the log of container {container.name}", why, exit_code=1)


def _entry(said: dict[str, Any]) -> Entry:
    content = _value(said.get("MESSAGE"))
    if _value(said.get("CONTAINER_PARTIAL_MESSAGE")) != b"true":
        content += b"\n"
    seconds, micros = divmod(int(said["__REALTIME_TIMESTAMP"]), 10**6)
    at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{micros:06}000Z"
    more = {
        name: _value(value).decode(errors="replace")
        for name, value in said.items()
        if name[0] != "_" and name not in OWN_FIELDS
    }
    return Entry(content, "stderr" if said.get("PRIORITY") == "3" else "stdout", at, more)


def _value(value: Any) -> bytes:
    """A field as journalctl writes it: text, or a list of numbers where it is not printable."""
    return bytes(value) if isinstance(value, list) else (value or "").encode()
