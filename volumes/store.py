"""The volumes on disk, and the database's knowledge of them.

    volumes/<name>/_data         what containers see
    volumes/<name>/volume.json   what the database knows, to know it again without the database
    volumes/<name>/lock          held (shared) by a start, (alone) by population and removal
    volumes/<name>/leaving-trash  the volume is being removed; or leaving-delete
    volumes/.trash/<name>        retired volumes, in the same form
    volumes/.trash/.gone-...     a volume being deleted
    volumes/.new-...             a volume being made

Whether a volume is in use is a query: a row of ``mounts`` names it, and its foreign key forbids
the removal. A folder without a row is never swept: it is adopted again, unless ``leaving-...`` says
that its removal was under way. A volume is made under another name and renamed when complete.

Retirement: an anonymous volume whose last container is removed goes to the trash for a day
(configurable; 0 for none). Explicit removal frees at once. What begins a removal marks the row
first, in the transaction in which the container's row goes: whoever is killed then has left a
mark that the next list finishes (:meth:`Store.mend`), unless a container has taken the volume.
"""

from __future__ import annotations

import os
import stat
import time

from kernel import quickjson, trace
from kernel.locks import Lock
from kernel.record import Record
from volumes.errors import VolumeError, VolumeInUse, VolumeNotFound
from volumes.plan import Mount
from volumes.requests import check_name, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS volumes (
    name      TEXT PRIMARY KEY,
    anonymous INTEGER NOT NULL,
    created   TEXT NOT NULL,    -- RFC 3339
    labels    TEXT NOT NULL,    -- JSON object
    leaving   TEXT NOT NULL DEFAULT ''  -- trash or delete: its removal has begun
) STRICT;
CREATE INDEX IF NOT EXISTS volumes_leaving ON volumes (leaving) WHERE leaving <> '';
CREATE TABLE IF NOT EXISTS mounts (
    container_id TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    destination  TEXT NOT NULL,
    kind         TEXT NOT NULL,
    volume       TEXT REFERENCES volumes (name) ON DELETE RESTRICT,
    source       TEXT NOT NULL,  -- the volume's name, or a path of the host
    readonly     INTEGER NOT NULL,
    options      TEXT NOT NULL,  -- words of mount(8), parted by commas
    PRIMARY KEY (container_id, destination)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mounts_by_volume ON mounts (volume);
"""

_made = trace.point("volumes.store.made")
_there = trace.point("volumes.store.there")
_found = trace.point("volumes.store.found")
_marked = trace.point("volumes.store.marked")
_written = trace.point("volumes.store.written")
_row_removed = trace.point("volumes.store.row_removed")
_moved = trace.point("volumes.store.moved")
_staged = trace.point("volumes.store.staged")
_recorded = trace.point("volumes.store.recorded")
_unmarked = trace.point("volumes.store.unmarked")
_restored = trace.point("volumes.store.restored")
_thrown = trace.point("volumes.store.thrown")

_TRASH = ".trash"
_GONE = ".gone-"  # in the trash: what is being deleted, and the pid of who does
A_DAY = 86400.0  # seconds


class Volume(Record):
    """A volume's facts; ``labels`` are data and never interpreted."""

    name: str
    anonymous: bool
    created: str
    labels: dict[str, str]


class Store:
    """Volumes below one root folder; the trash keeps what was retired for ``trash_age`` seconds.

    ``tell(action, name, attributes)`` is called when a volume has been made (create) or is gone
    (destroy).
    """

    def __init__(
        self,
        root: str,
        db: sqlite3.Connection,
        trash_age: float = A_DAY,
        *,
        tell: Callable[[str, str, dict[str, str]], None] | None = None,
    ) -> None:
        self.root = f"{root}/volumes"
        self._db = db
        self._trash_age = trash_age
        self._tell = tell or (lambda *_what: None)

    def folder(self, name: str) -> str:
        """Everything of a volume."""
        return f"{self.root}/{name}"

    def data(self, name: str) -> str:
        """What containers see of it."""
        return f"{self.root}/{name}/_data"

    # -- making ----------------------------------------------------------------------------

    def ensure(self, name: str, *, anonymous: bool = False, labels: Any = None) -> Volume:
        """The volume of that name, with its folder on disk; its row may still be missing.

        A folder that is there already is taken as it is: that is the volume.
        """
        volume, lock, _ = self.claim(name, anonymous=anonymous, labels=labels)
        lock.release()
        return volume

    def _there(self, name: str, *, anonymous: bool, labels: Any) -> tuple[Volume, bool]:
        known = self.known(name)
        if known is not None and is_folder(self.data(name)):
            return known, False
        check_name(name)
        folder = self.folder(name)
        if leaving(folder):
            self._settle(name)
        if known is not None and self.known(name) is not None:  # it was not removed just now
            raise self._lost(name)
        if os.path.isdir(folder):
            if not is_folder(self.data(name)):
                raise self._lost(name)
            return self._read(folder, name), False
        volume = Volume(name, anonymous, _now(), dict(labels or {}))
        return volume, self._make(volume)

    def _lost(self, name: str) -> VolumeError:
        """Somebody has taken the data away by hand; an empty volume would hide that."""
        data = self.data(name)
        what = "its data is not a folder" if os.path.lexists(data) else "its data is gone"
        return VolumeError(
            f"cannot use volume {name}",
            what,
            "put it back there; or have an empty volume: pyctr system check --repair",
            data,
        )

    def _make(self, volume: Volume) -> bool:
        """Makes the folder, whole; False if another command made it first."""
        from kernel import paths, tree

        self._make_root()
        staging = f"{self.root}/.new-{volume.name}-{os.getpid()}"
        tree.remove_tree(staging)
        os.mkdir(staging, 0o711)
        os.mkdir(f"{staging}/_data", 0o755)
        os.chmod(f"{staging}/_data", 0o755)
        with open(f"{staging}/volume.json", "wb") as file:
            file.write(_encode(volume))
        _staged()
        try:
            paths.renameat2(
                paths.AT_FDCWD, staging, paths.AT_FDCWD, self.folder(volume.name),
                paths.RENAME_NOREPLACE,
            )  # fmt: skip
        except FileExistsError:  # another command made it first
            tree.remove_tree(staging)
            return False
        _made()
        self._tell("create", volume.name, {"driver": "local"})
        return True

    def _make_root(self) -> None:
        """With the trash, for which a full disk has no room later."""
        if not os.path.isdir(f"{self.root}/{_TRASH}"):
            os.makedirs(self.root, mode=0o711, exist_ok=True)
            os.makedirs(f"{self.root}/{_TRASH}", mode=0o700, exist_ok=True)

    def claim(
        self, name: str, *, anonymous: bool = False, labels: Any = None
    ) -> tuple[Volume, Lock, bool]:
        """:meth:`ensure` and a shared lock, under which nobody can remove the volume.

        The caller releases it once a row holds the volume. Also whether it was made just now.
        """
        while True:
            volume, made = self._there(name, anonymous=anonymous, labels=labels)
            _there()
            try:
                lock = self.lock(name).take()
            except FileNotFoundError:
                continue  # it was removed in between: make it anew
            _unsign(self.folder(name))  # a removal was interrupted before it began
            return volume, lock, made

    def lock(self, name: str) -> Lock:
        """The volume's shared lock: its folder is neither replaced nor removed meanwhile."""
        return Lock(f"{self.folder(name)}/lock", shared=True)

    def insert(self, volumes: Iterable[Volume]) -> None:
        """Rows for volumes that have none; within the caller's transaction. They stay."""
        self._db.executemany(
            "INSERT INTO volumes (name, anonymous, created, labels) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET leaving = '' WHERE leaving <> ''",
            [(v.name, int(v.anonymous), v.created, _labels(v.labels)) for v in volumes],
        )

    def create(self, name: str, labels: dict[str, str], *, anonymous: bool) -> Volume:
        """`volume create`: the folder, then the row."""
        volume, lock, _ = self.claim(name, anonymous=anonymous, labels=labels)
        with lock:
            self.insert([volume])
            _recorded()
        return volume

    # -- mounts of containers --------------------------------------------------------------

    def attach(self, container_id: str, mounts: Iterable[Mount]) -> None:
        """Records a container's mounts, within the caller's transaction."""
        self._db.executemany(
            "INSERT INTO mounts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    container_id,
                    position,
                    m.destination,
                    m.kind,
                    m.source if m.kind == "volume" else None,
                    m.source,
                    int(m.readonly),
                    ",".join(m.options),
                )
                for position, m in enumerate(mounts)
            ],
        )

    def mounts(self, container_id: str) -> tuple[Mount, ...]:
        """A container's mounts, parents first."""
        query = (
            "SELECT kind, destination, source, readonly, options FROM mounts"
            " WHERE container_id = ? ORDER BY position"
        )
        return tuple(
            Mount(
                row[0], row[1], row[2], bool(row[3]), False, tuple(filter(None, row[4].split(",")))
            )
            for row in self._db.execute(query, (container_id,))
        )

    def users(self, name: str) -> list[str]:
        """Ids of the containers, in any state, that have the volume."""
        query = "SELECT DISTINCT container_id FROM mounts WHERE volume = ?"
        return [str(row[0]) for row in self._db.execute(query, (name,))]

    def is_used(self, name: str) -> bool:
        """Whether any container has the volume."""
        query = "SELECT 1 FROM mounts WHERE volume = ? LIMIT 1"
        return self._db.execute(query, (name,)).fetchone() is not None

    def dismiss(self, names: Iterable[str], *, free: bool) -> list[str]:
        """Marks those anonymous volumes among ``names`` that no container has; returns them.

        Within the caller's transaction, after which :meth:`finish` takes them away: for good if
        ``free``, otherwise into the trash.
        """
        found = (self.known(name) for name in names)
        going = [v.name for v in found if v is not None and v.anonymous]
        how = "delete" if free or self._trash_age <= 0 else "trash"
        return [name for name in going if self._mark(name, how)]

    def _mark(self, name: str, how: str) -> bool:
        """Notes in the row of a volume that its removal has begun; False if a container has it."""
        query = "UPDATE volumes SET leaving = ? WHERE name = ? AND name NOT IN (SELECT volume FROM"
        query += " mounts WHERE volume = ?)"
        return self._db.execute(query, (how, name, name)).rowcount > 0

    def _is_marked(self, name: str) -> bool:
        query = "SELECT 1 FROM volumes WHERE name = ? AND leaving <> ''"
        return self._db.execute(query, (name,)).fetchone() is not None

    def finish(self, names: Iterable[str]) -> None:
        """Ends removals that have begun (:meth:`dismiss`), where nobody has taken the volume up."""
        for name in names:
            self._end(name)

    def mend(self) -> None:
        """Ends those whose command was killed; not where somebody is at work."""
        for (name,) in self._db.execute("SELECT name FROM volumes WHERE leaving <> ''").fetchall():
            try:
                self._end(name, wait=False)
            except BlockingIOError:
                continue

    def _end(self, name: str, *, wait: bool = True) -> None:
        row = self._db.execute("SELECT leaving FROM volumes WHERE name = ?", (name,)).fetchone()
        _found()
        if row and row[0]:
            self._went(name, row[0], begun=True, wait=wait)

    # -- reading ---------------------------------------------------------------------------

    def known(self, name: str) -> Volume | None:
        """The volume's row, or None."""
        query = "SELECT name, anonymous, created, labels FROM volumes WHERE name = ?"
        row = self._db.execute(query, (name,)).fetchone()
        return _volume(row) if row else None

    def get(self, name: str) -> Volume:
        """The volume of that name, adopted if only its folder is there; VolumeNotFound."""
        volume = self.known(name)
        if volume is None and is_name(name) and os.path.isdir(self.folder(name)):
            self.adopt(name)
            volume = self.known(name)
        if volume is None:
            hint = "pyctr volume ls shows all volumes"
            if os.path.isdir(f"{self.root}/{_TRASH}/{name}"):
                hint = f"it is in the trash: pyctr volume restore {name}"
            raise VolumeNotFound(f"no such volume: {name}", "", hint)
        return volume

    def listing(self) -> list[Volume]:
        """All volumes by name, after what a crash has left is finished and adopted."""
        self.mend()
        self.adopt_all()
        return self.rows()

    def rows(self) -> list[Volume]:
        """What the database knows, by name, whatever is on disk."""
        query = "SELECT name, anonymous, created, labels FROM volumes ORDER BY name"
        return [_volume(row) for row in self._db.execute(query)]

    def adopt_all(self, *, empty: bool = False) -> list[str]:
        """Rows for all folders that have none (a lost database); returns their names.

        An anonymous one that is ``empty`` is otherwise removed: a command that was killed made it
        for a container that was never recorded.
        """

        known = {row[0] for row in self._db.execute("SELECT name FROM volumes")}
        if not os.path.isdir(self.root):
            return []
        _sweep(self.root, ".new-")
        _sweep(f"{self.root}/{_TRASH}", _GONE)
        strangers = [n for n in os.listdir(self.root) if is_name(n) and n not in known]
        return [name for name in strangers if self.adopt(name, wait=False, empty=empty)]

    def adopt(self, name: str, *, wait: bool = True, empty: bool = False) -> bool:
        """Gives a folder that is no leftover a row; whether it did. ``empty``: :meth:`adopt_all`.

        Without ``wait`` not if somebody is at work on it: a list does not wait for one volume.
        """
        return self._settle(name, adopt=True, wait=wait, empty=empty)

    def _settle(
        self, name: str, *, adopt: bool = False, wait: bool = True, empty: bool = False
    ) -> bool:
        """Finishes a removal that was interrupted after its row was gone; else may adopt.

        Under the volume's lock: nobody is making or removing it now.
        """
        folder = self.folder(name)
        try:
            lock = Lock(f"{folder}/lock", blocking=wait).take()
        except (FileNotFoundError, BlockingIOError):
            return False
        with lock:
            if self.known(name) is not None:
                return False
            how = leaving(folder)
            if not how:
                if not adopt or not is_folder(f"{folder}/_data"):
                    return False
                has_content = bool(os.listdir(f"{folder}/_data"))
                if empty or has_content or not self._read(folder, name).anonymous:
                    self._enroll(name)
                    return True
                how = "delete"
            self._finish(name, how)
            return False

    def _enroll(self, name: str) -> None:
        """A row for a folder that has none, under its lock."""
        found = self._read(self.folder(name), name)
        if self.described(name) is None:
            self.describe(found)
        self.insert([found])

    def _read(self, folder: str, name: str) -> Volume:
        """The facts beside ``_data``; a volume.json that cannot be read costs only the labels."""
        return _described(folder, name) or Volume(name, False, _now(), {})

    # -- mending (volumes.check) -----------------------------------------------------------

    def described(self, name: str) -> Volume | None:
        """What volume.json says; None if it cannot be read."""
        return _described(self.folder(name), name)

    def describe(self, volume: Volume) -> None:
        """Writes volume.json anew."""
        from kernel import tree

        tree.write_atomically(f"{self.folder(volume.name)}/volume.json", _encode(volume), 0o644)

    # -- removing --------------------------------------------------------------------------

    def remove(self, name: str, user_names: Callable[[list[str]], list[str]]) -> None:
        """`volume rm`: frees the volume at once. VolumeInUse names the containers that have it."""
        while True:
            self.get(name)
            _found()
            if not self.is_used(name) and self._leave(name, "delete"):
                return
            users = user_names(self.users(name))
            if users:  # otherwise they have gone meanwhile
                raise VolumeInUse(
                    f"cannot remove volume {name}",
                    f"it is in use by {', '.join(users)}",
                    f"remove the containers first: pyctr rm {' '.join(users)}",
                )

    def free(self, names: Iterable[str]) -> list[str]:
        """Removes volumes that no container has, at once; returns those that went."""
        return [name for name in names if self._went(name, "delete")]

    def discard(self, names: Iterable[str]) -> None:
        """Removes volumes that were made for nothing, unless somebody has taken them up."""
        for name in names:
            self._went(name, "delete", stray=True)

    def _went(self, name: str, how: str, **more: bool) -> bool:
        try:
            return self._leave(name, how, **more)
        except VolumeNotFound:
            return False

    def _leave(
        self, name: str, how: str, *, stray: bool = False, begun: bool = False, wait: bool = True
    ) -> bool:
        """Mark, row, files: in this order a crash is either nothing or is finished later.

        False if a container has it, with ``stray`` if it is on record with a name that a person
        gave, and with ``begun`` if it has no mark any more. VolumeNotFound if another command has
        removed it; BlockingIOError if somebody is at work on it and not ``wait``.
        """
        folder = self.folder(name)
        try:
            lock = Lock(f"{folder}/lock", blocking=wait).take()
        except FileNotFoundError:  # what may be left is a row
            if begun and not self._is_marked(name):
                return False
            if self._delete_row(name) == 0:
                raise VolumeNotFound(f"no such volume: {name}", "it was removed just now") from None
            gone = self.known(name) is None
            if gone:
                self._gone(name, how)
            return gone
        with lock:
            known = self.known(name)
            if stray and known is not None and not known.anonymous:
                return False
            # Who takes a volume up takes the mark away, and needs our lock for that.
            is_marked = self._is_marked(name)
            if begun and not is_marked:
                return False
            if known is not None and not is_marked and not self._mark(name, how):
                return False
            _marked()
            _sign(folder, how)
            _written()
            if self._delete_row(name) < 0:  # a container took it just now
                _unsign(folder)
                return False
            _row_removed()
            self._finish(name, how)
        self._gone(name, how)
        return True

    def _gone(self, name: str, how: str) -> None:
        trash = {"trash": "true"} if how == "trash" else {}
        self._tell("destroy", name, {"driver": "local", **trash})

    def _delete_row(self, name: str) -> int:
        """How many rows went: 1 or 0; -1 if a container has the volume."""
        try:
            return self._db.execute("DELETE FROM volumes WHERE name = ?", (name,)).rowcount
        except self._db.IntegrityError:
            return -1

    def _finish(self, name: str, how: str) -> None:
        """Moves a volume without a row away, then deletes it unless the trash keeps it."""
        from kernel import tree

        self._make_root()
        trash = f"{self.root}/{_TRASH}"
        kept = f"{trash}/{name}"
        if how == "delete":
            kept = f"{trash}/{_GONE}{name}-{os.getpid()}"
        else:
            tree.remove_tree(kept)  # an older volume of the same name
            os.utime(self.folder(name))
        os.rename(self.folder(name), kept)
        _moved()
        if how == "delete":
            tree.remove_tree(kept)

    # -- the trash -------------------------------------------------------------------------

    def trash(self) -> list[tuple[str, float]]:
        """(name, unix time of retirement) of what can be restored."""
        folder = f"{self.root}/{_TRASH}"
        if not os.path.isdir(folder):
            return []
        found = []
        for name in filter(is_name, os.listdir(folder)):
            try:
                found.append((name, os.stat(f"{folder}/{name}").st_mtime))
            except FileNotFoundError:  # it was restored, or its time was over
                continue
        return found

    def restore(self, name: str) -> Volume:
        """Takes a volume out of the trash. VolumeNotFound; VolumeError if the name is taken."""
        from kernel import paths

        kept = f"{self.root}/{_TRASH}/{name}"
        try:
            if not is_name(name) or not os.path.isdir(kept):
                raise FileNotFoundError
            with Lock(f"{kept}/lock"):  # it moves along: nobody takes an empty one for a leftover
                _unsign(kept)
                _unmarked()
                paths.renameat2(
                    paths.AT_FDCWD, kept, paths.AT_FDCWD, self.folder(name), paths.RENAME_NOREPLACE
                )
                _restored()
                self._enroll(name)
        except FileNotFoundError:  # also if another command was faster
            raise VolumeNotFound(
                f"no such volume in the trash: {name}",
                "",
                "pyctr volume ls --trash shows what can be restored",
            ) from None
        except FileExistsError:
            raise VolumeError(
                f"cannot restore volume {name}", "another volume has that name now", exit_code=1
            ) from None
        self._tell("create", name, {"driver": "local", "trash": "true"})
        return self.get(name)

    def empty_trash(self, older_than: float | None = None) -> int:
        """Deletes what is in the trash longer than its time (or ``older_than``); returns bytes."""
        from kernel import tree

        patience = self._trash_age if older_than is None else older_than
        freed = 0
        deadline = time.time() - patience
        folder = f"{self.root}/{_TRASH}"
        _sweep(folder, _GONE)
        for name in filter(is_name, os.listdir(folder) if os.path.isdir(folder) else []):
            try:
                if os.stat(f"{folder}/{name}").st_mtime > deadline:
                    continue
                going = f"{folder}/{_GONE}{name}-{os.getpid()}"
                os.rename(f"{folder}/{name}", going)  # a restore wins completely or not at all
                _thrown()
            except FileNotFoundError:
                continue
            if older_than is not None:
                freed += tree.disk_usage(going)
            tree.remove_tree(going)
        return freed


