"""What happened, in order: one JSON object a line in ``events.log`` below the root folder.

There is no daemon to ask, so whoever does something says so here: one write(2) to a file opened
with O_APPEND, which the kernel does not mix with others. An event that cannot be written (a full
disk) stops nothing.
"""

from __future__ import annotations

import os
import time

from kernel import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home


def emit(home: Home, kind: str, action: str, identity: str, attributes: dict[str, str]) -> None:
    """Records one event; ``kind`` is container, image, volume or network, as Docker has them."""
    said = {
        "Type": kind,
        "Action": action,
        "Actor": {"ID": identity, "Attributes": attributes},
        "timeNano": time.time_ns(),
    }
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        fd = os.open(f"{home.root}/events.log", flags, 0o600)
        try:
            os.write(fd, quickjson.dumps(said).encode() + b"\n")
        finally:
            os.close(fd)
    except OSError:
        return


def of_container(home: Home, container: Container, action: str, **more: str) -> None:
    """An event of a container, with its name, image and labels as attributes."""
    attributes = {**container.settings.labels, "image": container.image, "name": container.name}
    emit(home, "container", action, container.id, attributes | more)
