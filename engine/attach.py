"""The client's side of a session: bytes between a person's streams and a container.

Two ways lead to a container: frames over the monitor's socket (:func:`follow`), and the pipes or
the terminal of an exec (:func:`relay`). Both pass signals and the size of the terminal on, and both
can be left with the detach keys when a terminal is shared.

Input, output and signals never wait for each other: nothing here blocks but one poll(2), so a
person whose pager stands still can type, interrupt and leave.
"""

from __future__ import annotations

import os
import select
import stat

from engine import detach, wire
from engine.errors import EngineError
from kernel import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.start import Session

DETACHED = -1
_GONE = -2  # the monitor ended without a word
_CHUNK = 1 << 16
_PIPE_BUF = 4096  # pipe(7): so much can be written without waiting when poll(2) says that any can
_BEHIND = 1 << 18  # bytes that may wait for the person's own output before no more is taken
_LEFT_OVER = 256  # chunks of output at most that are taken after the end of an exec

# What a session without a terminal passes on: all but what cannot be caught, what is about this
# process itself (its children, its pipes, its mistakes), and being a background job.
PROXIED = tuple(
    number
    for number in (*range(1, 32), *range(34, 65))  # the C library keeps 32 and 33 for itself
    if number
    not in (
        signals.SIGKILL, signals.SIGSTOP, signals.SIGCHLD, signals.SIGPIPE, signals.SIGURG,
        signals.SIGILL, signals.SIGTRAP, signals.SIGBUS, signals.SIGFPE, signals.SIGSEGV,
        signals.SIGSYS, signals.SIGTTIN, signals.SIGTTOU,
    )
)  # fmt: skip
_ENDING = (signals.SIGHUP, signals.SIGINT, signals.SIGQUIT, signals.SIGTERM)


class Streams:
    """A person's side: ``stdin`` is -1 if it is not attached; ``size()`` is that of the terminal.

    ``send_signal`` passes a signal on to the container and says whether that was possible: those
    of ``proxied``. Without it, they keep their meaning for the command itself. ``keys`` leave a
    terminal. ``redraw`` makes programs show again what they showed to others. ``input_only``: the
    session ends with the input.
    """

    def __init__(
        self,
        *,
        stdin: int = -1,
        tty: bool = False,
        size: Callable[[], tuple[int, int]] | None = None,
        send_signal: Callable[[int], bool] | None = None,
        proxied: tuple[int, ...] = PROXIED,
        keys: bytes = detach.DEFAULT,
        redraw: bool = False,
        input_only: bool = False,
    ) -> None:
        self.stdin = stdin
        self.tty = tty
        self.size = size
        self.send_signal = send_signal
        self.proxied = proxied
        self.keys = keys
        self.redraw = redraw
        self.input_only = input_only


class _Left(Exception):
    """The person typed the detach keys."""


