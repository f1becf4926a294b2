"""Addresses that nobody in a network has; the caller is in a transaction, and keeps them in it."""

from __future__ import annotations

from kernel.record import Record
from network import subnets
from network.errors import NetworkConflict, NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from network.store import Network


class Addresses(Record):
    """What an interface gets; "" for a family that its network has not."""

    v4: str
    v6: str
    mac: str


def free(
    db: sqlite3.Connection, network: Network, v4: str = "", v6: str = "", mac: str = ""
) -> Addresses:
    """Those that are wanted, and the first free ones for the others.

    NetworkConflict if a wanted one is somebody's; NetworkError if none is left.
    """
    found = _free(db, network, v4, is_v6=False)
    return Addresses(
        found, _free(db, network, v6, is_v6=True), mac or subnets.hardware_address(found)
    )


def _free(db: sqlite3.Connection, network: Network, wanted: str, *, is_v6: bool) -> str:
    column, subnet, gateway, span = "address", network.subnet, network.gateway, network.range
    if is_v6:
        column, subnet = "address6", network.subnet6
        gateway, span = network.gateway6, network.range6
    if not subnet:
        return ""
    query = f"SELECT {column} FROM places WHERE network_id = ? AND {column} IS NOT NULL"
    taken = [row[0] for row in db.execute(query, (network.id,))]
    taken += [word for word in (gateway, *network.reserved.values()) if word]
    if wanted:
        if wanted in taken:
            raise NetworkConflict(
                f"address {wanted} is already in use", f"in network {network.name}"
            )
        return wanted
    block = subnets.parse(subnet)
    numbers = [subnets.number(word) for word in taken if subnets.is_v6(word) == is_v6]
    found = subnets.lowest_free(block, subnets.parse(span) if span else None, numbers)
    if found < 0:
        raise NetworkError(
            f"network {network.name} has no free address",
            f"all of {span or subnet} are in use",
            "remove containers, or make a network with a larger subnet",
        )
    return subnets.text(found, block.width)
