"""The image store: content by digest, layers unpacked once and shared, names in the database.

    blobs/sha256/<digest>     configurations and layer archives, as they came
    layers/<diff-id>/         one unpacked layer each, used directly as a lowerdir
    layers/.new-...           a layer being written
    images.lock               held by whoever adds or removes

Files are made under a temporary name, synced and renamed before the row that names them is
written; on removal the row goes first. Whatever no row names is swept under the lock, so a crash
costs nothing but the work that it interrupted. Layers are never changed once they have their name.

The tables belong to this room; whoever opens the database creates them from :data:`SCHEMA`.
"""

from __future__ import annotations

import os

from images import references
from images.config import ImageConfig, encode, parse
from images.errors import ImageError, ImageInUse, ImageNotFound
from kernel import paths, trace, tree
from kernel.locks import Lock
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from typing import IO, Any

    from images.references import Reference

SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    id      TEXT PRIMARY KEY,   -- sha256 of the configuration
    size    INTEGER NOT NULL,   -- bytes of files in all layers
    created TEXT NOT NULL       -- as the configuration says
) STRICT;
CREATE TABLE IF NOT EXISTS image_refs (
    name     TEXT PRIMARY KEY,  -- full form, docker.io/library/base:latest
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
) STRICT;
CREATE TABLE IF NOT EXISTS image_layers (
    image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id  TEXT NOT NULL,
    digest   TEXT NOT NULL,     -- of the archive in blobs/, compressed or not
    PRIMARY KEY (image_id, position)
) STRICT;
CREATE INDEX IF NOT EXISTS image_refs_by_image ON image_refs (image_id);
"""

BASE = "docker.io/library/base:latest"

_layer_written = trace.point("images.store.layer_written")
_layer_renamed = trace.point("images.store.layer_renamed")
_blobs_written = trace.point("images.store.blobs_written")
_asked = trace.point("images.store.asked")
_row_removed = trace.point("images.store.row_removed")


class Layer(Record):
    """``diff_id`` of the plain archive, ``digest`` of the kept one, ``size`` of its files."""

    diff_id: str
    digest: str
    size: int


class Image(Record):
    """A stored image. ``id`` and the config's ``diff_ids`` are hex digits."""

    id: str
    config: ImageConfig


class Listed(Record):
    """A row of `image ls`: one for each name, or one with no name."""

    id: str
    reference: Reference | None
    created: str
    size: int


