"""Removing what nobody uses: stopped containers, volumes, images, what builds keep."""

from __future__ import annotations

from engine import containers, events, networks, remove, sizes, usage
from kernel import tree
from kernel.errors import Conflict, NotFound
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.home import Home

    Wanted = Callable[[Any], bool]

_STOPPED = ("created", "exited")


class Pruned(Record):
    """What is gone, as a person reads it, and how many bytes are free now."""

    gone: tuple[str, ...]
    freed: int


def prune_containers(home: Home, wanted: Wanted) -> Pruned:
    """All containers that do not run. Their anonymous volumes go to the trash."""
    gone: list[str] = []
    freed = 0
    for one in containers.listing(home):
        if one.status not in _STOPPED or not wanted(one):
            continue
        size = sizes.of(home, one).writable
        try:
            remove.remove(home, one.id)
        except (Conflict, NotFound):  # started or removed just now
            continue
        gone.append(one.id)
        freed += size
    return _told(home, "container", gone, freed)


def prune_networks(home: Home, wanted: Wanted) -> Pruned:
    """All networks but the default one that no container has."""
    gone = networks.prune(home, wanted)
    return _told(home, "network", [one.name for one in gone], 0)


def prune_volumes(home: Home, wanted: Wanted, *, named: bool, trash: bool) -> Pruned:
    """All volumes that no container has, named ones if ``named``; and the ``trash``."""
    going = {
        one.name: tree.content_size(home.volumes.data(one.name))
        for one in home.volumes.listing()
        if (one.anonymous or named) and not home.volumes.is_used(one.name) and wanted(one)
    }
    gone = home.volumes.free(going)
    freed = sum(going[name] for name in gone)
    if trash:
        freed += sum(size for _, _, size in usage.of_trash(home))
        home.volumes.empty_trash(older_than=0)
    return _told(home, "volume", gone, freed)


def prune_images(home: Home, wanted: Wanted, *, named: bool) -> Pruned:
    """All images that have no name and no container; those with names as well if ``named``."""
    found = usage.Images(home)
    going = [
        one
        for one in found.all
        if not one.containers
        and (named or not home.images.names(one.id))
        and wanted(home.images.get(one.id))
    ]

    def users(image_id: str) -> list[str]:
        query = "SELECT name FROM containers WHERE image_id = ?"
        return [row[0] for row in home.db.execute(query, (image_id,))]

    lines: list[str] = []
    gone: set[str] = set()
    for one in going:
        try:
            names, ids = home.images.remove(one.id, users, force=True)
        except (Conflict, NotFound):  # a container was made of it just now, or it is gone
            continue
        lines += [f"untagged: {name}" for name in names]
        lines += [f"deleted: sha256:{image_id}" for image_id in ids]
        gone.update(ids)
    return _told(home, "image", lines, found.only_in(frozenset(gone)))


def prune_builds(home: Home, wanted: Wanted, *, everything: bool) -> Pruned:
    """What builds keep and no image has; with ``everything`` also the knowledge of its layers.

    What a build is using stays.
    """
    cache = home.images.build_cache
    gone = cache.remove(
        [one for one in cache.entries() if (everything or not one.shared) and wanted(one)]
    )
    return _told(home, "builder", [one.key for one in gone], usage.of_cache(gone))


def _told(home: Home, kind: str, gone: list[str], freed: int) -> Pruned:
    events.emit(home, kind, "prune", "", {"reclaimed": str(freed)})
    return Pruned(tuple(gone), freed)
