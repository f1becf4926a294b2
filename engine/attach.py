"""The client's side of a session: bytes between a person's streams and a container.

Two ways lead to a container: frames over the monitor's socket (:func:`follow`), and the pipes or
the terminal of an exec (:func:`relay`). Both pass signals and the size of the terminal on, and both
can be left with the keys Ctrl-P Ctrl-Q when a terminal is shared.
"""

from __future__ import annotations

import os
import select

from engine import wire
from kernel import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.start import Session

DETACHED = -1
_KEYS = b"\x10\x11"  # Ctrl-P Ctrl-Q
_CHUNK = 1 << 16


class Streams:
    """A person's side: ``stdin`` is -1 if it is not attached; ``size()`` is that of the terminal.

    ``send_signal`` passes a signal on to the container; with a terminal only SIGWINCH is caught.
    """

    def __init__(
        self,
        *,
        stdin: int = -1,
        tty: bool = False,
        size: Callable[[], tuple[int, int]] | None = None,
        send_signal: Callable[[int], None] | None = None,
    ) -> None:
        self.stdin = stdin
        self.tty = tty
        self.size = size
        self.send_signal = send_signal


_PROXIED = (
    signals.SIGHUP,
    signals.SIGINT,
    signals.SIGQUIT,
    signals.SIGTERM,
    signals.SIGUSR1,
    signals.SIGUSR2,
)


class _Signals:
    """Signals as bytes on a pipe while a session lasts (signal.set_wakeup_fd)."""

    def __init__(self, streams: Streams) -> None:
        self._caught: tuple[int, ...] = (signals.SIGWINCH,)
        if streams.send_signal is not None and not streams.tty:
            self._caught += _PROXIED
        self._before: dict[int, object] = {}
        self.fd = self._write = -1

    def __enter__(self) -> _Signals:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signals.set_wakeup_fd(self._write)
        for number in self._caught:
            self._before[number] = signals.signal(number, lambda _number, _frame: None)
        return self

    def __exit__(self, *_exc: object) -> None:
        signals.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signals.signal(number, handler)
        os.close(self.fd)
        os.close(self._write)

    def read(self) -> bytes:
        try:
            return os.read(self.fd, 64)
        except BlockingIOError:
            return b""


def follow(session: Session, streams: Streams) -> int:
    """Relays until the container ends; returns its exit code, or DETACHED.

    ConnectionError if the monitor goes away without an exit code.
    """
    connection = session.connection
    stdin, keys = streams.stdin, b""
    waiting = bytearray()  # while the monitor does not take it, nothing more is read
    with _Signals(streams) as caught:
        for kind, payload in session.early:
            code = _received(kind, payload)
            if code is not None:
                return code
        _send_size(session, streams)
        while True:
            _flush(session, waiting)
            watched = [connection.fileno(), caught.fd]
            watched += [stdin] if stdin >= 0 and not waiting else []
            for fd in _ready(watched, writing=connection.fileno() if waiting else -1):
                if fd == connection.fileno():
                    chunk = connection.recv(_CHUNK)
                    if not chunk:
                        raise ConnectionError("the monitor went away")
                    for kind, payload in session.reader.feed(chunk):
                        code = _received(kind, payload)
                        if code is not None:
                            return code
                elif fd == caught.fd:
                    for number in caught.read():
                        if number == signals.SIGWINCH:
                            _send_size(session, streams)
                        elif streams.send_signal is not None:
                            streams.send_signal(number)
                else:
                    chunk = _read(stdin)
                    stdin = stdin if chunk else -1
                    if streams.tty:
                        chunk, keys, left = detach_keys(keys, chunk)
                        if left:
                            return DETACHED
                    if chunk or stdin < 0:
                        waiting += wire.frame(wire.STDIN, chunk)


