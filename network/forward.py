"""Questions that go on to other resolvers, and their answers that come back.

Each has a socket of its own, connected to one resolver, so that the kernel chooses a random port
and drops what others send; its id is random as well (RFC 5452). Over UDP a resolver is asked again
when nothing comes, and the next one when this one cannot help; what came over TCP goes on over TCP.
Who asks gets an answer within a few seconds in any case, before it gives up.

Nothing here waits: the agent's loop calls when a socket is ready, and :meth:`Forwarder.expire` when
time has passed.
"""

from __future__ import annotations

import os
import selectors
import socket
import time

import dns.rcode

from network import packets, subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from network.packets import Query

PORT = 53
MOST = 256  # questions that are under way at once
_PATIENCE = 1.5  # seconds for a packet; three of them are less than the five of resolv.conf(5)
_PACKETS = 3  # that are sent at least
_TCP_PATIENCE = 4.0
_LENGTH = 2  # bytes before a message over TCP that say how long it is


class Forwarder:
    """All questions that are under way."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.selector = selector
        self._under_way: set[_Exchange] = set()

    def ask(
        self, query: Query, servers: tuple[str, ...], done: Callable[[bytes], None], *, tcp: bool
    ) -> None:
        """Asks ``servers`` one after the other; ``done`` is called once, maybe at once."""
        if len(self._under_way) >= MOST:
            done(packets.failed(query, dns.rcode.SERVFAIL))
            return
        if not tcp:
            servers = (servers * _PACKETS)[: max(_PACKETS, len(servers))]

        def ended(answer: bytes) -> None:
            self._under_way.discard(one)
            done(answer)

        one = _Exchange(self.selector, query, list(servers), ended, tcp=tcp)
        self._under_way.add(one)
        one.advance()

    def patience(self) -> float:
        """Seconds until something is due; infinity if nothing is under way."""
        due = min((one.deadline for one in self._under_way), default=float("inf"))
        return max(0.0, due - time.monotonic())

    def expire(self) -> None:
        """Goes on with what has waited long enough."""
        now = time.monotonic()
        for one in [one for one in self._under_way if one.deadline <= now]:
            one.advance()


class _Exchange:
    """A question that is under way to one resolver after the other."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        query: Query,
        servers: list[str],
        ended: Callable[[bytes], None],
        *,
        tcp: bool,
    ) -> None:
        self.deadline = 0.0
        self._selector = selector
        self._query = query
        self._servers = servers
        self._ended = ended
        self._tcp = tcp
        self._socket: socket.socket | None = None
        self._server = ""
        self._number = 0
        self._out = b""
        self._content = b""
        self._poor = b""  # an answer that is none, in case that no better one comes

    def advance(self) -> None:
        """Goes on to the next resolver; after the last one that is the answer."""
        self._close()
        while self._servers:
            self._server = self._servers.pop(0)
            try:
                self._open()
            except OSError:  # no such network, no descriptors
                self._close()
                continue
            return
        self._ended(self._poor or packets.failed(self._query, dns.rcode.SERVFAIL))

    def _open(self) -> None:
        address, _, scope = self._server.partition("%")
        is_v6 = subnets.is_v6(address)
        kind = socket.SOCK_STREAM if self._tcp else socket.SOCK_DGRAM
        made = socket.socket(
            socket.AF_INET6 if is_v6 else socket.AF_INET,
            kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
        )
        self._socket = made
        index = socket.if_nametoindex(scope) if scope else 0
        to = (address, PORT, 0, index) if is_v6 else (address, PORT)
        try:
            made.connect(to)
        except BlockingIOError:  # TCP is on its way
            pass
        self._number = int.from_bytes(os.urandom(2))
        wire = packets.renumbered(self._query.wire, self._number)
        self._content = b""
        if self._tcp:
            self._out = len(wire).to_bytes(_LENGTH) + wire
            self._selector.register(made, selectors.EVENT_WRITE, self._write)
        else:
            made.send(wire)
            self._selector.register(made, selectors.EVENT_READ, self._receive)
        self.deadline = time.monotonic() + (_TCP_PATIENCE if self._tcp else _PATIENCE)

    def _close(self) -> None:
        if self._socket is not None:
            try:
                self._selector.unregister(self._socket)
            except KeyError:  # it did not come so far
                pass
            self._socket.close()
        self._socket = None

    def _receive(self) -> None:
        if self._socket is None:  # closed while it was already known to be ready
            return
        try:
            self._judge(self._socket.recv(packets.LONGEST_ANSWER))
        except BlockingIOError:
            return
        except OSError:  # nobody is there
            self.advance()

    def _write(self) -> None:
        if self._socket is None:
            return
        try:
            self._out = self._out[self._socket.send(self._out) :]
        except BlockingIOError:
            return
        except OSError:
            self.advance()
            return
        if not self._out:
            self._selector.modify(self._socket, selectors.EVENT_READ, self._read)

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            chunk = self._socket.recv(packets.LONGEST_ANSWER)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._content += chunk
        length = int.from_bytes(self._content[:_LENGTH])
        if len(self._content) >= _LENGTH + length > _LENGTH:
            self._judge(self._content[_LENGTH : _LENGTH + length])
        if self._socket is not None and (not chunk or len(self._content) > packets.LONGEST_ANSWER):
            self.advance()

    def _judge(self, wire: bytes) -> None:
        """Takes an answer; what is none is not even looked at."""
        if not packets.is_answer(self._query, self._number, wire):
            return
        answer = packets.renumbered(wire, self._query.number)
        others = [one for one in self._servers if one != self._server]
        if packets.is_worth_another(wire) and others:
            self._poor, self._servers = answer, others
            self.advance()
            return
        self._servers = []
        self._close()
        self._ended(answer)
