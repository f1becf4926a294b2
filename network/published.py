"""The table of published ports: what was asked for, and which port of the host is held for it.

``held`` is set before a container starts and cleared when it ends. Whether the port is really held
is the kernel's knowledge: the container's monitor has it bound (:mod:`network.holding`).
"""

from __future__ import annotations

from kernel import trace
from network.ports import Publication

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_held = trace.point("network.published.held")
_let_go = trace.point("network.published.let_go")

_FIELDS = tuple(Publication._fields)
_COLUMNS = ", ".join(_FIELDS)


class Published:
    """The rows of one database: SCHEMA is with the other tables in :mod:`network.store`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def insert(self, container_id: str, publications: Iterable[Publication]) -> None:
        """Records what a new container publishes, within the caller's transaction."""
        marks = ", ".join("?" * (len(_FIELDS) + 2))
        self._db.executemany(
            f"INSERT INTO published (container_id, position, {_COLUMNS}) VALUES ({marks})",
            [
                (container_id, position, *one.as_dict().values())
                for position, one in enumerate(publications)
            ],
        )

    def of(self, container_id: str) -> tuple[Publication, ...]:
        """What a container publishes, in the order in which it was asked for."""
        query = f"SELECT {_COLUMNS} FROM published WHERE container_id = ? ORDER BY position"
        return tuple(Publication(*row) for row in self._db.execute(query, (container_id,)))

    def held(self, container_id: str = "") -> dict[str, list[Publication]]:
        """What is held, by container: of all containers, or of one."""
        found: dict[str, list[Publication]] = {}
        query = f"SELECT container_id, {_COLUMNS} FROM published WHERE held <> 0"
        query += " AND container_id = ?" if container_id else ""
        values = (container_id,) if container_id else ()
        for owner, *fields in self._db.execute(query, values):
            found.setdefault(owner, []).append(Publication(*fields))
        return found

    def let_go(self, container_id: str) -> None:
        """Records that a container holds nothing any more."""
        self._db.execute(
            "UPDATE published SET held = 0, held_on = '' WHERE container_id = ? AND held <> 0",
            (container_id,),
        )
        _let_go()

    def hold(self, container_id: str, publications: Iterable[Publication]) -> None:
        """Records what is held for a container: what :meth:`of` gave, in the same order."""
        rows = [
            (one.held, one.held_on, container_id, position)
            for position, one in enumerate(publications)
        ]
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "UPDATE published SET held = ?, held_on = ?"
                " WHERE container_id = ? AND position = ?",
                rows,
            )
        _held()

    def holders(self, protocol: str, port: int) -> list[str]:
        """The ids of the containers that hold a port of the host, on whatever address."""
        query = "SELECT container_id FROM published WHERE protocol = ? AND held = ?"
        return [str(row[0]) for row in self._db.execute(query, (protocol, port))]
