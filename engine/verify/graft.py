"""A database whose description of its tables is damaged, read by that of a new one.

The first page, and those with the words that made the tables, tell where each table begins. Without
them nothing is found, though all rows are there. A new database is made by the same words, so its
tables begin on the same pages: its description fits the old one.

Source: sqlite.org, "Database File Format", 1.3 (the header) and 2.6 (the schema).
"""

from __future__ import annotations

import os
import shutil

from engine import tables

_PAGE = 4096  # bytes: SQLite's default
_SIZE = slice(28, 32)  # of the header: how many pages there are
_FREE = slice(32, 40)  # where unused ones are, and how many


def graft(damaged: str, copy: str) -> None:
    """Makes ``copy``, which has the rows of ``damaged`` and the description of a new database."""
    made = f"{copy}.empty"
    new, beginnings = _empty(made)
    os.unlink(made)
    shutil.copyfile(damaged, copy)
    os.chmod(copy, 0o600)
    with open(copy, "r+b") as file:
        count = max(os.path.getsize(copy), len(new)) // _PAGE
        first = bytearray(new[:_PAGE])
        first[_SIZE] = count.to_bytes(4, "big")
        first[_FREE] = bytes(8)
        file.write(first)
        for number in range(1, len(new) // _PAGE):
            if number + 1 not in beginnings:
                file.seek(number * _PAGE)
                file.write(new[number * _PAGE : (number + 1) * _PAGE])
        file.truncate(count * _PAGE)


def _empty(path: str) -> tuple[bytes, set[int]]:
    """A new database, and the numbers of the pages where tables and indexes begin."""
    import sqlite3

    if os.path.exists(path):
        os.unlink(path)
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(f"BEGIN; {tables.ALL} COMMIT;")
    rows = db.execute("SELECT rootpage FROM sqlite_master").fetchall()
    db.close()
    with open(path, "rb") as file:
        return file.read(), {row[0] for row in rows}
