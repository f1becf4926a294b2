"""Networks, and containers in them, as `inspect` shows them: Docker's field names."""

from __future__ import annotations

from engine import containers, publishing
from engine.describe import rfc3339
from kernel.mapping import Map
from network import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from network.store import Endpoint, Network


def network_settings(home: Home, one: Container) -> dict[str, Any]:
    """``NetworkSettings`` of a container; addresses are there while it runs."""
    settings = one.settings
    found = home.networks.endpoints(one.id) if settings.is_on_networks else ()
    entries = {endpoint.network.name: _endpoint(home, one, endpoint) for endpoint in found}
    if settings.network in ("none", "host"):
        from engine.network import builtin

        identity = builtin(home)[settings.network]
        entries[settings.network] = _nowhere() | {"NetworkID": identity}
    usual = next((e for e in found if e.network.is_default), None)
    first = _endpoint(home, one, usual) if usual is not None else _nowhere()
    running = containers.is_running(one)
    return {
        "Bridge": "",
        "SandboxID": one.id if running and found else "",
        "SandboxKey": f"/proc/{one.pid}/ns/net" if running and found else "",
        "Ports": Map(publishing.port_map(home, one)),
        **{name: first[name] for name in _ADDRESSES},
        "Networks": Map(sorted(entries.items())),
    }


def links(home: Home, container: Container) -> list[str] | None:
    """``HostConfig.Links``: those on the default network, as ``/db:/web/alias``."""
    for one in home.networks.endpoints(container.id):
        if one.network.is_default and one.links:
            return [f"/{other}:/{container.name}/{name}" for other, name in _named(home, one)]
    return None


def _named(home: Home, own: Endpoint) -> list[tuple[str, str]]:
    """(name of the container, name for it) of an endpoint's links; those that are gone are not."""
    found = [(containers.get(home, identity), name) for identity, name in own.links]
    return [(one.name, name) for one, name in found if one is not None]


_ADDRESSES: dict[str, Any] = {
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "MacAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
}


def _nowhere() -> dict[str, Any]:
    return {
        "IPAMConfig": None, "Links": None, "Aliases": None, "DriverOpts": None, "GwPriority": 0,
        "NetworkID": "", **_ADDRESSES, "DNSNames": None,
    }  # fmt: skip


def _endpoint(home: Home, one: Container, endpoint: Endpoint) -> dict[str, Any]:
    own = endpoint.network
    wanted = {"IPv4Address": endpoint.wanted_address, "IPv6Address": endpoint.wanted_address6}
    names = [one.name, *endpoint.aliases, one.short_id, one.settings.hostname]
    links = [] if own.is_default else _named(home, endpoint)
    made = _nowhere() | {
        "IPAMConfig": {name: word for name, word in wanted.items() if word} or None,
        "Aliases": list(endpoint.aliases) or None,
        "DriverOpts": dict(endpoint.options) or None,
        "GwPriority": endpoint.priority,
        "NetworkID": own.id,
        "MacAddress": endpoint.mac or endpoint.wanted_mac,
        "Links": [":".join(pair) for pair in links] or None,
        "DNSNames": None if own.is_default else list(dict.fromkeys(filter(None, names))),
    }
    if endpoint.mac:
        made |= {"EndpointID": endpoint.id}
    if endpoint.address:
        made |= {
            "Gateway": "" if own.internal else own.gateway,
            "IPAddress": endpoint.address,
            "IPPrefixLen": subnets.parse(own.subnet).bits,
        }
    if endpoint.address6:
        made |= {
            "IPv6Gateway": "" if own.internal else own.gateway6,
            "GlobalIPv6Address": endpoint.address6,
            "GlobalIPv6PrefixLen": subnets.parse(own.subnet6).bits,
        }
    return made


def network(home: Home, one: Network) -> dict[str, Any]:
    """`network inspect`; ``Containers`` are those that run."""
    inside = home.networks.endpoints_in(one.id)
    return {
        "Name": one.name,
        "Id": one.id,
        "Created": rfc3339(one.created),
        "Scope": "local",
        "Driver": driver(one),
        "EnableIPv4": bool(one.subnet) or not one.bridge,
        "EnableIPv6": bool(one.subnet6),
        "IPAM": {"Driver": "default", "Options": None, "Config": _ipam(one)},
        "Internal": one.internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": Map({e.container_id: _member(home, e) for e in inside if e.mac}),
        "Options": Map(sorted(_options(one).items())),
        "Labels": Map(sorted(one.labels.items())),
    }


def driver(one: Network) -> str:
    """Docker's word for what makes a network."""
    if one.bridge:
        return "bridge"
    return "null" if one.name == "none" else "host"


def _options(one: Network) -> dict[str, str]:
    if not one.is_default:
        return one.options
    return one.options | {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.name": one.bridge,
    }


def _ipam(one: Network) -> list[dict[str, Any]] | None:
    made = []
    for subnet, gateway, span in (
        (one.subnet, one.gateway, one.range),
        (one.subnet6, one.gateway6, one.range6),
    ):
        if subnet:
            v6 = subnets.is_v6(subnet)
            aux = {n: w for n, w in one.reserved.items() if subnets.is_v6(w) == v6}
            given = {"Subnet": subnet, "IPRange": span, "Gateway": gateway}
            entry: dict[str, Any] = {name: word for name, word in given.items() if word}
            made.append(entry | ({"AuxiliaryAddresses": Map(aux)} if aux else {}))
    return made or None


def _member(home: Home, endpoint: Endpoint) -> dict[str, Any]:
    own = endpoint.network
    return {
        "Name": containers.names(home, [endpoint.container_id])[0],
        "EndpointID": endpoint.id,
        "MacAddress": endpoint.mac,
        "IPv4Address": _with_bits(endpoint.address, own.subnet),
        "IPv6Address": _with_bits(endpoint.address6, own.subnet6),
    }


def _with_bits(address: str, subnet: str) -> str:
    return f"{address}/{subnet.partition('/')[2]}" if address else ""
