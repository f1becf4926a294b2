"""What builds have made before, by a digest of everything that it depended on.

    table build_cache          key to layer; a row keeps its layer and its archive (images.store)
    build-mounts/<key>/        a folder of RUN --mount=type=cache, and beside it <key>.lock
    build-mounts/.new-<key>-<pid>/  one being filled

The key of a layer is made of the layers below it, the instruction as it is once variables are
replaced, and digests of the files that it copies: not of times, names of stages, or what only the
configuration says. So a row holds for every Dockerfile that says the same.

A crash leaves a folder without a row: it is used by the next build that names it, or goes with
`builder prune`. Rows are written once the layer is there, synced.

Source: Docker's "Build cache invalidation", "Build garbage collection".
"""

from __future__ import annotations

import os
import time

from images.config import Layer
from kernel import digest, process, quickjson, trace, tree
from kernel.locks import Lock
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from typing import Any

_recorded = trace.point("images.build.cache.recorded")
_row_removed = trace.point("images.build.cache.row_removed")
_mount_recorded = trace.point("images.build.cache.mount_recorded")
_mount_removed = trace.point("images.build.cache.mount_removed")

REGULAR, MOUNT = "regular", "exec.cachemount"
_VERSION = 1  # of the keys: what they are made of


class Entry(Record):
    """A row of the table. ``shared``: an image has that layer as well."""

    key: str
    kind: str
    diff_id: str
    digest: str
    size: int
    created: float
    used: float
    uses: int
    description: str
    shared: bool = False

    @property
    def layer(self) -> Layer | None:
        """The layer that was made, None if nothing was changed."""
        return Layer(self.diff_id, self.digest, self.size) if self.diff_id else None


def key_of(*parts: Any) -> str:
    """A key: the digest of values that JSON knows."""
    content = quickjson.canonical([_VERSION, *parts])
    return digest.fingerprint(content.encode(errors="surrogatepass")).hex()


class Cache:
    """The cache of one root folder. ``free`` takes away content that no row names."""

    def __init__(
        self, root: str, db: sqlite3.Connection, free: Callable[[set[str], set[str]], None]
    ) -> None:
        self._db = db
        self._free = free
        self.folder = f"{root}/build-mounts"

    def get(self, key: str) -> Entry | None:
        """What was made for a key; that counts as a use."""
        columns = ", ".join(Entry._fields[:-1])
        query = (
            f"UPDATE build_cache SET used = ?, uses = uses + 1 WHERE key = ? RETURNING {columns}"
        )
        rows = self._db.execute(query, (time.time(), key)).fetchall()
        return Entry(*rows[0]) if rows else None

    def add(self, key: str, layer: Layer | None, created: float, description: str) -> None:
        """A layer that is there, synced and held; None if the step changed nothing.

        What was known for that key goes, unless something else names it.
        """
        made = layer or Layer("", "", 0)
        query = "SELECT diff_id, digest FROM build_cache WHERE key = ? AND diff_id NOT IN ('', ?)"
        before = self._db.execute(query, (key, made.diff_id)).fetchall()
        row = (key, REGULAR, made.diff_id, made.digest, made.size, created, time.time(), 1,
               description)  # fmt: skip
        self._db.execute(f"INSERT OR REPLACE INTO build_cache VALUES ({_marks(row)})", row)
        _recorded()
        self._free({row[0] for row in before}, {row[1] for row in before})

    def mount(self, key: str, description: str) -> str:
        """The folder of a cache mount, made where it is missing."""
        now = time.time()
        row = (key, MOUNT, "", "", 0, now, now, 1, description)
        self._db.execute(
            f"INSERT INTO build_cache VALUES ({_marks(row)})"
            " ON CONFLICT DO UPDATE SET used = excluded.used, uses = uses + 1",
            row,
        )
        _mount_recorded()
        os.makedirs(self.folder, mode=0o711, exist_ok=True)
        self.sweep()
        return f"{self.folder}/{key}"

    def staging(self, key: str) -> str:
        """Where a cache mount's folder is made, until it is renamed."""
        return f"{self.folder}/.new-{key}-{os.getpid()}"

    def sweep(self) -> None:
        """Removes what was being filled by whoever is dead."""
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else ():
            if name.startswith(".new-") and not process.is_anybody(name.rpartition("-")[2]):
                tree.remove_tree(f"{self.folder}/{name}")

    def lock(self, key: str, *, shared: bool, blocking: bool = True) -> Lock:
        """The lock of a cache mount's folder. BlockingIOError when taken, if not ``blocking``."""
        return Lock(f"{self.folder}/{key}.lock", shared=shared, blocking=blocking)

    def entries(self) -> list[Entry]:
        """All of it, the last used first."""
        query = (
            f"SELECT {', '.join(Entry._fields[:-1])}, diff_id != '' AND EXISTS (SELECT 1 FROM"
            " image_layers WHERE image_layers.diff_id = build_cache.diff_id)"
            " FROM build_cache ORDER BY used DESC, key"
        )
        found = [Entry(*row).replace(shared=bool(row[-1])) for row in self._db.execute(query)]
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        left = {name for name in names if "." not in name} - {one.key for one in found}
        for name in sorted(left):
            at = os.stat(f"{self.folder}/{name}").st_ctime
            found.append(Entry(name, MOUNT, "", "", 0, at, at, 0, "of a build that was killed"))
        return [
            one.replace(size=tree.content_size(f"{self.folder}/{one.key}"))
            if one.kind == MOUNT
            else one
            for one in found
        ]

    def remove(self, going: Iterable[Entry]) -> list[Entry]:
        """Removes entries and what nothing else names; returns those that went.

        Folders that a build is using stay.
        """
        self.sweep()
        gone: list[Entry] = []
        for one in going:
            if one.kind == MOUNT and not self._remove_mount(one.key):
                continue
            self._db.execute("DELETE FROM build_cache WHERE key = ?", (one.key,))
            _row_removed()
            gone.append(one)
        self._free({e.diff_id for e in gone if e.diff_id}, {e.digest for e in gone if e.digest})
        return gone

    def _remove_mount(self, key: str) -> bool:
        if not os.path.isdir(self.folder):
            return True
        try:
            with self.lock(key, shared=False, blocking=False):
                tree.remove_tree(f"{self.folder}/{key}")
                _mount_removed()
                os.unlink(f"{self.folder}/{key}.lock")
        except BlockingIOError:
            return False
        return True


def _marks(row: tuple[Any, ...]) -> str:
    return ", ".join("?" * len(row))
