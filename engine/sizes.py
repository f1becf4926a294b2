"""How much a container takes: `ps --size`, and whoever else asks.

Sizes are those of the regular files, in bytes, as Docker counts them: a file with several names
counts once, folders and deletions count nothing. Volumes are no part of a container's size.
"""

from __future__ import annotations

from kernel import tree
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home


class Sizes(Record):
    """Bytes: ``writable`` of what the container itself wrote, ``image`` of the layers below."""

    writable: int
    image: int

    @property
    def virtual(self) -> int:
        """What a person sees in the container; all containers of an image share ``image``."""
        return self.writable + self.image


def of(home: Home, container: Container) -> Sizes:
    """The sizes of one container, running or not; walks all of its writable layer."""
    return Sizes(
        tree.content_size(f"{home.folder(container.id)}/upper"),
        home.images.size(container.image_id),
    )
