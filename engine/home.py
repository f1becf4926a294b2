"""Where pyctr lives on this host: folders, the database, and the stores below them.

    /var/lib/pyctr/   or another root folder: state.db, images, volumes, containers
    /run/pyctr/<id>/  what is gone after a reboot; another root folder has another run folder

Which folders these are is configured (:mod:`engine.config`).

SQLite in WAL mode is the truth. A commit does not wait for the disk (synchronous=NORMAL): after a
power failure the last seconds may be missing, which volumes survive (see volumes.store). The
connection is closed before a fork, and left open when a command ends: the last one to close would
copy the log into the database and wait for the disk.

Source: sqlite.org, "Write-Ahead Logging", "PRAGMA synchronous", "How To Corrupt An SQLite
Database File", 2.6 (fork) and 2.2 (locks).
"""

from __future__ import annotations

import os
import sys

from engine import config
from engine.errors import EngineError
from kernel import sqlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    import images.store
    import network.store
    import volumes.store

VERSION = 7  # of the tables (engine.tables)


class Home:
    """One root folder: `db`, `images` and `volumes` are opened when they are first needed.

    Their modules are loaded then, too: no command needs all of them.
    """

    def __init__(self, root: str, run: str, trash_age: float = 86400.0) -> None:
        self.root = root
        self.run = run
        self.trash_age = trash_age  # seconds
        self._db: sqlite3.Connection | None = None
        self._opened = (0, 0)

    @property
    def db(self) -> sqlite3.Connection:
        """The database; made with its tables when it is not there."""
        if self._db is None:
            self._db = _connect(self.root)
            self._opened = _identity(f"{self.root}/state.db")
        return self._db

    @property
    def images(self) -> images.store.Store:
        """The image store."""
        from images.store import Store

        return Store(self.root, self.db, tell=self._told("image"))

    @property
    def volumes(self) -> volumes.store.Store:
        """The volume store."""
        from volumes.store import Store

        return Store(self.root, self.db, self.trash_age, tell=self._told("volume"))

    @property
    def networks(self) -> network.store.Store:
        """The networks and who is in them."""
        from network.store import Store

        return Store(self.db, self.tag, tell=self._told("network"))

    @property
    def tag(self) -> str:
        """What tells this root folder's interfaces from those of another; "" for the usual one."""
        if self.run == config.RUN:
            return ""
        from kernel.digest import fingerprint

        return fingerprint(self.run.encode()).hex()[:4]

    def fresh(self) -> Home:
        """This home with the database that is there now, for a process that lives long."""
        if self._db is not None and _identity(f"{self.root}/state.db") != self._opened:
            self.close()
        return self

    def _told(self, kind: str) -> Callable[[str, str, dict[str, str]], None]:
        """Stores know nothing of events: they tell what happens to whoever has made them."""

        def tell(action: str, identity: str, attributes: dict[str, str]) -> None:
            from engine import events

            events.emit(self, kind, action, identity, attributes)

        return tell

    @property
    def filters(self) -> str:
        """The folder of compiled seccomp filters."""
        return f"{self.root}/seccomp"

    def folder(self, container_id: str) -> str:
        """A container's own files: writable layer, log, hosts, hostname, resolv.conf."""
        return f"{self.root}/containers/{container_id}"

    def run_folder(self, container_id: str) -> str:
        """A running container's socket."""
        return f"{self.run}/{container_id}"

    def close(self) -> None:
        """Closes the database before a fork; it is opened again where it is next needed.

        SQLite's state in memory would be shared by both sides of a fork, and its locks would not.
        """
        if self._db is not None:
            close_quickly(self._db, f"{self.root}/state.db")
            self._db = None

    def fold_log(self) -> None:
        """Folds the log into the database if it has grown, and empties it.

        That waits for the disk: for a process for which nobody waits any more. Whoever commits
        does the same without emptying it, later (wal_autocheckpoint).
        """
        from engine import wal

        log = f"{self.root}/state.db-wal"
        if not wal.is_long(log):
            return
        try:
            self.db.execute("PRAGMA busy_timeout = 0")  # another process will, then
            self.db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # writers go on meanwhile
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            wal.reserve(log)
        except (OSError, EngineError, sqlite.load().Error):  # no database, no room on the disk
            return


