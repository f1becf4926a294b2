"""Holding ports of the host for a container: bound, and never used.

The firewall sends what comes for such a port to the container before any socket sees it. The socket
is there so that nobody else gets the port: not another program, not another container, not the
kernel for a connection of its own. It belongs to the container's monitor and goes with it, kill -9
included, so that no port is ever lost.

A TCP port can be bound while connections of the program that had it before are in TIME-WAIT only
with SO_REUSEADDR, and then anybody else could bind it too. To listen for an instant takes that
back: a listening socket shares with nobody, and the port stays exclusive when it stops to listen
and has given up SO_REUSEADDR.

Source: socket(7), ip(7), tcp(7); net/ipv4/inet_connection_sock.c.
"""

from __future__ import annotations

import _socket
import errno

from network import ports, subnets
from network.errors import NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Iterable
    from typing import Any

    from network.ports import Publication

_CLOEXEC = 0o2000000
_TRIES = 64  # for a port that is free on all addresses
_SMALLEST = 1  # bytes of a buffer that nothing is read from; the kernel makes it what it needs


class Taken(NetworkError):
    """Somebody has the port already: ``address``, ``port`` and ``protocol`` say which."""

    def __init__(self, address: str, port: int, protocol: str) -> None:
        super().__init__(f"cannot publish {ports.place(address, port)}/{protocol}", "it is in use")
        self.address = address
        self.port = port
        self.protocol = protocol


class Held:
    """The sockets of what a container publishes; ``publications`` say what is held for each."""

    def __init__(self) -> None:
        self._sockets: list[socket] = []
        self.publications: list[Publication] = []

    def add(self, one: Publication, sockets: list[socket], port: int, addresses: str) -> None:
        """One more of them."""
        self._sockets += sockets
        self.publications.append(one.replace(held=port, held_on=addresses))

    @property
    def descriptors(self) -> list[int]:
        """What must stay open."""
        return [one.fileno() for one in self._sockets]

    def save(self) -> list[Any]:
        """What :meth:`restore` needs."""
        return [self.descriptors, [list(one.as_dict().values()) for one in self.publications]]

    @staticmethod
    def restore(saved: list[Any]) -> Held:
        """What was held, of inherited descriptors."""
        made = Held()
        made._sockets = [_socket.socket(fileno=fd) for fd in saved[0]]
        made.publications = [ports.Publication(*values) for values in saved[1]]
        return made

    def close(self) -> None:
        """Anybody may have the ports."""
        for one in self._sockets:
            one.close()
        self._sockets = []


def hold(publications: Iterable[Publication], hosts: tuple[str, ...]) -> Held:
    """Binds a port of the host for each; Taken or NetworkError, and then none is held.

    ``hosts`` as :func:`network.ports.addresses`; an address that does not lead to the container is
    refused.
    """
    made = Held()
    try:
        for one in publications:
            addresses = ports.addresses(one, hosts)
            made.add(one, *_first_free(one, addresses), " ".join(addresses))
    except BaseException:
        made.close()
        raise
    return made


def _first_free(one: Publication, addresses: tuple[str, ...]) -> tuple[list[socket], int]:
    """The sockets of the first port that is free on all of the addresses, and which it is."""
    if not addresses:
        raise NetworkError(
            f"cannot publish port {one.name} on {one.host_address or 'the host'}",
            "the container has no IPv6 address" if subnets.is_v6(one.host_address)
            else "the container has no IPv4 address",
            "its network has none",
        )  # fmt: skip
    span = range(one.host_first, one.host_last + 1) if one.host_first else (0,) * _TRIES
    for wanted in span:
        try:
            return _bound(addresses, wanted, one.protocol)
        except Taken as taken:
            last = taken
    raise last


def _bound(addresses: tuple[str, ...], port: int, protocol: str) -> tuple[list[socket], int]:
    """One socket for each address, all of the same port; 0 means any. Taken, NetworkError."""
    made: list[socket] = []
    try:
        for address in addresses:
            made.append(_socket_of(address, port, protocol))
            port = made[-1].getsockname()[1]
    except BaseException:
        for one in made:
            one.close()
        raise
    return made, port


def _socket_of(address: str, port: int, protocol: str) -> socket:
    is_v6 = subnets.is_v6(address)
    family = _socket.AF_INET6 if is_v6 else _socket.AF_INET
    is_tcp = protocol == "tcp"
    made = _socket.socket(
        family, (_socket.SOCK_STREAM if is_tcp else _socket.SOCK_DGRAM) | _CLOEXEC
    )
    try:
        if is_v6:
            made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if is_tcp:
            _bind_alone(made, address, port)
        else:
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _SMALLEST)
            made.bind((address, port))
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise Taken(address, port, protocol) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise NetworkError(
                f"cannot publish {ports.place(address, port)}/{protocol}",
                f"{address} is no address of this host",
            ) from None
        raise NetworkError(
            f"cannot publish {ports.place(address, port)}/{protocol}", str(error.strerror),
            errno=error.errno or 0,
        ) from None  # fmt: skip
    except BaseException:
        made.close()
        raise
    return made


def _bind_alone(made: socket, address: str, port: int) -> None:
    """Binds a TCP socket to a port that nobody else can have from then on."""
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    made.listen(0)
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 0)
    made.shutdown(_socket.SHUT_RD)
