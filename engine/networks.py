"""Networks as objects: made, removed, joined and left while containers run.

Beside those of the database there are two that nobody makes or removes: ``host`` and ``none``.
"""

from __future__ import annotations

import time

from engine import (
    config,
    containers,
    files,
    locks,
    network,
    network_mending,
    plugging,
    publishing,
    reconcile,
)
from engine.errors import EngineError
from kernel import trace
from kernel.digest import fingerprint
from kernel.record import Record
from network import host, options, subnets
from network.errors import NetworkConflict, NetworkError, NetworkNotFound
from network.store import DEFAULT, MODES, Endpoint, Network, new_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.containers import Container
    from engine.home import Home
    from network.requests import Attachment

_recorded = trace.point("engine.networks.recorded")
_removed = trace.point("engine.networks.removed")
_attached = trace.point("engine.networks.attached")
_plugged = trace.point("engine.networks.plugged")

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Request(Record):
    """What a person asks `network create` for; "" where pyctr is to choose."""

    name: str
    v4: bool = True
    v6: bool = False
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    reserved: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    internal: bool = False
    labels: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    options: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default


def create(home: Home, request: Request, warn: Callable[[str], None]) -> Network:
    """`network create`. NetworkConflict, NetworkError; ``warn`` gets sentences for the person."""
    _check_name(request.name)
    identity = new_id()
    chosen = options.checked(request.options)
    bridge = chosen.get(options.BRIDGE_NAME) or f"{home.networks.bridges}{identity[:8]}"
    if host.has_interface(bridge):
        raise NetworkConflict(f"the interface {bridge} is there already", "", "choose another name")
    network.default(home)  # its subnet must not be taken by this one
    store = home.networks
    with home.db:
        home.db.execute("BEGIN IMMEDIATE")
        blocks = _blocks(home, request, warn)
        made = Network(
            identity, request.name, time.time(), bridge, request.internal,
            *blocks[0], *blocks[1], request.reserved, request.labels, chosen,
        )  # fmt: skip
        _check_reserved(made)
        store.insert(made)
    _recorded()
    return made


def _check_name(name: str) -> None:
    if name in (*MODES, DEFAULT, "default"):
        raise NetworkConflict(f"operation is not permitted on predefined {name} network")
    if not name or name[0] in "_.-" or not set(name) <= _NAME or len(name) > 128:
        raise NetworkError(
            f"invalid network name {name!r}",
            "it is made of a-z A-Z 0-9 _ . - and begins with a letter or digit",
            exit_code=1,
        )


def _blocks(
    home: Home, request: Request, warn: Callable[[str], None]
) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """(subnet, gateway, range) of IPv4 and of IPv6; "" for a family that the network has not."""
    if not request.v4 and not request.v6:
        raise NetworkError("a network without IPv4 and IPv6 has no addresses", exit_code=1)
    return _block(home, request, warn, v6=False), _block(home, request, warn, v6=True)


def _block(
    home: Home, request: Request, warn: Callable[[str], None], *, v6: bool
) -> tuple[str, str, str]:
    words = [
        _only([word for word in given if subnets.is_v6(word) == v6], flag, v6=v6)
        for given, flag in (
            (request.subnets, "--subnet"), (request.gateways, "--gateway"),
            (request.ranges, "--ip-range"),
        )
    ]  # fmt: skip
    wanted = request.v6 if v6 else request.v4
    if not wanted:
        if any(words):
            raise NetworkError(
                f"{next(filter(None, words))} is of {'IPv6' if v6 else 'IPv4'}",
                "the network has none of it",
                "add --ipv6" if v6 else "leave --ipv4=false out",
                exit_code=1,
            )
        return "", "", ""
    subnet, gateway, span = words
    block = _chosen(home, v6=v6) if not subnet else _given(home, subnet, warn)
    if gateway and _number("--gateway", gateway) not in block:
        raise NetworkError(f"no matching subnet for gateway {gateway}", exit_code=1)
    if span:
        part = _parsed("--ip-range", span)
        if part.number not in block or part.last not in block:
            raise NetworkError(f"no matching subnet for range {span}", exit_code=1)
        span = str(part)
    if not gateway:
        # As with Docker the first address of the range is not the gateway's: that of the subnet is.
        gateway = subnets.gateway(block)
    return str(block), subnets.text(_number("--gateway", gateway), block.width), span


def _only(words: list[str], flag: str, *, v6: bool) -> str:
    if len(words) > 1:
        raise NetworkError(
            f"{flag} was given twice for {'IPv6' if v6 else 'IPv4'}",
            "a bridge network has one subnet of each",
            exit_code=1,
        )
    return words[0] if words else ""


def _parsed(flag: str, word: str) -> subnets.Subnet:
    try:
        return subnets.parse(word)
    except ValueError as error:
        raise NetworkError(f"invalid value of {flag}", str(error), exit_code=1) from None


def _number(flag: str, word: str) -> int:
    try:
        return subnets.number(word)
    except ValueError as error:
        raise NetworkError(f"invalid value of {flag}", str(error), exit_code=1) from None


def _given(home: Home, word: str, warn: Callable[[str], None]) -> subnets.Subnet:
    """A subnet that a person chose: no other network has any of it."""
    block = _parsed("--subnet", word)
    if block.width - block.bits < 2:
        raise NetworkError(f"subnet {word} is too small", "it has no room for a container",
                           exit_code=1)  # fmt: skip
    for one in home.networks.listing():
        for other in filter(None, (one.subnet, one.subnet6)):
            if block.overlaps(subnets.parse(other)):
                raise NetworkError(
                    "invalid pool request: Pool overlaps with other one on this address space",
                    f"network {one.name} has {other}",
                    exit_code=1,
                )
    for route in host.routes():
        if block.overlaps(route):
            warn(f"subnet {word} collides with a route of this host to {route}")
    return block