def _identity(path: str) -> tuple[int, int]:
    """Which file it is; (0, 0) if there is none."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (info.st_dev, info.st_ino)


def find() -> Home:
    """The home that the configuration chooses: environment, file, or what is built in."""
    chosen = config.current()
    return Home(chosen.root, chosen.run, chosen.trash_age)


def as_failure(error: BaseException) -> EngineError | None:
    """What to tell of an error of the database that nobody expected; None if it is none of it.

    The disk is full, the file is damaged, or somebody has kept it locked for half a minute.
    """
    sqlite = sys.modules.get("_sqlite3")
    if sqlite is None or not isinstance(error, sqlite.Error):
        return None
    return _unusable("cannot use the database", error, "")


def passes(error: Exception) -> bool:
    """Whether an error of the database passes by itself: it is locked, or the disk is full."""
    known = error.__cause__ if isinstance(error, EngineError) else error
    return getattr(known, "sqlite_errorcode", 0) & 0xFF in (_BUSY, _FULL)


_BUSY, _FULL = 5, 13  # sqlite.org/rescode.html


def _unusable(what: str, error: BaseException, path: str) -> EngineError:
    """The error with what can be done about it: an OSError, or one of SQLite's (result codes).

    An extended result code has the primary one in its lowest byte.
    """
    from kernel import hints

    if isinstance(error, OSError):
        why, hint = (error.strerror or str(error)).lower(), hints.of(error.errno)
    else:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        why, hint = str(error), _HINTS.get(code, "").format(room=hints.ROOM)
        if isinstance(error, UnicodeDecodeError):  # SQLite complains in bytes that are damaged
            why, hint = "it is damaged", _HINTS[11]
    return EngineError(what, why, hint or "run pyctr as root", path)


_HINTS = {  # sqlite.org/rescode.html
    5: "another process has kept it locked for half a minute: end that, and try again",  # BUSY
    7: "too little memory for pyctr itself",  # NOMEM
    8: "mount that file system read-write, or choose another --root",  # READONLY
    10: "the disk cannot be read or written: see dmesg, and whether it is full",  # IOERR
    11: "pyctr system check --repair saves what is left of it",  # CORRUPT
    13: "{room}",  # FULL
    14: "run pyctr as root; otherwise the disk is full, or too many files are open",  # CANTOPEN
    26: "pyctr system check --repair saves what is left of it",  # NOTADB
}


_F_OFD_SETLK = 37  # fcntl(2), linux/fcntl.h
_SHARED_FIRST, _SHARED_SIZE = 0x40000002, 510  # sqlite: os.h


def close_quickly(db: sqlite3.Connection, path: str) -> None:
    """Closes a connection without a checkpoint, which it skips while somebody else reads.

    We are that somebody: a lock of an open file description, unlike the classic ones, counts
    against the same process as well. (Python 3.12 can say SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE.)
    """
    import fcntl
    import struct

    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
    try:
        fcntl.fcntl(fd, _F_OFD_SETLK, lock)
    except OSError:  # a checkpoint is under way elsewhere: ours would be skipped as well
        pass
    try:
        db.close()
    finally:
        os.close(fd)


def _connect(root: str) -> sqlite3.Connection:
    module = sqlite.load()
    path = f"{root}/state.db"
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.chmod(root, 0o700)  # setuid files of layers and volumes are nobody's (CVE-2021-41091)
        fresh = not os.path.exists(path)
        if fresh:
            os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))
        db: sqlite3.Connection = module.connect(path, timeout=30, isolation_level=None)
        found = version = db.execute("PRAGMA user_version").fetchone()[0]
        if found != VERSION:
            from engine import tables

            version = tables.prepare(db, root)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 200")  # whoever comes next reads what is in it
        db.execute("PRAGMA foreign_keys = ON")
    except (OSError, UnicodeDecodeError, module.Error) as error:
        raise _unusable("cannot open the database", error, path) from error
    if version != VERSION:
        raise EngineError(
            "cannot use the database",
            f"it was made by another pyctr (version {version}, this one knows {VERSION})",
            "use that pyctr, or another --root",
            path,
        )
    return db
