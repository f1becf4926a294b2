"""Pulling: an image from a registry into the store.

The manifest says what the image is made of; what is here already is not fetched. Layers come
several at once, each verified on its way in and gone on with after a broken connection, also by
a later pull (images.blobs). Then all are unpacked and the image gets its name in one transaction.
"""

from __future__ import annotations

from images import config, manifests, parallel, platforms
from images.errors import ImageError
from images.web import TRIES, Broken, pause
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.adding import Adding
    from images.config import Layer
    from images.manifests import Descriptor, Manifest
    from images.platforms import Platform
    from images.references import Reference
    from images.registry import Registry
    from images.store import Store

    # A layer's digest, what happens to it, bytes done, bytes in all.
    Told = Callable[[str, str, int, int], None]

AT_ONCE = 3  # layers; as Docker


class Pulled(Record):
    """``digest`` is that of the manifest or index that the name stands for; ``fresh`` whether the
    name meant another image before, or none."""

    image_id: str
    digest: str
    fresh: bool


def pull(
    store: Store,
    registry: Registry,
    reference: Reference,
    *,
    platform: Platform | None = None,
    told: Told = lambda _digest, _state, _done, _total: None,
) -> Pulled:
    """Brings an image in and gives it its name. ImageNotFound, RegistryError, ImageError."""
    wanted = reference.digest or reference.tag
    top = registry.manifest(reference.path, wanted)
    image = _for_platform(registry, reference.path, top.content, platform)
    before = store.known(reference)
    with store.adding() as adding:
        manifest_digest = adding.put(top.content)
        content = _config(adding, registry, reference.path, image.config)
        parsed = config.parse(content)
        if len(parsed.diff_ids) != len(image.layers):
            raise ImageError(
                "the image's manifest is refused",
                f"{len(image.layers)} layers for {len(parsed.diff_ids)} diff ids",
            )
        _check(parsed, platform)
        layers = _layers(store, adding, registry, reference, image, parsed.diff_ids, told)
        image_id = adding.image(content, layers, [reference], "pull", manifest_digest)
    return Pulled(image_id, top.digest, image_id != before)


def _for_platform(
    registry: Registry, repository: str, content: bytes, platform: Platform | None
) -> Manifest:
    found = manifests.parse(content)
    if isinstance(found, manifests.Index):
        own = manifests.select(found, platform or platforms.parse("linux"))
        found = manifests.parse(registry.manifest(repository, f"sha256:{own.digest}").content)
    if isinstance(found, manifests.Index):
        raise ImageError("the image's manifest is refused", "an index names another index")
    return found


def _check(parsed: config.ImageConfig, platform: Platform | None) -> None:
    """An image of one platform must be of the one that was asked for by name."""
    if platform is not None:
        platforms.require(parsed, str(platform))


def _config(adding: Adding, registry: Registry, repository: str, one: Descriptor) -> bytes:
    if one.size > manifests.CONTENT_MAX:
        raise ImageError("the image's configuration is refused", f"it has {one.size} bytes")
    _fetch(adding, registry, repository, one, lambda _done: None)
    return adding.blobs.read(one.digest)


def _layers(
    store: Store,
    adding: Adding,
    registry: Registry,
    reference: Reference,
    image: Manifest,
    diff_ids: tuple[str, ...],
    told: Told,
) -> list[Layer]:
    """All layers of an image, unpacked."""
    sizes = {layer.digest: layer.size for layer in image.layers}
    wanted: list[tuple[str, str]] = []
    missing: dict[str, Descriptor] = {}
    for layer, diff_id in zip(image.layers, diff_ids, strict=True):
        digest = store.archive_of(diff_id)
        if digest and adding.has(digest):
            told(layer.digest, "exists", layer.size, layer.size)
            wanted.append((digest, diff_id))
            continue
        missing[layer.digest] = layer
        wanted.append((layer.digest, diff_id))
    _fetch_all(adding, registry, reference.path, list(missing.values()), told)

    def unpacked(digest: str) -> None:
        told(digest, "done", sizes.get(digest, 0), sizes.get(digest, 0))

    for digest in missing:
        told(digest, "unpacking", 0, sizes[digest])
    made = adding.layers(wanted, unpacked)
    for one, layer in zip(made, image.layers, strict=True):
        store.saw(one.diff_id, layer.digest, layer.size, reference)
    return made


def _fetch_all(
    adding: Adding, registry: Registry, repository: str, layers: list[Descriptor], told: Told
) -> None:
    """Fetches layers, several at once; the first failure ends all."""

    def one(layer: Descriptor, go_on: Callable[[], None]) -> None:
        def progress(done: int) -> None:
            go_on()
            told(layer.digest, "fetching", done, layer.size)

        _fetch(adding, registry, repository, layer, progress)
        told(layer.digest, "fetched", layer.size, layer.size)

    for layer in layers:
        told(layer.digest, "waiting", 0, layer.size)
    if layers:
        parallel.each(layers, one, AT_ONCE)


def _fetch(
    adding: Adding,
    registry: Registry,
    repository: str,
    one: Descriptor,
    progress: Callable[[int], None],
) -> None:
    """One blob; a connection that breaks is opened again, from where it broke.

    What brings something is tried again as often as it takes; what brings nothing, a few times.
    """
    failures = furthest = 0

    def heard(done: int) -> None:
        nonlocal failures, furthest
        if done > furthest:
            failures, furthest = 0, done
        progress(done)

    while True:
        try:
            adding.fetch(
                one.digest,
                one.size,
                lambda offset: registry.blob(repository, one.digest, offset),
                heard,
            )
            return
        except Broken:
            failures += 1
            if failures >= TRIES:
                raise
            pause(failures)
