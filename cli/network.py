"""Commands about networks."""

from __future__ import annotations

from cli import filters, looking, output
from cli.creation import readers
from cli.errors import UsageError
from cli.options import Command, Parsed, option, refused, several, value
from cli.shared import each, filter_pair, warn
from cli.templates import Row
from engine import home, network, networks, reconcile
from kernel.errors import NotFound
from network import requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.home import Home
    from network.store import Network

_COLUMNS = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"}
_MORE = {
    "CreatedAt": "CREATED AT",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
}


def _create(parsed: Parsed) -> int:
    made = networks.create(
        home.find(),
        networks.Request(
            parsed.words[0],
            parsed.ipv4,
            parsed.ipv6 or any(":" in word for word in parsed.subnet),
            tuple(parsed.subnet),
            tuple(parsed.gateway),
            tuple(parsed.ip_range),
            dict(parsed.aux_address),
            parsed.internal,
            dict(parsed.label),
            dict(parsed.opt),
        ),
        warn,
    )
    print(made.id)
    return 0


def _row(one: Network, *, whole: bool) -> Row:
    """A network as a line of a table."""
    from cli import moments
    from engine.describe_network import driver

    return Row(
        "network",
        {
            "ID": one.id if whole else one.id[:12],
            "Name": one.name,
            "Driver": driver(one),
            "Scope": "local",
            "CreatedAt": lambda: moments.day_and_time(one.created),
            "IPv4": str(bool(one.subnet) or not one.bridge).lower(),
            "IPv6": str(bool(one.subnet6)).lower(),
            "Internal": str(one.internal).lower(),
            "Labels": ",".join(sorted(f"{key}={own}" for key, own in one.labels.items())),
        },
        Label=lambda key: one.labels.get(key, ""),
    )


def _all(here: Home) -> list[Network]:
    """Those of the database and the two that are always there, by name."""
    network.default(here)
    builtin = [networks.find_any(here, name) for name in network.builtin(here)]
    return sorted([*here.networks.listing(), *builtin], key=lambda one: one.name)


def _ls(parsed: Parsed) -> int:
    from engine.describe_network import driver

    here = home.find()
    names = {word: filters.pattern("name", word) for key, word in parsed.filter if key == "name"}
    wanted = filters.combined(
        parsed.filter,
        {
            "dangling": lambda one, word: _is_dangling(here, one) == filters.boolean(word),
            "driver": lambda one, word: driver(one) == word,
            "id": lambda one, word: one.id.startswith(word),
            "label": lambda one, word: filters.label(one.labels, word),
            "name": lambda one, word: names[word](one.name),
            "scope": lambda _one, word: word == "local",
            "type": lambda one, word: _is_of_type(one, word),
        },
    )
    found = [one for one in _all(here) if wanted(one)]
    if parsed.quiet:
        for one in found:
            print(one.id if parsed.no_trunc else one.id[:12])
        return 0
    rows = (_row(one, whole=parsed.no_trunc) for one in found)
    output.table(_COLUMNS, rows, parsed.format or "", _MORE)
    return 0


def _is_dangling(here: Home, one: Network) -> bool:
    return not _is_builtin(one) and not here.networks.users(one.id)


def _is_builtin(one: Network) -> bool:
    return one.is_default or not one.bridge


def _is_of_type(one: Network, word: str) -> bool:
    if word not in ("builtin", "custom"):
        raise UsageError(f"invalid filter type={word}", "it is builtin or custom")
    return _is_builtin(one) == (word == "builtin")


def _inspect(parsed: Parsed) -> int:
    from engine import describe_network

    here = home.find()
    reconcile.mend_all(here)  # what has ended has no address any more

    def described(word: str) -> dict[str, Any]:
        return describe_network.network(here, networks.find_any(here, word))

    return looking.inspect(parsed.words, described, parsed.format or "")


def _rm(parsed: Parsed) -> int:
    here = home.find()
    reconcile.mend_all(here)

    def away(word: str) -> str:
        try:
            networks.remove(here, word)
        except NotFound:
            if not parsed.force:
                raise
        return word

    return each(parsed.words, away)


def _connect(parsed: Parsed) -> int:
    name, container = parsed.words
    wanted = requests.Attachment(
        requests.parse(name).network,
        parsed.ip,
        parsed.ip6,
        aliases=tuple(parsed.alias),
        links=tuple(parsed.link),
        priority=parsed.gw_priority,
    )
    networks.connect(home.find(), container, wanted)
    return 0


def _disconnect(parsed: Parsed) -> int:
    networks.disconnect(home.find(), *parsed.words, force=parsed.force)
    return 0


