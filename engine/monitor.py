"""The monitor: one small process for each running container.

It outlives the command that started it and is the parent of the container's first process. It
keeps the log, serves whoever attaches, notes exit code, out-of-memory kills and times, removes the
control group, and with --rm the container. If it is killed, the kernel kills the container
(PR_SET_PDEATHSIG) and the next command mends the record.

One loop over poll(2): the container's streams, the sockets of attached clients, and a pidfd of the
first process. Whoever reads slowly slows the container down; nothing is dropped and nothing
grows without bound.
"""

from __future__ import annotations

import os
import select
import time

from engine import containers, logs, wire
from engine.erase import erase_locked
from engine.errors import ContainerConflict
from kernel import process, signals, sockets, trace, tree
from kernel.errors import PyctrError
from kernel.paths import close_range
from runtime import cgroups
from runtime.launch import Started, launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from engine.containers import Container
    from engine.home import Home
    from kernel.locks import Lock
    from runtime.plan import Plan

_launched = trace.point("engine.monitor.launched")
_recorded = trace.point("engine.monitor.recorded")
_ended = trace.point("engine.monitor.ended")
_exit_recorded = trace.point("engine.monitor.exit_recorded")

_CHUNK = 1 << 16
_BACKLOG = 1 << 20  # bytes that may wait for one client before the container has to wait
_PATIENCE = 10.0  # seconds for clients to read what is left after the end

_READ = select.POLLIN | select.POLLHUP | select.POLLERR


class _Client:
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


def main(
    home: Home,
    container: Container,
    plan: Plan,
    client: socket,
    *,
    stdin: bool,
    output: bool,
    steps: bool,
) -> None:
    """The forked monitor's whole life. Never returns.

    ``client`` is the connection of the command that starts the container; ``stdin`` and
    ``output`` say which streams it wants, ``steps`` whether it wants to be told of each step.
    """
    code = 1
    try:
        os.setsid()
        os.chdir("/")  # the folder of the command must not stay busy
        for number in (
            signals.SIGHUP,
            signals.SIGINT,
            signals.SIGQUIT,
            signals.SIGTERM,
            signals.SIGUSR1,
            signals.SIGUSR2,
            signals.SIGTSTP,
            signals.SIGWINCH,
        ):
            signals.signal(number, signals.SIG_IGN)
        signals.set_wakeup_fd(-1)
        _Monitor(home, container, plan, _Client(client, stdin=stdin, output=output)).run(steps)
        code = 0
    except BaseException:
        _leave_note(home, container)
    finally:
        os._exit(code)


def _leave_note(home: Home, container: Container) -> None:
    """An unexpected end leaves its traceback beside the log."""
    import traceback

    try:
        with open(f"{home.folder(container.id)}/monitor-error", "w") as file:
            traceback.print_exc(file=file)
    except OSError:
        return


