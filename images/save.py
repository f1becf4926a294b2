"""Saving: images as one archive that pyctr, Docker, Podman and every OCI tool can load.

The archive is both: an OCI image layout (``oci-layout``, ``index.json``, ``blobs/sha256/...``) and
what `docker save` writes (``manifest.json``). Blobs go out as they are kept, straight from file to
file inside the kernel (sendfile(2)). Names are sorted and times are those of the images, so the
same images give the same bytes.

Source: OCI image specification, image-layout.md; Docker's `docker image save`.
"""

from __future__ import annotations

import json
import os

from images import compression, manifests
from images.manifests import Descriptor, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from images.references import Reference
    from images.store import Store

_BLOCK = 512
_RECORD = 20 * _BLOCK
_NAME = "io.containerd.image.name"
_TAG = "org.opencontainers.image.ref.name"


def save(store: Store, wanted: list[tuple[str, list[Reference]]], out: IO[bytes]) -> None:
    """Writes images, each with the names that it shall have; (id, names) in order."""
    blobs: dict[str, str | bytes] = {}
    index: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    for image_id, names in wanted:
        layers = store.layers(image_id)
        digests = list(dict.fromkeys([image_id, *(layer.digest for layer in layers)]))
        blobs |= {digest: store.blobs.path(digest) for digest in digests}
        content = manifests.encode(_manifest(store, image_id))
        digest = _sha256(content)
        blobs[digest] = content
        entry: dict[str, Any] = {
            "mediaType": manifests.OCI_MANIFEST,
            "digest": f"sha256:{digest}",
        }
        entry |= {"size": len(content)}
        named = [{"annotations": {_NAME: str(name), _TAG: name.tag}} for name in names]
        index += [{**entry, **annotations} for annotations in named or [{}]]
        listed.append(
            {
                "Config": f"blobs/sha256/{image_id}",
                "RepoTags": [name.familiar for name in names] or None,
                "Layers": [f"blobs/sha256/{layer.digest}" for layer in layers],
            }
        )
    writer = _Writer(out)
    writer.folder("blobs")
    writer.folder("blobs/sha256")
    for digest in sorted(blobs):
        writer.add(f"blobs/sha256/{digest}", blobs[digest])
    writer.add("index.json", _json({"schemaVersion": 2, "mediaType": manifests.OCI_INDEX,
                                    "manifests": index}))  # fmt: skip
    writer.add("manifest.json", _json(listed))
    writer.add("oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
    writer.finish()


def _manifest(store: Store, image_id: str) -> Manifest:
    layers = []
    for layer in store.layers(image_id):
        path = store.blobs.path(layer.digest)
        kind = compression.kind_of(path)
        suffix = f"+{kind}" if kind else ""
        layers.append(Descriptor(layer.digest, os.stat(path).st_size, manifests.OCI_LAYER + suffix))
    config = Descriptor(image_id, store.blobs.size(image_id), manifests.OCI_CONFIG)
    return Manifest(config, tuple(layers))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


class _Writer:
    """A tar archive of plain files, large ones copied by the kernel."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._written = 0

    def folder(self, name: str) -> None:
        self._header(name, 0, folder=True)

    def add(self, name: str, content: str | bytes) -> None:
        """A file of these bytes, or the file at this path."""
        if isinstance(content, bytes):
            self._header(name, len(content))
            self._write(content)
            size = len(content)
        else:
            with open(content, "rb") as source:
                size = os.fstat(source.fileno()).st_size
                self._header(name, size)
                self._copy(source.fileno(), size)
        self._pad(size, _BLOCK)

    def finish(self) -> None:
        self._write(bytes(2 * _BLOCK))
        self._pad(self._written, _RECORD)
        self._out.flush()

    def _header(self, name: str, size: int, *, folder: bool = False) -> None:
        import tarfile

        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o755 if folder else 0o644
        entry.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
        self._write(entry.tobuf(tarfile.GNU_FORMAT))

    def _write(self, content: bytes) -> None:
        self._out.write(content)
        self._written += len(content)

    def _pad(self, size: int, to: int) -> None:
        self._write(bytes(-size % to))

    def _copy(self, source: int, size: int) -> None:
        self._out.flush()
        target = self._out.fileno()
        left = size
        while left:
            sent = os.sendfile(target, source, None, min(left, 1 << 30))
            if not sent:
                raise OSError(5, "a blob is shorter than it was")
            left -= sent
        self._written += size
