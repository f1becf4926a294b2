"""Bridges, veth pairs, addresses and routes over rtnetlink; loaded by the agent only.

pyroute2 makes and reads the messages, this module sends them: several in one call, and each is
acknowledged. That takes a tenth of the time of its own sockets, for which a namespace also means a
new socket, a buffer and a query for the index of each name.

An interface of a container is made by one message in its namespace: the pair, under the name and
with the index that it has there, and our end straight on the host.

Source: rtnetlink(7), netlink(7), veth(4), linux/if_link.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from kernel import trace
from kernel.namespaces import CLONE_NEWNET, setns, unshare
from network import host, options, subnets
from network.errors import NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from network.store import Endpoint, Network

_bridge_made = trace.point("network.links.bridge_made")
_pair_made = trace.point("network.links.pair_made")
_bridge_removed = trace.point("network.links.bridge_removed")

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18  # linux/rtnetlink.h
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26
_REQUEST, _ACK, _DUMP = 1, 4, 0x300  # linux/netlink.h
_NEW = 0x600  # NLM_F_CREATE | NLM_F_EXCL
_ERROR, _DONE = 2, 3
_IFF_UP = 1
_IFA_F_NODAD = 2
_MAIN, _UNICAST, _BOOT = 254, 1, 3
_LOOPBACK = 1  # its index in every namespace

_NOTHING_THERE = (errno.ESRCH, errno.ENOENT, errno.EAFNOSUPPORT)  # to delete

_HEADER = struct.Struct("IHHII")


class Netlink:
    """A socket of rtnetlink in the network namespace that the thread is in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Done with it."""
        self._socket.close()

    def send(self, *messages: Any, ignore: tuple[int, ...] = ()) -> None:
        """Sends messages; OSError of the first that is refused with an errno not in ``ignore``."""
        first = self._sequence + 1
        self._socket.sendall(b"".join(self._encoded(one, _REQUEST | _ACK) for one in messages))
        refused: OSError | None = None
        while self._acknowledged < len(messages) + first - 1:
            code = self._next_error()
            if code and code not in ignore and refused is None:
                refused = OSError(code, os.strerror(code))
        if refused is not None:
            raise refused

    _acknowledged = 0

    def dump(self, message: Any) -> list[Any]:
        """All objects of a kind."""
        self._socket.sendall(self._encoded(message, _REQUEST | _DUMP))
        found: list[Any] = []
        while True:
            content = self._socket.recv(1 << 18)
            at = 0
            while at < len(content):
                length, kind, _, sequence, _ = _HEADER.unpack_from(content, at)
                if sequence == self._sequence:
                    if kind == _DONE:
                        self._acknowledged = sequence
                        return found
                    if kind == _ERROR:
                        self._acknowledged = sequence
                        code = -struct.unpack_from("i", content, at + 16)[0]
                        raise OSError(code, os.strerror(code))
                    one = type(message)(content[at : at + length])
                    one.decode()
                    found.append(one)
                at += (length + 3) & ~3

    def _encoded(self, message: Any, flags: int) -> bytes:
        self._sequence += 1
        message["header"]["flags"] |= flags
        message["header"]["sequence_number"] = self._sequence
        message.reset()
        message.encode()
        return bytes(message.data)

    def _next_error(self) -> int:
        """The errno of the next acknowledgement, 0 for success."""
        while True:
            if not self._left:
                self._left = self._socket.recv(1 << 16)
            length, kind, _, sequence, _ = _HEADER.unpack_from(self._left)
            (code,) = struct.unpack_from("i", self._left, 16) if kind == _ERROR else (0,)
            self._left = self._left[(length + 3) & ~3 :]
            if kind == _ERROR:
                self._acknowledged = sequence
                return int(-code)

    _left = b""


def _link(kind: int, creating: int, attributes: list[tuple[str, Any]], **fields: Any) -> Any:
    return _message(ifinfmsg(), kind, creating, attributes, fields)


def _message(
    made: Any, kind: int, creating: int, attributes: list[tuple[str, Any]], fields: dict[str, Any]
) -> Any:
    made["header"]["type"] = kind
    made["header"]["flags"] = creating
    made["attrs"] = attributes
    for name, value in fields.items():
        made[name] = value
    return made


def _address(kind: int, index: int, address: str, bits: int) -> Any:
    is_v6 = subnets.is_v6(address)
    attributes = [("IFA_ADDRESS", address), ("IFA_LOCAL", address)]
    flags = _IFA_F_NODAD if is_v6 else 0
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    fields = {"family": family, "prefixlen": bits, "index": index, "flags": flags}
    return _message(ifaddrmsg(), kind, _NEW if kind == _NEWADDR else 0, attributes, fields)


def _default(kind: int, gateway: str, index: int) -> Any:
    """The default route, by a gateway."""
    attributes = [("RTA_GATEWAY", gateway), ("RTA_OIF", index)]
    family = socket.AF_INET6 if subnets.is_v6(gateway) else socket.AF_INET
    fields = {"family": family, "table": _MAIN, "proto": _BOOT, "type": _UNICAST, "scope": 0}
    return _message(rtmsg(), kind, _NEW if kind == _NEWROUTE else 0, attributes, fields)


def _up(index: int) -> Any:
    return _link(_NEWLINK, 0, [], index=index, flags=_IFF_UP, change=_IFF_UP)


def _without_ipv6(name: str) -> None:
    """An interface that is nothing but a port, or in a network without IPv6, has no address."""
    try:
        host.write_sysctl(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "1")
    except OSError:  # the kernel has no IPv6
        return


def _without_link_local() -> None:
    """In a new namespace: interfaces get no IPv6 address but the one that a network gives them."""
    try:
        host.write_sysctl("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1")
    except OSError:
        return


def index(name: str) -> int:
    """The index of an interface, 0 if there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