def _driver(text: str) -> str:
    if text != "bridge":
        raise UsageError(f"network driver {text!r} is not supported", "pyctr knows bridge")
    return text


def _ipam_driver(text: str) -> str:
    if text != "default":
        raise UsageError(f"IPAM driver {text!r} is not supported", "addresses are the database's")
    return text


_NO_SWARM = "pyctr has no swarm"
_ENDPOINT = (
    value("--ip", "ADDRESS", "Its IPv4 address in the network", read=requests.address, default=""),
    value("--ip6", "ADDRESS", "Its IPv6 address in the network", read=requests.address6,
          default=""),
    several("--alias", "NAME", "A further name in the network", read=requests.alias),
    value("--gw-priority", "NUMBER", "The network with the highest has the default route",
          read=requests.priority, default=0),
)  # fmt: skip

COMMANDS: tuple[Command, ...] = (
    Command(
        "network create",
        "NAME",
        "Make a network: a bridge of its own, apart from all others.",
        _create,
        (
            several("--subnet", "SUBNET", "Its addresses, such as 10.1.0.0/24; one of IPv4, one of"
                    " IPv6"),
            several("--gateway", "ADDRESS", "The address of the host in it; the first otherwise"),
            several("--ip-range", "SUBNET", "The part of it from which containers get theirs"),
            several("--aux-address", "NAME=ADDRESS", "An address that no container gets",
                    read=readers.pair),
            option("--ipv4", "Addresses of IPv4", default=True),
            option("--ipv6", "Addresses of IPv6"),
            option("--internal", "No way out of it, and none in"),
            several("--label", "KEY=VALUE", "Attach a label", read=readers.pair),
            several("-o --opt", "NAME=VALUE", "An option of Docker's bridge driver, such as"
                    " com.docker.network.driver.mtu=1400", read=readers.pair),
            value("-d --driver", "DRIVER", "bridge is the only one", read=_driver,
                  default="bridge"),
            value("--ipam-driver", "DRIVER", "default is the only one", read=_ipam_driver,
                  default="default"),
            refused("--ipam-opt", "the only IPAM driver has no options"),
            refused("--attachable", _NO_SWARM),
            refused("--ingress", _NO_SWARM),
            refused("--scope", _NO_SWARM),
            refused("--config-from", "networks are made with all that they are"),
            refused("--config-only", "networks are made with all that they are"),
        ),
        at_least=1,
        at_most=1,
        examples=("pyctr network create backend",
                  "pyctr network create --subnet 10.1.0.0/24 --internal lab"),
    ),
    Command(
        "network ls",
        "",
        "List networks.",
        _ls,
        (
            option("-q --quiet", "Only ids"),
            option("--no-trunc", "Whole ids"),
            value("--format", "TEMPLATE", "A Go template, or json"),
            several("-f --filter", "KEY=VALUE", "Show only what fits: dangling, driver, id, label,"
                    " name, scope, type", read=filter_pair),
        ),
        examples=("pyctr network ls", "pyctr network ls --filter type=custom"),
    ),
    Command(
        "network inspect",
        "NETWORK [NETWORK...]",
        "Show everything about networks, as JSON.",
        _inspect,
        (looking.FORMAT, refused("-v --verbose", _NO_SWARM)),
        at_least=1,
        at_most=-1,
        examples=("pyctr network inspect --format '{{(index .IPAM.Config 0).Subnet}}' bridge",),
    ),
    Command(
        "network rm",
        "NETWORK [NETWORK...]",
        "Remove networks. A network that a container has, running or not, stays.",
        _rm,
        (option("-f --force", "A network that is not there is no error"),),
        at_least=1,
        at_most=-1,
        examples=("pyctr network rm backend",),
    ),
    Command(
        "network connect",
        "NETWORK CONTAINER",
        "Put a container, running or not, into one more network.",
        _connect,
        (
            *_ENDPOINT,
            refused("--driver-opt", "endpoints have no options here"),
            several("--link", "CONTAINER[:NAME]", "A name for another container in the network",
                    read=requests.link),
            refused("--link-local-ip", "interfaces have no link-local addresses"),
        ),
        at_least=2,
        at_most=2,
        examples=("pyctr network connect --alias store backend db",),
    ),
    Command(
        "network disconnect",
        "NETWORK CONTAINER",
        "Take a container, running or not, out of a network.",
        _disconnect,
        (option("-f --force", "Forget it even if its interface cannot be removed"),),
        at_least=2,
        at_most=2,
        examples=("pyctr network disconnect backend db",),
    ),
)  # fmt: skip