class Store:
    """Images below one root folder. All ids are hex digits without ``sha256:``.

    ``tell(action, identity, attributes)`` is called for what happens to images: create (a commit),
    import, load, tag, untag, delete. :meth:`told` is for whoever adds one.
    """

    def __init__(
        self,
        root: str,
        db: sqlite3.Connection,
        *,
        tell: Callable[[str, str, dict[str, str]], None] | None = None,
    ) -> None:
        self.root = root
        self._db = db
        self._tell = tell or (lambda *_what: None)

    # -- reading ---------------------------------------------------------------------------

    def layer_folder(self, diff_id: str) -> str:
        """Where a layer is unpacked."""
        return f"{self.root}/layers/{diff_id}"

    def blob(self, digest: str) -> str:
        """Where content of that digest is kept."""
        return f"{self.root}/blobs/sha256/{digest}"

    def lower(self, config: ImageConfig) -> tuple[str, ...]:
        """The lowerdirs of an image, the topmost first; an empty folder if it has no layers."""
        return tuple(map(self.layer_folder, reversed(config.diff_ids))) or (self._no_layer(),)

    def get(self, image_id: str) -> Image:
        """The image of that full id."""
        try:
            with open(self.blob(image_id), "rb") as file:
                return Image(image_id, parse(file.read()))
        except FileNotFoundError:
            raise ImageNotFound(
                f"no such image: {image_id[:12]}", "it was removed just now"
            ) from None

    def resolve(
        self, text: str, *, make: bool = True, tell: Callable[[str], None] | None = None
    ) -> Image:
        """The image that a person means by a name or (the beginning of) an id.

        With ``make`` the embedded image ``base`` is made when it is asked for and not there;
        ``tell`` is told so. ImageNotFound.
        """
        return self.get(self.find(text, make=make, tell=tell))

    def find(
        self, text: str, *, make: bool = True, tell: Callable[[str], None] | None = None
    ) -> str:
        """The id of :meth:`resolve`."""
        found = self.lookup(text)
        if found:
            return found
        try:
            name = str(references.parse(text))
        except ImageError:
            raise self._missing(text) from None
        if name == BASE and make:
            from images import base

            if tell is not None:
                tell("making the image base of this machine's busybox")
            return base.add(self)
        raise self._missing(text)

    def lookup(self, text: str) -> str:
        """The id of an image that is there, "" if none is meant; makes nothing."""
        return self._by_name(text) or self._by_id(text)

    def descendants(self, text: str) -> frozenset[str]:
        """Ids of the image that is meant and of all that stand on its layers; none if unknown."""
        ancestor = self.lookup(text)
        if not ancestor:
            return frozenset()
        stacks: dict[str, list[str]] = {}
        query = "SELECT image_id, diff_id FROM image_layers ORDER BY image_id, position"
        for image_id, diff_id in self._db.execute(query):
            stacks.setdefault(image_id, []).append(diff_id)
        below = stacks.get(ancestor, [])
        above = (i for i, stack in stacks.items() if below and stack[: len(below)] == below)
        return frozenset((ancestor, *above))

    def _by_name(self, text: str) -> str:
        try:
            name = str(references.parse(text))
        except ImageError:
            return ""
        row = self._db.execute("SELECT image_id FROM image_refs WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def _by_id(self, text: str) -> str:
        prefix = references.as_id_prefix(text)
        if not prefix:
            return ""
        query = "SELECT id FROM images WHERE id >= ? AND id < ? ORDER BY id LIMIT 10"
        rows = self._db.execute(query, (prefix, prefix + "g")).fetchall()
        if len(rows) > 1:
            shown = ", ".join(str(row[0])[: max(12, len(prefix) + 4)] for row in rows)
            raise ImageError(f"image id {text!r} is ambiguous", f"so begin {shown}", "add digits")
        return str(rows[0][0]) if rows else ""

    def _missing(self, text: str) -> ImageNotFound:
        names = [item.reference.familiar for item in self.listing() if item.reference]
        close = [name for name in names if name.partition(":")[0] == text.partition(":")[0]]
        hint = "pyctr cannot pull yet: bring it in with `pyctr image load` or `pyctr image import`"
        if close:
            hint = f"there is {', '.join(close[:3])}"
        return ImageNotFound(f"no such image: {text}", "it is not in the image store", hint)

    def names(self, image_id: str) -> list[str]:
        """The full names of an image."""
        query = "SELECT name FROM image_refs WHERE image_id = ? ORDER BY name"
        return [str(row[0]) for row in self._db.execute(query, (image_id,))]

    def size(self, image_id: str) -> int:
        """Bytes of files in all layers."""
        row = self._db.execute("SELECT size FROM images WHERE id = ?", (image_id,)).fetchone()
        return int(row[0])

    def listing(self) -> list[Listed]:
        """All images, the newest first; an image of two names stands twice."""
        query = (
            "SELECT id, name, created, size FROM images LEFT JOIN image_refs ON image_id = id"
            " ORDER BY created DESC, name"
        )
        return [
            Listed(row[0], references.parse(row[1]) if row[1] else None, row[2], row[3])
            for row in self._db.execute(query)
        ]

    # -- telling ---------------------------------------------------------------------------

    def told(
        self, action: str, image_id: str, name: str = "", labels: dict[str, str] | None = None
    ) -> None:
        """Tells what happened to an image; ``labels`` where its configuration is gone."""
        identity = f"sha256:{image_id}"
        more = self._labels(image_id) if labels is None else labels
        self._tell(action, identity, {**more, "name": name or identity})

    def _labels(self, image_id: str) -> dict[str, str]:
        """The labels of an image; none if its configuration cannot be read."""
        try:
            return self.get(image_id).config.labels
        except (OSError, ImageError):
            return {}

    # -- adding ----------------------------------------------------------------------------

    def lock(self) -> Lock:
        """Held while images are added or removed."""
        os.makedirs(f"{self.root}/layers", mode=0o711, exist_ok=True)
        os.makedirs(f"{self.root}/blobs/sha256", mode=0o700, exist_ok=True)
        return Lock(f"{self.root}/images.lock")

    def add_layer(self, stream: IO[bytes], expected: str = "") -> Layer:
        """Keeps and unpacks a layer archive, compressed or not. Under :meth:`lock`.

        ``expected`` is the diff id that it must have, hex; ImageError if it has another.
        """
        from images.content import keep

        self._sweep_new()
        digest = keep(stream, self)
        layer = self._unpack(digest)
        if expected and layer.diff_id != expected:
            raise ImageError(
                "a layer is not what the image's configuration says",
                f"its diff id is sha256:{layer.diff_id}, not sha256:{expected}",
                "the archive is damaged: fetch it again",
            )
        return layer

    def _unpack(self, digest: str) -> Layer:
        from images.content import unpacked

        staging = f"{self.root}/layers/.new-{digest[:24]}"
        os.mkdir(staging, 0o755)
        try:
            diff_id, size = unpacked(self.blob(digest), staging)
            fd = os.open(staging, os.O_RDONLY)
            try:
                paths.syncfs(fd)
            finally:
                os.close(fd)
            _layer_written()
            final = self.layer_folder(diff_id)
            if os.path.isdir(final):
                tree.remove_tree(staging)
            else:
                os.rename(staging, final)
                tree.fsync_path(f"{self.root}/layers")
            _layer_renamed()
        except BaseException:
            tree.remove_tree(staging)
            raise
        return Layer(diff_id, digest, size)

    def add_image(
        self, raw: dict[str, Any], layers: list[Layer], names: list[Reference], action: str
    ) -> str:
        """Records an image whose layers are there, under :meth:`lock`; returns its id.

        ``action`` says where it comes from: create, import or load.
        """
        return self.add_config(encode(raw), layers, names, action)

    def add_config(
        self, content: bytes, layers: list[Layer], names: list[Reference], action: str
    ) -> str:
        """:meth:`add_image` for a configuration's original bytes, which its id depends on."""
        import hashlib

        config = parse(content)
        if config.diff_ids != tuple(layer.diff_id for layer in layers):
            raise ImageError(
                "the image's configuration is refused",
                f"it names {len(config.diff_ids)} layers, and {len(layers)} others came along",
            )
        image_id = hashlib.sha256(content).hexdigest()
        tree.write_atomically(self.blob(image_id), content)
        _blobs_written()
        size = sum(layer.size for layer in layers)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?)", (image_id, size, config.created)
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO image_layers VALUES (?, ?, ?, ?)",
                [(image_id, n, layer.diff_id, layer.digest) for n, layer in enumerate(layers)],
            )
            for name in names:
                self._name(name, image_id)
        self.told(action, image_id, names[0].familiar if names else "")
        for name in names if action == "create" else names[1:]:
            self.told("tag", image_id, name.familiar)
        return image_id

    def layers(self, image_id: str) -> list[Layer]:
        """The layers of an image, base first; the sizes are unknown here (0)."""
        query = "SELECT diff_id, digest FROM image_layers WHERE image_id = ? ORDER BY position"
        return [Layer(row[0], row[1], 0) for row in self._db.execute(query, (image_id,))]

    def tag(self, image_id: str, name: Reference) -> None:
        """Gives an image a further name; another image of that name loses it."""
        if name.digest:
            raise ImageError(f"cannot tag {name.familiar}", "a tag may not have a digest")
        try:
            with self._db:
                self._name(name, image_id)
        except self._db.IntegrityError:
            raise ImageNotFound(
                f"no such image: {image_id[:12]}", "it was removed just now"
            ) from None
        self.told("tag", image_id, name.familiar)

    def _name(self, name: Reference, image_id: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO image_refs VALUES (?, ?)", (str(name), image_id))

    def _no_layer(self) -> str:
        folder = f"{self.root}/layers/{_EMPTY_LAYER}"
        os.makedirs(folder, mode=0o755, exist_ok=True)
        return folder

    # -- removing --------------------------------------------------------------------------

    def remove(
        self, text: str, users: Callable[[str], list[str]], force: bool = False
    ) -> tuple[list[str], list[str]]:
        """Untags a name, and removes the image when that was its last; by id, all names go.

        ``users(image_id)`` names the containers of an image; they keep it alive. Returns
        (familiar names removed, ids removed). ImageInUse, ImageNotFound.
        """
        _asked()
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")  # nobody tags or uses it from here on
            named = self._by_name(text)
            image_id = named or self._by_id(text)
            if not image_id:
                raise self._missing(text)
            names = self.names(image_id)
            going = [str(references.parse(text))] if named else names
            if not named and len(names) > 1 and not force:
                raise ImageInUse(
                    f"cannot remove image {text}",
                    "it has several names",
                    f"remove them by name, or force: pyctr image rm -f {text}",
                )
            using = users(image_id)
            last = len(going) == len(names)
            if using and last and not (force and named):
                raise ImageInUse(
                    f"cannot remove image {text}",
                    f"container {using[0]} uses it",
                    f"remove the container first: pyctr rm {using[0]}",
                )
            labels = self._labels(image_id)
            self._db.executemany(
                "DELETE FROM image_refs WHERE name = ?", [(name,) for name in going]
            )
            if last and not using:
                self._db.execute("DELETE FROM images WHERE id = ?", (image_id,))
        _row_removed()
        if last and not using:
            with self.lock():
                self.sweep()
        removed = [image_id] if last and not using else []
        untagged = [references.parse(name).familiar for name in going]
        for familiar in untagged:
            self.told("untag", image_id, familiar, labels)
        for gone in removed:
            self.told("delete", gone, "", labels)
        return untagged, removed

    def sweep(self) -> None:
        """Removes layers and blobs that no row names. Under :meth:`lock`."""
        self._sweep_new()
        rows = self._db.execute("SELECT diff_id, digest FROM image_layers").fetchall()
        wanted = {row[0] for row in rows} | {_EMPTY_LAYER}
        for name in os.listdir(f"{self.root}/layers"):
            if name not in wanted:
                tree.remove_tree(f"{self.root}/layers/{name}")
        wanted = {row[1] for row in rows}
        wanted |= {row[0] for row in self._db.execute("SELECT id FROM images")}
        for name in os.listdir(f"{self.root}/blobs/sha256"):
            if name not in wanted:
                os.unlink(f"{self.root}/blobs/sha256/{name}")

    def _sweep_new(self) -> None:
        for folder in ("layers", "blobs/sha256"):
            for name in os.listdir(f"{self.root}/{folder}"):
                if name.startswith(".new-"):
                    tree.remove_tree(f"{self.root}/{folder}/{name}")


_EMPTY_LAYER = "empty"  # the lowerdir of an image that has no layers
