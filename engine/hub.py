"""The monitor's streams: bytes between the container and whoever is attached.

A :class:`Hub` has the container's standard streams, the log, the listening socket and the attached
clients. One :meth:`Hub.turn` waits until something is ready and moves what it can; nothing in it
blocks but that wait.

Output of the container goes to the log and to each client. A client that reads slowly, or not at
all, holds up nobody: what it has not taken waits in its :class:`engine.backlog.Backlog`. Only when
one of those is full, or the disk is, is the container read no more until there is room again;
nothing is dropped and nothing grows without bound.

Input of all clients is one stream to the container. With a terminal it never ends. Without one it
ends if it was opened for those who attach (``once``, Docker's StdinOnce): when the last client
that could type has ended its input or has left; otherwise it stays open for others. When the
program has closed it, clients are told so and stop reading what nobody wants.
"""

from __future__ import annotations

import os
import select

from engine import wire
from engine.backlog import Backlog
from kernel import sockets, terminals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Collection
    from typing import Any

    from engine.loglines import Log

_CHUNK = 1 << 16
_INPUT = 1 << 20  # bytes that may wait for the program before clients that type have to
_LEFT_OVER = 256  # chunks of output at most that are taken after the end
_CLIENTS = 128  # at a time; further ones wait until one leaves
_PATIENCE = 1.0  # seconds between two looks whether a full disk has room again

_READ = select.POLLIN | select.POLLHUP | select.POLLERR


class Client:
    """An attached connection and what waits to be sent to it.

    ``stdin`` says whether it may still type, ``output`` which of stdout and stderr it wants. One
    that is ``gone`` takes nothing any more; what it said before it left is still read.
    """

    def __init__(
        self, connection: socket, folder: str, *, stdin: bool = False, output: Collection[str] = ()
    ) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.fd = connection.fileno()
        self.reader = wire.Reader()
        self.stdin = stdin
        self.output = frozenset(output)
        self.froze = False
        self.gone = False
        self.waiting = Backlog(folder)

    def tell(self, content: bytes) -> None:
        """Queues frames; :meth:`Hub.turn` sends them."""
        if not self.gone:
            self.waiting.append(content)

    def flush(self) -> None:
        """Sends what the connection takes now."""
        try:
            while first := self.waiting.first(4 * _CHUNK):
                self.waiting.take(self.connection.send(first))
        except BlockingIOError:
            return
        except OSError:
            self.gone = True
            self.waiting.close()

    def close(self) -> None:
        self.connection.close()
        self.waiting.close()


