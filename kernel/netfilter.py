"""Two questions to nf_tables that need no library: its generation, and whether a table is there.

The generation counts the transactions of a network namespace: as long as it stays, nobody has
changed a rule.

Source: netlink(7), linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import _socket
import os
import struct

_CLOEXEC = 0o2000000
_NETFILTER = 12  # NETLINK_NETFILTER
_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_GETTABLE, _GETGEN = _SUBSYSTEM | 1, _SUBSYSTEM | 16
_REQUEST = 1
_ERROR = 2
_INET = 1  # NFPROTO_INET
_HEADER = struct.Struct("IHHIIBBH")  # nlmsghdr, nfgenmsg
_ATTRIBUTE = struct.Struct("HH")
_ID = 1  # NFTA_GEN_ID, NFTA_TABLE_NAME


def generation() -> int:
    """How often the rules of this network namespace have changed. OSError."""
    content = _asked(_GETGEN, 0, b"")
    length, kind = _ATTRIBUTE.unpack_from(content, _HEADER.size)
    assert kind == _ID and length == 8
    return int.from_bytes(content[_HEADER.size + 4 : _HEADER.size + 8])


def has_table(name: str) -> bool:
    """Whether there is a table of that name and of family inet. OSError."""
    word = name.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(4 + len(word), _ID) + word + b"\0" * (-len(word) % 4)
    try:
        _asked(_GETTABLE, _INET, attribute)
    except FileNotFoundError:
        return False
    return True


def _asked(kind: int, family: int, attributes: bytes) -> bytes:
    length = _HEADER.size + len(attributes)
    asking = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _CLOEXEC, _NETFILTER)
    try:
        asking.send(_HEADER.pack(length, kind, _REQUEST, 1, 0, family, 0, 0) + attributes)
        content = asking.recv(1 << 16)
    finally:
        asking.close()
    if _HEADER.unpack_from(content)[1] == _ERROR:
        (code,) = struct.unpack_from("i", content, 16)
        raise OSError(-code, os.strerror(-code))
    return content
