"""What happened, in order: one JSON object a line in ``events.log`` below the root folder.

There is no daemon to ask, so whoever does something says so here: one write(2) to a file opened
with O_APPEND, which the kernel does not mix with others. An event that cannot be written (a full
disk) stops nothing. :mod:`engine.rotation` keeps the file from growing for ever, and
:mod:`engine.history` reads it.

A writer holds a shared lock on the file that it has opened, and looks that this is still the one
of that name: whoever has the lock alone can put another file in its place, and nobody writes to
the old one afterwards.
"""

from __future__ import annotations

import fcntl
import os
import time

from kernel import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

LARGEST = 8 << 20  # bytes of one file; an event has some four hundred
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


def path(home: Home) -> str:
    """The file of events."""
    return f"{home.root}/events.log"


def emit(home: Home, kind: str, action: str, identity: str, attributes: dict[str, str]) -> None:
    """Records one event; ``kind`` is container, image, volume or network, as Docker has them."""
    said = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": identity, "Attributes": attributes},
        "timeNano": time.time_ns(),
    }
    try:
        append(path(home), quickjson.dumps(said).encode() + b"\n")
    except OSError:
        return


def of_container(home: Home, container: Container, action: str, **more: str) -> None:
    """An event of a container, with its name, image and labels as attributes."""
    attributes = {**container.settings.labels, "image": container.image, "name": container.name}
    emit(home, "container", action, container.id, attributes | more)


def of_volumes(home: Home, container: Container, action: str) -> None:
    """mount or unmount, for each volume of a container that has been started or has ended."""
    for mount in home.volumes.mounts(container.id):
        if mount.kind != "volume":
            continue
        attributes = {"container": container.id, "driver": "local"}
        if action == "mount":
            attributes |= {
                "destination": mount.destination,
                "propagation": "",
                "read/write": "false" if mount.readonly else "true",
            }
        emit(home, "volume", action, mount.source, attributes)


def append(file: str, line: bytes) -> None:
    """Adds one line to the file of that name, after a rotation if it is too large. OSError."""
    while True:
        fd = os.open(file, _FLAGS, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            if not is_at(fd, file):
                continue
            if os.fstat(fd).st_size < LARGEST:
                os.write(fd, line)
                return
            from engine import rotation

            rotation.rotate(fd, file)
        finally:
            os.close(fd)


def is_at(fd: int, file: str) -> bool:
    """Whether an open file is the one that has the name now."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(file))
    except FileNotFoundError:
        return False
