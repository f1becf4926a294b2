"""A new database of what can be read of a damaged one. Nobody should be at work meanwhile.

    state.db.damaged-<time>{,-wal}   the old one, as it was
    state.db.new                     the new one, until it is complete
    state.db.new.graft               the old one by another description (:mod:`engine.verify.graft`)

The new one takes the place of the old one by a rename; the old one's log goes before, because
SQLite would apply it to whatever stands there. A crash leaves the old one, which is damaged still.

Source: sqlite.org, "Recovering Data From A Corrupt SQLite Database", "Write-Ahead Logging".
"""

from __future__ import annotations

import os
import shutil
import time

from engine import containers, lost, tables, wal
from engine.home import VERSION
from engine.verify import graft
from kernel import quickjson
from kernel.errors import PyctrError
from kernel.locks import Lock
from volumes.requests import is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from typing import Any

    from engine.home import Home

_CORRUPT, _NOTADB = 11, 26  # sqlite.org/rescode.html


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it says that the file is damaged, not that it is busy or cannot be written to."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (_CORRUPT, _NOTADB)


def salvage(here: Home) -> None:
    """Replaces the database by one with all rows of it that can be read and make sense."""
    import sqlite3

    path = f"{here.root}/state.db"
    here.close()
    with Lock(f"{here.root}/state.lock"):
        kept = f"{path}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
        for end in ("", "-wal"):
            if os.path.exists(path + end):
                shutil.copyfile(path + end, kept + end)
                os.chmod(kept + end, 0o600)
        made = f"{path}.new"
        _remove(made, "", "-wal", "-shm")
        os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(made, isolation_level=None)
        db.executescript(f"PRAGMA journal_mode = WAL; BEGIN; {tables.ALL} COMMIT;")
        _copy(path, db)
        if not db.execute("SELECT 1 FROM images LIMIT 1").fetchone():  # where a container needs one
            graft.graft(path, f"{made}.graft")
            _copy(f"{made}.graft", db)
            _remove(f"{made}.graft", "", "-wal", "-shm")
        lost.recover(here.root, db)
        tie(db)
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.close()  # the last one to close it writes all into the file
        _remove(path, "-wal", "-shm")
        os.rename(made, path)
        wal.reserve(f"{path}-wal")


def _remove(path: str, *ends: str) -> None:
    """Removes files of a database, named by how they end; missing is fine."""
    for end in ends:
        if os.path.exists(path + end):
            os.unlink(path + end)


def _copy(damaged: str, db: sqlite3.Connection) -> None:
    """All rows of all tables that can be read; those that break a rule of the table are left."""
    import sqlite3

    old = sqlite3.connect(damaged, isolation_level=None)
    old.text_factory = lambda content: content.decode(errors="replace")
    db.execute("BEGIN")
    for table in names(db):
        columns = _shared(old, db, table)
        marks = ", ".join("?" * len(columns))
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        for row in _readable(old, table, columns):
            if makes_sense(table, dict(zip(columns, row, strict=True))):
                _insert(db, insert, row)
    db.execute("COMMIT")
    old.close()


def names(db: sqlite3.Connection) -> list[str]:
    """The tables of a database."""
    return [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def columns_of(db: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table."""
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def _shared(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> list[str]:
    """The columns of a table that the old one, of an older pyctr maybe, has as well."""
    wanted = columns_of(new, table)
    try:
        there = columns_of(old, table)
    except old.Error:  # its description cannot be read
        return wanted
    return [name for name in wanted if name in there] or wanted


def _insert(db: sqlite3.Connection, insert: str, row: tuple[Any, ...]) -> None:
    try:
        db.execute(insert, row)
    except db.IntegrityError:  # a value of another type than the column's
        return


def _readable(old: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """The rows before the first damaged page, and those behind the last one; some twice."""
    import sqlite3

    query = f"SELECT {', '.join(columns)} FROM {table}"
    for order in ("NOT INDEXED", "NOT INDEXED ORDER BY rowid DESC", "ORDER BY 1 DESC"):
        try:
            yield from old.execute(f"{query} {order}")
            return
        except (sqlite3.Error, UnicodeDecodeError):  # a damaged page, or a table without rowid
            continue


_JSON = {  # table to its columns of JSON, besides a container's settings
    "volumes": ("labels",),
    "networks": ("reserved", "labels", "options"),
    "endpoints": ("aliases", "links", "options"),
}


def makes_sense(table: str, row: dict[str, Any]) -> bool:
    """Whether a row can be read as what it is: values that are not what they should be, damage that
    SQLite does not see, would fail every command.
    """
    try:
        for column in _JSON.get(table, ()):
            quickjson.loads(row[column])
        if table == "volumes":
            return is_name(row["name"])
        if table == "containers":
            containers.of_row([row[name] for name in containers.Container._fields])
            return containers.is_id(row["id"])
    except (ValueError, LookupError, TypeError, AttributeError, PyctrError):
        return False
    return True


def tie(db: sqlite3.Connection) -> None:
    """Makes every row that names another one right: the other one is made, or it goes.

    Containers are kept: their images and volumes get rows, of which the checks of those rooms say
    what is not there.
    """
    db.execute("BEGIN IMMEDIATE")
    db.execute(
        "INSERT INTO volumes (name, anonymous, created, labels)"
        " SELECT DISTINCT volume, 0, strftime('%Y-%m-%dT%H:%M:%SZ'), '{}'"
        " FROM mounts WHERE volume NOT IN (SELECT name FROM volumes)"
    )
    db.execute(
        "INSERT INTO images SELECT DISTINCT image_id, 0, '' FROM containers"
        " WHERE image_id NOT IN (SELECT id FROM images)"
    )
    while broken := db.execute("PRAGMA foreign_key_check").fetchall():
        for table in {row[0] for row in broken}:
            _cut(db, table)
    db.execute("COMMIT")


def _cut(db: sqlite3.Connection, table: str) -> None:
    """Removes the rows of a table that name what is not there."""
    for link in db.execute(f"PRAGMA foreign_key_list({table})").fetchall():
        parent, own, theirs = link[2], link[3], link[4]
        db.execute(
            f"DELETE FROM {table} WHERE {own} IS NOT NULL"
            f" AND {own} NOT IN (SELECT {theirs} FROM {parent})"
        )
