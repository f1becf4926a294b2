"""What the database knows of networks: which there are, who is in them, with which addresses.

    networks     one row each; the default one, ``bridge``, is made when it is first needed
    endpoints    a container's place in a network: what was asked for, and what it has while it runs
    leases       the same of who is no container (:mod:`network.leases`)
    published    ports of a container that the host passes on to it

A row of ``endpoints`` or ``published`` goes with its container (ON DELETE CASCADE) and holds its
network (RESTRICT): whether a network is in use is a query. Addresses are given in one transaction
when a container starts, and two can never have the same (UNIQUE); they are taken back when it ends,
or by the command that finds it dead.
"""

from __future__ import annotations

import os
import time

from kernel import quickjson, trace
from kernel.record import Record
from network import options, subnets
from network.errors import NetworkConflict, NetworkError, NetworkNotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from typing import Any

    from network.forwards import Forward
    from network.published import Published

SCHEMA = """
CREATE TABLE IF NOT EXISTS networks (
    id        TEXT PRIMARY KEY,
    name      TEXT NOT NULL UNIQUE,
    created   REAL NOT NULL,
    bridge    TEXT NOT NULL UNIQUE,    -- the interface on the host
    internal  INTEGER NOT NULL,        -- 1: no way out
    subnet    TEXT NOT NULL,           -- 172.17.0.0/16, '' without IPv4
    gateway   TEXT NOT NULL,           -- the bridge's own address
    range     TEXT NOT NULL,           -- where addresses are taken from, '' for all of the subnet
    subnet6   TEXT NOT NULL,           -- the same of IPv6, '' without it
    gateway6  TEXT NOT NULL,
    range6    TEXT NOT NULL,
    reserved  TEXT NOT NULL,           -- JSON object: --aux-address
    labels    TEXT NOT NULL,           -- JSON object
    options   TEXT NOT NULL            -- JSON object
) STRICT;
CREATE TABLE IF NOT EXISTS endpoints (
    container_id    TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    network_id      TEXT NOT NULL REFERENCES networks (id) ON DELETE RESTRICT,
    id              TEXT NOT NULL UNIQUE,
    position        INTEGER NOT NULL,  -- eth0, eth1, ... in this order
    wanted_address  TEXT NOT NULL,     -- what a person asked for, or ''
    wanted_address6 TEXT NOT NULL,
    wanted_mac      TEXT NOT NULL,
    aliases         TEXT NOT NULL,     -- JSON list: further names in this network
    links           TEXT NOT NULL,     -- JSON list of [container id, name]
    options         TEXT NOT NULL,     -- JSON object: --driver-opt
    priority        INTEGER NOT NULL,  -- the highest has the default route
    address         TEXT,              -- what it has, NULL while the container does not run
    address6        TEXT,
    mac             TEXT,
    PRIMARY KEY (container_id, network_id),
    UNIQUE (network_id, address),
    UNIQUE (network_id, address6)
) STRICT;
CREATE TABLE IF NOT EXISTS published (
    container_id TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
    position     INTEGER NOT NULL,
    protocol     TEXT NOT NULL,        -- tcp or udp
    port         INTEGER NOT NULL,     -- in the container
    host_address TEXT NOT NULL,        -- '' for all addresses of the host
    host_first   INTEGER NOT NULL,     -- ports that were asked for, from ... to; 0: any
    host_last    INTEGER NOT NULL,
    held         INTEGER NOT NULL,     -- the port of the host while the container runs
    held_on      TEXT NOT NULL,        -- and the addresses, with spaces between them
    PRIMARY KEY (container_id, position)
) STRICT, WITHOUT ROWID;
"""

_allocated = trace.point("network.store.allocated")

DEFAULT = "bridge"  # the network of containers that name none
MODES = ("none", "host")  # words of --network that are no networks of ours


