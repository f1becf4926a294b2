"""The sockets on which names are asked for in one network, UDP and TCP; nothing of what is said.

They are bound to the network's bridge as well as to its gateway, so that nothing comes in that any
other interface has received. Where port 53 of the gateway is taken, because a program of the host
has it on all addresses, the kernel chooses another, to which the firewall must lead.

A client can send what it likes, as slowly as it likes: nobody waits for it, and it has few
connections, small buffers and little time.

Source: RFC 7766, 6.2 (connections), ip(7), socket(7).
"""

from __future__ import annotations

import errno
import selectors
import socket
import time

from network import packets, subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from network.store import Network

    # network, source address, source port, message, what sends the answer, whether over TCP
    Asked = Callable[[Network, str, int, bytes, Callable[[bytes], None], bool], None]

PORT = 53
CONNECTIONS = 8  # of one client
_TURN = 16  # packets that are read before others have their turn
_IDLE = 10.0  # seconds that a connection is kept without a question
_LENGTH = 2  # bytes before a message over TCP
_BUFFER = 1 << 18  # bytes of answers that a client may leave untaken


class Listener:
    """One network's sockets; ``asked`` is called with each message."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        network: Network,
        index: int,
        asked: Asked,
        port: int = PORT,
    ) -> None:
        """``index`` is that of the bridge; the kernel chooses where ``port`` is 0. OSError."""
        self.network = network
        self._port = port
        self._index = index
        self._gateway = network.gateway or network.gateway6
        self._selector = selector
        self._asked = asked
        self._connections: set[_Connection] = set()
        self._tcp: socket.socket | None = None
        self._udp = self._bound(socket.SOCK_DGRAM)
        try:
            self._tcp = self._bound(socket.SOCK_STREAM)
            self._tcp.listen(CONNECTIONS)
            selector.register(self._udp, selectors.EVENT_READ, self._receive)
            selector.register(self._tcp, selectors.EVENT_READ, self._accept)
        except OSError:
            self.close()
            raise

    def _bound(self, kind: int) -> socket.socket:
        family = socket.AF_INET6 if subnets.is_v6(self._gateway) else socket.AF_INET
        made = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.network.bridge.encode())
            if kind == socket.SOCK_STREAM:  # an agent before us has left connections behind
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                made.bind((self._gateway, self._port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                made.bind((self._gateway, 0))
        except OSError:
            made.close()
            raise
        return made

    def is_for(self, network: Network, index: int) -> bool:
        """Whether it answers in a network whose bridge has that index."""
        return index == self._index and network == self.network

    @property
    def redirects(self) -> list[tuple[str, str, str, int]]:
        """(bridge, gateway, protocol, port) for those whose port is not 53."""
        found = []
        for protocol, one in (("udp", self._udp), ("tcp", self._tcp)):
            port = one.getsockname()[1] if one is not None else PORT
            if port != PORT:
                found.append((self.network.bridge, self._gateway, protocol, port))
        return found

    def close(self) -> None:
        """Ends it and its connections."""
        for one in (self._udp, self._tcp):
            if one is not None:
                _forget(self._selector, one)
        for connection in list(self._connections):
            connection.close()

    def _receive(self) -> None:
        for _ in range(_TURN):
            try:
                wire, source = self._udp.recvfrom(packets.LONGEST + 1)
            except OSError:  # nothing more, or what the kernel tells of an answer of before
                return
            self._asked(self.network, source[0], source[1], wire, self._reply_to(source), False)

    def _reply_to(self, source: tuple[str, int]) -> Callable[[bytes], None]:
        def reply(answer: bytes) -> None:
            try:
                self._udp.sendto(answer, source)
            except OSError:  # it is gone, or we are
                return

        return reply

    # -- connections -----------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._tcp is not None
        try:
            made, source = self._tcp.accept()
        except OSError:
            return
        if sum(one.source == source[0] for one in self._connections) >= CONNECTIONS:
            made.close()
            return
        made.setblocking(False)
        self._connections.add(
            _Connection(self._selector, made, source[0], self._said, self._connections.discard)
        )

    def _said(self, one: _Connection, wire: bytes) -> None:
        self._asked(self.network, one.source, id(one), wire, one.reply, True)

    def patience(self) -> float:
        """Seconds until a connection has been idle for too long; infinity without any."""
        due = min((one.deadline for one in self._connections), default=float("inf"))
        return max(0.0, due - time.monotonic())

    def expire(self) -> None:
        """Ends connections that have been idle for too long."""
        now = time.monotonic()
        for one in [one for one in self._connections if one.deadline <= now]:
            one.close()


class _Connection:
    """A client's connection: messages with their length before them, both ways."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        connection: socket.socket,
        source: str,
        said: Callable[[_Connection, bytes], None],
        closed: Callable[[_Connection], None],
    ) -> None:
        self.source = source
        self.deadline = time.monotonic() + _IDLE
        self._selector = selector
        self._socket: socket.socket | None = connection
        self._said = said
        self._closed = closed
        self._content = b""
        self._out = b""
        self._events = selectors.EVENT_READ
        selector.register(connection, self._events, self._turn)

    def _turn(self) -> None:
        """Whatever can be done now: an answer goes out, a question comes in."""
        self._flush()
        if self._socket is None:
            return
        try:
            chunk = self._socket.recv(packets.LONGEST)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            return
        self._content += chunk
        while self._socket is not None and len(self._content) >= _LENGTH:
            length = int.from_bytes(self._content[:_LENGTH])
            if length > packets.LONGEST:
                self.close()
            elif len(self._content) < _LENGTH + length:
                return
            else:
                wire = self._content[_LENGTH : _LENGTH + length]
                self._content = self._content[_LENGTH + length :]
                self.deadline = time.monotonic() + _IDLE
                self._said(self, wire)

    def reply(self, answer: bytes) -> None:
        """Sends an answer, if anybody is there to take it."""
        self._out += len(answer).to_bytes(_LENGTH) + answer
        self._flush()

    def _flush(self) -> None:
        if self._socket is None:
            return
        try:
            if self._out:
                self._out = self._out[self._socket.send(self._out) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if len(self._out) > _BUFFER:
            self.close()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._out else 0)
        if wanted != self._events:
            self._events = wanted
            self._selector.modify(self._socket, wanted, self._turn)

    def close(self) -> None:
        """Ends it; what was not taken is lost."""
        if self._socket is not None:
            _forget(self._selector, self._socket)
            self._closed(self)
        self._socket = None


def _forget(selector: selectors.BaseSelector, one: socket.socket) -> None:
    try:
        selector.unregister(one)
    except (KeyError, ValueError):  # it was not registered yet, or is closed
        pass
    one.close()
