"""A container's file system as one tar stream, as `image import` takes it, without volumes.

The order is that of names, and with SOURCE_DATE_EPOCH no file is younger than that: the same files
give the same archive.
"""

from __future__ import annotations

import os

from engine import events, skeleton
from engine.still import Still
from images import clock
from overlay import packing, view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from engine.containers import Container
    from engine.home import Home


def export(home: Home, container: Container, out: IO[bytes]) -> None:
    """Writes the union of the image and the writable layer; a running container is frozen."""
    folder = home.folder(container.id)
    with Still(home, container):
        image = home.images.get(container.image_id)
        stack = (f"{folder}/upper", *skeleton.lower(home, image))
        root = view.opened(stack, f"{folder}/rootfs")
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
        try:
            packing.pack(readable, out, clock.epoch())
        finally:
            os.close(readable)
            os.close(root)
    events.of_container(home, container, "export")
