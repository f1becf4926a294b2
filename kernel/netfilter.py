"""Questions to nf_tables that need no library: its generation, whether a table is there, and what
others change.

The generation counts the transactions of a network namespace: as long as it stays, nobody has
changed a rule. What a transaction did is told to who listens, and then its generation.

Source: netlink(7), linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CLOEXEC = 0o2000000
_NETFILTER = 12  # NETLINK_NETFILTER
_SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
_GETTABLE, _GETGEN = _SUBSYSTEM | 1, _SUBSYSTEM | 16
_REQUEST = 1
_ERROR = 2
INET = 1  # NFPROTO_INET
_HEADER = struct.Struct("IHHIIBBH")  # nlmsghdr, nfgenmsg
_ATTRIBUTE = struct.Struct("HH")
_ID = 1  # NFTA_GEN_ID, NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, ...

NEWCHAIN, DELCHAIN, _NEWGEN = 3, 5, 15  # NFT_MSG_*
_CHANGES = 1 << 6  # the bit of NFNLGRP_NFTABLES
_PATIENCE = 500  # milliseconds until what is on record was also told


def generation() -> int:
    """How often the rules of this network namespace have changed. OSError."""
    return _number(_asked(_GETGEN, 0, b""))


def has_table(name: str) -> bool:
    """Whether there is a table of that name and of family inet. OSError."""
    word = name.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(4 + len(word), _ID) + word + b"\0" * (-len(word) % 4)
    try:
        _asked(_GETTABLE, INET, attribute)
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


class Changes:
    """What happens to the tables of this network namespace from now on, by whoever does it.

    ``seen`` is the generation up to which it was taken.
    """

    def __init__(self) -> None:
        """OSError."""
        flags = _socket.SOCK_RAW | _CLOEXEC | _socket.SOCK_NONBLOCK
        self._socket = _socket.socket(_socket.AF_NETLINK, flags, _NETFILTER)
        self._socket.bind((0, _CHANGES))
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self.seen = generation()

    def take(self) -> set[tuple[int, int, str]] | None:
        """What was changed since the last call, as (kind of message, family, table).

        None if that cannot be said: it was more than fits into the socket's buffer. OSError.
        """
        found: set[tuple[int, int, str]] = set()
        now = generation()
        while self.seen != now:
            try:
                if not self._poll.poll(_PATIENCE):
                    raise OSError(errno.ENOBUFS, "told of nothing")
                content = self._socket.recv(1 << 16)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._forget()
                self.seen = now
                return None
            for message in _messages(content):
                _, kind, _, _, _, family, _, _ = _HEADER.unpack_from(message)
                if kind == _SUBSYSTEM | _NEWGEN:
                    self.seen = _number(message)
                else:
                    found.add((kind & 0xFF, family, _first(message)))
        return found

    def _forget(self) -> None:
        while self._poll.poll(0):
            try:
                self._socket.recv(1 << 16)
            except OSError:
                continue


def _messages(content: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(content):
        (length,) = struct.unpack_from("I", content, at)
        yield content[at : at + length]
        at += (length + 3) & ~3


def _first(message: bytes) -> str:
    """The word that says of which table a message is: its first attribute."""
    length, kind = _ATTRIBUTE.unpack_from(message, _HEADER.size)
    assert kind == _ID
    return message[_HEADER.size + 4 : _HEADER.size + length].rstrip(b"\0").decode()


def _number(message: bytes) -> int:
    """The generation in an answer or a message of a new one."""
    length, kind = _ATTRIBUTE.unpack_from(message, _HEADER.size)
    assert kind == _ID and length == 8
    return int.from_bytes(message[_HEADER.size + 4 : _HEADER.size + 8])
