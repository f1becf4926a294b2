"""The tables of the database: made when it is new, and brought up to date when it is old.

Rooms have their own tables; that of containers is here. Hardly any command needs this: what is
there has its version, :data:`engine.home.VERSION`.
"""

from __future__ import annotations

import os

from engine import wal
from engine.home import VERSION
from images import store as image_store
from kernel import trace
from kernel.locks import Lock
from network import leases
from network import store as network_store
from volumes import store as volume_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

_begun = trace.point("engine.tables.begun")
_made = trace.point("engine.tables.made")

CONTAINERS = """
CREATE TABLE IF NOT EXISTS containers (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    image_id      TEXT NOT NULL REFERENCES images (id) ON DELETE RESTRICT,
    image         TEXT NOT NULL,     -- as the person wrote it
    created       REAL NOT NULL,     -- unix time, as all times here
    settings      TEXT NOT NULL,     -- JSON of engine.settings.Settings
    status        TEXT NOT NULL,     -- creating, created, running, paused, restarting, exited,
                                     -- removing
    pid           INTEGER NOT NULL,  -- of the first process (while creating: of the command)
    start_time    INTEGER NOT NULL,  -- of that process, in ticks since boot
    monitor_pid   INTEGER NOT NULL,
    monitor_start INTEGER NOT NULL,
    exit_code     INTEGER NOT NULL,
    oom_killed    INTEGER NOT NULL,
    error         TEXT NOT NULL,
    started       REAL NOT NULL,     -- 0 if never
    finished      REAL NOT NULL,
    restarts      INTEGER NOT NULL DEFAULT 0,  -- how often its policy has started it again
    stopped       INTEGER NOT NULL DEFAULT 0,  -- 1: a person ended it, 2: the end of the host did
    health        TEXT NOT NULL DEFAULT ''     -- JSON: Status, FailingStreak, Log
) STRICT;
CREATE INDEX IF NOT EXISTS containers_by_status ON containers (status);
CREATE INDEX IF NOT EXISTS containers_by_image ON containers (image_id);
"""

ALL = " ".join(
    (image_store.SCHEMA, CONTAINERS, volume_store.SCHEMA, network_store.SCHEMA, leases.SCHEMA)
)

_UPGRADES = {  # version to what leads to the next one
    1: """
ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN health TEXT NOT NULL DEFAULT '';
""",
    2: f"""
ALTER TABLE image_layers ADD COLUMN size INTEGER NOT NULL DEFAULT -1;
{image_store.SCHEMA}
""",
    3: image_store.SCHEMA,
    4: network_store.SCHEMA,
    5: leases.SCHEMA,
    6: f"""
ALTER TABLE volumes ADD COLUMN leaving TEXT NOT NULL DEFAULT '';
{volume_store.SCHEMA}
""",
}


def prepare(db: sqlite3.Connection, root: str) -> int:
    """Makes the tables, or changes those of an older pyctr; the version that they have then.

    It is another one than ours if a newer pyctr has made them.
    """
    with Lock(f"{root}/state.lock"):
        while True:
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                _make(db, root)
            elif version in _UPGRADES:
                change = f"{_UPGRADES[version]} PRAGMA user_version = {version + 1};"
                db.executescript(f"BEGIN IMMEDIATE; {change} COMMIT;")
            else:
                return version


def _make(db: sqlite3.Connection, root: str) -> None:
    """For the first command of a root folder, or the first after its database was lost."""
    _begun()
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(f"BEGIN IMMEDIATE; {ALL} COMMIT;")
    if any(os.path.isdir(f"{root}/{name}") for name in ("containers", "layers", "volumes")):
        from engine import lost

        lost.recover(root, db)
    db.execute(f"PRAGMA user_version = {VERSION}")
    wal.reserve(f"{root}/state.db-wal")
    _made()
