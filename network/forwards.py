"""The firewall's part about published ports, as data: where what comes for the host is sent on.

Pure; the rules stand in the same table as :mod:`network.rules`. They are the same whatever is
published: each port is an element of a map, so that a start adds elements and no rule, and a packet
costs the same with one container as with thousands. For each family there are two pairs of maps,
from protocol and port to an address and a port of a container: one for what is published on all
addresses of the host, one with the address in the key. (One map whose data is address and port
would do, but libnftables 1.0.6 cannot read that as JSON.)

    published    what is for an address of this host and is published gets another destination;
                 called for what comes in, and for what the host itself sends
    hairpin      what goes back into the network that it came from, and what came from 127.0.0.1,
                 carries the bridge's address, so that the answer comes by the same way; known by
                 its source, for where the bridge asks the firewall the way in is not told

What comes from outside for 127.0.0.0/8 gets no other destination, or a neighbour of the host could
reach what is published on 127.0.0.1 alone: the kernel drops such packets only when it routes them,
which is later. Nor does ::1, from which the kernel lets nothing out.

Source: nft(8), "NAT statements", "FIB expressions"; CVE-2020-8558; Docker's "Port publishing and
mapping".
"""

from __future__ import annotations

from kernel.record import Record
from network import options, ports, subnets
from network.statements import FAMILY, chain, is_, match, meta, prefix, rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from network.ports import Publication
    from network.store import Endpoint, Network


class Forward(Record):
    """A port of the host, "" for all its addresses, and the address and port it leads to."""

    protocol: str
    host_address: str
    host_port: int
    address: str
    port: int

    @property
    def key(self) -> tuple[object, ...]:
        """What no two can have in common."""
        return (self.protocol, self.host_address, self.host_port, subnets.is_v6(self.address))


def of(endpoints: Iterable[Endpoint], publications: Iterable[Publication]) -> tuple[Forward, ...]:
    """Where the ports that a container holds lead: to the endpoints that are its way out."""
    ways = reached(endpoints)
    made = []
    for one in publications:
        for host in ports.addresses(one, tuple(ways)) if one.held else ():
            way = next(
                way for own, way in ways.items() if subnets.is_v6(own) == subnets.is_v6(host)
            )
            own = "" if host in ports.ANY else host
            made.append(Forward(one.protocol, own, one.held, way, one.port))
    return tuple(made)


def reached(endpoints: Iterable[Endpoint]) -> dict[str, str]:
    """The addresses of the host that ports are published on where nobody says another, and the
    address of the container that they lead to: at most one pair of IPv4 and one of IPv6.

    It is the address behind which the container's default route is (:func:`network.links.route`);
    where that is an internal network, or none, nothing can be published.
    """
    found: dict[str, str] = {}
    ordered = sorted(endpoints, key=lambda one: (-one.priority, one.network.name))
    for v6 in (False, True):
        for one in ordered:
            own = one.address6 if v6 else one.address
            if own and not one.network.internal:
                host = "::" if v6 else one.network.options.get(options.HOST_BINDING, "0.0.0.0")
                found[host] = own
                break
    return found


def whole(
    table: str, networks: Iterable[Network], forwards: Iterable[Forward]
) -> list[dict[str, Any]]:
    """The commands that add the maps, chains and rules to a new table, filled."""
    kinds = ["inet_proto", "inet_service"]
    made = []
    for family, kind in _KINDS.items():
        for name, keys in ((f"to{family}", kinds), (f"at{family}", [kind, *kinds])):
            made += [_map(table, name, keys, kind), _map(table, f"{name}_port", keys, _PORT)]
    made += [
        {"add": {"chain": {"family": FAMILY, "table": table, "name": "published"}}},
        chain(table, "incoming", "nat", "prerouting", -100),
        chain(table, "outgoing", "nat", "output", -100),
        chain(table, "hairpin", "nat", "postrouting", 100),
    ]
    for family in _KINDS:
        made.append(rule(table, "published", *_send(family, at=True)))
        made.append(rule(table, "published", *_send(family, at=False)))
    jump = {"jump": {"target": "published"}}
    made.append(rule(table, "incoming", _loopback("4", "daddr"), {"return": None}))
    for name in ("incoming", "outgoing"):
        made.append(rule(table, name, _loopback("6", "daddr"), {"return": None}))
        made.append(rule(table, name, match(_LOCAL, "local"), jump))
    made.append(rule(table, "hairpin", _DNAT, _BRIDGES, _loopback("4", "saddr"), _MASQUERADE))
    for one in networks:
        back = is_("oifname", one.bridge)
        for family, word in (("4", one.subnet), ("6", one.subnet6)):
            if word:
                own = match(_address(family, "saddr"), prefix(word))
                made.append(rule(table, "hairpin", _DNAT, back, own, _MASQUERADE))
    return [*made, *change(table, "add", forwards)]


def change(table: str, verb: str, forwards: Iterable[Forward]) -> list[dict[str, Any]]:
    """The commands that add or delete what leads to a container: one for each map."""
    elements: dict[str, list[Any]] = {}
    for one in forwards:
        words = [one.protocol, one.host_port]
        key = {"concat": [one.host_address, *words] if one.host_address else words}
        name = f"{'at' if one.host_address else 'to'}{6 if subnets.is_v6(one.address) else 4}"
        for where, data in ((name, one.address), (f"{name}_port", one.port)):
            elements.setdefault(where, []).append([key, data] if verb == "add" else key)
    return [
        {verb: {"element": {"family": FAMILY, "table": table, "name": name, "elem": found}}}
        for name, found in elements.items()
    ]


_KINDS = {"4": "ipv4_addr", "6": "ipv6_addr"}
_PROTOCOLS = {"4": "ip", "6": "ip6"}
_PORT = "inet_service"
_LOCAL = {"fib": {"result": "type", "flags": ["daddr"]}}
_DNAT = match({"ct": {"key": "status"}}, "dnat", "in")
_BRIDGES = is_("oifname", "@bridges")
_MASQUERADE: dict[str, Any] = {"masquerade": None}


def _map(table: str, name: str, keys: list[str], data: str) -> dict[str, Any]:
    named = {"family": FAMILY, "table": table, "name": name}
    return {"add": {"map": named | {"type": keys, "map": data}}}


def _send(family: str, *, at: bool) -> tuple[dict[str, Any], ...]:
    """The rule that looks in one pair of maps."""
    words = [meta("l4proto"), {"payload": {"protocol": "th", "field": "dport"}}]
    name = f"{'at' if at else 'to'}{family}"
    key = {"concat": [_address(family, "daddr"), *words] if at else words}
    found = {"family": _PROTOCOLS[family], "addr": {"map": {"key": key, "data": f"@{name}"}}}
    found["port"] = {"map": {"key": key, "data": f"@{name}_port"}}
    return (match(meta("nfproto"), f"ipv{family}"), {"dnat": found})


def _address(family: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": _PROTOCOLS[family], "field": field}}


def _loopback(family: str, field: str) -> dict[str, Any]:
    return match(_address(family, field), "::1" if family == "6" else prefix("127.0.0.0/8"))