def detach_keys(held: bytes, chunk: bytes) -> tuple[bytes, bytes, bool]:
    """(what to pass on, what is held back, whether the person left) after ``chunk`` was typed."""
    text = held + chunk
    at = text.find(_KEYS)
    if at >= 0:
        return text[:at], b"", True
    if text.endswith(_KEYS[:1]):
        return text[:-1], _KEYS[:1], False
    return text, b"", False


def _received(kind: int, payload: bytes) -> int | None:
    if kind == wire.STDOUT:
        write_all(1, payload)
    elif kind == wire.STDERR:
        write_all(2, payload)
    elif kind == wire.EXIT:
        return int(wire.value(payload))
    return None


def _send_size(session: Session, streams: Streams) -> None:
    if streams.tty and streams.size is not None:
        _send(session, wire.message(wire.RESIZE, list(streams.size())))


def _send(session: Session, content: bytes) -> None:
    try:
        session.connection.sendall(content)
    except OSError:  # it has ended: the exit code is on its way
        return


def _flush(session: Session, waiting: bytearray) -> None:
    """Sends what the monitor takes now (send(2), MSG_DONTWAIT)."""
    try:
        while waiting:
            del waiting[: session.connection.send(waiting[:_CHUNK], 0x40)]
    except BlockingIOError:
        return
    except OSError:  # it has ended: the exit code is on its way
        waiting.clear()


def relay(
    outputs: dict[int, int],
    target: int,
    streams: Streams,
    resize: Callable[[tuple[int, int]], None] | None,
    pidfd: int,
) -> bool:
    """Relays the pipes or the terminal of an exec until it ends; False if the person left.

    ``outputs`` maps what is read to where it is written, ``target`` takes standard input.
    """
    stdin, keys = streams.stdin, b""
    waiting = b""
    with _Signals(streams) as caught:
        if resize and streams.size:
            resize(streams.size())
        ended = False
        while outputs or not ended:
            if ended and not _ready([*outputs], 0):
                return True
            watched = [*outputs, caught.fd, *([] if ended else [pidfd])]
            watched += [stdin] if stdin >= 0 and not waiting else []
            for fd in _ready(watched, writing=target if waiting else -1):
                if fd == pidfd:
                    ended = True
                elif fd in outputs:
                    chunk = _read(fd)
                    if chunk:
                        write_all(outputs[fd], chunk)
                    else:
                        del outputs[fd]
                elif fd == caught.fd:
                    for number in caught.read():
                        if number == signals.SIGWINCH and resize and streams.size:
                            resize(streams.size())
                        elif streams.send_signal is not None and number != signals.SIGWINCH:
                            streams.send_signal(number)
                elif fd == stdin and not waiting:
                    chunk = _read(stdin)
                    if streams.tty:
                        chunk, keys, left = detach_keys(keys, chunk)
                        if left:
                            return False
                    elif not chunk:
                        stdin = -1
                        os.close(target)
                    waiting = chunk
            if waiting:
                waiting, stdin = _pass_on(target, waiting, stdin)
    return True


def _pass_on(target: int, waiting: bytes, stdin: int) -> tuple[bytes, int]:
    try:
        return waiting[os.write(target, waiting) :], stdin
    except BlockingIOError:
        return waiting, stdin
    except OSError:  # the program does not read any more
        return b"", -1


def _ready(fds: list[int], timeout: int | None = None, *, writing: int = -1) -> list[int]:
    """Descriptors that can be read; it also returns when ``writing`` can be written."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN | (select.POLLOUT if fd == writing else 0))
    if writing >= 0 and writing not in fds:
        poll.register(writing, select.POLLOUT)
    return [fd for fd, events in poll.poll(timeout) if events & ~select.POLLOUT]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return b""
    except OSError:  # EIO: the other side of a terminal is closed
        return b""


def write_all(fd: int, content: bytes) -> None:
    """Writes everything; a reader that went away ends the command as SIGPIPE would."""
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # a terminal that somebody made non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
        except BrokenPipeError:
            os._exit(128 + signals.SIGPIPE)
