"""What is wrong with images: rows against content, and what a crash has left.

Content is checked by its presence, and with ``thorough`` by its digest, which reads all of it.
Layers that are gone are unpacked again from their archives; what is gone without a source can only
be brought in again, and the finding says from where. Content that no row names is swept when it is
a day old, and until then a broken download goes on with it: that is no finding.
"""

from __future__ import annotations

import hashlib
import os

from images import recovery
from images.errors import ImageError
from images.unpacking import Job
from kernel.finding import Finding, wrong_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from images.config import Layer
    from images.store import Store
    from kernel.locks import Held


_AGAIN = "bring the image in again (pull, load or build)"


def check(store: Store, *, thorough: bool = False) -> Iterator[Finding]:
    """All findings about the images of a store."""
    yield from wrong_mode("the folder of layers", store.unpacked.folder, 0o711)
    yield from wrong_mode("the folder of blobs", store.blobs.folder, 0o700)
    layers: dict[str, Layer] = {}
    for image_id in store.ids():
        yield from _configuration(store, image_id, thorough=thorough)
        layers |= {layer.diff_id: layer for layer in store.layers(image_id)}
    for layer in layers.values():
        yield from _layer(store, layer, thorough=thorough)
    left = sorted(store.leftovers())
    if left:
        what = f"{len(left)} files and folders that no image has, a day old: {left[0]} ..."
        yield Finding("images", what, store.root, "remove them", store.sweep)


def _said(store: Store, image_id: str) -> str:
    return f"image {', '.join(store.names(image_id)) or image_id[:12]}"


def _configuration(store: Store, image_id: str, *, thorough: bool) -> Iterator[Finding]:
    """The configuration is small: it is always read."""
    about, path = _said(store, image_id), store.blobs.path(image_id)
    try:
        config = store.get(image_id).config
    except (OSError, ImageError):
        yield _spoilt(about, "its configuration", path)
        return
    if thorough and not _is(path, image_id):
        yield _spoilt(about, "its configuration", path)
    elif not store.knows(image_id, config):
        yield Finding(about, "the database knows other layers than its configuration", path,
                      "let it know those", lambda: recovery.recover(store))  # fmt: skip


def _layer(store: Store, layer: Layer, *, thorough: bool) -> Iterator[Finding]:
    """A layer's folder, and the archive that it is unpacked from."""
    archive, folder = store.blobs.path(layer.digest), store.layer_folder(layer.diff_id)
    about = f"layer {layer.diff_id[:12]} of {_said(store, store.images_with(layer.diff_id)[0])}"
    whole = os.path.isfile(archive) and not (thorough and not _is(archive, layer.digest))
    if not whole:
        yield _spoilt(about, "its archive, without which it cannot be saved or pushed,", archive)
    if os.path.isdir(folder):
        return
    if whole:
        yield Finding(about, "its folder is gone", folder, "unpack it again from its archive",
                      lambda: _unpack(store, layer))  # fmt: skip
    else:
        yield Finding(about, "its folder is gone, and its archive as well", folder, _AGAIN)


def _spoilt(about: str, what: str, path: str) -> Finding:
    """Content that is not what its digest says is worth nothing, and in the way of what is."""
    if not os.path.exists(path):
        return Finding(about, f"{what} is gone", path, _AGAIN)
    remedy = f"remove that; then {_AGAIN}"
    return Finding(about, f"{what} is damaged", path, remedy, lambda: os.unlink(path))


def _is(path: str, digest: str) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _unpack(store: Store, layer: Layer) -> None:
    held: list[Held] = []
    job = Job(store.blobs.path(layer.digest), layer.diff_id)
    try:
        store.unpacked.unpack([job], held.append, lambda _job: None)
    finally:
        for one in held:
            one.release()
