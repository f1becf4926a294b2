"""Ports as people write and read them: ``-p``, ``--expose``, the texts of tables and `inspect`.

Pure. A publication is one port of a container and the ports of the host that it may be reached
under; a binding is what became of it while the container runs, one for each address.

    80                         any port of the host, on all of its addresses
    8080:80  8080:80/udp       port 8080 of the host
    127.0.0.1:8080:80          on that address only; 127.0.0.1::80 with any port
    [fd00::7]:8080:80          the same of IPv6
    8000-8002:80-82            three ports, each to its own
    8000-8010:80               the first of eleven that is free

Source: Docker's "docker container run", --publish and --expose, and "docker container ls"; the
columns' text is Docker's to the letter.
"""

from __future__ import annotations

from kernel.record import Record
from network import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PROTOCOLS = ("tcp", "udp")
ANY = ("0.0.0.0", "::")  # all addresses of the host
_DECLARED = (*PROTOCOLS, "sctp")  # what --expose may say: it opens nothing
_LAST = 65535
_MAPPED = 0xFFFF  # what an IPv4 address as one of IPv6 begins with (RFC 4291, 2.5.5.2)


class Publication(Record):
    """A port of a container that the host passes on.

    ``host_address`` is "" for all addresses of the host. One port from ``host_first`` to
    ``host_last`` is used, any one if both are 0. ``held`` is the port of the host while the
    container runs, else 0, and ``held_on`` the addresses, with spaces between them.
    """

    port: int
    protocol: str = "tcp"
    host_address: str = ""
    host_first: int = 0
    host_last: int = 0
    held: int = 0
    held_on: str = ""

    @property
    def name(self) -> str:
        """``80/tcp``."""
        return f"{self.port}/{self.protocol}"

    @property
    def wanted(self) -> str:
        """The ports of the host that were asked for: ``8080``, ``8000-8010`` or ""."""
        return _range_text(self.host_first, self.host_last) if self.host_first else ""


class Binding(Record):
    """A port of the host, on one of its addresses (or 0.0.0.0, ::), and where it leads."""

    host_address: str
    host_port: int
    port: int
    protocol: str

    @property
    def name(self) -> str:
        """The port in the container: ``80/tcp``."""
        return f"{self.port}/{self.protocol}"

    @property
    def place(self) -> str:
        """``0.0.0.0:8080`` or ``[::]:8080``."""
        return place(self.host_address, self.host_port)


def place(address: str, port: int | str) -> str:
    """Address and port as one word, IPv6 in brackets."""
    return f"[{address}]:{port}" if subnets.is_v6(address) else f"{address}:{port}"


# -- what a person writes ------------------------------------------------------------------


def parse(text: str) -> tuple[Publication, ...]:
    """One ``-p``; ValueError says what is wrong with it."""
    rest, protocol = _protocol(text, _DECLARED)
    if protocol == "sctp":
        raise ValueError("sctp cannot be published: pyctr passes tcp and udp on")
    address, host, inside = _parts(rest)
    if not inside:
        raise ValueError("there is no port of the container in it")
    first, last = _range(inside)
    count = last - first + 1
    low, high = _range(host) if host not in ("", "0") else (0, 0)
    if not low or count == 1:
        spans = [(low, high)] * count
    elif high - low + 1 == count:
        spans = [(port, port) for port in range(low, high + 1)]
    else:
        raise ValueError(f"{host} are not as many ports as {inside}")
    return tuple(
        Publication(first + index, protocol, address, *span) for index, span in enumerate(spans)
    )


def parse_exposed(text: str) -> tuple[str, ...]:
    """One ``--expose``, ``80``, ``53/udp`` or ``7000-7010``, as ("80/tcp", ...). ValueError."""
    rest, protocol = _protocol(text, _DECLARED)
    if ":" in rest:
        raise ValueError("it is a port of the container alone: publish it with -p")
    first, last = _range(rest)
    return tuple(f"{port}/{protocol}" for port in range(first, last + 1))


def of_exposed(name: str) -> Publication:
    """What -P makes of an exposed port: any port of the host. ValueError if that cannot be."""
    (made,) = parse(name)
    return made


def _protocol(text: str, known: tuple[str, ...]) -> tuple[str, str]:
    rest, slash, word = text.partition("/")
    protocol = word.lower() if slash else "tcp"
    if protocol not in known:
        raise ValueError(f"the protocol is tcp or udp, not {word!r}")
    return rest, protocol


