"""Adding images: content first, then the rows that name it, all of it held meanwhile.

::

    with store.adding() as adding:
        digest = adding.keep(stream, layer=True)        # or fetch(), whose digest is known
        layers = adding.layers([Job(path, diff_id)])    # unpacked, synced, named
        image = adding.image(config, layers, names)     # one transaction

What an :class:`Adding` has touched is held by shared locks until it is left, so that nobody's
removal takes it away before it has a row. What it kept and no row names then is removed, except
what was fetched: the next attempt goes on with that. A crash leaves content without a row, which
is swept when it is a day old.
"""

from __future__ import annotations

import os

from images.blobs import Blobs, pour
from images.config import Layer, encode, parse
from images.errors import ImageError
from images.unpacking import AT_ONCE, Job
from kernel import trace, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from images.references import Reference
    from images.store import Store
    from images.unpacking import Begun
    from kernel.locks import Held

_content_kept = trace.point("images.adding.content_kept")
_recorded = trace.point("images.adding.recorded")


class Adding:
    """One image (or several) on the way into a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: list[Held] = []
        self._kept: set[str] = set()
        self._unpacked: set[str] = set()
        self._begun: dict[str, Begun] = {}
        os.makedirs(store.blobs.folder, mode=0o700, exist_ok=True)
        os.makedirs(store.unpacked.folder, mode=0o711, exist_ok=True)

    def __enter__(self) -> Adding:
        return self

    def __exit__(self, *_exc: object) -> None:
        for begun in self._begun.values():
            begun.drop()
        for held in self._held:
            held.release()
        self._store.free(self._unpacked, self._kept)
        self._store.sweep()  # what others left half-done for a day

    @property
    def blobs(self) -> Blobs:
        """The content store."""
        return self._store.blobs

    def keep(self, stream: IO[bytes], *, layer: bool = False) -> str:
        """Content whose digest is known in the end; returns it. See :meth:`make`."""
        return self.make(lambda out: pour(stream, out), layer=layer)

    def make(self, fill: Callable[[IO[bytes]], object], *, layer: bool = False) -> str:
        """Content that ``fill`` writes into the stream that it gets; returns its digest.

        A ``layer`` is unpacked while it is written, if a processor is free for it.
        """
        begun = self._store.unpacked.begin() if layer and len(self._begun) < AT_ONCE else None
        try:
            digest, held = self.blobs.make(fill, begun)
        except BaseException:
            if begun is not None:
                begun.drop()
            raise
        self._held.append(held)
        self._kept.add(digest)
        if begun is not None:
            path = self.blobs.path(digest)
            if path in self._begun:
                begun.drop()
            else:
                self._begun[path] = begun
        return digest

    def put(self, content: bytes) -> str:
        """Small content; returns its digest."""
        import io

        return self.keep(io.BytesIO(content))

    def known(self, diff_id: str) -> str:
        """The digest of the archive of a layer that an image has; it stays. "" if there is none."""
        digest = self._store.archive_of(diff_id)
        return digest if digest and self.has(digest) else ""

    def has(self, digest: str) -> bool:
        """Whether content is there; if so, it stays."""
        held = self.blobs.hold(digest)
        if held is not None:
            self._held.append(held)
        return held is not None

    def fetch(
        self,
        digest: str,
        size: int,
        opened_at: Callable[[int], IO[bytes]],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Content of a known digest; see :meth:`images.blobs.Blobs.fetch`."""
        self._held.append(self.blobs.fetch(digest, size, opened_at, progress))

    def layers(
        self, wanted: list[tuple[str, str]], told: Callable[[str], None] = lambda _digest: None
    ) -> list[Layer]:
        """Unpacks kept archives, several at once: (digest, diff id or "") in the image's order.

        ``told`` gets the digest of each that is done.
        """
        jobs = [Job(self.blobs.path(digest), diff_id) for digest, diff_id in wanted]
        made = self._store.unpacked.unpack(
            jobs, self._held.append, lambda job: told(os.path.basename(job.blob)), self._begun
        )
        self._unpacked |= {one.diff_id for one in made}
        return [
            Layer(one.diff_id, digest, self._store.layer_size(one.diff_id, one.size))
            for (digest, _), one in zip(wanted, made, strict=True)
        ]

    def adopt(self, folder: str) -> Layer:
        """An upperdir that nobody changes any more becomes a layer: packed, and then renamed."""
        from overlay import layers as packing

        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            digest = self.make(lambda out: packing.pack(fd, out))
        finally:
            os.close(fd)
        size = tree.content_size(folder)
        self._held.append(self._store.unpacked.adopt(folder, digest))
        self._unpacked.add(digest)
        return Layer(digest, digest, size)

    def holds(self, layer: Layer) -> bool:
        """Whether a layer and its archive are there; if so, they stay."""
        held = self._store.unpacked.hold(layer.diff_id)
        if held is not None:
            self._held.append(held)
        return held is not None and self.has(layer.digest)

    def image(
        self,
        config: bytes | dict[str, Any],
        layers: list[Layer],
        names: list[Reference],
        action: str,
        manifest: str = "",
    ) -> str:
        """Records an image whose layers are there; returns its id.

        ``config`` are the original bytes, which the id depends on, or the object. ``action`` says
        where it comes from: create, import, load or pull. ``manifest`` is
        the digest of the kept manifest that it came with; names are then known to have it.
        """
        content = encode(config) if isinstance(config, dict) else config
        parsed = parse(content)
        if parsed.diff_ids != tuple(layer.diff_id for layer in layers):
            raise ImageError(
                "the image's configuration is refused",
                f"it names {len(parsed.diff_ids)} layers, and {len(layers)} others came along",
            )
        image_id = self.put(content)
        tree.fsync_path(self.blobs.folder)
        _content_kept()
        self._store.record(image_id, parsed.created, layers, names, action, manifest)
        _recorded()
        return image_id