class _Sink:
    """A descriptor of the person's, written as it takes it.

    It may be shared with other processes, so it is not made non-blocking: what poll(2) promises
    is enough. Files and devices that are no terminals never make anybody wait.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self.waiting = bytearray()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        mode = os.fstat(fd).st_mode
        waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
        self._size = _PIPE_BUF if waits else _CHUNK

    def finish(self) -> None:
        """Writes everything, however long that takes."""
        while self.waiting:
            self.flush(patient=True)

    def flush(self, *, patient: bool = False) -> None:
        """Writes what is taken now.

        BrokenPipeError if the reader has gone; EngineError if it fails for another reason.
        """
        try:
            while self.waiting and self._poll.poll(None if patient else 0):
                del self.waiting[: os.write(self.fd, self.waiting[: self._size])]
        except BlockingIOError:  # somebody made it non-blocking
            return
        except BrokenPipeError:
            raise
        except OSError as error:
            raise EngineError(
                f"cannot write to {self.name}",
                error.strerror or "",
                "the program in the container goes on",
            ) from None


class _Side:
    """A person's side of a session while it lasts: what is typed, shown and signalled.

    Signals become bytes on a pipe (signal.set_wakeup_fd). ``resize`` is called when the terminal
    may have another size.
    """

    def __init__(self, streams: Streams, resize: Callable[[], None]) -> None:
        self._streams = streams
        self._resize = resize
        self.stdin = streams.stdin
        self.sinks = {1: _Sink(1, "standard output"), 2: _Sink(2, "standard error")}
        self._held = b""
        self._before: dict[int, object] = {}
        self._signalled = self._write = -1

    def __enter__(self) -> _Side:
        self._signalled, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signals.set_wakeup_fd(self._write)
        streams = self._streams
        for number in streams.proxied if streams.send_signal else (signals.SIGWINCH,):
            self._before[number] = signals.signal(number, lambda _number, _frame: None)
        if self._before.get(signals.SIGHUP) == signals.SIG_IGN:  # nohup(1)
            signals.signal(signals.SIGHUP, signals.SIG_IGN)
        return self

    def __exit__(self, *_exc: object) -> None:
        signals.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signals.signal(number, handler)
        os.close(self._signalled)
        os.close(self._write)

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be shown that no more should be taken."""
        return any(len(sink.waiting) > _BEHIND for sink in self.sinks.values())

    def show(self, fd: int, content: bytes) -> None:
        sink = self.sinks[fd]
        sink.waiting += content
        sink.flush()

    def wait(self, wanted: dict[int, int], *, typing: bool) -> set[int]:
        """Waits for descriptors (with their poll(2) events) and the person; which are ready.

        Output is written and signals are dealt with here. ``typing`` says whether input is wanted:
        then :attr:`stdin` may be among the ready ones.
        """
        wanted = {fd: events for fd, events in wanted.items() if events}
        wanted[self._signalled] = select.POLLIN
        if typing and self.stdin >= 0:
            wanted[self.stdin] = select.POLLIN
        for sink in self.sinks.values():
            if sink.waiting:
                wanted[sink.fd] = select.POLLOUT
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        ready = {fd for fd, _ in poll.poll()}
        for sink in self.sinks.values():
            if sink.fd in ready:
                sink.flush()
        if self._signalled in ready:
            for number in os.read(self._signalled, 64):
                self._caught(number)
        return ready

    def _caught(self, number: int) -> None:
        send = self._streams.send_signal
        if number == signals.SIGWINCH and self._streams.tty:
            self._resize()
            return
        if send is None or send(number):
            return
        if number in _ENDING and any(sink.waiting for sink in self.sinks.values()):
            # It has ended, but what it wrote cannot be shown: the signal is for us after all.
            signals.signal(number, signals.SIG_DFL)
            os.kill(os.getpid(), number)

    def typed(self) -> bytes:
        """What was typed now; afterwards :attr:`stdin` is -1 if that was the end of it.

        What may be the beginning of the detach keys is held back. _Left if they were typed, with
        what came before them.
        """
        try:
            chunk = os.read(self.stdin, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError:  # EIO: the terminal is gone; EBADF: it was never open
            chunk = b""
        if not chunk:
            self.stdin = -1
            return self._held
        if not self._streams.tty:
            return chunk
        passed, self._held, left = detach.split(self._streams.keys, self._held, chunk)
        if left:
            raise _Left(passed)
        return passed

    def stop_typing(self) -> None:
        """Nobody reads the input any more; whoever writes it is told so as by any closed pipe."""
        if self.stdin >= 0 and not self._streams.tty:
            null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(null, self.stdin)
            os.close(null)
            self.stdin = -1

    def finish(self) -> None:
        """Shows what is left, however long that takes."""
        for sink in self.sinks.values():
            sink.finish()


def follow(session: Session, streams: Streams) -> int:
    """Relays until the container ends; returns its exit code, or DETACHED.

    With ``input_only``, 0 when the input has ended. ConnectionError if the monitor goes away
    without an exit code; BrokenPipeError and EngineError if output cannot be written.
    """
    connection = session.connection
    waiting = bytearray()  # while the monitor does not take it, nothing more is read

    def resize() -> None:
        if streams.tty and streams.size is not None and all(size := streams.size()):
            waiting.extend(wire.message(wire.RESIZE, list(size)))

    side = _Side(streams, resize)
    code = None
    with side:
        for kind, payload in session.early:
            code = _received(side, kind, payload) if code is None else code
        if streams.redraw and streams.tty and streams.size is not None and all(streams.size()):
            # A size that changes makes programs draw; one that is the same as before does not.
            columns, rows = streams.size()
            waiting += wire.message(wire.RESIZE, [columns + 1, rows + 1])
        resize()
        while code is None:
            _send(session, waiting)
            if streams.input_only and side.stdin < 0 and not waiting:
                return 0
            wanted = 0 if side.is_behind else select.POLLIN
            wanted |= select.POLLOUT if waiting else 0
            ready = side.wait({connection.fileno(): wanted}, typing=not waiting)
            if connection.fileno() in ready and not side.is_behind:
                code = _receive(side, session)
            if code is None and side.stdin in ready:
                try:
                    chunk = side.typed()
                except _Left as left:
                    _send(session, waiting + wire.frame(wire.STDIN, left.args[0]))
                    return DETACHED
                if chunk:
                    waiting += wire.frame(wire.STDIN, chunk)
                if side.stdin < 0:
                    waiting += wire.frame(wire.STDIN, b"")
    side.finish()
    if code == _GONE:
        raise ConnectionError("the monitor went away")
    return code


def _receive(side: _Side, session: Session) -> int | None:
    """Takes what the monitor says; the exit code if it says that, _GONE at its end."""
    try:
        chunk = session.connection.recv(_CHUNK, 0x40)  # MSG_DONTWAIT: it may be ready for writing
    except BlockingIOError:
        return None
    except ConnectionError:
        chunk = b""
    if not chunk:
        return _GONE
    for kind, payload in session.reader.feed(chunk):
        code = _received(side, kind, payload)
        if code is not None:
            return code
    return None


def _received(side: _Side, kind: int, payload: bytes) -> int | None:
    if kind == wire.STDOUT:
        side.show(1, payload)
    elif kind == wire.STDERR:
        side.show(2, payload)
    elif kind == wire.STDIN:
        side.stop_typing()
    elif kind == wire.EXIT:
        return int(wire.value(payload))
    return None


def _send(session: Session, waiting: bytearray) -> None:
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

    ``outputs`` maps what is read to where it is written, ``target`` takes standard input; both are
    non-blocking. Errors as :func:`follow`.
    """
    waiting = b""

    def resized() -> None:
        if resize and streams.size and all(size := streams.size()):
            resize(size)

    outputs = dict(outputs)
    side = _Side(streams, resized)
    with side:
        resized()
        ended = False
        while not ended:
            wanted = {} if side.is_behind else dict.fromkeys(outputs, select.POLLIN)
            wanted[pidfd] = select.POLLIN
            if waiting:
                wanted[target] = wanted.get(target, 0) | select.POLLOUT
            ready = side.wait(wanted, typing=not waiting)
            ended = pidfd in ready
            for fd in [fd for fd in outputs if fd in ready and not side.is_behind]:
                if _pass_out(side, fd, outputs[fd]) is None:
                    del outputs[fd]
            if not waiting and side.stdin in ready:
                try:
                    waiting = side.typed()
                except _Left as left:
                    _pass_in(side, target, left.args[0])
                    return False
            if waiting:
                waiting = _pass_in(side, target, waiting)
            if side.stdin < 0 and not waiting and target >= 0 and not streams.tty:
                os.close(target)
                target = -1
    for fd, shown in outputs.items():
        for _ in range(_LEFT_OVER):  # others may have it open and still write
            if not _pass_out(side, fd, shown):
                break
            side.finish()
    side.finish()
    return True


def _pass_out(side: _Side, fd: int, shown: int) -> int | None:
    """Shows one chunk of a program's output; its size, None at the end."""
    try:
        chunk = os.read(fd, _CHUNK)
    except BlockingIOError:
        return 0
    except OSError:  # EIO: the terminal was hung up
        return None
    side.show(shown, chunk)
    return len(chunk) or None


def _pass_in(side: _Side, target: int, waiting: bytes) -> bytes:
    """Writes input for a program; what it does not take now."""
    try:
        return waiting[os.write(target, waiting) :]
    except BlockingIOError:
        return waiting
    except OSError:  # the program does not read any more
        side.stop_typing()
        return b""


def write_all(fd: int, content: bytes) -> None:
    """Writes everything, however long that takes; BrokenPipeError if the reader has gone."""
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody made it non-blocking
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
