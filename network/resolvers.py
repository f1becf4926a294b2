"""The host's resolvers: what resolv.conf says, and what of it holds inside a container.

Lean, because each start of a container with a network reads it. A resolver of 127.0.0.0/8 or ::1 is
the host's own: a container on the default bridge cannot reach it, the agent can. systemd-resolved
has such a one in /etc/resolv.conf, and keeps the real ones in a file of its own.

Source: resolv.conf(5), systemd-resolved.service(8), Docker's "DNS services".
"""

from __future__ import annotations

import os

from kernel.record import Record
from network import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from network.store import Network

PATH = "/etc/resolv.conf"
_BEHIND_STUB = "/run/systemd/resolve/resolv.conf"
_STUB = ("127.0.0.53",)
_MOST = 3  # MAXNS: more are never asked
_LONGEST = 1 << 16


class Resolvers(Record):
    """A resolv.conf: addresses (as they are written), search domains, options."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def external(self) -> tuple[str, ...]:
        """The servers that can be reached from another network namespace."""
        return tuple(one for one in self.servers if not (is_loopback(one) or "%" in one))


def parse(content: str) -> Resolvers:
    """The lines of a resolv.conf; what is no address is left out, of search lines the last counts.

    Never fails: the library that reads the file does not either.
    """
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in content.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        kind, values = (words[0], words[1:]) if words else ("", [])
        if kind == "nameserver" and values and _is_address(values[0]):
            servers.append(values[0])
        elif kind in ("search", "domain"):
            search = tuple(values if kind == "search" else values[:1])
        elif kind == "options":
            options += values
    return Resolvers(tuple(servers[:_MOST]), search, tuple(options))


def _is_address(word: str) -> bool:
    try:
        subnets.number(word.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Whether an address is the host itself: 127.0.0.0/8, ::1, and what stands for "any"."""
    plain = address.partition("%")[0]
    number = subnets.number(plain)
    return number <= 1 if subnets.is_v6(plain) else number >> 24 in (0, 127)


def of_host() -> Resolvers:
    """What the host uses now, without a stub in front of it where the servers behind are known."""
    found = parse(read(PATH))
    if found.servers == _STUB:
        behind = parse(read(_BEHIND_STUB))
        if behind.servers:
            return found.replace(servers=behind.servers)
    return found


def is_asked(network: Network) -> bool:
    """Whether the containers of a network ask the agent, and not the host's resolvers themselves.

    Those of the default one do where they can reach none of the host's.
    """
    return not (network.is_default and of_host().external)


class Watched:
    """The host's resolvers, read again when the file is another one or was written to."""

    def __init__(self, path: str = PATH) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._servers: tuple[str, ...] = ()

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses as they are now; without any, this host's own, as resolv.conf(5) says."""
        try:
            found = os.stat(self._path)
        except OSError:
            seen: tuple[int, ...] = (0,)
        else:
            seen = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        if seen != self._seen:
            self._seen = seen
            self._servers = parse(read(self._path)).servers or ("127.0.0.1",)
        return self._servers


def read(path: str) -> str:
    """A file's text, "" if there is none."""
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read(_LONGEST)
    except OSError:
        return ""