def _chosen(home: Home, *, v6: bool) -> subnets.Subnet:
    pools = config.current().network_pools or subnets.POOLS
    fitting = [word for word in pools if subnets.is_v6(word) == v6]
    if v6 and not fitting:
        fitting = [subnets.local_pool(fingerprint(home.run.encode()))]
    found = subnets.choose(fitting, network.taken(home))
    if found is None:
        raise NetworkError(
            "all predefined address pools have been fully subnetted",
            f"there are {', '.join(fitting)}",
            "give --subnet, or configure network_pools",
            exit_code=1,
        )
    return found


def _check_reserved(made: Network) -> None:
    for name, word in made.reserved.items():
        number = _number("--aux-address", word)
        subnet = made.subnet6 if subnets.is_v6(word) else made.subnet
        if not subnet or number not in subnets.parse(subnet):
            raise NetworkError(f"no matching subnet for aux-address {name}={word}", exit_code=1)


def remove(home: Home, text: str) -> Network:
    """`network rm`. NetworkConflict if a container has it, running or not."""
    if text in MODES or text in network.builtin(home).values():
        raise NetworkConflict(f"{text} is a pre-defined network and cannot be removed")
    found = network.find(home, text)
    if found.is_default:
        raise NetworkConflict(f"{found.name} is a pre-defined network and cannot be removed")
    network_mending.take_back(home)
    home.networks.remove(found, lambda ids: _users(home, ids))
    _removed()
    network.refresh(home)
    return found


def _users(home: Home, ids: list[str]) -> list[str]:
    """Who has a network, in words."""
    found = [containers.get(home, one) for one in ids]
    return [one.name if one is not None else "a build" for one in found]


def prune(home: Home, wanted: Callable[[Network], bool]) -> list[Network]:
    """Removes the networks that no container has, running or not."""
    gone = []
    network_mending.take_back(home)
    for one in home.networks.listing():
        if one.is_default or home.networks.users(one.id) or not wanted(one):
            continue
        try:
            home.networks.remove(one, lambda ids: _users(home, ids))
        except NetworkConflict:  # somebody has just joined it
            continue
        _removed()
        gone.append(one)
    if gone:
        network.refresh(home)
    return gone


# -- containers ----------------------------------------------------------------------------


def connect(home: Home, text: str, attachment: Attachment) -> None:
    """`network connect`: a container, running or not, gets one more network."""
    if attachment.is_mode:
        raise NetworkError(
            f"cannot connect a container to {attachment.network}", "that is no network",
            exit_code=1,
        )  # fmt: skip
    found = network.find(home, attachment.network)
    with locks.alone(home, reconcile.find(home, text)) as held:
        one = held.container
        _require_networks(one, found)
        there = home.networks.endpoints(one.id)
        if any(endpoint.network.id == found.id for endpoint in there):
            raise NetworkConflict(
                f"endpoint with name {one.name} already exists in network {found.name}"
            )
        free = next(n for n in range(len(there) + 1) if n not in {e.position for e in there})
        made = network.endpoint(home, one.id, found, attachment, free)
        running = containers.is_running(one)
        if running:
            plugging.begin(home, one, found)
        with home.db:
            home.db.execute("BEGIN IMMEDIATE")
            home.networks.attach([made])
        _attached()
        if running:
            _plug(home, one, found, there)
    home.networks.tell("connect", found, one.id)


def _plug(home: Home, one: Container, found: Network, before: tuple[Endpoint, ...]) -> None:
    """A container that runs, and that had the endpoints ``before``, gets its new interface."""
    try:
        home.networks.allocate(one.id)
        network.tell_agent(home, "connect", one, found)
        _plugged()
        files.follow(home, one, before)
        publishing.follow(home, one)
    except BaseException:
        plugging.mend(home, one)
        raise
    plugging.over(home, one)


def disconnect(home: Home, network_text: str, text: str, *, force: bool = False) -> None:
    """`network disconnect`; with ``force`` also what the agent cannot undo is forgotten."""
    found = network.find(home, network_text)
    with locks.alone(home, reconcile.find(home, text)) as held:
        one = held.container
        there = home.networks.endpoints(one.id)
        if found.id not in {e.network.id for e in there}:
            raise NetworkConflict(f"container {one.name} is not connected to network {found.name}")
        if containers.is_running(one):
            plugging.begin(home, one, found)
            plugging.unplug(home, one, found.id, force=force)
            plugging.over(home, one)
        else:
            home.networks.detach(one.id, found.id)
            publishing.follow(home, one)
    home.networks.tell("disconnect", found, one.id)


def _require_networks(one: Container, found: Network) -> None:
    """Who shares a network, or has none, cannot have another one."""
    if not one.settings.is_on_networks:
        kind = "private (none)" if one.settings.network == "none" else one.settings.network
        raise EngineError(
            f"cannot connect container {one.name} to network {found.name}",
            f"a container cannot be connected to multiple networks with one of the networks in"
            f" {kind} mode",
            exit_code=1,
        )


def find_any(home: Home, text: str) -> Network:
    """:func:`engine.network.find`, but also host and none, as networks without a bridge."""
    for name, identity in network.builtin(home).items():
        if text in (name, identity) or (len(text) > 2 and identity.startswith(text)):
            return Network(identity, name, 0.0, "")
    try:
        return network.find(home, text)
    except NetworkNotFound as error:
        error.exit_code = 1
        raise
