"""The firewall's table as data. Pure: :mod:`network.nft` performs it.

There is one table, `pyctr`, of family inet, and no other is ever touched. It is made as a whole, in
one transaction, from the networks and what they have; its rules grow with networks, never with
containers. What is not about a network of ours passes without a verdict: the other firewalls of
the host see every packet as before.

    forward      what was begun from inside may go on; within a network everything passes; out of
                 an internal one nothing; into a network only what was for a published port, from
                 wherever it is; out of a network everything
    masquerade   what leaves a network carries an address of the host
    local        127.0.0.0/8 is this host's alone (CVE-2020-8558)
    names        where port 53 of a gateway is somebody else's, questions go to the agent's own

Source: nft(8), libnftables-json(5); Docker's "Packet filtering and firewalls".
"""

from __future__ import annotations

from network import options, subnets
from network.statements import FAMILY, chain, is_, match, meta, prefix, rule, set_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from network.store import Network


def whole(
    table: str, networks: Iterable[Network], redirects: Iterable[tuple[str, str, str, int]] = ()
) -> list[dict[str, Any]]:
    """The commands that put the table, as it must be, in the place of what is there.

    ``redirects`` are (bridge, gateway, protocol, port) of servers of names that are elsewhere.
    """
    found = list(networks)
    made: list[dict[str, Any]] = [
        *_gone(table),
        {"add": {"table": {"family": FAMILY, "name": table}}},
        set_(table, "bridges", "ifname", [one.bridge for one in found]),
        set_(table, "internal", "ifname", [one.bridge for one in found if one.internal]),
        set_(table, "within", ["ifname", "ifname"],
             [{"concat": [one.bridge, one.bridge]} for one in found]),
        chain(table, "forward", "filter", "forward", 0),
        chain(table, "masquerade", "nat", "postrouting", 100),
        chain(table, "local", "filter", "prerouting", -300),
    ]  # fmt: skip
    made += [rule(table, "forward", *words) for words in _forward()]
    made += [rule(table, "masquerade", *words) for one in found for words in _masquerade(one)]
    made.append(rule(table, "local", *_local()))
    made.append(chain(table, "names", "nat", "prerouting", -101))
    made += [rule(table, "names", *_redirect(*one)) for one in redirects]
    return made


def chains() -> list[dict[str, Any]]:
    """The command that lists all chains of all tables; see :func:`foreign_drops`."""
    return [{"list": {"chains": {}}}]


def foreign_drops(listed: dict[str, Any], table: str) -> list[str]:
    """The chains of other tables that drop what passes through the host unless they know it.

    A packet must be accepted in every table, so ours cannot help it: Docker, for one, makes such a
    chain, and lets others add rules to its chain DOCKER-USER.
    """
    found = []
    for entry in listed.get("nftables") or ():
        chain = entry.get("chain") or {}
        if chain.get("hook") == "forward" and chain.get("policy") == "drop":
            own = chain["family"] == FAMILY and chain["table"] == table
            if not own and chain["family"] in ("ip", FAMILY):
                found.append(f"{chain['family']} {chain['table']} {chain['name']}")
    return found


def gone(table: str) -> list[dict[str, Any]]:
    """The commands that take the table away, whether it is there or not."""
    return _gone(table)


def _gone(table: str) -> list[dict[str, Any]]:
    """To delete what is not there is an error, so it is added before."""
    named = {"family": FAMILY, "name": table}
    return [{"add": {"table": named}}, {"delete": {"table": named}}]


def _forward() -> Sequence[tuple[dict[str, Any], ...]]:
    into, out = is_("oifname", "@bridges"), is_("iifname", "@bridges")
    dnat = match({"ct": {"key": "status"}}, "dnat", "in")
    between = {"concat": [meta("iifname"), meta("oifname")]}
    return [
        # First, because it is nearly every packet; of others' it says nothing to other tables.
        (match({"ct": {"key": "state"}}, ["established", "related"], "in"), {"accept": None}),
        (is_("iifname", "@bridges", "!="), is_("oifname", "@bridges", "!="), {"return": None}),
        (match(between, "@within"), {"accept": None}),
        (is_("iifname", "@internal"), {"drop": None}),
        (dnat, {"accept": None}),
        (into, {"drop": None}),
        (out, {"accept": None}),
    ]


def _masquerade(one: Network) -> Sequence[tuple[dict[str, Any], ...]]:
    if one.internal or not options.is_on(one.options, options.MASQUERADE):
        return []
    made = []
    for family, word in (("ip", one.subnet), ("ip6", one.subnet6)):
        if word:
            source = {"payload": {"protocol": family, "field": "saddr"}}
            leaves = is_("oifname", one.bridge, "!=")
            made.append((match(source, prefix(word)), leaves, {"masquerade": None}))
    return made


def _local() -> tuple[dict[str, Any], ...]:
    destination = {"payload": {"protocol": "ip", "field": "daddr"}}
    return (is_("iifname", "@bridges"), match(destination, prefix("127.0.0.0/8")), {"drop": None})


def _redirect(bridge: str, gateway: str, protocol: str, port: int) -> tuple[dict[str, Any], ...]:
    family = "ip6" if subnets.is_v6(gateway) else "ip"
    destination = {"payload": {"protocol": family, "field": "daddr"}}
    asked = {"payload": {"protocol": protocol, "field": "dport"}}
    to = {"redirect": {"port": port}}
    return (is_("iifname", bridge), match(destination, gateway), match(asked, 53), to)
