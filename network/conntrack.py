"""What the kernel remembers of UDP: for some seconds a flow goes where its first datagram went.

TCP begins anew with each connection. A program that sends from one port to one port, as most users
of UDP do, would otherwise never get to a container that is published after its first datagram, and
would go on to send to one that is gone: each datagram keeps the memory alive. Only flows to a port
and an address of this host are forgotten; those that pass through it, or begin here, are not.

pyroute2's part for this is loaded with the first published port of UDP.

Source: conntrack(8), linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import _socket

from network import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from network.forwards import Forward


def forget(changed: Iterable[Forward]) -> None:
    """Forgets the flows to ports of this host that lead elsewhere now.

    Where the kernel does not let us (without nf_conntrack_netlink) they end by themselves, when
    nothing is sent for half a minute.
    """
    wanted = [one for one in changed if one.protocol == "udp"]
    if not wanted:
        return
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        found = [
            one for one in wanted if subnets.is_v6(one.address) == (family == _socket.AF_INET6)
        ]
        if not found:
            continue
        try:
            with NFCTSocket(nfgen_family=family) as tracked:
                for one in found:
                    _forget(tracked, family, one)
        except (NetlinkError, OSError):
            continue


def _forget(tracked: Any, family: int, one: Forward) -> None:
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple

    port = NFCTAttrTuple(family=family, proto=_socket.IPPROTO_UDP, dport=one.host_port)
    for entry in list(tracked.dump(tuple_orig=port)):
        flow = NFCTAttrTuple.from_netlink(family, entry.get_attr("CTA_TUPLE_ORIG"))
        if flow.proto != _socket.IPPROTO_UDP or flow.dport != one.host_port:
            continue  # a kernel before 5.8 tells of all
        if flow.daddr == one.host_address or (not one.host_address and _is_own(flow.daddr)):
            try:
                tracked.entry("del", tuple_orig=flow)
            except NetlinkError:  # it has just ended
                continue


def _is_own(address: str) -> bool:
    """Whether an address is this host's: then, and only then, one can bind to it."""
    family = _socket.AF_INET6 if subnets.is_v6(address) else _socket.AF_INET
    asking = _socket.socket(family, _socket.SOCK_DGRAM)
    try:
        asking.bind((address, 0))
    except OSError:
        return False
    finally:
        asking.close()
    return True
