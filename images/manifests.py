"""Manifests and indexes: what an image is made of, in OCI's words and in Docker's older ones.

Source: OCI image specification, manifest.md, image-index.md, descriptor.md; distribution
"Image Manifest V 2, Schema 2".
"""

from __future__ import annotations

from images import references
from images.errors import ImageError
from images.platforms import Platform, made
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ACCEPTED = (OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)

CONTENT_MAX = 4 << 20  # bytes of a manifest or a configuration
_LAYERS_MAX = 1000
_FOREIGN = ("foreign", "nondistributable")


class Descriptor(Record):
    """Content by its digest (hex digits) and size in bytes, with what it is."""

    digest: str
    size: int
    media_type: str = ""


class Manifest(Record):
    """One image: its configuration and its layers, base first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


class Index(Record):
    """Images of several platforms under one name."""

    manifests: tuple[tuple[Descriptor, Platform], ...]


def parse(content: bytes) -> Manifest | Index:
    """A manifest or an index; ImageError for anything else."""
    import json

    if len(content) > CONTENT_MAX:
        raise _refused(f"larger than {CONTENT_MAX} bytes")
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _refused(str(error)) from None
    if not isinstance(raw, dict):
        raise _refused("not an object")
    if raw.get("schemaVersion") not in (2, None):
        raise _refused(f"schema version {raw.get('schemaVersion')!r} is not 2")
    if "manifests" in raw:
        return Index(tuple(_entry(own) for own in _list(raw["manifests"])))
    layers = tuple(_layer(own) for own in _list(raw.get("layers")))
    return Manifest(descriptor(raw.get("config")), layers)


def select(index: Index, wanted: Platform) -> Descriptor:
    """The manifest for a platform; without a wanted variant any variant will do."""
    for found, platform in index.manifests:
        if platform == wanted:
            return found
    for found, platform in index.manifests:
        if not wanted.variant and platform.replace(variant="") == wanted:
            return found
    known = ", ".join(str(own) for _, own in index.manifests if own.system != "unknown")
    raise ImageError(
        f"the image has nothing for {wanted}", f"it is made for {known or 'no platform'}"
    )


def descriptor(raw: Any) -> Descriptor:
    """One descriptor, its fields checked."""
    if not isinstance(raw, dict):
        raise _refused("a descriptor is not an object")
    digest, size = raw.get("digest"), raw.get("size")
    if not isinstance(digest, str) or not references.is_digest(digest):
        raise _refused(f"{digest!r} is not a sha256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _refused(f"{size!r} is not a size")
    return Descriptor(digest.removeprefix("sha256:"), size, str(raw.get("mediaType") or ""))


def encode(
    image: Manifest, *, media_type: str = OCI_MANIFEST, annotations: dict[str, str] | None = None
) -> bytes:
    """The bytes of a manifest."""
    import json

    raw = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": described(image.config),
        "layers": [described(layer) for layer in image.layers],
        **({"annotations": annotations} if annotations else {}),
    }
    return json.dumps(raw, separators=(",", ":")).encode()


def described(one: Descriptor) -> dict[str, Any]:
    """A descriptor as JSON wants it."""
    return {"mediaType": one.media_type, "digest": f"sha256:{one.digest}", "size": one.size}


def _layer(raw: Any) -> Descriptor:
    found = descriptor(raw)
    if any(word in found.media_type for word in _FOREIGN):
        raise ImageError(
            "the image cannot be used", "a layer of it may not be distributed (a foreign layer)"
        )
    return found


def _entry(raw: Any) -> tuple[Descriptor, Platform]:
    found = descriptor(raw)
    platform = raw.get("platform") or {}
    if not isinstance(platform, dict):
        raise _refused("a platform is not an object")
    words = [str(platform.get(key) or "") for key in ("os", "architecture", "variant")]
    return found, made(words[0] or "unknown", words[1] or "unknown", words[2])


def _list(raw: Any) -> list[Any]:
    if not isinstance(raw, list) or len(raw) > _LAYERS_MAX:
        raise _refused("layers or manifests are not a list of a sane length")
    return raw


def _refused(why: str) -> ImageError:
    return ImageError("the image's manifest is refused", why)
