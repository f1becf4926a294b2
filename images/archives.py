"""Images from archives: `import` (a root file system) and `load` (an image archive).

`load` reads what `docker save` and `podman save` write (manifest.json), and the OCI image layout
(index.json), plain or compressed, from a file or a pipe.

Source: OCI image specification, image-layout.md, image-index.md, manifest.md.
"""

from __future__ import annotations

import json
import os
import posixpath

from images import clock, compression, config, instructions, manifests, platforms, references
from images.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterable
    from typing import IO, Any

    from images.adding import Adding
    from images.references import Reference
    from images.store import Store

_JSON_MAX = 4 << 20
_SMALL = 64 << 10  # bytes of a file that is kept in memory
_MEMBERS_MAX = 4000
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
        layers = adding.layers([(adding.keep(stream), "")])
        raw = config.new([layers[0].diff_id], clock.now(), wanted, message or "imported")
        if platform:
            meant = platforms.parse(platform)
            raw |= {"os": meant.system, "architecture": meant.architecture}
            raw |= {"variant": meant.variant} if meant.variant else {}
        return adding.image(raw, layers, [name] if name else [], "import")


def load(store: Store, stream: IO[bytes], platform: str = "") -> list[tuple[str, list[Reference]]]:
    """Adds all images of an archive; returns (id, names) of each.

    Of an index that is the image for ``platform``, for this machine if "". ImageError if what is
    there is for another platform than the one that was named.

    The archive is read once, from front to back, so that it may be a pipe: what is large goes
    under its digest at once, and the manifests say in the end what it was.
    """
    with store.adding() as adding:
        try:
            members = _Members(adding, compression.opened(stream))
        except compression.damaged() as error:
            raise ImageError("the image archive is damaged", str(error)) from None
        return _load_all(adding, members, platform)


class _Members:
    """The files of an archive by name: small ones in memory, others as blobs."""

    def __init__(self, adding: Adding, plain: IO[bytes]) -> None:
        import tarfile

        self._adding = adding
        self._small: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        self._links: dict[str, str] = {}
        try:
            with tarfile.open(fileobj=plain, mode="r|") as archive:
                for entry in archive:
                    self._take(archive, entry)
        except tarfile.TarError as error:
            raise ImageError("the image archive is damaged", str(error)) from None

    def _take(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        name = posixpath.normpath(entry.name)
        if len(self._small) + len(self._digests) + len(self._links) > _MEMBERS_MAX:
            raise ImageError("the image archive is refused", f"more than {_MEMBERS_MAX} files")
        if entry.issym() or entry.islnk():  # older archives hold a layer once and link to it
            base = posixpath.dirname(name) if entry.issym() else ""
            self._links[name] = posixpath.normpath(posixpath.join(base, entry.linkname))
            return
        source = archive.extractfile(entry) if entry.isreg() else None
        if source is None:
            return
        if entry.size <= _SMALL:
            self._small[name] = source.read()
        else:
            self._digests[name] = self._adding.keep(source)

    def _resolved(self, name: str) -> str:
        name = posixpath.normpath(name)
        return self._links.get(name, name)

    def __contains__(self, name: str) -> bool:
        name = self._resolved(name)
        return name in self._small or name in self._digests

    def digest(self, name: str) -> str:
        """The digest under which a file is kept."""
        name = self._resolved(name)
        if name in self._small:
            return self._adding.put(self._small[name])
        if name in self._digests:
            return self._digests[name]
        raise ImageError("the image archive is damaged", f"{name} is not in it")

    def read(self, name: str) -> bytes:
        """The content of a file that is JSON."""
        name = self._resolved(name)
        if name in self._small:
            return self._small[name]
        digest = self.digest(name)
        if self._adding.blobs.size(digest) > _JSON_MAX:
            raise ImageError(
                "the image archive is refused", f"{name} is larger than {_JSON_MAX} bytes"
            )
        return self._adding.blobs.read(digest)


def _load_all(
    adding: Adding, members: _Members, platform: str
) -> list[tuple[str, list[Reference]]]:
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
    adding: Adding, members: _Members, entry: Any, platform: str
) -> tuple[str, list[Reference]]:
    entry = _dict(entry, "manifest.json")
    names = [references.parse(str(name)) for name in entry.get("RepoTags") or []]
    content = members.read(str(entry.get("Config")))
    _require(content, platform)
    layers = [members.digest(str(name)) for name in _list(entry.get("Layers"), "Layers")]
    return _add(adding, content, layers, names), names


def _load_oci(
    adding: Adding, members: _Members, entry: Any, platform: str
) -> tuple[str, list[Reference]]:
    entry = _dict(entry, "index.json")
    annotations = _dict(entry.get("annotations") or {}, "annotations")
    written = next((annotations[key] for key in _NAME_ANNOTATIONS if key in annotations), "")
    names = _names(str(written))
    manifest = _for_platform(members, _verified(members, entry), platform)
    content = _blob(members, manifest.get("config"))
    _require(content, platform)
    layers = []
    for descriptor in _list(manifest.get("layers"), "layers"):
        name = _member(descriptor)
        layers.append(members.digest(name))
        if layers[-1] != name.rpartition("/")[2]:
            raise ImageError("the image archive is damaged", f"{name} does not have its digest")
    return _add(adding, content, layers, names), names


def _add(adding: Adding, content: bytes, digests: list[str], names: list[Reference]) -> str:
    parsed = config.parse(content)
    if len(parsed.diff_ids) != len(digests):
        raise ImageError(
            "the image archive is damaged",
            f"{len(digests)} layers for {len(parsed.diff_ids)} diff ids",
        )
    layers = adding.layers(list(zip(digests, parsed.diff_ids, strict=True)))
    return adding.image(content, layers, names, "load")


def _names(written: str) -> list[Reference]:
    """The name of an image in a layout, whose annotation may be anything: a tag, for example."""
    try:
        return [references.parse(written)] if written else []
    except ImageError:
        return []


def _require(content: bytes, platform: str) -> None:
    if platform:
        platforms.require(config.parse(content), platform)


def _for_platform(members: _Members, manifest: dict[str, Any], platform: str) -> dict[str, Any]:
    """The manifest itself, or the one of an index that fits a platform."""
    if "manifests" not in manifest:
        return manifest
    index = manifests.parse(json.dumps(manifest).encode())
    assert isinstance(index, manifests.Index)
    found = manifests.select(index, platforms.parse(platform or "linux"))
    return _verified(members, manifests.described(found))


def _verified(members: _Members, descriptor: Any) -> dict[str, Any]:
    try:
        return _dict(json.loads(_blob(members, descriptor)), "manifest")
    except (ValueError, RecursionError) as error:
        raise ImageError("the image archive is damaged", f"manifest: {error}") from None


def _blob(members: _Members, descriptor: Any) -> bytes:
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


def _json(members: _Members, name: str) -> Any:
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