class Network(Record):
    """A row of ``networks``; labels and options are data and never interpreted, but for those
    that Docker's bridge driver has (:mod:`network.options`). ``reserved`` are addresses that no
    container gets.
    """

    id: str
    name: str
    created: float
    bridge: str
    internal: bool = False
    subnet: str = ""
    gateway: str = ""
    range: str = ""
    subnet6: str = ""
    gateway6: str = ""
    range6: str = ""
    reserved: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    labels: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    options: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default

    @property
    def is_default(self) -> bool:
        """Whether it is the one of containers that name none."""
        return self.name == DEFAULT


class Endpoint(Record):
    """A row of ``endpoints`` with its network; addresses are "" while the container is down."""

    container_id: str
    network: Network
    id: str
    position: int = 0
    wanted_address: str = ""
    wanted_address6: str = ""
    wanted_mac: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[Any, ...] = ()
    options: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    priority: int = 0
    address: str = ""
    address6: str = ""
    mac: str = ""

    @property
    def interface(self) -> str:
        """What it is called inside the container."""
        return f"{self.network.options.get(options.PREFIX, 'eth')}{self.position}"


_NETWORK = tuple(Network._fields)
_ENDPOINT = tuple(name for name in Endpoint._fields if name != "network")
_NETWORK_COLUMNS = ", ".join(f"networks.{name}" for name in _NETWORK)
_ENDPOINT_COLUMNS = ", ".join(f"endpoints.{name}" for name in _ENDPOINT)
_JSON = ("reserved", "labels", "options", "aliases", "links")


def table_name(tag: str) -> str:
    """The name of the firewall's table of a root folder."""
    return f"pyctr-{tag}" if tag else "pyctr"


def new_id() -> str:
    """64 random hexadecimal digits."""
    return os.urandom(32).hex()