# -- bridges -------------------------------------------------------------------------------


def ensure_bridge(netlink: Netlink, network: Network, mtu: int, mark: str) -> int:
    """The index of a network's bridge, which is made or completed where that is needed.

    ``mark`` says whose it is. OSError; NetworkError if somebody else has an interface of the name.
    """
    found = index(network.bridge)
    if found:
        _require_mark(netlink, found, network.bridge, mark)
    else:
        attributes = [
            ("IFLA_IFNAME", network.bridge),
            # Its own for good: otherwise it is that of a port, and another one when that leaves.
            ("IFLA_ADDRESS", f"02:{os.urandom(5).hex(':')}"),
            ("IFLA_MTU", mtu),
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
        ]
        # In one call: no kill can come between a bridge and the mark that says whose it is.
        marked = [("IFLA_IFNAME", network.bridge), ("IFLA_IFALIAS", mark)]
        netlink.send(_link(_NEWLINK, _NEW, attributes), _link(_NEWLINK, 0, marked))
        _bridge_made()
        found = socket.if_nametoindex(network.bridge)
        if not network.subnet6:
            _without_ipv6(network.bridge)
    netlink.send(_up(found))
    for gateway, subnet in ((network.gateway, network.subnet), (network.gateway6, network.subnet6)):
        if gateway and subnet:
            bits = int(subnet.partition("/")[2])
            netlink.send(_address(_NEWADDR, found, gateway, bits), ignore=(errno.EEXIST,))
    return found


def remove(netlink: Netlink, name: str) -> None:
    """Removes an interface; missing is fine."""
    found = index(name)
    if found:
        netlink.send(_link(_DELLINK, 0, [], index=found), ignore=(errno.ENODEV,))
        _bridge_removed()


def _require_mark(netlink: Netlink, found: int, name: str, mark: str) -> None:
    own = [one for one in _bridges(netlink) if one.get_attr("IFLA_IFALIAS") == mark]
    if found not in {one["index"] for one in own}:
        raise NetworkError(
            f"cannot make the bridge {name}",
            "there is an interface of that name which pyctr did not make",
            f"ip link delete {name}, if nobody needs it",
        )


def bridges(netlink: Netlink, mark: str) -> list[str]:
    """The names of all bridges that have the mark."""
    found = [one for one in _bridges(netlink) if one.get_attr("IFLA_IFALIAS") == mark]
    return [one.get_attr("IFLA_IFNAME") for one in found]


def _bridges(netlink: Netlink) -> list[Any]:
    only = ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]})
    return netlink.dump(_link(_GETLINK, 0, [only]))


def has_ports(netlink: Netlink, bridge: int) -> bool:
    """Whether any interface is in a bridge."""
    dumped = netlink.dump(_link(_GETLINK, 0, [("IFLA_MASTER", bridge)]))
    return any(one.get_attr("IFLA_MASTER") == bridge for one in dumped)


# -- containers ----------------------------------------------------------------------------