class _Monitor:
    def __init__(self, home: Home, container: Container, plan: Plan, client: _Client) -> None:
        self.home = home
        self.container = container
        self.plan = plan
        self.clients = {client.fd: client}
        self.first = client
        self.streams: dict[int, str] = {}  # descriptor of the container's output to its name
        self.input = -1  # where the container's standard input is written
        self.to_input = bytearray()
        self.input_ends = False
        self.log: logs.Writer | None = None

    # -- the beginning ---------------------------------------------------------------------

    def run(self, steps: bool) -> None:
        first = next(iter(self.clients.values()))
        try:
            started = self._launch(first, steps)
        except PyctrError as error:
            self._failed(first, error)
            return
        listener = self._open(started)
        self._tell(first, wire.message(wire.STARTED, {"pid": started.pid}))
        status = self._serve(listener, os.pidfd_open(started.pid), started)
        self._end(listener, status)

    def _launch(self, first: _Client, steps: bool) -> Started:
        """Starts the program while its volumes are held, and records it before they are not."""
        locks = self._hold_volumes()
        container = self.container
        os.makedirs(self.home.run_folder(container.id), mode=0o700, exist_ok=True)
        theirs: tuple[int, int, int] | None = None
        ours: list[int] = []
        if not container.settings.tty:
            theirs, ours = self._pipes()
        try:

            def told(index: int, nanoseconds: int) -> None:
                self._tell(first, wire.message(wire.STEP, [index, nanoseconds]))
                self._flush(first)

            root = f"{self.home.folder(container.id)}/rootfs"
            started = launch(self.plan, root, theirs, told if steps else None)
        except BaseException:
            for fd in ours:
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in theirs or ():
                os.close(fd)
        _launched()
        if started.console >= 0:
            self.streams[started.console] = "stdout"
            self.input = started.console
        else:
            self.streams = {ours[1]: "stdout", ours[2]: "stderr"}
            self.input = ours[0]
        own = os.getpid()
        containers.update(
            self.home, container.id, status="running", pid=started.pid,
            start_time=started.start_time, monitor_pid=own, exit_code=0, oom_killed=0,
            monitor_start=process.start_time(own), error="", started=time.time(), finished=0.0,
        )  # fmt: skip
        _recorded()
        for lock in locks:
            lock.__exit__()
        return started

    def _hold_volumes(self) -> list[Lock]:
        """Shared locks: no population may replace a volume's folder while it is being mounted."""
        locks: list[Lock] = []
        for mount in self.home.volumes.mounts(self.container.id):
            if mount.kind == "volume":
                self.home.volumes.ensure(mount.source)
                locks.append(self.home.volumes.lock(mount.source).__enter__())
        return locks

    def _pipes(self) -> tuple[tuple[int, int, int], list[int]]:
        """((stdin, stdout, stderr) of the program, our ends of the same)."""
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        if self.container.settings.stdin_open:
            in_read, in_write = os.pipe()
        else:
            in_read, in_write = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), -1
        return (in_read, out_write, err_write), [in_write, out_read, err_read]

    def _failed(self, first: _Client, error: PyctrError) -> None:
        containers.update(self.home, self.container.id, error=str(error), exit_code=error.exit_code)
        said = {
            "what": error.what, "why": error.why, "hint": error.hint, "path": error.path,
            "errno": error.errno, "exit_code": error.exit_code,
        }  # fmt: skip
        tree.remove_tree(self.home.run_folder(self.container.id))
        self._tell(first, wire.message(wire.ERROR, said))
        self._drain_clients()

    def _open(self, started: Started) -> socket:
        """The socket for further clients, the log; everything else of the command is let go."""
        path = f"{self.home.run_folder(self.container.id)}/attach.sock"
        if os.path.lexists(path):
            os.unlink(path)
        listener = sockets.listen(path)
        self._let_go({listener.fileno(), *self.streams, self.input, *self.clients})
        process.set_name(f"pyctr:{self.container.short_id}"[:15])
        self.log = logs.Writer(f"{self.home.folder(self.container.id)}/log.json")
        for fd in (*self.streams, self.input):
            if fd >= 0:
                os.set_blocking(fd, False)
        return listener

    def _let_go(self, kept: set[int]) -> None:
        """Closes every descriptor that came from the command, and points stdio nowhere."""
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            if fd not in kept:
                os.dup2(null, fd)
        self.home.close()
        below = 3
        for fd in sorted(fd for fd in kept if fd > 2):
            if fd > below:
                close_range(below, fd - 1)
            below = fd + 1
        close_range(below)

    # -- the loop --------------------------------------------------------------------------

    def _serve(self, listener: socket, pidfd: int, started: Started) -> int:
        """Moves bytes until the first process has ended; returns its wait status."""
        while True:
            ready = self._wait((listener.fileno(), pidfd))
            for fd in ready:
                if fd in self.streams:
                    self._from_container(fd)
                elif fd == self.input and self.input not in self.streams:
                    self._to_container()
                elif fd in self.clients:
                    self._with_client(self.clients[fd], ready[fd])
            if self.to_input or self.input_ends:
                self._to_container()
            if listener.fileno() in ready:
                self._accept(listener)
            if pidfd in ready:
                _, status = os.waitpid(started.pid, 0)
                return status

    def _wait(self, always: tuple[int, ...]) -> dict[int, int]:
        """Descriptors that are ready, with their poll(2) events."""
        wanted = dict.fromkeys(always, select.POLLIN)
        if not any(len(client.waiting) > _BACKLOG for client in self.clients.values()):
            wanted |= dict.fromkeys(self.streams, select.POLLIN)
        if self.to_input and self.input >= 0:
            wanted[self.input] = wanted.get(self.input, 0) | select.POLLOUT
        for client in self.clients.values():
            events = select.POLLIN if len(self.to_input) < _BACKLOG else 0
            wanted[client.fd] = events | (select.POLLOUT if client.waiting else 0)
        poll = select.poll()
        for fd, events in wanted.items():
            poll.register(fd, events)
        return dict(poll.poll())

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
        name = self.streams[fd]
        assert self.log is not None
        self.log.write(name, chunk)
        sent = wire.frame(wire.STDOUT if name == "stdout" else wire.STDERR, chunk)
        for client in list(self.clients.values()):
            if client.output:
                self._tell(client, sent)
                self._flush(client)
        return True

    def _close_stream(self, fd: int) -> None:
        del self.streams[fd]
        if fd == self.input:
            self.input = -1
        os.close(fd)

    def _to_container(self) -> None:
        """Writes what clients sent; closes the program's standard input after its end."""
        try:
            while self.to_input and self.input >= 0:
                del self.to_input[: os.write(self.input, self.to_input[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            self.to_input.clear()
            self.input_ends = True
        if self.input < 0:
            self.to_input.clear()
        elif self.input_ends and self.input not in self.streams:
            os.close(self.input)
            self.input = -1

    # -- clients ---------------------------------------------------------------------------

    def _accept(self, listener: socket) -> None:
        connection = sockets.accept(listener)
        if sockets.peer_uid(connection) not in (0, os.geteuid()):
            connection.close()
            return
        client = _Client(connection)
        self.clients[client.fd] = client

    def _with_client(self, client: _Client, events: int) -> None:
        if events & select.POLLOUT:
            self._flush(client)
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

    def _said(self, client: _Client, kind: int, payload: bytes) -> None:
        if kind == wire.STDIN and client.stdin:
            if payload:
                self.to_input += payload
            elif not self.container.settings.tty:
                self.input_ends = True
        elif kind == wire.RESIZE and self.container.settings.tty and self.input >= 0:
            _resize(self.input, wire.value(payload))
        elif kind == wire.FREEZE:
            self._freeze(client, wire.value(payload) is True)
        elif kind == wire.ATTACH:
            wanted = wire.value(payload)
            if not isinstance(wanted, dict):
                raise wire.ProtocolError("attach wants an object")
            client.stdin = bool(wanted.get("stdin"))
            client.output = bool(wanted.get("output"))

    def _freeze(self, client: _Client, frozen: bool) -> None:
        """Freezes the container for a client; it thaws at the latest when the client is gone."""
        cgroups.of(self.container.cgroup).freeze(frozen)
        client.froze = frozen
        self._tell(client, wire.message(wire.FREEZE, frozen))
        self._flush(client)

    def _tell(self, client: _Client, content: bytes) -> None:
        client.waiting += content

    def _flush(self, client: _Client) -> None:
        try:
            while client.waiting:
                del client.waiting[: client.connection.send(client.waiting[: 4 * _CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if self.clients.pop(client.fd, None) is None:
            return
        client.connection.close()
        if client.froze and not self._is_paused():
            cgroups.of(self.container.cgroup).freeze(False)
        if client is self.first and client.stdin:  # as `docker run -i`: its end is the input's end
            self.input_ends = True

    def _is_paused(self) -> bool:
        """Whether somebody paused the container while a client had it frozen."""
        fresh = containers.get(self.home, self.container.id)
        self.home.close()
        return fresh is not None and fresh.status == "paused"

    def _drain_clients(self) -> None:
        """Sends what is left, for a bounded time."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            poll = select.poll()
            for client in list(self.clients.values()):
                self._flush(client)
                if client.waiting and client.fd in self.clients:
                    poll.register(client.fd, select.POLLOUT)
            if not any(client.waiting for client in self.clients.values()):
                return
            poll.poll(100)

    # -- the end ---------------------------------------------------------------------------

    def _end(self, listener: socket, status: int) -> None:
        _ended()
        for fd in list(self.streams):
            while fd in self.streams and self._from_container(fd):
                self._relieve()
        assert self.log is not None
        self.log.flush()
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        cgroup = cgroups.of(self.container.cgroup)
        oom_killed = cgroup.oom_kills() > 0
        cgroup.kill()
        cgroup.remove()
        containers.exited(self.home, self.container.id, code, oom_killed=oom_killed)
        _exit_recorded()
        listener.close()
        tree.remove_tree(self.home.run_folder(self.container.id))
        if self.container.settings.auto_remove:
            try:
                erase_locked(self.home, self.container, volumes="free")
            except ContainerConflict:  # somebody started it again
                pass
        for client in self.clients.values():
            self._tell(client, wire.message(wire.EXIT, code))
        self._drain_clients()

    def _relieve(self) -> None:
        """Waits for a client that has too much to read, but not for ever."""
        if any(len(client.waiting) > _BACKLOG for client in self.clients.values()):
            self._drain_clients()


def _resize(terminal: int, size: object) -> None:
    import fcntl
    import struct

    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size)):
        raise wire.ProtocolError("resize wants two numbers")
    columns, rows = (max(0, min(n, 65535)) for n in size)
    fcntl.ioctl(terminal, 0x5414, struct.pack("HHHH", rows, columns, 0, 0))  # TIOCSWINSZ
