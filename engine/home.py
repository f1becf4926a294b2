"""Where pyctr lives on this host: folders, the database, and the stores below them.

    /var/lib/pyctr/   PYCTR_ROOT or --root: state.db, images, volumes, containers
    /run/pyctr/<id>/  PYCTR_RUN: what is gone after a reboot; another root has another run folder

SQLite in WAL mode is the truth. A commit does not wait for the disk (synchronous=NORMAL): after a
power failure the last seconds may be missing, which volumes survive (see volumes.store). The
connection is never used on both sides of a fork, and a command leaves without closing it: closing
would make it wait for the disk.

Source: sqlite.org, "Write-Ahead Logging", "PRAGMA synchronous".
"""

from __future__ import annotations

import os

from engine.errors import EngineError
from images import store as image_store
from kernel.locks import Lock
from volumes import store as volume_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

DEFAULT_ROOT = "/var/lib/pyctr"
DEFAULT_RUN = "/run/pyctr"
_VERSION = 1

CONTAINERS = """
CREATE TABLE IF NOT EXISTS containers (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    image_id      TEXT NOT NULL REFERENCES images (id) ON DELETE RESTRICT,
    image         TEXT NOT NULL,     -- as the person wrote it
    created       REAL NOT NULL,     -- unix time, as all times here
    settings      TEXT NOT NULL,     -- JSON of engine.settings.Settings
    status        TEXT NOT NULL,     -- creating, created, running, exited, removing
    pid           INTEGER NOT NULL,  -- of the first process (while creating: of the command)
    start_time    INTEGER NOT NULL,  -- of that process, in ticks since boot
    monitor_pid   INTEGER NOT NULL,
    monitor_start INTEGER NOT NULL,
    exit_code     INTEGER NOT NULL,
    oom_killed    INTEGER NOT NULL,
    error         TEXT NOT NULL,
    started       REAL NOT NULL,     -- 0 if never
    finished      REAL NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS containers_by_status ON containers (status);
CREATE INDEX IF NOT EXISTS containers_by_image ON containers (image_id);
"""


class Home:
    """One root folder: `db`, `images` and `volumes` are opened when they are first needed."""

    def __init__(self, root: str, run: str) -> None:
        self.root = root
        self.run = run
        self._db: sqlite3.Connection | None = None

    @property
    def db(self) -> sqlite3.Connection:
        """The database; made with its tables when it is not there."""
        if self._db is None:
            self._db = _connect(self.root)
        return self._db

    @property
    def images(self) -> image_store.Store:
        """The image store."""
        return image_store.Store(self.root, self.db)

    @property
    def volumes(self) -> volume_store.Store:
        """The volume store."""
        return volume_store.Store(self.root, self.db)

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

    def lock(self, container_id: str) -> Lock:
        """Held by whoever starts or removes a container."""
        return Lock(f"{self.folder(container_id)}/lock")

    def after_fork(self) -> None:
        """Forgets the parent's connection without closing it (it is the parent's alone)."""
        _inherited.append(self._db)
        self._db = None


_inherited: list[object] = []  # kept from the garbage collector, which would close them


def find(root: str = "") -> Home:
    """The home that ``root``, PYCTR_ROOT and PYCTR_RUN choose."""
    chosen = root or os.environ.get("PYCTR_ROOT") or DEFAULT_ROOT
    chosen = os.path.abspath(chosen)
    run = "" if root else os.environ.get("PYCTR_RUN") or ""
    if not run:
        run = DEFAULT_RUN if chosen == DEFAULT_ROOT else f"{DEFAULT_RUN}-{_short(chosen)}"
    return Home(chosen, run)


def _short(path: str) -> str:
    from hashlib import sha256

    return sha256(path.encode()).hexdigest()[:12]


def _connect(root: str) -> sqlite3.Connection:
    import sqlite3

    path = f"{root}/state.db"
    try:
        os.makedirs(root, mode=0o711, exist_ok=True)
        fresh = not os.path.exists(path)
        if fresh:
            os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(path, timeout=30, isolation_level=None)
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            _make_tables(db, root)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
    except (OSError, sqlite3.Error) as error:
        raise EngineError(
            "cannot open the database",
            str(error),
            "run pyctr as root; if the file is damaged, move it away: volumes are adopted again",
            path,
        ) from None
    if version not in (0, _VERSION):
        raise EngineError(
            "cannot use the database",
            f"it was made by another pyctr (version {version}, this one knows {_VERSION})",
            "use that pyctr, or another --root",
            path,
        )
    if version == 0:
        volume_store.Store(root, db).adopt_all()
    return db


def _make_tables(db: sqlite3.Connection, root: str) -> None:
    with Lock(f"{root}/state.lock"):
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(
            f"BEGIN; {image_store.SCHEMA} {CONTAINERS} {volume_store.SCHEMA}"
            f" PRAGMA user_version = {_VERSION}; COMMIT;"
        )