def _sweep(folder: str, start: str) -> None:
    """Removes what was being made or deleted there by processes that died."""
    from kernel import process, tree

    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if name.startswith(start) and not process.is_anybody(name.rpartition("-")[2]):
            tree.remove_tree(f"{folder}/{name}")


def is_folder(path: str) -> bool:
    """Whether it is a folder, and no link to one."""
    try:
        return stat.S_ISDIR(os.stat(path, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _sign(folder: str, how: str) -> None:
    """Says how a volume is being removed; under its lock, whose file is there therefore.

    A further name for that file takes neither a block nor an inode of a full disk.
    """
    _unsign(folder)
    os.link(f"{folder}/lock", f"{folder}/leaving-{how}")


def _unsign(folder: str) -> None:
    """It stays after all."""
    for how in _WAYS:
        try:
            os.unlink(f"{folder}/leaving-{how}")
        except FileNotFoundError:
            continue


def leaving(folder: str) -> str:
    """How a volume is being removed: trash, delete, or "" if it is not."""
    return next((how for how in _WAYS if os.path.exists(f"{folder}/leaving-{how}")), "")


_WAYS = ("trash", "delete")


def new_name() -> str:
    """A name for an anonymous volume: 64 hexadecimal digits."""
    return os.urandom(32).hex()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _volume(row: tuple[Any, ...]) -> Volume:
    try:
        return Volume(row[0], bool(row[1]), row[2], quickjson.loads(row[3]))
    except ValueError as error:
        raise VolumeError(
            f"cannot read what the database says of volume {row[0]}",
            str(error),
            "pyctr system check --repair asks its volume.json",
        ) from None


def _described(folder: str, name: str) -> Volume | None:
    try:
        with open(f"{folder}/volume.json", "rb") as file:
            said = quickjson.loads(file.read(1 << 20))
        labels = {str(k): str(v) for k, v in said["labels"].items()}
        return Volume(name, bool(said["anonymous"]), str(said["created"]), labels)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _labels(labels: dict[str, str]) -> str:
    return quickjson.dumps(labels)


def _encode(volume: Volume) -> bytes:
    return quickjson.dumps(volume.as_dict()).encode() + b"\n"
