"""The host itself, programs that some commands use, and what networks need.

Source: netdevice(7), rtnetlink(7), ioctl_brctl of linux/if_bridge.h, nfnetlink of netfilter.
"""

from __future__ import annotations

import os
import struct

from engine import inits
from engine.check.child import Refused, in_child
from engine.check.probe import Limited, Place, Probe
from images import base
from kernel import libc, namespaces, units

_SIOCBRADDBR = 0x89A0
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_DUMP = 0x1, 0x4, 0x300
_NLM_F_CREATE, _NLM_F_EXCL = 0x400, 0x200
_NLMSG_ERROR = 2
_NETLINK_ROUTE, _NETLINK_NETFILTER = 0, 12
_RTM_NEWLINK = 16
_IFLA_LINKINFO, _IFLA_INFO_KIND = 18, 1
_NFT_GETTABLE = 10 << 8 | 1  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE


def host(_place: Place) -> tuple[Probe, ...]:
    """The machine, and what this program itself is made of."""
    return (
        Probe("machine", lambda _place: _machine(),
              "no containers: the numbers of its system calls are not known", True),
        Probe("memory", lambda _place: _memory(), "containers are small, but not that small"),
        Probe("sqlite", lambda _place: _sqlite(), "no containers: SQLite 3.37 has strict tables",
              True),
        Probe("prctl", lambda _place: _prctl(),
              "no containers: pip install python-prctl (it needs libcap-dev)", True),
    )  # fmt: skip


def programs(_place: Place) -> tuple[Probe, ...]:
    """Programs of the host."""
    return (
        Probe("busybox", lambda _place: base.find_busybox(),
              "the image base cannot be made: apt-get install busybox-static"),
        Probe("init", lambda _place: inits.find(), "no --init: apt-get install tini"),
        Probe("ps", lambda _place: _program("ps"), "no pyctr top: apt-get install procps"),
        Probe("systemd", lambda _place: _systemd(),
              "containers with --restart always do not start again by themselves after a reboot"),
    )  # fmt: skip


def networks(_place: Place) -> tuple[Probe, ...]:
    """Bridges, pairs of interfaces, and packet filters, each in a network namespace of its own."""
    return (
        Probe("bridge", lambda _place: in_child(_bridge),
              "no networks but none and host: load the module (modprobe bridge)"),
        Probe("veth", lambda _place: in_child(lambda: _link(b"veth")),
              "no networks but none and host: load the module (modprobe veth)"),
        Probe("nf_tables", lambda _place: in_child(_nf_tables),
              "no networks but none and host: load the module (modprobe nf_tables)"),
        Probe("libnftables", lambda _place: _libnftables(),
              "no networks but none and host: apt-get install nftables"),
        Probe("pyroute2", lambda _place: _package("pyroute2", "pyroute2"),
              "no networks but none and host: pip install pyroute2"),
        Probe("dnspython", lambda _place: _package("dnspython", "dns"),
              "no networks but none, host and bridge: pip install dnspython"),
    )  # fmt: skip


def _machine() -> str:
    found = os.uname()
    libc.number("pivot_root")
    return f"Linux {found.release}, {found.machine}, {os.cpu_count()} CPUs"


def _memory() -> str:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    said = units.show_bytes(size)
    if size < 128 << 20:
        raise Limited(said)
    return said


def _sqlite() -> str:
    import _sqlite3

    try:
        _sqlite3.connect(":memory:").execute("CREATE TABLE t (x TEXT) STRICT")
    except _sqlite3.Error as error:
        raise Refused(f"{_sqlite3.sqlite_version}: {error}") from None
    return _sqlite3.sqlite_version


def _prctl() -> str:
    try:
        import prctl
    except ImportError as error:
        raise Refused(str(error)) from None
    return f"no_new_privs is {'on' if prctl.get_no_new_privs() else 'off'}"


def _program(name: str) -> str:
    """The path of a program of the host."""
    folders = f"{os.environ.get('PATH') or ''}:/usr/sbin:/usr/bin:/sbin:/bin".split(":")
    for path in (f"{folder}/{name}" for folder in folders if folder.startswith("/")):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise Refused(f"{name} is not installed")


def _systemd() -> str:
    if not os.path.isdir("/run/systemd/system"):
        raise Limited("this host was not started by systemd")
    return ""


def _libnftables() -> str:
    import ctypes

    from network.nft import LIBRARY

    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise Refused(str(error)) from None
    return LIBRARY


def _package(name: str, module: str) -> str:
    """The version of a Python package, which has this module."""
    from importlib import metadata, util

    if util.find_spec(module) is None:
        raise Refused("it is not installed")
    return metadata.version(name)


# -- networks ------------------------------------------------------------------------------


def _bridge() -> str:
    import _socket
    import fcntl

    namespaces.unshare(namespaces.CLONE_NEWNET)
    own = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    fcntl.ioctl(own.fileno(), _SIOCBRADDBR, b"pyctr0\0")
    return ""


def _link(kind: bytes) -> str:
    """Makes an interface of a kind (rtnetlink(7), RTM_NEWLINK)."""
    namespaces.unshare(namespaces.CLONE_NEWNET)
    info = _attribute(_IFLA_LINKINFO, _attribute(_IFLA_INFO_KIND, kind))
    _ask(
        _NETLINK_ROUTE,
        _RTM_NEWLINK,
        _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE | _NLM_F_EXCL,
        bytes(16) + info,
    )
    return ""


def _nf_tables() -> str:
    namespaces.unshare(namespaces.CLONE_NEWNET)
    _ask(_NETLINK_NETFILTER, _NFT_GETTABLE, _NLM_F_REQUEST | _NLM_F_DUMP, bytes(4))
    return ""


def _attribute(kind: int, content: bytes) -> bytes:
    padding = bytes(-len(content) % 4)
    return struct.pack("=HH", 4 + len(content), kind) + content + padding


def _ask(protocol: int, kind: int, flags: int, payload: bytes) -> None:
    """Sends one netlink message; OSError with what the kernel answers (netlink(7))."""
    import _socket

    own = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, protocol)
    own.settimeout(5)
    own.sendto(struct.pack("=IHHII", 16 + len(payload), kind, flags, 1, 0) + payload, (0, 0))
    answer = own.recv(8192)
    (said,) = struct.unpack_from("=H", answer, 4)
    if said == _NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", answer, 16)
        if code:
            raise OSError(-code, os.strerror(-code))
