"""Images from archives: `import` (a root file system) and `load` (an image archive).

`load` reads what `docker save` and `podman save` write (manifest.json), and the OCI image layout
(index.json), plain or compressed, from a file or a pipe.

Source: OCI image specification, image-layout.md, image-index.md, manifest.md.
"""

from __future__ import annotations

import os
import time

from images import compression, config, instructions, references
from images.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterable
    from typing import IO, Any

    from images.references import Reference
    from images.store import Layer, Store

_JSON_MAX = 4 << 20
_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def import_root(
    store: Store,
    stream: IO[bytes],
    name: Reference | None,
    changes: Iterable[str] = (),
    message: str = "",
) -> str:
    """Makes an image of one layer from a tar of a root file system; returns its id."""
    wanted = instructions.apply({}, changes)
    with store.lock():
        layer = store.add_layer(stream)
        raw = config.new([layer.diff_id], now(), wanted, message or "imported")
        return store.add_image(raw, [layer], [name] if name else [], "import")


def now() -> str:
    """The time in the form of RFC 3339, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def load(store: Store, stream: IO[bytes]) -> list[tuple[str, list[Reference]]]:
    """Adds all images of an archive; returns (id, names) of each."""
    import tarfile

    with store.lock(), _seekable(store, stream) as plain:
        try:
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                return _load_all(store, archive)
        except tarfile.TarError as error:
            raise ImageError("the image archive is damaged", str(error)) from None


def _seekable(store: Store, stream: IO[bytes]) -> IO[bytes]:
    """The plain archive as a file: pipes and compressed files are spooled, never in memory."""
    import shutil
    import tempfile

    plain = compression.opened(stream)
    if plain is stream and stream.seekable():
        return stream
    spool = tempfile.TemporaryFile(dir=f"{store.root}/blobs")
    try:
        shutil.copyfileobj(plain, spool, 1 << 18)
    except compression.damaged() as error:
        raise ImageError("the image archive is damaged", str(error)) from None
    spool.seek(0)
    return spool


def _load_all(store: Store, archive: tarfile.TarFile) -> list[tuple[str, list[Reference]]]:
    if _has(archive, "manifest.json"):
        entries = _json(archive, "manifest.json")
        return [_load_docker(store, archive, entry) for entry in _list(entries, "manifest.json")]
    if _has(archive, "index.json"):
        index = _json(archive, "index.json")
        return [
            _load_oci(store, archive, entry)
            for entry in _list(_dict(index, "index.json").get("manifests"), "manifests")
        ]
    raise ImageError(
        "this is not an image archive",
        "it holds neither manifest.json nor index.json",
        "to make an image of a root file system use `pyctr image import`",
    )


def _load_docker(store: Store, archive: tarfile.TarFile, entry: Any) -> tuple[str, list[Reference]]:
    entry = _dict(entry, "manifest.json")
    names = [references.parse(str(name)) for name in entry.get("RepoTags") or []]
    content = _read(archive, str(entry.get("Config")))
    members = [str(name) for name in _list(entry.get("Layers"), "Layers")]
    return _add(store, archive, content, members, names), names


def _load_oci(store: Store, archive: tarfile.TarFile, entry: Any) -> tuple[str, list[Reference]]:
    entry = _dict(entry, "index.json")
    annotations = _dict(entry.get("annotations") or {}, "annotations")
    written = next((annotations[key] for key in _NAME_ANNOTATIONS if key in annotations), "")
    names = [references.parse(str(written))] if written else []
    manifest = _for_this_host(archive, _verified(archive, entry))
    content = _blob(archive, manifest.get("config"))
    members = [_member(layer) for layer in _list(manifest.get("layers"), "layers")]
    return _add(store, archive, content, members, names), names


def _add(
    store: Store,
    archive: tarfile.TarFile,
    content: bytes,
    members: list[str],
    names: list[Reference],
) -> str:
    parsed = config.parse(content)
    if len(parsed.diff_ids) != len(members):
        raise ImageError(
            "the image archive is damaged",
            f"{len(members)} layers for {len(parsed.diff_ids)} diff ids",
        )
    made: list[Layer] = []
    for member, diff_id in zip(members, parsed.diff_ids, strict=True):
        made.append(store.add_layer(_open(archive, member), diff_id))
    return store.add_config(content, made, names, "load")


def _for_this_host(archive: tarfile.TarFile, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest itself, or the one of an index that fits this machine."""
    if "manifests" not in manifest:
        return manifest
    wanted = config.host_architecture()
    for entry in _list(manifest["manifests"], "manifests"):
        platform = _dict(_dict(entry, "manifests").get("platform") or {}, "platform")
        if platform.get("os") == "linux" and platform.get("architecture") == wanted:
            return _verified(archive, entry)
    raise ImageError("the image does not fit this machine", f"it has nothing for linux/{wanted}")


def _verified(archive: tarfile.TarFile, descriptor: Any) -> dict[str, Any]:
    import json

    try:
        return _dict(json.loads(_blob(archive, descriptor)), "manifest")
    except ValueError as error:
        raise ImageError("the image archive is damaged", f"manifest: {error}") from None


def _blob(archive: tarfile.TarFile, descriptor: Any) -> bytes:
    """Small content by its descriptor, its digest checked."""
    import hashlib

    name = _member(descriptor)
    content = _read(archive, name)
    if hashlib.sha256(content).hexdigest() != name.rpartition("/")[2]:
        raise ImageError("the image archive is damaged", f"{name} does not have its digest")
    return content


def _member(descriptor: Any) -> str:
    digest = _dict(descriptor, "a descriptor").get("digest")
    if not isinstance(digest, str) or not references.is_digest(digest):
        raise ImageError("the image archive is damaged", f"{digest!r} is not a sha256 digest")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _has(archive: tarfile.TarFile, name: str) -> bool:
    return any(entry.name.removeprefix("./") == name for entry in archive.getmembers())


def _open(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    for candidate in (name, f"./{name}"):
        try:
            stream = archive.extractfile(candidate)
        except KeyError:
            continue
        if stream is not None:
            return stream
    raise ImageError("the image archive is damaged", f"{name} is not in it")


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    with _open(archive, name) as stream:
        content = stream.read(_JSON_MAX + 1)
    if len(content) > _JSON_MAX:
        raise ImageError("the image archive is refused", f"{name} is larger than {_JSON_MAX} bytes")
    return content


def _json(archive: tarfile.TarFile, name: str) -> Any:
    import json

    try:
        return json.loads(_read(archive, name))
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
        raise ImageError(
            f"cannot read {path}", (error.strerror or "").lower(), path=path, exit_code=1
        ) from None
