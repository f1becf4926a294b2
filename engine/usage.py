"""What of the disk is used for what: `system df`.

Sizes are bytes of regular files, as everywhere. Layers are shared: an image's ``unique`` bytes are
those of layers that no other image has, and what all images take together counts each layer once.
"""

from __future__ import annotations

from engine import containers, sizes
from kernel import tree
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.containers import Container
    from engine.home import Home
    from images.build.cache import Entry
    from volumes.store import Volume


class ImageUsage(Record):
    """``unique`` and ``shared`` bytes of an image, and how many containers have it."""

    id: str
    layers: tuple[str, ...]
    unique: int
    shared: int
    containers: int


class Total(Record):
    """One line of `system df`: objects, those in use, bytes, and bytes that nobody uses."""

    count: int
    active: int
    size: int
    reclaimable: int


class Images:
    """All images with the sizes of their layers, each of which is walked once."""

    def __init__(self, home: Home) -> None:
        query = "SELECT DISTINCT diff_id FROM build_cache"
        self._cached = {row[0] for row in home.db.execute(query)}
        stacks: dict[str, list[str]] = {
            row[0]: [] for row in home.db.execute("SELECT id FROM images ORDER BY created DESC")
        }
        for image_id in stacks:
            stacks[image_id] = [layer.diff_id for layer in home.images.layers(image_id)]
        users: dict[str, int] = {}
        for (image_id,) in home.db.execute("SELECT image_id FROM containers"):
            users[image_id] = users.get(image_id, 0) + 1
        having: dict[str, int] = {}
        for stack in stacks.values():
            for diff_id in set(stack):
                having[diff_id] = having.get(diff_id, 0) + 1
        self._sizes = {
            diff_id: tree.content_size(home.images.layer_folder(diff_id)) for diff_id in having
        }
        self.all = [
            ImageUsage(
                image_id,
                tuple(stack),
                self._bytes(d for d in set(stack) if having[d] == 1),
                self._bytes(d for d in set(stack) if having[d] > 1),
                users.get(image_id, 0),
            )
            for image_id, stack in stacks.items()
        ]

    def _bytes(self, layers: Iterable[str]) -> int:
        return sum(self._sizes[diff_id] for diff_id in layers)

    def only_in(self, going: frozenset[str]) -> int:
        """Bytes of the layers that are in no image but these, and that no build keeps."""
        kept = self._cached | {
            d for image in self.all if image.id not in going for d in image.layers
        }
        gone = {d for image in self.all if image.id in going for d in image.layers}
        return self._bytes(gone - kept)

    def total(self) -> Total:
        """What they take together."""
        idle = frozenset(image.id for image in self.all if not image.containers)
        return Total(
            len(self.all),
            len(self.all) - len(idle),
            sum(self._sizes.values()),
            self.only_in(idle),
        )


def of_containers(home: Home) -> list[tuple[Container, int]]:
    """All containers, the newest first, with the bytes that they have written themselves."""
    return [(one, sizes.of(home, one).writable) for one in containers.listing(home)]


def of_volumes(home: Home) -> list[tuple[Volume, int, int]]:
    """All volumes with the number of their containers, and their bytes."""
    return [
        (one, len(home.volumes.users(one.name)), tree.content_size(home.volumes.data(one.name)))
        for one in home.volumes.listing()
    ]


def of_trash(home: Home) -> list[tuple[str, float, int]]:
    """(name, unix time of retirement, bytes) of the volumes that can be restored."""
    folder = f"{home.volumes.root}/.trash"
    return [
        (name, at, tree.content_size(f"{folder}/{name}/_data"))
        for name, at in sorted(home.volumes.trash(), key=lambda kept: kept[1])
    ]


def of_cache(entries: Iterable[Entry]) -> int:
    """Bytes that entries of the build cache take besides the images; a layer counts once."""
    alone = {one.diff_id or one.key: one.size for one in entries if not one.shared}
    return sum(alone.values())


def total_of_cache(entries: list[Entry]) -> Total:
    """What builds keep; what images have as well is in use, and its bytes are theirs."""
    size = of_cache(entries)
    return Total(len(entries), sum(one.shared for one in entries), size, size)


def total_of_containers(found: list[tuple[Container, int]]) -> Total:
    """The sum of :func:`of_containers`."""
    idle = sum(size for one, size in found if one.status not in containers.UP)
    active = sum(one.status in containers.UP for one, _ in found)
    return Total(len(found), active, sum(size for _, size in found), idle)


def total_of_volumes(found: list[tuple[Volume, int, int]]) -> Total:
    """The sum of :func:`of_volumes`."""
    idle = sum(size for _, users, size in found if not users)
    active = sum(users > 0 for _, users, _ in found)
    return Total(len(found), active, sum(size for _, _, size in found), idle)
