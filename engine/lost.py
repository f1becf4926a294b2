"""What a new database is told when an old one was there before: it was lost, or was damaged.

Volumes are adopted, and images known again by their content. What a container was asked to be was
in the database alone; its folder is kept for a person, with the files that it has written:

    lost/<id>/upper     what the container had changed, or made, in its file system
    lost/<id>/...       its log, and the files of /etc that were made for it
"""

from __future__ import annotations

import os

from engine import containers
from images import recovery
from images import store as image_store
from volumes import store as volume_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3


def folder(root: str) -> str:
    """Where the folders of lost containers are."""
    return f"{root}/lost"


def names(root: str) -> list[str]:
    """The ids of lost containers."""
    return sorted(os.listdir(folder(root))) if os.path.isdir(folder(root)) else []


def recover(root: str, db: sqlite3.Connection) -> None:
    """Rows for volumes and images that are there; folders of containers without a row go aside."""
    # Nobody knows now which were never recorded: containers that are still known may have them.
    volume_store.Store(root, db).adopt_all(empty=True)
    recovery.recover(image_store.Store(root, db))
    known = {row[0] for row in db.execute("SELECT id FROM containers")}
    there = f"{root}/containers"
    found = os.listdir(there) if os.path.isdir(there) else []
    for name in (one for one in found if containers.is_id(one) and one not in known):
        if not _has_files(f"{there}/{name}"):  # a later command sweeps it
            continue
        os.makedirs(folder(root), mode=0o700, exist_ok=True)
        os.rename(f"{there}/{name}", f"{folder(root)}/{name}")


def _has_files(container: str) -> bool:
    """Whether a container has written anything: a file, or a line into its log."""
    log = f"{container}/log.json"
    if os.path.exists(log) and os.path.getsize(log):
        return True
    return os.path.isdir(f"{container}/upper") and bool(os.listdir(f"{container}/upper"))
