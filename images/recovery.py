"""Images whose rows are lost with the database, known again by their content.

A configuration names its layers by their diff ids; a kept manifest says which archive is which
layer, and without one the archive is the plain one. The names of images were in the database only.

Source: OCI image specification, config.md ("rootfs") and manifest.md.
"""

from __future__ import annotations

import os

from images.config import Layer, parse
from images.errors import ImageError
from kernel import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from images.store import Store

_LARGEST = 4 << 20  # bytes that a configuration or a manifest may have
_DIGITS = 64


def recover(store: Store) -> list[str]:
    """Gives rows to each image whose configuration and layers are all there; returns their ids."""
    found = _documents(store)
    archives: dict[str, list[str]] = {}
    for said in found.values():
        if isinstance(said.get("layers"), list) and isinstance(said.get("config"), dict):
            archives[_digest(said["config"])] = [_digest(one) for one in said["layers"]]
    return [one for one in found if _registered(store, one, archives.get(one, []))]


def _documents(store: Store) -> dict[str, dict[str, Any]]:
    """The blobs that are JSON objects, by digest."""
    folder = store.blobs.folder
    found = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if len(name) != _DIGITS or os.stat(f"{folder}/{name}").st_size > _LARGEST:
            continue
        content = store.blobs.read(name)
        try:
            said = quickjson.loads(content) if content.startswith(b"{") else None
        except ValueError:
            continue
        if isinstance(said, dict):
            found[name] = said
    return found


def _digest(descriptor: Any) -> str:
    said = descriptor.get("digest") if isinstance(descriptor, dict) else ""
    return str(said).removeprefix("sha256:")


def _registered(store: Store, image_id: str, archives: list[str]) -> bool:
    """Whether it is an image that is complete, and has rows now that it did not have."""
    try:
        config = parse(store.blobs.read(image_id))
    except ImageError:
        return False
    folders = [store.layer_folder(diff_id) for diff_id in config.diff_ids]
    if not folders or not all(map(os.path.isdir, folders)) or store.knows(image_id, config):
        return False
    digests = archives if len(archives) == len(folders) else config.diff_ids
    layers = [
        Layer(diff_id, digest, store.layer_size(diff_id))
        for diff_id, digest in zip(config.diff_ids, digests, strict=True)
    ]
    store.forget_layers(image_id)
    store.record(image_id, config.created, layers, [], "import")
    return True
