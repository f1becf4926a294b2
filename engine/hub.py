"""The monitor's streams: bytes between the container and whoever is attached.

A :class:`Hub` has the container's standard streams, the log, the listening socket and the attached
clients. One :meth:`Hub.turn` waits until something is ready and moves what it can; nothing in it
blocks but that wait. Input of all clients is one stream to the container, output of the container
goes to the log and to each client. Whoever reads slowly slows the container down; nothing is
dropped and nothing grows without bound.
"""

from __future__ import annotations

import os
import select

from engine import wire
from kernel import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Collection

    from engine.logs import Writer

_CHUNK = 1 << 16
_BACKLOG = 1 << 20  # bytes that may wait for one client before the container has to wait

_READ = select.POLLIN | select.POLLHUP | select.POLLERR


class Client:
    """An attached connection and what waits to be sent to it."""

    def __init__(self, connection: socket, *, stdin: bool = False, output: bool = False) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.fd = connection.fileno()
        self.reader = wire.Reader()
        self.stdin = stdin
        self.output = output
        self.froze = False
        self.waiting = bytearray()

    def tell(self, content: bytes) -> None:
        """Queues frames; :meth:`Hub.turn` sends them."""
        self.waiting += content


class Hub:
    """``first`` is the command that started the container; ``on_freeze(client, frozen)`` is asked
    to freeze or thaw the container for a client, also when that client is gone.
    """

    def __init__(self, first: Client, on_freeze: Callable[[Client, bool], None]) -> None:
        self.clients = {first.fd: first}
        self.first = first
        self.listener: socket | None = None
        self.log: Writer | None = None
        self._on_freeze = on_freeze
        self._streams: dict[int, str] = {}  # descriptor of the container's output to its name
        self._input = -1  # where the container's standard input is written
        self._to_input = bytearray()
        self._input_ends = False
        self._tty = False

    def connect(self, streams: dict[int, str], target: int, *, tty: bool) -> None:
        """The streams of a program that has just started: outputs with names, its input or -1."""
        self._streams, self._input, self._tty = dict(streams), target, tty
        self._to_input.clear()
        self._input_ends = False
        for fd in self.descriptors:
            os.set_blocking(fd, False)

    @property
    def descriptors(self) -> set[int]:
        """The descriptors of the container's streams."""
        return {*self._streams, *((self._input,) if self._input >= 0 else ())}

    # -- one turn --------------------------------------------------------------------------

    def turn(self, watched: Collection[int], timeout: float | None = None) -> set[int]:
        """Moves what is ready, waiting at most ``timeout`` seconds; which of ``watched`` are."""
        ready = self._wait(watched, timeout)
        for fd in ready:
            if fd in self._streams:
                self._from_container(fd)
            elif fd == self._input and self._input not in self._streams:
                self._to_container()
            elif fd in self.clients:
                self._with_client(self.clients[fd], ready[fd])
        if self._to_input or self._input_ends:
            self._to_container()
        if self.listener is not None and self.listener.fileno() in ready:
            self._accept(self.listener)
        return {fd for fd in watched if fd in ready}

    def _wait(self, watched: Collection[int], timeout: float | None) -> dict[int, int]:
        """Descriptors that are ready, with their poll(2) events."""
        wanted = dict.fromkeys(watched, select.POLLIN)
        if self.listener is not None:
            wanted[self.listener.fileno()] = select.POLLIN
        if not any(one.output and len(one.waiting) > _BACKLOG for one in self.clients.values()):
            wanted |= dict.fromkeys(self._streams, select.POLLIN)
        if self._to_input and self._input >= 0:
            wanted[self._input] = wanted.get(self._input, 0) | select.POLLOUT
        for client in self.clients.values():
            events = select.POLLIN if len(self._to_input) < _BACKLOG else 0
            wanted[client.fd] = events | (select.POLLOUT if client.waiting else 0)
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        return dict(poll.poll(None if timeout is None else max(0, timeout * 1000)))

    def finish_output(self) -> None:
        """Takes what the container has left in its pipes: it has ended, so that is bounded."""
        for fd in list(self._streams):
            while fd in self._streams and self._from_container(fd):
                pass
        if self.log is not None:
            self.log.flush()

    def close_door(self) -> None:
        """Lets in who has connected already, so that they are told of the end, and nobody else.

        The socket has no name any more by then.
        """
        if self.listener is None:
            return
        poll = select.poll()
        poll.register(self.listener.fileno(), select.POLLIN)
        while poll.poll(0):
            self._accept(self.listener)
        self.listener.close()
        self.listener = None

    def disconnect(self, said: bytes) -> None:
        """The program has ended and another will follow: its streams are closed, and who was
        attached is told so and served no longer, but gets what is left for him.
        """
        for fd in self.descriptors:
            os.close(fd)
        self._streams, self._input = {}, -1
        for client in self.clients.values():
            client.tell(said)
            client.stdin = client.output = client.froze = False

    def drain(self) -> None:
        """Sends what is left; a client that reads slowly is waited for, one that is gone is not."""
        while True:
            poll = select.poll()
            for client in list(self.clients.values()):
                self.flush(client)
                if client.waiting and client.fd in self.clients:
                    poll.register(client.fd, select.POLLOUT)
            if not any(client.waiting for client in self.clients.values()):
                return
            poll.poll(100)

    # -- the container ---------------------------------------------------------------------

    def _from_container(self, fd: int) -> bool:
        """Passes on one chunk of output; False if there was none."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last process closed its side of the terminal
            chunk = b""
        if not chunk:
            self._close_stream(fd)
            return False
        name = self._streams[fd]
        if self.log is not None:
            self.log.write(name, chunk)
        sent = wire.frame(wire.STDOUT if name == "stdout" else wire.STDERR, chunk)
        for client in list(self.clients.values()):
            if client.output:
                client.tell(sent)
                self.flush(client)
        return True

    def _close_stream(self, fd: int) -> None:
        del self._streams[fd]
        if fd == self._input:
            self._input = -1
        os.close(fd)

    def _to_container(self) -> None:
        """Writes what clients sent; closes the program's standard input after its end."""
        try:
            while self._to_input and self._input >= 0:
                del self._to_input[: os.write(self._input, self._to_input[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            self._to_input.clear()
            self._input_ends = True
        if self._input < 0:
            self._to_input.clear()
        elif self._input_ends and self._input not in self._streams:
            os.close(self._input)
            self._input = -1

    # -- clients ---------------------------------------------------------------------------

    def _accept(self, listener: socket) -> None:
        connection = sockets.accept(listener)
        if sockets.peer_uid(connection) not in (0, os.geteuid()):
            connection.close()
            return
        client = Client(connection)
        self.clients[client.fd] = client

    def _with_client(self, client: Client, events: int) -> None:
        if events & select.POLLOUT:
            self.flush(client)
        if not events & _READ or client.fd not in self.clients:
            return
        try:
            chunk = client.connection.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._drop(client)
            return
        try:
            for kind, payload in client.reader.feed(chunk):
                self._said(client, kind, payload)
        except wire.ProtocolError:
            self._drop(client)

    def _said(self, client: Client, kind: int, payload: bytes) -> None:
        if kind == wire.STDIN and client.stdin:
            if payload:
                self._to_input += payload
            elif not self._tty:
                self._input_ends = True
        elif kind == wire.RESIZE and self._tty and self._input >= 0:
            _resize(self._input, wire.value(payload))
        elif kind == wire.FREEZE:
            client.froze = wire.value(payload) is True
            self._on_freeze(client, client.froze)
            client.tell(wire.message(wire.FREEZE, client.froze))
            self.flush(client)
        elif kind == wire.ATTACH:
            wanted = wire.value(payload)
            if not isinstance(wanted, dict):
                raise wire.ProtocolError("attach wants an object")
            client.stdin = bool(wanted.get("stdin"))
            client.output = bool(wanted.get("output"))

    def flush(self, client: Client) -> None:
        """Sends what the client takes now."""
        try:
            while client.waiting:
                del client.waiting[: client.connection.send(client.waiting[: 4 * _CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        if self.clients.pop(client.fd, None) is None:
            return
        client.connection.close()
        if client.froze:
            self._on_freeze(client, False)
        if client is self.first and client.stdin:  # as `docker run -i`: its end is the input's end
            self._input_ends = True


def _resize(terminal: int, size: object) -> None:
    import fcntl
    import struct

    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size)):
        raise wire.ProtocolError("resize wants two numbers")
    columns, rows = (max(0, min(n, 65535)) for n in size)
    fcntl.ioctl(terminal, 0x5414, struct.pack("HHHH", rows, columns, 0, 0))  # TIOCSWINSZ
