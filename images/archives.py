"""Images from archives: `import` (a root file system) and `load` (an image archive).

`load` reads what `docker save` and `podman save` write (manifest.json), and the OCI image layout
(index.json), plain or compressed, from a file or a pipe.

Source: OCI image specification, image-layout.md, image-index.md, manifest.md.
"""

from __future__ import annotations

import json
import os

from images import clock, config, instructions, manifests, platforms, references
from images.errors import ImageError
from images.members import Members

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import IO, Any

    from images.adding import Adding
    from images.references import Reference
    from images.store import Store

_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def import_root(
    store: Store,
    stream: IO[bytes],
    name: Reference | None,
    changes: Iterable[str] = (),
    message: str = "",
    platform: str = "",
) -> str:
    """Makes an image of one layer from a tar of a root file system; returns its id.

    ``platform`` is what it is for, "" for this machine.
    """
    wanted = instructions.apply({}, changes)
    with store.adding() as adding:
        layers = adding.layers([(adding.keep(stream, layer=True), "")])
        raw = config.new([layers[0].diff_id], clock.now(), wanted, message or "imported")
        if platform:
            meant = platforms.parse(platform)
            raw |= {"os": meant.system, "architecture": meant.architecture}
            raw |= {"variant": meant.variant} if meant.variant else {}
        return adding.image(raw, layers, [name] if name else [], "import")


def load(store: Store, stream: IO[bytes], platform: str = "") -> list[tuple[str, list[Reference]]]:
    """Adds all images of an archive, which may be a pipe; returns (id, names) of each.

    Of an index that is the image for ``platform``, for this machine if "". ImageError if what is
    there is for another platform than the one that was named.
    """
    with store.adding() as adding:
        return _load_all(adding, Members(adding, stream), platform)


def _load_all(adding: Adding, members: Members, platform: str) -> list[tuple[str, list[Reference]]]:
    if "manifest.json" in members:
        entries = _list(_json(members, "manifest.json"), "manifest.json")
        return [_load_docker(adding, members, entry, platform) for entry in entries]
    if "index.json" in members:
        index = _json(members, "index.json")
        return [
            _load_oci(adding, members, entry, platform)
            for entry in _list(_dict(index, "index.json").get("manifests"), "manifests")
        ]
    raise ImageError(
        "this is not an image archive",
        "it holds neither manifest.json nor index.json",
        "to make an image of a root file system use `pyctr image import`",
    )


def _load_docker(
    adding: Adding, members: Members, entry: Any, platform: str
) -> tuple[str, list[Reference]]:
    entry = _dict(entry, "manifest.json")
    names = [references.parse(str(name)) for name in entry.get("RepoTags") or []]
    content = members.read(str(entry.get("Config")))
    _require(content, platform)
    layers = [(str(name), "") for name in _list(entry.get("Layers"), "Layers")]
    return _add(adding, members, content, layers, names), names


def _load_oci(
    adding: Adding, members: Members, entry: Any, platform: str
) -> tuple[str, list[Reference]]:
    entry = _dict(entry, "index.json")
    annotations = _dict(entry.get("annotations") or {}, "annotations")
    written = next((annotations[key] for key in _NAME_ANNOTATIONS if key in annotations), "")
    names = _names(str(written))
    manifest = _for_platform(members, _verified(members, entry), platform)
    content = _blob(members, manifest.get("config"))
    _require(content, platform)
    layers = [_member(descriptor) for descriptor in _list(manifest.get("layers"), "layers")]
    wanted = [(name, name.rpartition("/")[2]) for name in layers]
    return _add(adding, members, content, wanted, names), names


def _add(
    adding: Adding,
    members: Members,
    content: bytes,
    wanted: list[tuple[str, str]],
    names: list[Reference],
) -> str:
    """Layers are (name in the archive, digest that it must have or "")."""
    parsed = config.parse(content)
    if len(parsed.diff_ids) != len(wanted):
        raise ImageError(
            "the image archive is damaged",
            f"{len(wanted)} layers for {len(parsed.diff_ids)} diff ids",
        )
    kept = []
    for (name, promised), diff_id in zip(wanted, parsed.diff_ids, strict=True):
        digest = adding.known(diff_id)
        if not digest:
            digest = members.digest(name)
            if promised not in ("", digest):
                raise ImageError("the image archive is damaged", f"{name} does not have its digest")
        kept.append((digest, diff_id))
    return adding.image(content, adding.layers(kept), names, "load")


def _names(written: str) -> list[Reference]:
    """The name of an image in a layout, whose annotation may be anything: a tag, for example."""
    try:
        return [references.parse(written)] if written else []
    except ImageError:
        return []


def _require(content: bytes, platform: str) -> None:
    if platform:
        platforms.require(config.parse(content), platform)


def _for_platform(members: Members, manifest: dict[str, Any], platform: str) -> dict[str, Any]:
    """The manifest itself, or the one of an index that fits a platform."""
    if "manifests" not in manifest:
        return manifest
    index = manifests.parse(json.dumps(manifest).encode())
    assert isinstance(index, manifests.Index)
    found = manifests.select(index, platforms.parse(platform or "linux"))
    return _verified(members, manifests.described(found))


def _verified(members: Members, descriptor: Any) -> dict[str, Any]:
    try:
        return _dict(json.loads(_blob(members, descriptor)), "manifest")
    except (ValueError, RecursionError) as error:
        raise ImageError("the image archive is damaged", f"manifest: {error}") from None


def _blob(members: Members, descriptor: Any) -> bytes:
    """Small content by its descriptor, its digest checked."""
    import hashlib

    name = _member(descriptor)
    content = members.read(name)
    if hashlib.sha256(content).hexdigest() != name.rpartition("/")[2]:
        raise ImageError("the image archive is damaged", f"{name} does not have its digest")
    return content


def _member(descriptor: Any) -> str:
    digest = _dict(descriptor, "a descriptor").get("digest")
    if not isinstance(digest, str) or not references.is_digest(digest):
        raise ImageError("the image archive is damaged", f"{digest!r} is not a sha256 digest")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _json(members: Members, name: str) -> Any:
    try:
        return json.loads(members.read(name))
    except (ValueError, RecursionError) as error:
        raise ImageError("the image archive is damaged", f"{name}: {error}") from None


def _dict(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ImageError("the image archive is damaged", f"{where} is not an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > 1000:
        raise ImageError("the image archive is damaged", f"{where} is not a list")
    return value


def open_source(path: str) -> IO[bytes]:
    """A file, or standard input for "-"; ImageError if it cannot be read."""
    if path == "-":
        return os.fdopen(os.dup(0), "rb")
    try:
        return open(path, "rb")
    except OSError as error:
        raise ImageError(f"cannot read {path}", (error.strerror or "").lower(), path=path) from None
