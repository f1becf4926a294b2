"""What a container changed in its file system, compared with its image."""

from __future__ import annotations

import os

from engine import locks, skeleton
from overlay import changes as overlay_changes
from overlay import view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home
    from overlay.changes import Change


def changes(home: Home, container: Container) -> list[Change]:
    """`diff`. Volumes are past the union, so nothing of them can show."""
    folder = home.folder(container.id)
    with locks.reading(home, container):
        image = home.images.get(container.image_id)
        below = view.opened(skeleton.lower(home, image), f"{folder}/rootfs")
        try:
            upper = os.open(f"{folder}/upper", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                return list(overlay_changes.changes(upper, below))
            finally:
                os.close(upper)
        finally:
            os.close(below)