class Namespace:
    """A network namespace, made new or that of a process; ``fd`` is its descriptor."""

    def __init__(self, own: int, fd: int = -1) -> None:
        """``own`` is the namespace that the thread goes back to. OSError."""
        self.own = own
        if fd < 0:
            unshare(CLONE_NEWNET)
        else:
            setns(fd, CLONE_NEWNET)
        try:
            if fd < 0:
                _without_link_local()
            self.fd = fd if fd >= 0 else os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            self.netlink = Netlink()
        finally:
            setns(own, CLONE_NEWNET)

    def close(self) -> None:
        """Closes the socket; the descriptor is the caller's."""
        self.netlink.close()


def plug(
    netlink: Netlink, inside: Namespace, bridge: int, one: Endpoint, mtu: int, *, hairpin: bool
) -> None:
    """Makes an endpoint's veth pair between a container and a bridge. OSError.

    ``hairpin`` lets the bridge send a packet back to where it came from: to a container that
    reaches itself by a port of the host. That is needed where the bridge itself asks the firewall
    (br_netfilter), and then does not pass the packet up to the host.
    """
    own, name = 2 + one.position, f"veth{os.urandom(4).hex()}"
    peer = {
        "attrs": [("IFLA_IFNAME", name), ("IFLA_NET_NS_FD", inside.own), ("IFLA_MTU", mtu)],
    }
    data = {"attrs": [("VETH_INFO_PEER", peer)]}
    attributes = [
        ("IFLA_IFNAME", one.interface),
        ("IFLA_ADDRESS", one.mac),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}),
    ]
    # From within: the kernel grants an index only to the end that is made where it is asked.
    inside.netlink.send(_link(_NEWLINK, _NEW, attributes, index=own))
    _pair_made()
    _without_ipv6(name)
    isolated = not options.is_on(one.network.options, options.ICC)
    ours: list[tuple[str, Any]] = [("IFLA_IFNAME", name)]
    netlink.send(
        _link(_NEWLINK, 0, [*ours, ("IFLA_MASTER", bridge)]),
        _link(_NEWLINK, 0, [*ours, _port(isolated=isolated, hairpin=hairpin)]),
        _link(_NEWLINK, 0, ours, flags=_IFF_UP, change=_IFF_UP),
    )
    messages = [_up(own)]
    for address, subnet in ((one.address, one.network.subnet), (one.address6, one.network.subnet6)):
        if address:
            bits = int(subnet.partition("/")[2])
            messages.append(_address(_NEWADDR, own, address, bits))
    inside.netlink.send(*messages)


def _port(*, isolated: bool, hairpin: bool) -> tuple[str, Any]:
    """What a port of a bridge may (bridge(8)): an isolated one reaches no other port like it, but
    the bridge itself.
    """
    data = [("IFLA_BRPORT_ISOLATED", int(isolated)), ("IFLA_BRPORT_MODE", int(hairpin))]
    slave = [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": data})]
    return ("IFLA_LINKINFO", {"attrs": slave})


def raise_loopback(inside: Namespace) -> None:
    """127.0.0.1 and ::1 work in every container."""
    inside.netlink.send(_up(_LOOPBACK))


def route(inside: Namespace, endpoints: list[Endpoint]) -> None:
    """The way out, of each family: through the endpoint of the highest priority, among equals the
    first by the name of its network, as Docker has it. Internal networks have none.
    """
    ordered = sorted(endpoints, key=lambda one: (-one.priority, one.network.name))
    for family in (socket.AF_INET, socket.AF_INET6):
        ways = [(one.position, way) for one in ordered if (way := _way(one, family))]
        old = _message(rtmsg(), _DELROUTE, 0, [], {"family": family, "table": _MAIN})
        inside.netlink.send(old, ignore=_NOTHING_THERE)
        if ways:
            position, gateway = ways[0]
            inside.netlink.send(_default(_NEWROUTE, gateway, 2 + position))


def _way(one: Endpoint, family: int) -> str:
    """The gateway of an endpoint, "" if no way leads out of its network."""
    if one.network.internal:
        return ""
    if family == socket.AF_INET:
        return one.network.gateway if one.address else ""
    return one.network.gateway6 if one.address6 else ""


def unplug(inside: Namespace, one: Endpoint) -> None:
    """Removes an endpoint's interface from a container, and with it the other end."""
    inside.netlink.send(_link(_DELLINK, 0, [], index=2 + one.position), ignore=(errno.ENODEV,))
