"""Places in a network of those that are no container: a command of a build, while it runs.

    leases    one row each, by whoever holds it: an id like that of a container
    places    a view: the endpoints of containers, and leases as if they were such

A lease is given back by its holder. What a kill -9 leaves of it, the engine takes back, as it does
the addresses of containers: see :func:`engine.network_mending.take_back`.
"""

from __future__ import annotations

import os

from network import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from network.store import Network

SCHEMA = """
CREATE TABLE IF NOT EXISTS leases (
    holder     TEXT PRIMARY KEY,
    network_id TEXT NOT NULL REFERENCES networks (id) ON DELETE RESTRICT,
    id         TEXT NOT NULL UNIQUE,
    address    TEXT,               -- NULL without IPv4
    address6   TEXT,
    mac        TEXT NOT NULL,
    UNIQUE (network_id, address),
    UNIQUE (network_id, address6)
) STRICT;
CREATE VIEW IF NOT EXISTS places AS
    SELECT container_id, network_id, id, position, wanted_address, wanted_address6, wanted_mac,
           aliases, links, options, priority, address, address6, mac
    FROM endpoints
    UNION ALL
    SELECT holder, network_id, id, 0, '', '', '', '[]', '[]', '{}', 0, address, address6, mac
    FROM leases;
"""


def take(db: sqlite3.Connection, holder: str, network: Network) -> None:
    """Gives a holder addresses in a network, in a transaction. NetworkError."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        found = addresses.free(db, network)
        db.execute(
            "INSERT INTO leases (holder, network_id, id, address, address6, mac)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (holder, network.id, os.urandom(32).hex(), found.v4 or None, found.v6 or None,
             found.mac),
        )  # fmt: skip


def give_back(db: sqlite3.Connection, holder: str) -> None:
    """The addresses are free."""
    db.execute("DELETE FROM leases WHERE holder = ?", (holder,))
