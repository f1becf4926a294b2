"""The database as a file, and as rows that name each other.

A damaged one is not mended in place: what can still be read goes into a new one
(:mod:`engine.verify.salvage`), and the damaged one is kept beside it.

Source: sqlite.org, "PRAGMA integrity_check", "PRAGMA foreign_key_check".
"""

from __future__ import annotations

import os

from engine.home import close_quickly
from engine.verify import salvage
from kernel.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.home import Home

_HOLDING = ("containers", "volumes", "layers")  # folders that only a database can explain
_SAVED = "make a new one of what can still be read, and keep this one beside it"
_ANEW = (
    "make a new one: volumes are adopted, images are known again without their names (image ls -a),"
    " and what containers have written is kept in the folder lost"
)


def path(home: Home) -> str:
    """The file."""
    return f"{home.root}/state.db"


def check_file(home: Home) -> Iterator[Finding]:
    """Whether the file is there, and is a database whose pages and indexes fit each other."""
    size = os.path.getsize(path(home)) if os.path.exists(path(home)) else 0
    if not size:
        if any(os.path.isdir(f"{home.root}/{name}") for name in _HOLDING):
            yield Finding("the database", "it is gone", path(home), _ANEW,
                          lambda: _made_anew(home))  # fmt: skip
        return
    wrong = _integrity(path(home))
    if wrong:
        yield Finding("the database", f"it is damaged: {wrong}", path(home), _SAVED,
                      lambda: salvage.salvage(home))  # fmt: skip


def _made_anew(home: Home) -> None:
    home.close()
    home.db.execute("SELECT 1")  # whoever opens it makes it


def _integrity(file: str) -> str:
    """The first complaint of SQLite about a file; "" if it is sound."""
    import sqlite3

    try:
        db = sqlite3.connect(file, timeout=30, isolation_level=None)
        try:
            found = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
        finally:
            close_quickly(db, file)
    except UnicodeDecodeError:  # the complaint quotes what is damaged
        found = "its description of the tables is no text"
    except sqlite3.DatabaseError as error:
        if not salvage.is_damage(error):
            raise
        found = str(error)
    return "" if found == "ok" else str(found).replace("\n", " ")


def check_rows(home: Home) -> Iterator[Finding]:
    """Rows that cannot be read as what they are, though SQLite sees nothing wrong."""
    import sqlite3

    for table in salvage.names(home.db):
        columns = salvage.columns_of(home.db, table)
        try:
            rows = home.db.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
            named = [dict(zip(columns, row, strict=True)) for row in rows]
            damaged = not all(salvage.makes_sense(table, row) for row in named)
        except sqlite3.OperationalError:  # it is no UTF-8
            damaged = True
        if damaged:
            yield Finding(f"table {table}", "a row of it cannot be read", path(home), _SAVED,
                          lambda: salvage.salvage(home))  # fmt: skip
            return


def check_links(home: Home) -> Iterator[Finding]:
    """Rows that name what has no row."""
    broken = home.db.execute("PRAGMA foreign_key_check").fetchall()
    for table, parent in sorted({(row[0], row[2]) for row in broken}):
        yield Finding(f"table {table}", f"rows of it belong to nothing in table {parent}",
                      path(home), "give containers the rows they need; remove the others",
                      lambda: salvage.tie(home.db))  # fmt: skip
