"""The monitor: one small process for each running container.

It outlives the command that started it and is the parent of the container's first process. It
keeps the log, serves whoever attaches, notes exit code, out-of-memory kills and times, removes the
control group, and with --rm the container. If it is killed, the kernel kills the container
(PR_SET_PDEATHSIG) and the next command mends the record.

Its streams and the attached clients are the business of :mod:`engine.hub`.
"""

from __future__ import annotations

import os
import time

from engine import containers, logs, wire
from engine.erase import erase_locked
from engine.errors import ContainerConflict
from engine.hub import Client, Hub
from kernel import process, signals, sockets, trace, tree
from kernel.errors import PyctrError
from kernel.paths import keep_only
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


def main(
    home: Home,
    container: Container,
    plan: Plan,
    client: socket,
    *,
    stdin: bool,
    output: tuple[str, ...],
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
        first = Client(client, home.folder(container.id), stdin=stdin, output=output)
        _Monitor(home, container, plan, first).run(steps)
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
    def __init__(self, home: Home, container: Container, plan: Plan, client: Client) -> None:
        self.home = home
        self.container = container
        self.plan = plan
        self.hub = Hub(client, self._freeze, once=container.settings.stdin_once)

    # -- the beginning ---------------------------------------------------------------------

    def run(self, steps: bool) -> None:
        first = self.hub.first
        try:
            started = self._launch(first, steps)
        except PyctrError as error:
            self._failed(first, error)
            return
        self._open()
        first.tell(wire.message(wire.STARTED, {"pid": started.pid}))
        self._end(self._serve(started))

    def _launch(self, first: Client, steps: bool) -> Started:
        """Starts the program while its volumes are held, and records it before they are not."""
        locks = self._hold_volumes()
        container = self.container
        tty = container.settings.tty
        os.makedirs(self.home.run_folder(container.id), mode=0o700, exist_ok=True)
        theirs: tuple[int, int, int] | None = None
        ours: list[int] = []
        if not tty:
            theirs, ours = self._pipes()
        try:

            def told(index: int, nanoseconds: int) -> None:
                first.tell(wire.message(wire.STEP, [index, nanoseconds]))
                first.flush()

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
        if tty:
            self.hub.connect({started.console: "stdout"}, started.console, tty=True)
        else:
            self.hub.connect({ours[1]: "stdout", ours[2]: "stderr"}, ours[0], tty=False)
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

    def _failed(self, first: Client, error: PyctrError) -> None:
        containers.update(self.home, self.container.id, error=str(error), exit_code=error.exit_code)
        said = {
            "what": error.what, "why": error.why, "hint": error.hint, "path": error.path,
            "errno": error.errno, "exit_code": error.exit_code,
        }  # fmt: skip
        tree.remove_tree(self.home.run_folder(self.container.id))
        first.tell(wire.message(wire.ERROR, said))
        self.hub.drain()

    def _open(self) -> None:
        """The socket for further clients, the log; everything else of the command is let go."""
        path = f"{self.home.run_folder(self.container.id)}/attach.sock"
        if os.path.lexists(path):
            os.unlink(path)
        self.hub.listener = sockets.listen(path)
        self.home.close()
        keep_only({self.hub.listener.fileno(), *self.hub.descriptors, *self.hub.clients})
        process.set_name(f"pyctr:{self.container.short_id}"[:15])
        self.hub.log = logs.Writer(f"{self.home.folder(self.container.id)}/log.json")

    # -- the middle ------------------------------------------------------------------------

    def _serve(self, started: Started) -> int:
        """Moves bytes until the first process has ended; returns its wait status."""
        pidfd = os.pidfd_open(started.pid)
        while pidfd not in self.hub.turn((pidfd,)):
            pass
        os.close(pidfd)
        return os.waitpid(started.pid, 0)[1]

    def _freeze(self, client: Client, frozen: bool) -> None:
        """Freezes the container for a client; it thaws at the latest when the client is gone."""
        if not frozen and self._is_paused():
            return
        cgroups.of(self.container.cgroup).freeze(frozen)

    def _is_paused(self) -> bool:
        """Whether somebody paused the container while a client had it frozen."""
        fresh = containers.get(self.home, self.container.id)
        self.home.close()
        return fresh is not None and fresh.status == "paused"

    # -- the end ---------------------------------------------------------------------------

    def _end(self, status: int) -> None:
        _ended()
        self.hub.finish_output()
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
        cgroup = cgroups.of(self.container.cgroup)
        oom_killed = cgroup.oom_kills() > 0
        cgroup.kill()
        cgroup.remove()
        containers.exited(self.home, self.container.id, code, oom_killed=oom_killed)
        _exit_recorded()
        if self.hub.listener is not None:
            self.hub.listener.close()
        tree.remove_tree(self.home.run_folder(self.container.id))
        if self.container.settings.auto_remove:
            try:
                erase_locked(self.home, self.container, volumes="free")
            except ContainerConflict:  # somebody started it again
                pass
        for client in self.hub.clients.values():
            client.tell(wire.message(wire.EXIT, code))
        self.hub.drain()
