"""Who is known to whom, by which name, at which address. Pure.

A container on a network that a person made finds the others there: by name, by the aliases that
they have in that network, by the beginning of their id and by the host name that was given to them;
and, where two networks have the same name for something, by ``NAME.NETWORK``. Names that it was
given for others with --link are its own and come first. On the default network there are no names.

Case does not matter (RFC 4343). A name that several have is all of them, in any order.

Source: Docker's "Embedded DNS server", --network-alias, --link.
"""

from __future__ import annotations

from kernel.record import Record
from network import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from network.store import Endpoint, Network

SHORT = 12  # digits of an id that are a name


class Person(Record):
    """What a container says of itself: its name, its host name, and its own resolvers (--dns)."""

    name: str
    hostname: str = ""
    servers: tuple[str, ...] = ()


class Zone:
    """The names of all containers that have addresses.

    ``people`` are looked up by the id of the container; one that is missing has only its id.
    """

    def __init__(self, endpoints: Iterable[Endpoint], people: dict[str, Person]) -> None:
        self._people = people
        self._asking: dict[tuple[str, str], str] = {}  # network, address to container
        self._places: dict[str, list[Endpoint]] = {}  # container to its endpoints
        self._named: dict[tuple[str, str], list[Endpoint]] = {}  # network, name
        for one in endpoints:
            for address in addresses(one):
                self._asking[one.network.id, address] = one.container_id
            self._places.setdefault(one.container_id, []).append(one)
            if not one.network.is_default:
                for name in self._names(one):
                    self._named.setdefault((one.network.id, name), []).append(one)

    def _names(self, one: Endpoint) -> set[str]:
        person = self._people.get(one.container_id, _NOBODY)
        names = (person.name, person.hostname, one.container_id[:SHORT], *one.aliases)
        return {name.lower() for name in names if name}

    def asker(self, network_id: str, address: str) -> str:
        """The id of the container that has an address in a network, "" if nobody has."""
        return self._asking.get((network_id, address), "")

    def servers(self, container_id: str, of_host: tuple[str, ...]) -> tuple[str, ...]:
        """The resolvers to ask for what is not in here: its own, or those of the host.

        Where all its networks are internal, only those of its own that are within them: names
        are a way out as well (CVE-2024-29018).
        """
        own = self._people.get(container_id, _NOBODY).servers
        networks = [one.network for one in self._places.get(container_id, ())]
        if all(one.internal for one in networks):
            return tuple(server for server in own if _is_within(server, networks))
        return own or of_host

    def find(self, container_id: str, name: str) -> list[Endpoint] | None:
        """The endpoints that a container means by a name; None if it is no name in here."""
        wanted = name.lower()
        places = [one for one in self._places.get(container_id, ()) if not one.network.is_default]
        for one in places:
            for other, alias in one.links:
                if alias.lower() == wanted:
                    linked = self._in(other, one.network)
                    if linked:
                        return linked
        for one in places:
            found = self._named.get((one.network.id, wanted))
            if found:
                return found
        for one in places:
            short = wanted.removesuffix(f".{one.network.name.lower()}")
            found = self._named.get((one.network.id, short)) if short != wanted else None
            if found:
                return found
        return None

    def _in(self, container_id: str, network: Network) -> list[Endpoint]:
        places = self._places.get(container_id, ())
        return [one for one in places if one.network.id == network.id]

    def name_at(self, container_id: str, address: str) -> str | None:
        """The name of an address, as NAME.NETWORK, for whom a container may know.

        "" if it is of one of the networks and nobody's name, None if it is elsewhere.
        """
        for one in self._places.get(container_id, ()):
            if one.network.is_default or not _is_within(address, [one.network]):
                continue
            other = self._asking.get((one.network.id, address), "")
            person = self._people.get(other, _NOBODY)
            name = person.name or other[:SHORT]
            return f"{name}.{one.network.name}" if name else ""
        return None


_NOBODY = Person("")


def addresses(one: Endpoint) -> tuple[str, ...]:
    """What an endpoint has of IPv4 and IPv6."""
    return tuple(word for word in (one.address, one.address6) if word)


def _is_within(address: str, networks: Iterable[Network]) -> bool:
    if "%" in address:
        return False
    number = subnets.number(address)
    for one in networks:
        subnet = one.subnet6 if subnets.is_v6(address) else one.subnet
        if subnet and number in subnets.parse(subnet):
            return True
    return False
