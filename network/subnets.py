"""Addresses as numbers: subnets, the next free address, a subnet that collides with nothing.

Pure; nothing is asked of the kernel here. IPv4 and IPv6 alike. :mod:`ipaddress` can do half of it,
at three milliseconds for its import, in a command that takes forty.

Source: RFC 4632 (CIDR), RFC 4193 (unique local IPv6 addresses), proc_net_route, Docker's default
address pools.
"""

from __future__ import annotations

import os

from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

POOLS = ("172.17.0.0/12:16", "192.168.0.0/16:20")  # Docker's: 172.17 to 172.31, then 192.168
_V4, _V6 = 32, 128


class Subnet(Record):
    """A block of addresses: ``number`` is the first, ``bits`` the prefix, ``width`` 32 or 128."""

    number: int
    bits: int
    width: int

    @property
    def last(self) -> int:
        """The number of the last address."""
        return self.number | ((1 << (self.width - self.bits)) - 1)

    @property
    def usable(self) -> tuple[int, int]:
        """The first and the last number that a host may have.

        Not the first of all (the network, or the routers' anycast address), nor IPv4's broadcast;
        a block of one or two addresses is used whole (RFC 3021).
        """
        if self.width - self.bits < 2:
            return self.number, self.last
        return self.number + 1, self.last - (self.width == _V4)

    def __contains__(self, number: int) -> bool:
        return self.number <= number <= self.last

    def overlaps(self, other: Subnet) -> bool:
        """Whether the two have an address in common."""
        same = self.width == other.width
        return same and self.number <= other.last and other.number <= self.last

    def __str__(self) -> str:
        return f"{text(self.number, self.width)}/{self.bits}"


def number(address: str) -> int:
    """An address as a number; ValueError if it is none."""
    import _socket

    try:
        return int.from_bytes(_socket.inet_pton(_family(address), address))
    except (OSError, UnicodeError, ValueError):
        raise ValueError(f"{address!r} is not an IP address") from None


def text(value: int, width: int) -> str:
    """A number as an address, in the usual short form."""
    import _socket

    family = _socket.AF_INET if width == _V4 else _socket.AF_INET6
    return _socket.inet_ntop(family, value.to_bytes(width // 8))


def is_v6(address: str) -> bool:
    """Whether an address, a subnet or a pool is of IPv6."""
    return ":" in address.partition("/")[0]


def _family(address: str) -> int:
    import _socket

    return int(_socket.AF_INET6 if is_v6(address) else _socket.AF_INET)


def parse(word: str) -> Subnet:
    """``10.0.0.0/24`` or ``fd00::/64``; ValueError if it is none, or has host bits."""
    made = around(word)
    if number(word.partition("/")[0]) != made.number:
        raise ValueError(f"{word} is an address within {made}, not a subnet")
    return made


def around(word: str) -> Subnet:
    """The subnet of an address with its prefix, as ``10.0.0.7/24``."""
    address, slash, bits = word.partition("/")
    width = _V6 if is_v6(address) else _V4
    if not slash or not bits.isascii() or not bits.isdigit() or int(bits) > width:
        raise ValueError(f"{word!r} is not a subnet such as 10.1.0.0/24")
    host = (1 << (width - int(bits))) - 1
    return Subnet(number(address) & ~host, int(bits), width)


def gateway(subnet: Subnet) -> str:
    """The address that the bridge has where nobody says another: the first."""
    return text(subnet.usable[0], subnet.width)


def lowest_free(subnet: Subnet, within: Subnet | None, taken: Iterable[int]) -> int:
    """The lowest address that nobody has, of ``within`` if that is given; -1 if there is none."""
    first, last = subnet.usable
    if within is not None:
        first, last = max(first, within.number), min(last, within.last)
    for other in sorted(taken):
        if other == first:
            first += 1
        elif other > first:
            break
    return first if first <= last else -1


class Pool(Record):
    """Addresses from ``first`` to ``last``, to be cut into subnets of ``bits``."""

    first: int
    last: int
    bits: int
    width: int

    def subnets(self) -> Iterator[Subnet]:
        """The subnets in order, at most so many as are worth looking at."""
        step = 1 << (self.width - self.bits)
        for index in range(min(_MOST, (self.last + 1 - self.first) // step)):
            yield Subnet(self.first + index * step, self.bits, self.width)


_MOST = 4096


def pool(word: str) -> Pool:
    """``10.0.0.0/8:24``: subnets of 24 bits within 10.0.0.0/8; without ``:24`` it is one subnet.

    It may begin later than its prefix says: 172.17.0.0/12:16 are 172.17 to 172.31. ValueError.
    """
    address, slash, rest = word.partition("/")
    bits, colon, size = rest.partition(":")
    whole = around(f"{address}{slash}{bits}")
    cut = int(size) if size.isascii() and size.isdigit() else -1 if colon else whole.bits
    first = number(address)
    if not whole.bits <= cut <= whole.width - 2 or first % (1 << (whole.width - cut)):
        raise ValueError(f"{word!r} is not a pool such as 10.0.0.0/8:24")
    return Pool(first, whole.last, cut, whole.width)


def choose(pools: Iterable[str], taken: Iterable[Subnet]) -> Subnet | None:
    """The first subnet of the pools that overlaps none of ``taken``; None if there is none."""
    others = list(taken)
    for word in pools:
        for one in pool(word).subnets():
            if not any(one.overlaps(other) for other in others):
                return one
    return None


def routes(content: str) -> list[Subnet]:
    """The subnets of /proc/net/route, but for the default route.

    Numbers there are in the order of bytes in memory.
    """
    found = []
    for line in content.splitlines()[1:]:
        words = line.split()
        if len(words) < 8:
            continue
        destination, mask = (
            int.from_bytes(bytes.fromhex(word)[::-1]) for word in (words[1], words[7])
        )
        if mask:
            found.append(Subnet(destination & mask, mask.bit_count(), _V4))
    return found


def routes6(content: str) -> list[Subnet]:
    """The subnets of /proc/net/ipv6_route, but for default, link-local and multicast routes."""
    found = []
    for line in content.splitlines():
        words = line.split()
        if len(words) < 10:
            continue
        one = Subnet(int(words[0], 16), int(words[1], 16), _V6)
        if one.bits and words[0][:2] not in ("fe", "ff"):
            found.append(one)
    return found


def hardware_address(address: str) -> str:
    """A MAC address that goes with an IPv4 address: local, and the same whenever it is reused.

    Without an IPv4 address ("") it is random.
    """
    own = number(address).to_bytes(4) if address else os.urandom(4)
    return ":".join(["02", "42", *(f"{byte:02x}" for byte in own)])


def local_pool(seed: bytes) -> str:
    """A pool of unique local IPv6 subnets; ``seed`` has 5 bytes at least, random for each host."""
    prefix = int.from_bytes(b"\xfd" + seed[:5]) << 80
    return f"{text(prefix, _V6)}/48:64"
