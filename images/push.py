"""Pushing: an image from the store to a registry.

What the registry has already is not sent: it is asked for the blob, then asked to take it from
another repository of its own where this store saw it. Layers that are kept plain are compressed
on the way (registries and peers expect that); which digest that gave is remembered, so that the
next push need not compress to find out that there is nothing to do.
"""

from __future__ import annotations

import os
import tempfile

from images import compression, manifests, parallel
from images.errors import ImageError
from images.manifests import Descriptor, Manifest
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.config import Layer
    from images.pull import Told
    from images.references import Reference
    from images.registry import Registry
    from images.store import Store

AT_ONCE = 3  # layers; Docker has 5


class Pushed(Record):
    """The manifest that was pushed: its digest (hex digits) and size in bytes."""

    digest: str
    size: int


def push(
    store: Store,
    registry: Registry,
    reference: Reference,
    *,
    told: Told = lambda _digest, _state, _done, _total: None,
) -> Pushed:
    """Sends the image of that name. ImageNotFound, RegistryError."""
    if reference.digest:
        raise ImageError(f"cannot push {reference.familiar}", "push takes a tag, not a digest")
    image_id = store.known(reference)
    if not image_id:
        raise store.missing(reference.familiar)
    layers = store.layers(image_id)
    descriptors = _send_all(store, registry, reference, layers, told)
    _send_config(store, registry, reference.path, image_id)
    config = Descriptor(image_id, store.blobs.size(image_id), manifests.OCI_CONFIG)
    content = manifests.encode(Manifest(config, descriptors))
    digest = registry.push_manifest(reference.path, reference.tag, content, manifests.OCI_MANIFEST)
    with store.adding() as adding:
        adding.put(content)
        store.record_digest(image_id, reference, digest)
    store.told("push", image_id, reference.familiar)
    return Pushed(digest, len(content))


def _send_config(store: Store, registry: Registry, repository: str, image_id: str) -> None:
    if not registry.has_blob(repository, image_id):
        path = store.blobs.path(image_id)
        registry.push_blob(repository, image_id, path, store.blobs.size(image_id))


def _send_all(
    store: Store, registry: Registry, reference: Reference, layers: list[Layer], told: Told
) -> tuple[Descriptor, ...]:
    """All layers, several at once; the database is asked and told by this thread alone."""
    known = {layer.diff_id: store.seen(layer.diff_id, reference.domain) for layer in layers}
    unique = {layer.diff_id: layer for layer in layers}

    def one(layer: Layer, go_on: Callable[[], None]) -> Descriptor:
        def heard(digest: str, state: str, done: int, total: int) -> None:
            go_on()
            told(digest, state, done, total)

        return _send(store, registry, reference.path, layer, known[layer.diff_id], heard)

    made = parallel.each(unique.values(), one, AT_ONCE)
    sent = dict(zip(unique, made, strict=True))
    for diff_id, there in sent.items():
        store.saw(diff_id, there.digest, there.size, reference)
    return tuple(sent[layer.diff_id] for layer in layers)


def _send(
    store: Store,
    registry: Registry,
    repository: str,
    layer: Layer,
    known: list[tuple[str, int, str]],
    told: Told,
) -> Descriptor:
    shown = layer.diff_id
    for digest, size, where in known:
        if where == repository and registry.has_blob(repository, digest):
            told(shown, "exists", size, size)
            return Descriptor(digest, size, _media_type(_kind(store, digest)))
    for digest, size, where in known:
        if where != repository and registry.mount_blob(repository, digest, where):
            told(shown, f"mounted from {where}", size, size)
            return Descriptor(digest, size, _media_type(_kind(store, digest)))
    path = store.blobs.path(layer.digest)
    kind = compression.kind_of(path)
    if kind in ("gzip", "zstd"):
        return _upload(registry, repository, layer.digest, path, kind, shown, told)
    with tempfile.NamedTemporaryFile(dir=store.blobs.folder, prefix=".new-push-") as packed:
        told(shown, "compressing", 0, layer.size)
        digest = compression.recompress(path, packed)
        return _upload(registry, repository, digest, packed.name, "gzip", shown, told)


def _upload(
    registry: Registry, repository: str, digest: str, path: str, kind: str, shown: str, told: Told
) -> Descriptor:
    size = os.stat(path).st_size
    if registry.has_blob(repository, digest):
        told(shown, "exists", size, size)
    else:
        registry.push_blob(
            repository, digest, path, size, lambda done: told(shown, "pushing", done, size)
        )
        told(shown, "pushed", size, size)
    return Descriptor(digest, size, _media_type(kind))


def _kind(store: Store, digest: str) -> str:
    """The compression of an archive that a registry has: as it is kept here, else of our making."""
    path = store.blobs.path(digest)
    return compression.kind_of(path) if os.path.exists(path) else "gzip"


def _media_type(kind: str) -> str:
    return f"{manifests.OCI_LAYER}+{kind}" if kind else manifests.OCI_LAYER