def _parts(text: str) -> tuple[str, str, str]:
    """(address, port of the host, port of the container); the first two may be ""."""
    rest, _, inside = text.rpartition(":")
    address, colon, host = rest.rpartition(":")
    if not colon:
        return "", rest, inside
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
        if not subnets.is_v6(address):
            raise ValueError(f"{address!r} is not an IPv6 address")
    return (_address(address) if address else ""), host, inside


def _address(text: str) -> str:
    """An address of the host in its usual short form, ::ffff:10.0.0.1 as 10.0.0.1."""
    number = subnets.number(text)
    is_v4 = not subnets.is_v6(text) or number >> 32 == _MAPPED
    made = subnets.text(number & 0xFFFFFFFF, 32) if is_v4 else subnets.text(number, 128)
    if made == "::1":
        raise ValueError(
            "the kernel passes nothing on from ::1, which never leaves the loopback interface:"
            " use 127.0.0.1"
        )
    return made


def _range(text: str) -> tuple[int, int]:
    """``80`` or ``80-90``."""
    first, dash, last = text.partition("-")
    low = _number(first)
    high = _number(last) if dash else low
    if high < low:
        raise ValueError(f"{text} ends before it begins")
    return low, high


def _number(text: str) -> int:
    """A port. Leading zeros are no harm, other signs and digits of other scripts are."""
    if not text.isascii() or not text.isdigit() or len(text) > 8 or not 0 < int(text) <= _LAST:
        raise ValueError(f"{text!r} is not a port: it is a number from 1 to {_LAST}")
    return int(text)


def _range_text(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


# -- what a person reads -------------------------------------------------------------------


def order(name: str) -> tuple[int, str]:
    """The key that sorts names of ports as numbers: 80/tcp before 443/tcp."""
    port, _, protocol = name.partition("/")
    return int(port), protocol


def bindings(publications: Iterable[Publication]) -> tuple[Binding, ...]:
    """What is held for a container, in the order of its ports."""
    made = [
        Binding(address, one.held, one.port, one.protocol)
        for one in publications
        for address in one.held_on.split()
    ]
    return tuple(sorted(made, key=lambda one: (order(one.name), one.host_address, one.host_port)))


def addresses(one: Publication, hosts: tuple[str, ...]) -> tuple[str, ...]:
    """The addresses of the host on which a port is to be held.

    ``hosts`` are those of a publication that names none (0.0.0.0 and :: are all of a family). Where
    it names one of a family of which there is none, the container cannot be reached by it: ().
    """
    if not one.host_address:
        return hosts
    v6 = subnets.is_v6(one.host_address)
    return (one.host_address,) if any(subnets.is_v6(host) == v6 for host in hosts) else ()


def column(held: Iterable[Binding], exposed: Iterable[str] = ()) -> str:
    """The PORTS column of `ps`; ``exposed`` are names, also of those that are held.

    Neighbours are joined to a range if host and container have the same number, as Docker does;
    those that differ stand alone, at the end.
    """
    held = tuple(held)
    taken = {one.name for one in held}
    entries = [(one.port, one.host_address, one.host_port, one.protocol) for one in held]
    for name in {*exposed} - taken:
        port, protocol = order(name)
        entries.append((port, "", 0, protocol))
    groups: dict[tuple[str, str], list[int]] = {}
    done, alone = [], []
    for port, address, host_port, protocol in sorted(entries):
        if address and host_port != port:
            alone.append(f"{place(address, host_port)}->{port}/{protocol}")
            continue
        span = groups.setdefault((address, protocol), [port, port - 1])
        if port > span[1] + 1:
            done.append(_group(address, protocol, span))
            span[0] = port
        span[1] = port
    done += [_group(address, protocol, span) for (address, protocol), span in groups.items()]
    return ", ".join([*done, *alone])


def _group(address: str, protocol: str, span: list[int]) -> str:
    numbers = _range_text(*span)
    return (
        f"{place(address, numbers)}->{numbers}/{protocol}" if address else f"{numbers}/{protocol}"
    )


def in_range(text: str) -> tuple[str, int, int]:
    """(protocol, first, last) of a filter: ``80``, ``80/udp``, ``8000-8010``. ValueError."""
    rest, protocol = _protocol(text, _DECLARED)
    return (protocol, *_range(rest))
