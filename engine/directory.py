"""What the network agent may tell of containers: their names, as :mod:`network.zone` has them.

Made anew when the database has changed since, which SQLite says for the price of a look into memory
(PRAGMA data_version): a name is that of now, also after a rename, and a question costs no query.
"""

from __future__ import annotations

from engine.settings import decode
from network.zone import Person, Zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from engine.home import Home


class Directory:
    """The names of one root folder, for a process that lives long."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._db: sqlite3.Connection | None = None
        self._version = -1
        self._zone = Zone((), {})

    def zone(self) -> Zone:
        """The names as they are now."""
        db = self._home.fresh().db
        version = int(db.execute("PRAGMA data_version").fetchone()[0])
        if db is not self._db or version != self._version:
            self._zone = _read(self._home)
            self._db, self._version = db, version
        return self._zone


def _read(home: Home) -> Zone:
    live = home.networks.live()
    people = {}
    query = (
        "SELECT id, name, settings FROM containers"
        " WHERE id IN (SELECT container_id FROM endpoints WHERE mac IS NOT NULL)"
    )
    for identity, name, text in home.db.execute(query):
        settings = decode(text)
        people[identity] = Person(name, settings.hostname, settings.dns)
    return Zone(live, people)
