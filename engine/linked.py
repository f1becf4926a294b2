"""--link: names that one container has for others.

On a network of one's own a link is a name that the agent tells this container alone
(:mod:`network.zone`). On the default network, which has no names, it is a line in /etc/hosts, with
the address that the other one has: it is written when either of the two starts, whichever comes
second. Variables of the other's environment, which links brought with them once, are left out: they
do not follow a restart, and Docker has deprecated them.

Source: Docker's "Legacy container links", "Deprecated features" (Legacy links environment
variables).
"""

from __future__ import annotations

from engine import containers, reconcile
from engine.errors import EngineError
from kernel import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.containers import Container
    from engine.home import Home
    from network.store import Endpoint

_written = trace.point("engine.linked.written")


def resolved(home: Home, links: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """(container, name) pairs with ids. ContainerNotFound; EngineError if one name is to be two."""
    found = [(reconcile.find(home, other).id, name) for other, name in links]
    owners: dict[str, str] = {}
    for identity, name in found:
        if owners.setdefault(name, identity) != identity:
            raise EngineError(f"invalid link: the name {name} is given to several containers")
    return tuple(dict.fromkeys(found))


def write(home: Home, container: Container, endpoints: Iterable[Endpoint]) -> None:
    """Brings the lines of links up to date: in its own hosts, and in those that link to it."""
    for one in endpoints:
        if not one.network.is_default:
            continue
        _write_own(home, container, one)
        if one.address or one.address6:
            for other in home.networks.linking(container.id, one.network.id):
                _put(home, other.container_id, _lines(home, other, one), container.short_id)


def _write_own(home: Home, container: Container, own: Endpoint) -> None:
    """The lines of whom it links to, as they are now, also if one starts in this moment.

    Such a one has an address before it looks for those who want to know; so either it finds us, or
    we find its address when we look once more.
    """
    if not own.links:
        return
    known: list[Endpoint] = []
    while (found := _linked(home, own)) != known:
        known = found
        for one in found:
            _put(home, container.id, _lines(home, own, one), one.container_id[:12])
    _written()


def _linked(home: Home, own: Endpoint) -> list[Endpoint]:
    found = []
    for identity in dict.fromkeys(identity for identity, _ in own.links):
        for one in home.networks.endpoints(identity):
            if one.network.id == own.network.id and one.mac:
                found.append(one)
    return found


def _lines(home: Home, own: Endpoint, other: Endpoint) -> list[str]:
    """The lines for a linked container: its address, its names here, and its short id at last."""
    row = containers.get(home, other.container_id)
    if row is None:
        return []
    names = [name for identity, name in own.links if identity == row.id]
    words = " ".join(dict.fromkeys([*names, row.name, row.short_id]))
    return [f"{word}\t{words}\n" for word in (other.address, other.address6) if word]


def _put(home: Home, container_id: str, lines: list[str], last: str) -> None:
    """Puts lines in the place of those that end with the same word."""

    def changed(content: list[bytes]) -> list[bytes]:
        kept = [one for one in content if one.split()[-1:] != [last.encode()]]
        return [*kept, *(one.encode() for one in lines)]

    from engine import files

    files.change(f"{home.folder(container_id)}/hosts", changed)