class Hub:
    """``folder`` is where slow clients' bytes may wait; ``on_freeze(client, frozen)`` is asked to
    freeze or thaw the container for a client, also when that client is gone.
    """

    def __init__(
        self, folder: str, on_freeze: Callable[[Client, bool], None], *, once: bool = False
    ) -> None:
        self.clients: dict[int, Client] = {}
        self.listener: socket | None = None
        self.log: Log | None = None
        self.on_resize: Callable[[int, int], None] | None = None  # told of the terminal's new size
        self._folder = folder
        self._on_freeze = on_freeze
        self._once = once
        self._streams: dict[int, str] = {}  # descriptor of the container's output to its name
        self._input = -1  # where the container's standard input is written
        self._tty = False
        self._peer = -1  # the container's side of its terminal, held open
        self._to_input = bytearray()
        self._input_ends = False
        self._crowded = False  # no descriptor was left for a further client

    def connect(self, streams: dict[int, str], target: int, *, tty: bool) -> None:
        """The streams of a program that has just started: outputs with names, its input or -1."""
        self._streams, self._input = dict(streams), target
        self._to_input.clear()
        self._input_ends = False
        self._tty = tty
        self._peer = terminals.hold_open(target) if tty else -1
        for fd in self.descriptors:
            os.set_blocking(fd, False)

    @property
    def descriptors(self) -> set[int]:
        """The descriptors of the container's streams."""
        return {*self._streams, self._input, self._peer} - {-1}

    def admit(self, client: Client) -> None:
        """One more who is attached."""
        self.clients[client.fd] = client

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is attached and nothing waits for the program."""
        return not self.clients and not self._to_input

    def save(self) -> dict[str, Any]:
        """What :meth:`restore` needs; to be asked for while the hub :attr:`is_quiet`."""
        assert self.is_quiet and self.listener is not None
        return {
            "folder": self._folder,
            "once": self._once,
            "streams": list(self._streams.items()),
            "input": self._input,
            "peer": self._peer,
            "tty": self._tty,
            "input_ends": self._input_ends,
            "listener": self.listener.fileno(),
        }

    @staticmethod
    def restore(saved: dict[str, Any], on_freeze: Callable[[Client, bool], None]) -> Hub:
        """A hub as it was when it was saved, of inherited descriptors."""
        made = Hub(saved["folder"], on_freeze, once=saved["once"])
        made._streams = dict(saved["streams"])
        made._input, made._peer, made._tty = saved["input"], saved["peer"], saved["tty"]
        made._input_ends = saved["input_ends"]
        made.listener = sockets.adopt(saved["listener"])
        return made

    # -- one turn --------------------------------------------------------------------------

    def turn(self, watched: Collection[int], timeout: float | None = None) -> set[int]:
        """Moves what is ready, waiting at most ``timeout`` seconds; which of ``watched`` are."""
        ready = self._wait(watched, timeout)
        for fd, events in ready.items():
            if fd in self._streams and events & _READ:
                self._from_container(fd)
            elif fd == self._input and events & (select.POLLERR | select.POLLHUP):
                self._close_input()
            elif fd in self.clients:
                self._with_client(self.clients[fd], events)
        self._to_container()
        if self.listener is not None and self.listener.fileno() in ready:
            self._accept(self.listener)
        return {fd for fd in watched if fd in ready}

    def _wait(self, watched: Collection[int], timeout: float | None) -> dict[int, int]:
        """Descriptors that are ready, with their poll(2) events.

        poll(2) reports errors and hang-ups unasked: whatever is registered here must be dealt
        with when that comes, or the monitor would turn without end.
        """
        wanted = dict.fromkeys(watched, select.POLLIN)
        accepting = len(self.clients) < _CLIENTS and not self._crowded
        if self.listener is not None and accepting:
            wanted[self.listener.fileno()] = select.POLLIN
        if self._must_wait():
            timeout = _PATIENCE if timeout is None else min(timeout, _PATIENCE)
        else:
            wanted |= dict.fromkeys(self._streams, select.POLLIN)
        if self._input >= 0 and (self._to_input or not self._tty):
            out = select.POLLOUT if self._to_input else 0
            wanted[self._input] = wanted.get(self._input, 0) | out
        for client in self.clients.values():
            listening = not client.stdin or len(self._to_input) < _INPUT
            wanted[client.fd] = select.POLLIN if listening else 0
            wanted[client.fd] |= select.POLLOUT if client.waiting else 0
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        return dict(poll.poll(None if timeout is None else max(0, timeout * 1000)))

    def _must_wait(self) -> bool:
        """Whether the container has to wait for a client; a disk may have room again meanwhile."""
        full = [one for one in self.clients.values() if one.output and one.waiting.is_full]
        for client in full:
            client.waiting.settle()
        return any(client.waiting.is_full for client in full)

    def finish_output(self) -> None:
        """Takes what the container has left in its pipes, and closes them: it has ended.

        Somebody else may have them open and still write; that is no reason to stay.
        """
        for fd in list(self._streams):
            for _ in range(_LEFT_OVER):
                if fd not in self._streams or not self._from_container(fd):
                    break
        for fd in self.descriptors:
            os.close(fd)
        self._streams.clear()
        self._input = self._peer = -1
        if self.log is not None:
            self.log.flush()

    def close_door(self) -> None:
        """Lets in who has connected already, so that they are told of the end, and nobody else."""
        if self.listener is None:
            return
        self.listener.setblocking(False)
        while self._accept(self.listener):
            continue
        self.listener.close()
        self.listener = None

    def disconnect(self, said: bytes) -> None:
        """The program has ended and another will follow: who was attached is told so and served
        no longer, but gets what is left for him.
        """
        for client in self.clients.values():
            client.tell(said)
            client.stdin, client.output, client.froze = False, frozenset(), False

    def drain(self) -> None:
        """Sends what is left; a client that reads slowly is waited for, one that is gone is not."""
        while True:
            poll = select.poll()
            for client in self.clients.values():
                client.flush()
                if client.waiting:
                    poll.register(client.fd, select.POLLOUT)
            if not any(client.waiting for client in self.clients.values()):
                return
            poll.poll()

    # -- the container ---------------------------------------------------------------------

    def _from_container(self, fd: int) -> bool:
        """Passes on one chunk of output; False if there was none."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the terminal was hung up
            chunk = b""
        if not chunk:
            self._close_stream(fd)
            return False
        name = self._streams[fd]
        if self.log is not None:
            self.log.write(name, chunk)
        sent = wire.frame(wire.STDOUT if name == "stdout" else wire.STDERR, chunk)
        for client in self.clients.values():
            if name in client.output:
                client.tell(sent)
                client.flush()
        return True

    def _close_stream(self, fd: int) -> None:
        del self._streams[fd]
        if fd == self._input:
            self._close_input()
        else:
            os.close(fd)

    def _to_container(self) -> None:
        """Writes what clients sent; closes the program's standard input after its end."""
        if self._input < 0:
            return
        try:
            while self._to_input:
                del self._to_input[: os.write(self._input, self._to_input[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            self._input_ends = True
        if self._input_ends and not self._tty:
            self._close_input()

    def _close_input(self) -> None:
        os.close(self._input)
        self._input = -1
        self._to_input.clear()
        for client in self.clients.values():
            if client.stdin:
                self._refuse_input(client)

    def _refuse_input(self, client: Client) -> None:
        client.stdin = False
        client.tell(wire.frame(wire.STDIN, b""))
        client.flush()

    # -- clients ---------------------------------------------------------------------------

    def _accept(self, listener: socket) -> bool:
        """A further client; whether there was one."""
        try:
            connection = sockets.accept(listener)
        except OSError as error:
            self._crowded = error.errno in (23, 24)  # ENFILE, EMFILE; otherwise it left already
            return False
        if sockets.peer_uid(connection) not in (0, os.geteuid()):
            connection.close()
            return True
        self.admit(Client(connection, self._folder))
        return True

    def _with_client(self, client: Client, events: int) -> None:
        if events & select.POLLOUT:
            client.flush()
        if not events & _READ:
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
            if not payload:
                self._ended_typing(client)
            elif self._input >= 0:
                self._to_input += payload
            else:
                self._refuse_input(client)
        elif kind == wire.RESIZE and self._tty and self._input >= 0:
            self._resize(wire.value(payload))
        elif kind == wire.FREEZE:
            client.froze = wire.value(payload) is True
            self._on_freeze(client, client.froze)
            client.tell(wire.message(wire.FREEZE, client.froze))
            client.flush()
        elif kind == wire.ATTACH:
            wanted = wire.value(payload)
            if not isinstance(wanted, dict) or not isinstance(wanted.get("output"), list):
                raise wire.ProtocolError("attach wants an object with a list of streams")
            client.output = frozenset(filter(("stdout", "stderr").__contains__, wanted["output"]))
            client.stdin = bool(wanted.get("stdin"))
            if client.stdin and self._input < 0:
                self._refuse_input(client)

    def _resize(self, size: object) -> None:
        if not (
            isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size)
        ):
            raise wire.ProtocolError("resize wants two numbers")
        columns, rows = (max(0, min(n, 65535)) for n in size)
        try:
            terminals.set_size(self._input, columns, rows)
        except OSError:  # EIO: the program has just ended
            return
        if self.on_resize is not None:
            self.on_resize(columns, rows)

    def _ended_typing(self, client: Client) -> None:
        """The input ends with the last one who could type, if it was opened for those."""
        if not client.stdin:
            return
        client.stdin = False
        if self._once and not any(other.stdin for other in self.clients.values()):
            self._input_ends = True

    def _drop(self, client: Client) -> None:
        if self.clients.pop(client.fd, None) is None:
            return
        client.close()
        self._crowded = False
        if client.froze:
            self._on_freeze(client, False)
        self._ended_typing(client)
