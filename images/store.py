"""The image store: content by digest, layers unpacked once and shared, names in the database.

    blobs/sha256/<digest>     manifests, configurations and layer archives (images.blobs)
    layers/<diff-id>/         unpacked layers, used as lowerdirs (images.unpacking)
    build-mounts/             folders of RUN --mount=type=cache (images.build.cache)

Content is there, synced, before the row that names it is written (images.adding); on removal the
row goes first, and then exactly what no other row names. What a crash leaves without a row is
found again by the next attempt, and swept when it is a day old.

The tables belong to this room; whoever opens the database creates them from :data:`SCHEMA`.
"""

from __future__ import annotations

import os
import stat
import time

from images import references
from images.blobs import Blobs
from images.config import ImageConfig, Layer, parse
from images.errors import ImageError, ImageInUse, ImageNotFound
from kernel import trace
from kernel.locks import hold
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from images.adding import Adding
    from images.build.cache import Cache
    from images.references import Reference
    from images.unpacking import Layers

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
    size     INTEGER NOT NULL DEFAULT -1,  -- bytes of its files; -1 not known
    PRIMARY KEY (image_id, position)
) STRICT;
CREATE TABLE IF NOT EXISTS image_digests (
    repository TEXT NOT NULL,   -- full form without tag
    digest     TEXT NOT NULL,   -- of a manifest that it has or had there
    image_id   TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (repository, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS layer_archives (
    diff_id    TEXT NOT NULL,
    repository TEXT NOT NULL,   -- full form: a registry's repository that has the layer
    digest     TEXT NOT NULL,   -- of the compressed archive there
    size       INTEGER NOT NULL,
    PRIMARY KEY (diff_id, repository)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS build_cache (
    key         TEXT PRIMARY KEY,   -- digest of all that a build's step depends on
    kind        TEXT NOT NULL,      -- regular: a layer; exec.cachemount: a folder of RUN --mount
    diff_id     TEXT NOT NULL,      -- of the layer; '' if nothing was changed, and for a folder
    digest      TEXT NOT NULL,      -- of the layer's archive in blobs/
    size        INTEGER NOT NULL,   -- bytes of its files; of a folder they are counted
    created     REAL NOT NULL,      -- unix time
    used        REAL NOT NULL,      -- unix time
    uses        INTEGER NOT NULL,
    description TEXT NOT NULL       -- the instruction
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS build_cache_by_diff_id ON build_cache (diff_id);
CREATE INDEX IF NOT EXISTS image_refs_by_image ON image_refs (image_id);
CREATE INDEX IF NOT EXISTS image_layers_by_diff_id ON image_layers (diff_id);
CREATE INDEX IF NOT EXISTS image_digests_by_image ON image_digests (image_id);
"""

BASE = "docker.io/library/base:latest"

_asked = trace.point("images.store.asked")
_row_removed = trace.point("images.store.row_removed")
_tagged = trace.point("images.store.tagged")
_set_aside = trace.point("images.store.set_aside")

_A_DAY = 86400.0


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
    import, load, pull, push, save, tag, untag, delete. :meth:`told` is for whoever adds one.
    """

    def __init__(
        self,
        root: str,
        db: sqlite3.Connection,
        *,
        tell: Callable[[str, str, dict[str, str]], None] | None = None,
    ) -> None:
        self.root = root
        self.blobs = Blobs(f"{root}/blobs/sha256")
        self._db = db
        self._tell = tell or (lambda *_what: None)

    @property
    def unpacked(self) -> Layers:
        """The layers as trees of files; not needed for the names of their folders."""
        from images.unpacking import Layers

        return Layers(f"{self.root}/layers")

    # -- reading ---------------------------------------------------------------------------

    def layer_folder(self, diff_id: str) -> str:
        """Where a layer is unpacked."""
        return f"{self.root}/layers/{diff_id}"

    def lower(self, config: ImageConfig) -> tuple[str, ...]:
        """The lowerdirs of an image, the topmost first; an empty folder if it has no layers."""
        return self.stack(config.diff_ids)

    def stack(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """The lowerdirs of layers, which are given base first.

        Each once, where it is topmost: overlayfs takes no folder twice, and the topmost hides all
        that the same layer says further down.
        """
        topmost_first = dict.fromkeys(reversed(diff_ids))
        return tuple(map(self.layer_folder, topmost_first)) or (self._no_layer(),)

    def get(self, image_id: str) -> Image:
        """The image of that full id."""
        try:
            return Image(image_id, parse(self.blobs.read(image_id)))
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
            raise self.missing(text) from None
        if name == BASE and make:
            from images import base

            if tell is not None:
                tell("making the image base of this machine's busybox")
            return base.add(self)
        raise self.missing(text)

    def lookup(self, text: str) -> str:
        """The id of an image that is there, "" if none is meant; makes nothing."""
        return self._by_name(text) or self._by_id(text)

    def is_id(self, text: str) -> bool:
        """Whether a word means an image by its id and not by a name."""
        return not self._by_name(text) and bool(self._by_id(text))

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
            reference = references.parse(text)
        except ImageError:
            return ""
        if reference.digest:
            return self._by_digest(reference)
        name = str(reference)
        row = self._db.execute("SELECT image_id FROM image_refs WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def known(self, reference: Reference) -> str:
        """The id of the image that has exactly this name, "" if none."""
        return self._by_name(str(reference))

    def archive_of(self, diff_id: str) -> str:
        """The digest of the archive that is kept for a layer, "" if no image has that layer."""
        query = "SELECT digest FROM image_layers WHERE diff_id = ? LIMIT 1"
        row = self._db.execute(query, (diff_id,)).fetchone()
        return str(row[0]) if row else ""

    def _by_digest(self, reference: Reference) -> str:
        query = "SELECT image_id FROM image_digests WHERE repository = ? AND digest = ?"
        row = self._db.execute(query, _digest_key(reference)).fetchone()
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

    def missing(self, text: str) -> ImageNotFound:
        """The error for a name that is not here, with what it may have meant."""
        names = [item.reference.familiar for item in self.listing() if item.reference]
        close = [name for name in names if name.partition(":")[0] == text.partition(":")[0]]
        hint = "bring it in with pyctr pull, pyctr image load or pyctr import"
        if close:
            hint = f"there is {', '.join(close[:3])}"
        return ImageNotFound(f"no such image: {text}", "it is not in the image store", hint)

    def has(self, image_id: str) -> bool:
        """Whether an image of that full id is recorded."""
        query = "SELECT 1 FROM images WHERE id = ?"
        return self._db.execute(query, (image_id,)).fetchone() is not None

    def ids(self) -> list[str]:
        """The ids of all images, the newest first."""
        return [row[0] for row in self._db.execute("SELECT id FROM images ORDER BY created DESC")]

    def knows(self, image_id: str, config: ImageConfig) -> bool:
        """Whether the rows of an image are there, and name the layers of its configuration."""
        layers = tuple(layer.diff_id for layer in self.layers(image_id))
        return self.has(image_id) and layers == config.diff_ids

    def forget_layers(self, image_id: str) -> None:
        """Rows that are not what the image's configuration says; :meth:`record` writes others."""
        self._db.execute("DELETE FROM image_layers WHERE image_id = ?", (image_id,))

    def images_with(self, diff_id: str) -> list[str]:
        """The ids of the images that have a layer."""
        query = "SELECT DISTINCT image_id FROM image_layers WHERE diff_id = ? ORDER BY 1"
        return [row[0] for row in self._db.execute(query, (diff_id,))]

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

    @property
    def build_cache(self) -> Cache:
        """What builds have made before."""
        from images.build.cache import Cache

        return Cache(self.root, self._db, self.free)

    def adding(self) -> Adding:
        """Brings images in; see :mod:`images.adding`."""
        from images.adding import Adding

        return Adding(self)

    def record(
        self,
        image_id: str,
        created: str,
        layers: list[Layer],
        names: list[Reference],
        action: str,
        manifest: str = "",
    ) -> None:
        """The rows of an image whose content is there and held."""
        size = sum(layer.size for layer in layers)
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?)", (image_id, size, created)
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO image_layers VALUES (?, ?, ?, ?, ?)",
                [
                    (image_id, position, layer.diff_id, layer.digest, layer.size)
                    for position, layer in enumerate(layers)
                ],
            )
            for name in names:
                if not name.digest:
                    self._name(name, image_id)
                if manifest:
                    self.record_digest(image_id, name, manifest)
        self.told(action, image_id, names[0].familiar if names else "")
        for name in names if action == "create" else names[1:]:
            self.told("tag", image_id, name.familiar)

    def record_digest(self, image_id: str, name: Reference, manifest: str) -> None:
        """A manifest that an image has in a repository; its content is there and held."""
        self._db.execute(
            "INSERT OR REPLACE INTO image_digests VALUES (?, ?, ?)",
            (f"{name.domain}/{name.path}", manifest, image_id),
        )

    def saw(self, diff_id: str, digest: str, size: int, name: Reference) -> None:
        """A repository has a layer as an archive of that digest."""
        self._db.execute(
            "INSERT OR REPLACE INTO layer_archives VALUES (?, ?, ?, ?)",
            (diff_id, f"{name.domain}/{name.path}", digest, size),
        )

    def seen(self, diff_id: str, domain: str) -> list[tuple[str, int, str]]:
        """(digest, size, path of the repository) of a layer's archives in one registry."""
        query = "SELECT digest, size, repository FROM layer_archives WHERE diff_id = ?"
        rows = self._db.execute(query, (diff_id,)).fetchall()
        start = f"{domain}/"
        return [(d, s, r.removeprefix(start)) for d, s, r in rows if r.startswith(start)]

    def layers(self, image_id: str) -> list[Layer]:
        """The layers of an image, base first."""
        query = (
            "SELECT diff_id, digest, size FROM image_layers WHERE image_id = ? ORDER BY position"
        )
        return [
            Layer(row[0], row[1], self.layer_size(row[0], row[2]))
            for row in self._db.execute(query, (image_id,))
        ]

    def layer_size(self, diff_id: str, known: int = -1) -> int:
        """Bytes of the files of a layer: as known, as another image knows it, or counted."""
        if known >= 0:
            return known
        query = "SELECT max(size) FROM image_layers WHERE diff_id = ?"
        (found,) = self._db.execute(query, (diff_id,)).fetchone()
        return (
            int(found) if found is not None and found >= 0 else _count(self.layer_folder(diff_id))
        )

    def digests(self, image_id: str) -> list[tuple[str, str]]:
        """(repository in full form, digest) of the manifests that an image is known to have."""
        query = "SELECT repository, digest FROM image_digests WHERE image_id = ? ORDER BY 1, 2"
        return [(row[0], row[1]) for row in self._db.execute(query, (image_id,))]

    def tag(self, image_id: str, name: Reference) -> None:
        """Gives an image a further name; another image of that name loses it."""
        if name.digest:
            raise ImageError(f"cannot tag {name.familiar}", "a tag may not have a digest")
        try:
            with self._db:
                self._name(name, image_id)
            _tagged()
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
                raise self.missing(text)
            names = self.names(image_id)
            by_digest = references.parse(text) if named and "@" in text else None
            going = [] if by_digest else [str(references.parse(text))] if named else names
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
            labels, content = self._labels(image_id), self._content(image_id)
            self._db.executemany(
                "DELETE FROM image_refs WHERE name = ?", [(name,) for name in going]
            )
            if by_digest:
                self._db.execute(
                    "DELETE FROM image_digests WHERE repository = ? AND digest = ?",
                    _digest_key(by_digest),
                )
            if last and not using:
                self._db.execute("DELETE FROM images WHERE id = ?", (image_id,))
        _row_removed()
        if last and not using:
            self.free(*content)
        removed = [image_id] if last and not using else []
        untagged = [references.parse(name).familiar for name in going]
        untagged += [by_digest.familiar] if by_digest else []
        for familiar in untagged:
            self.told("untag", image_id, familiar, labels)
        for gone in removed:
            self.told("delete", gone, "", labels)
        return untagged, removed

    def _content(self, image_id: str) -> tuple[set[str], set[str]]:
        """(diff ids, digests) that the rows of an image name."""
        layers = self.layers(image_id)
        digests = {image_id, *(layer.digest for layer in layers)}
        digests |= {digest for _, digest in self.digests(image_id)}
        return {layer.diff_id for layer in layers}, digests

    def _named(self) -> tuple[set[str], set[str]]:
        """(diff ids, digests) that any row names."""
        layers = "SELECT diff_id, digest FROM image_layers"
        query = f"{layers} UNION SELECT diff_id, digest FROM build_cache"
        rows = self._db.execute(query).fetchall()
        digests = {row[1] for row in rows}
        digests |= {row[0] for row in self._db.execute("SELECT id FROM images")}
        digests |= {row[0] for row in self._db.execute("SELECT digest FROM image_digests")}
        return {row[0] for row in rows} | {_EMPTY_LAYER}, digests

    def free(self, diff_ids: set[str], digests: set[str]) -> None:
        """Removes content that no row names and nobody holds."""
        for name in diff_ids:
            self._take_away(self.unpacked.folder, name, 0)
        for name in digests:
            self._take_away(self.blobs.folder, name, 1)

    def _take_away(self, folder: str, name: str, kind: int) -> None:
        try:
            with hold(f"{folder}/{name}", exclusive=True, blocking=False):
                if name in self._named()[kind]:  # somebody added it again
                    return
                gone = f"{folder}/.gone-{name}-{os.getpid()}"
                os.rename(f"{folder}/{name}", gone)
                _set_aside()
        except (BlockingIOError, FileNotFoundError):  # being added right now, or gone already
            return
        from kernel import tree

        tree.remove_tree(gone)

    def sweep(self, older_than: float = _A_DAY) -> None:
        """Removes content that no row names, nobody holds, and nobody touched for that long.

        What a crash or a broken download left is younger for a while: it can be gone on with.
        """
        from kernel import tree

        for kind, folder, name in list(self._leftovers(older_than)):
            if name.startswith(".gone-"):
                tree.remove_tree(f"{folder}/{name}")
            else:
                self._take_away(folder, name, kind)

    def leftovers(self, older_than: float = _A_DAY) -> list[str]:
        """The paths of what :meth:`sweep` would remove, unless somebody holds it."""
        return [f"{folder}/{name}" for _, folder, name in self._leftovers(older_than)]

    def _leftovers(self, older_than: float) -> Iterator[tuple[int, str, str]]:
        limit = time.time() - older_than
        for kind, folder in enumerate((self.unpacked.folder, self.blobs.folder)):
            names = os.listdir(folder) if os.path.isdir(folder) else []
            named = self._named()[kind]
            for name in names:
                is_young = not name.startswith(".gone-") and _changed(f"{folder}/{name}") > limit
                if name not in named and not is_young:
                    yield kind, folder, name


def _digest_key(reference: Reference) -> tuple[str, str]:
    """The key of a row of image_digests."""
    return f"{reference.domain}/{reference.path}", reference.digest.removeprefix("sha256:")


def _changed(path: str) -> float:
    """When a file or folder was last changed itself, whatever times it shows (st_ctime)."""
    try:
        return os.stat(path, follow_symlinks=False).st_ctime
    except FileNotFoundError:
        return 0.0


def _count(folder: str) -> int:
    total = 0
    for at, _, files in os.walk(folder):
        for name in files:
            info = os.lstat(f"{at}/{name}")
            total += info.st_size if stat.S_ISREG(info.st_mode) else 0
    return total


_EMPTY_LAYER = "empty"  # the lowerdir of an image that has no layers