class Store:
    """The networks of one root folder.

    ``tag`` is in the names of what the kernel gets, so that two root folders on one host do not
    meet: "" for the usual one. ``tell(action, name, attributes)`` is called when a network was made
    (create), is gone (destroy), or a container came into it (connect) or left it (disconnect).
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        tag: str = "",
        *,
        tell: Callable[[str, str, dict[str, str]], None] | None = None,
    ) -> None:
        self._db = db
        self.tag = tag
        self._tell = tell or (lambda *_what: None)

    @property
    def table(self) -> str:
        """The name of the firewall's table."""
        return table_name(self.tag)

    @property
    def default_bridge(self) -> str:
        """The interface of the default network."""
        return f"pyctr0-{self.tag}" if self.tag else "pyctr0"

    def tell(self, action: str, network: Network, container_id: str = "") -> None:
        """Tells what happened to a network, or to a container (connect, disconnect) in it."""
        member = {"container": container_id} if container_id else {}
        self._tell(action, network.id, {**member, "name": network.name, "type": "bridge"})

    @property
    def bridges(self) -> str:
        """How the interfaces of other networks begin; fifteen letters are all that there are."""
        return f"py{self.tag}-" if self.tag else "pyctr-"

    # -- networks --------------------------------------------------------------------------

    def listing(self) -> list[Network]:
        """All networks, the oldest first."""
        query = f"SELECT {_NETWORK_COLUMNS} FROM networks ORDER BY created, name"
        return [_network(row) for row in self._db.execute(query)]

    def known(self, name: str) -> Network | None:
        """The network of that very name, or None."""
        query = f"SELECT {_NETWORK_COLUMNS} FROM networks WHERE name = ?"
        row = self._db.execute(query, (name,)).fetchone()
        return _network(row) if row else None

    def get(self, text: str) -> Network:
        """The network of an id, a name or the beginning of an id. NetworkNotFound."""
        query = f"SELECT {_NETWORK_COLUMNS} FROM networks WHERE name = ? OR id = ? ORDER BY id = ?"
        rows = self._db.execute(query, (text, text, text)).fetchall()
        if not rows and text and set(text) <= set("0123456789abcdef"):
            query = f"SELECT {_NETWORK_COLUMNS} FROM networks WHERE id >= ? AND id < ?"
            rows = self._db.execute(query, (text, f"{text}g")).fetchall()
            if len(rows) > 1:
                raise NetworkError(
                    f"network id {text!r} is ambiguous",
                    f"so begin {', '.join(row[1] for row in rows)}",
                    exit_code=1,
                )
        if not rows:
            raise NetworkNotFound(
                f"network {text} not found", "", "pyctr network ls shows all networks"
            )
        return _network(rows[-1])

    def insert(self, network: Network) -> None:
        """A new row. NetworkConflict if name or interface are taken."""
        try:
            self._insert("networks", network.as_dict() | {"internal": int(network.internal)})
        except self._db.IntegrityError as error:
            taken = network.bridge if "networks.bridge" in str(error) else network.name
            raise NetworkConflict(
                f"network with name {taken} already exists",
                "",
                "choose another name",
            ) from None
        self.tell("create", network)

    def remove(self, network: Network, user_names: Callable[[list[str]], list[str]]) -> None:
        """Takes a network away that no container has. NetworkConflict names those that do."""
        try:
            self._db.execute("DELETE FROM networks WHERE id = ?", (network.id,))
        except self._db.IntegrityError:
            users = user_names(self.users(network.id))
            raise NetworkConflict(
                f"cannot remove network {network.name}",
                f"it is in use by {', '.join(users)}",
                f"remove the containers first, or pyctr network disconnect {network.name} NAME",
            ) from None
        self.tell("destroy", network)

    def users(self, network_id: str) -> list[str]:
        """Ids of the containers, in any state, that have an endpoint in the network, and of who
        has a lease.
        """
        query = "SELECT container_id FROM places WHERE network_id = ?"
        return [str(row[0]) for row in self._db.execute(query, (network_id,))]

    # -- endpoints -------------------------------------------------------------------------

    def attach(self, endpoints: Iterable[Endpoint]) -> None:
        """Records a container's endpoints, within the caller's transaction."""
        for one in endpoints:
            row = {name: value for name, value in one.as_dict().items() if name != "network"}
            row |= {name: row[name] or None for name in ("address", "address6", "mac")}
            self._insert("endpoints", row | {"network_id": one.network.id})

    def detach(self, container_id: str, network_id: str) -> None:
        """Removes one endpoint."""
        self._db.execute(
            "DELETE FROM endpoints WHERE container_id = ? AND network_id = ?",
            (container_id, network_id),
        )

    def endpoints(self, container_id: str) -> tuple[Endpoint, ...]:
        """A container's endpoints, eth0 first, or what a lease is like."""
        return self._endpoints("WHERE endpoints.container_id = ?", container_id)

    def endpoints_in(self, network_id: str) -> tuple[Endpoint, ...]:
        """All endpoints of containers in a network."""
        where = "WHERE endpoints.network_id = ? AND endpoints.id IN (SELECT id FROM endpoints)"
        return self._endpoints(where, network_id)

    def live(self) -> tuple[Endpoint, ...]:
        """The endpoints that have addresses, those of containers that run or were left so, and
        leases.
        """
        return self._endpoints("WHERE endpoints.mac IS NOT NULL")

    def linking(self, container_id: str, network_id: str) -> tuple[Endpoint, ...]:
        """The endpoints in a network that have addresses and a link to a container."""
        return self._endpoints(
            "WHERE endpoints.network_id = ? AND endpoints.mac IS NOT NULL"
            " AND instr(endpoints.links, ?)",
            network_id,
            f'"{container_id}"',
        )

    @property
    def published(self) -> Published:
        """The ports that containers publish."""
        from network.published import Published

        return Published(self._db)

    def forwards(self, container_id: str = "") -> dict[str, tuple[Forward, ...]]:
        """Where the ports lead that are held, by container: of all, or of one."""
        from network import forwards

        held = self.published.held(container_id)
        live = self.endpoints(container_id) if container_id else self.live() if held else ()
        places: dict[str, list[Endpoint]] = {}
        for one in live:
            places.setdefault(one.container_id, []).append(one)
        return {own: forwards.of(places.get(own, ()), found) for own, found in held.items()}

    def _endpoints(self, where: str, *values: str) -> tuple[Endpoint, ...]:
        query = (
            f"SELECT {_NETWORK_COLUMNS}, {_ENDPOINT_COLUMNS} FROM places AS endpoints"
            f" JOIN networks ON networks.id = endpoints.network_id {where}"
            " ORDER BY endpoints.container_id, endpoints.position"
        )
        return tuple(_endpoint(row) for row in self._db.execute(query, values))

    def allocate(self, container_id: str) -> tuple[Endpoint, ...]:
        """Gives a container that starts its addresses; its endpoints with them.

        One transaction; what it has already stays. NetworkError if a wanted address is another's,
        or a network has none left.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            made = tuple(self._allocated(one) for one in self.endpoints(container_id))
        _allocated()
        return made

    def _allocated(self, one: Endpoint) -> Endpoint:
        if one.mac:
            return one
        from network import addresses

        found = addresses.free(
            self._db, one.network, one.wanted_address, one.wanted_address6, one.wanted_mac
        )
        self._db.execute(
            "UPDATE endpoints SET address = ?, address6 = ?, mac = ?"
            " WHERE container_id = ? AND network_id = ?",
            (found.v4 or None, found.v6 or None, found.mac, one.container_id, one.network.id),
        )
        return one.replace(address=found.v4, address6=found.v6, mac=found.mac)

    def lease(self, holder: str, network: Network) -> None:
        """Addresses for somebody who is no container, until :meth:`give_back`. NetworkError."""
        from network import leases

        leases.take(self._db, holder, network)
        _allocated()

    def give_back(self, holder: str) -> None:
        """The lease has ended, if there was one."""
        from network import leases

        leases.give_back(self._db, holder)

    def release(self, container_id: str) -> None:
        """Takes back the addresses and ports of a container that has ended."""
        self._db.execute(
            "UPDATE endpoints SET address = NULL, address6 = NULL, mac = NULL"
            " WHERE container_id = ? AND mac IS NOT NULL",
            (container_id,),
        )
        self._db.execute(
            "UPDATE published SET held = 0 WHERE container_id = ? AND held <> 0", (container_id,)
        )

    def _insert(self, table: str, values: dict[str, Any]) -> None:
        row = {k: quickjson.dumps(v) if k in _JSON else v for k, v in values.items()}
        marks = ", ".join("?" * len(row))
        self._db.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
        )


def _network(row: tuple[Any, ...]) -> Network:
    fields = dict(zip(_NETWORK, row, strict=True))
    fields["internal"] = bool(fields["internal"])
    try:
        for name in ("reserved", "labels", "options"):
            fields[name] = quickjson.loads(fields[name])
    except ValueError as error:
        raise NetworkError(
            f"cannot read what the database says of network {fields['name']}",
            str(error),
            "pyctr system check --repair saves what is left",
        ) from None
    return Network(**fields)


def _endpoint(row: tuple[Any, ...]) -> Endpoint:
    network = _network(row[: len(_NETWORK)])
    fields = dict(zip(_ENDPOINT, row[len(_NETWORK) :], strict=True))
    for name in ("address", "address6", "mac"):
        fields[name] = fields[name] or ""
    for name in ("aliases", "links"):
        fields[name] = tuple(quickjson.loads(fields[name]))
    fields["options"] = quickjson.loads(fields["options"])
    return Endpoint(network=network, **fields)


def default_network(
    tag_bridge: str, pools: Iterable[str], taken: Iterable[subnets.Subnet]
) -> Network:
    """The default network, not recorded yet. NetworkError if all pools are in use."""
    found = subnets.choose(pools, taken)
    if found is None:
        raise NetworkError(
            "cannot choose a subnet for the default network",
            "every one of the configured pools collides with a route of this host",
            "configure network_pools, or run with --network none",
        )
    return Network(
        new_id(), DEFAULT, time.time(), tag_bridge,
        subnet=str(found), gateway=subnets.gateway(found),
    )  # fmt: skip
