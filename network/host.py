"""What the host has of networks: its routes, the MTU of its uplink, and what it must allow.

/proc/self/net and /proc/sys/net show the network namespace of the process that reads them.

Source: proc_pid_net(5), proc_sys_net(5), netdevice(7), Documentation/networking/ip-sysctl.
"""

from __future__ import annotations

import os

from network import subnets

_SIOCGIFMTU = 0x8921
_MTU = 1500  # where there is no uplink
_FORWARD4 = "/proc/sys/net/ipv4/ip_forward"
_FORWARD6 = "/proc/sys/net/ipv6/conf/all/forwarding"


def routes() -> list[subnets.Subnet]:
    """The subnets that this host reaches otherwise than by its default route."""
    return [
        *subnets.routes(_read("/proc/self/net/route")),
        *subnets.routes6(_read("/proc/self/net/ipv6_route")),
    ]


def has_interface(name: str) -> bool:
    """Whether there is an interface of that name."""
    import _socket

    try:
        _socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def interfaces() -> list[str]:
    """The names of all interfaces."""
    lines = _read("/proc/self/net/dev").splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def uplink() -> str:
    """The interface of the default route, the one of the lowest metric; "" without one."""
    best: tuple[int, str] | None = None
    for line in _read("/proc/self/net/route").splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[1] == words[7] == "00000000":
            best = min(best or (1 << 32, ""), (int(words[6]), words[0]))
    return best[1] if best else ""


def uplink_mtu() -> int:
    """The MTU of the uplink: packets of containers must not be larger."""
    name = uplink()
    if not name:
        return _MTU
    import _socket
    import fcntl
    import struct

    asking = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        said = fcntl.ioctl(asking.fileno(), _SIOCGIFMTU, struct.pack("16s16x", name.encode()))
    except OSError:  # it has just gone
        return _MTU
    finally:
        asking.close()
    return int(struct.unpack_from("i", said, 16)[0])


def allow_forwarding(*, v6: bool) -> bool:
    """Lets the host pass packets on; whether that was off. OSError."""
    path = _FORWARD6 if v6 else _FORWARD4
    if _read(path).strip() != "0":
        return False
    if v6:
        _keep_router_advertisements()
    write_sysctl(path, "1")
    return True


def allow_localnet(interface: str) -> None:
    """Lets packets from 127.0.0.0/8 leave by an interface, and their answers come back. OSError."""
    path = f"/proc/sys/net/ipv4/conf/{interface}/route_localnet"
    if _read(path).strip() == "0":
        write_sysctl(path, "1")


def _keep_router_advertisements() -> None:
    """A host that forwards IPv6 ignores the routers that gave it its own route, unless told."""
    folder = "/proc/sys/net/ipv6/conf"
    for name in os.listdir(folder):
        if _read(f"{folder}/{name}/accept_ra").strip() == "1":
            write_sysctl(f"{folder}/{name}/accept_ra", "2")


def write_sysctl(path: str, value: str) -> None:
    """Writes a file below /proc/sys. OSError."""
    with open(path, "w") as file:
        file.write(value)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # without IPv6 some are not there
        return ""
