"""The monitor: one small process for each running container.

It outlives the command that started it and is the parent of the container's first process. It
keeps the log, serves whoever attaches, notes exit code, out-of-memory kills and times, removes the
control group, and with --rm the container. Where the restart policy says so, it starts the
container again, as often as needed: each time with a new plan, made from the row as it is then.
If it is killed, the kernel kills the container (PR_SET_PDEATHSIG) and the next command mends the
record. While the database is locked, or the disk is full, an end waits to be recorded.

While it waits to start the container again, whoever wants it to give up writes so into the row
(``stopped``) and connects to its socket; that wakes it, and it looks at the row again.

SIGTERM, which systemd sends to whatever is left when the host shuts down, means to it what `system
stop-all` means: the container is asked to end, and comes back with the host.

Its streams and the attached clients are the business of :mod:`engine.hub`. It sleeps until
something happens or is due, and the database is open only while it is used.
"""

from __future__ import annotations

import os
import time

from engine import containers, events, health, locks, logs, network, restart, resting, wire
from engine.attendant import Attendant, run
from engine.erase import erase
from engine.errors import ContainerNotFound, EngineError
from engine.home import passes
from engine.hub import Client, Hub
from kernel import process, signals, sockets, trace, tree
from kernel.errors import PyctrError
from kernel.paths import keep_only
from runtime import cgroups
from runtime.launch import Started, launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from engine.locks import Alone
    from engine.probe import Watch
    from kernel.locks import Lock
    from runtime.plan import Plan

_CGROUP = "/pyctr/monitors"
_A_MOMENT = 0.1  # seconds in which many programs end: the database stays open for that
_PAUSE = 1.0  # seconds between two attempts to write down an end

_launched = trace.point("engine.monitor.launched")
_recorded = trace.point("engine.monitor.recorded")
_ended = trace.point("engine.monitor.ended")
_exit_recorded = trace.point("engine.monitor.exit_recorded")
_waited = trace.point("engine.monitor.waited")
_held = trace.point("engine.monitor.volumes_held")
_reachable = trace.point("engine.monitor.reachable")
_cgroup_removed = trace.point("engine.monitor.cgroup_removed")
_unreachable = trace.point("engine.monitor.unreachable")


def main(
    home: Home,
    lock: Alone,
    volumes: list[Lock],
    plan: Plan,
    client: socket,
    joining: network.Joining | None,
    *,
    stdin: bool,
    output: tuple[str, ...],
    steps: bool,
) -> None:
    """The forked monitor's whole life. Never returns.

    ``lock`` is the container's, which the monitor keeps until others can reach it, ``volumes`` are
    those of its volumes, until they are mounted. ``client`` is the connection of the command that
    starts the container; ``stdin`` and ``output`` say which streams it wants, ``steps`` whether it
    wants to be told of each step. ``joining`` is the network that was made for this start, if it
    has one of its own.
    """
    container = lock.container
    folder = home.folder(container.id)

    def life() -> None:
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
        locked = (one.fileno() for one in (lock, *volumes))
        network_fds = joining.descriptors if joining is not None else ()
        keep_only({client.fileno(), *locked, *network_fds})  # and nothing else of the command
        first = Client(client, folder, stdin=stdin, output=output)
        Monitor(home, container, joining).run(plan, first, lock, volumes, steps=steps)

    run(life, folder)


def hold_volumes(home: Home, container: Container) -> list[Lock]:
    """Shared locks: no population may replace a volume's folder while it is being mounted."""
    held: list[Lock] = []
    for mount in home.volumes.mounts(container.id):
        if mount.kind == "volume":
            _, lock, _ = home.volumes.claim(mount.source)
            held.append(lock)
    _held()
    return held


class Monitor:
    """``joining`` is the network that was made for the first start."""

    def __init__(
        self, home: Home, container: Container, joining: network.Joining | None = None
    ) -> None:
        self.home = home
        self.container = container
        self.joining = joining  # while it is being started
        self.held = joining.held if joining is not None else None  # ports of the host
        once = container.settings.stdin_once
        self.hub = Hub(home.folder(container.id), self.freeze, once=once)
        self.hub.on_resize = self.resized
        self.attendant = Attendant(self.hub, self.host_ends)
        self.code = 0  # of the last end
        self.oom_killed = False  # whether the kernel ended it for want of memory
        self.pause = 0.0  # before the last start by the policy
        self.began = 0.0  # of the last start (time.monotonic)
        self.pid = 0  # of the program
        self.watch: Watch | None = None

    @property
    def _name(self) -> str:
        return f"pyctr:{self.container.short_id}"[:15]

    # -- the beginning ---------------------------------------------------------------------

    def run(
        self, plan: Plan, first: Client, lock: Alone, volumes: list[Lock], *, steps: bool
    ) -> None:
        """From the start of the container that ``first`` has asked for to its end."""
        self.hub.admit(first)

        def told(index: int, nanoseconds: int) -> None:
            first.tell(wire.message(wire.STEP, [index, nanoseconds]))
            first.flush()

        try:
            begun = self._launch(plan, volumes, told if steps else None, restarts=0, stopped=0)
        except PyctrError as error:
            self._failed(first, error)
            return
        except OSError as error:
            self._failed(first, _refused(self.container, error))
            return
        try:
            self._open()
        except OSError:  # too many open files: the database's, which can be opened again, are some
            self.home.close()
            self._open()
        lock.release()
        first.tell(wire.message(wire.STARTED, {"pid": begun.pid}))
        first.flush()
        cgroups.leave_unit(_CGROUP)
        self.carry_on(self._serve(begun))

    def carry_on(self, status: int) -> None:
        """From an end of the program, with a wait status, to the last one."""
        while self._end(status) and (started := self._start_again()) is not None:
            status = self._serve(started)
        self._leave()

    def _launch(
        self,
        plan: Plan,
        volumes: list[Lock],
        on_step: Callable[[int, int], None] | None,
        **columns: int,
    ) -> Started:
        """Starts the program while its ``volumes`` are held, and records it before they are not.

        ``columns`` are further ones to record.
        """
        container = self.container
        tty = container.settings.tty
        os.makedirs(self.home.run_folder(container.id), mode=0o700, exist_ok=True)
        theirs: tuple[int, int, int] | None = None
        ours: list[int] = []
        if not tty:
            theirs, ours = self._pipes()
        try:
            root = f"{self.home.folder(container.id)}/rootfs"
            started = launch(plan, root, theirs, on_step, meanwhile=lambda: self.home.db)
        except BaseException:
            for fd in ours:
                if fd >= 0:
                    os.close(fd)
            raise
        finally:
            for fd in theirs or ():
                os.close(fd)
            if self.joining is not None:
                self.joining.close()
            self.joining = None
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
            health=health.at_start(container), **columns,
        )  # fmt: skip
        self.began = time.monotonic()
        _recorded()
        network.tell_events(self.home, container, "connect")
        events.of_container(self.home, container, "start")
        events.of_volumes(self.home, container, "mount")
        for lock in volumes:
            lock.release()
        return started

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
        network.release(self.home, self.container)
        self._let_go()
        said = {
            "what": error.what, "why": error.why, "hint": error.hint, "path": error.path,
            "errno": error.errno, "exit_code": error.exit_code,
        }  # fmt: skip
        tree.remove_tree(self.home.run_folder(self.container.id))
        first.tell(wire.message(wire.ERROR, said))
        self.hub.drain()

    def _open(self) -> None:
        """The socket for further clients, and the log."""
        path = f"{self.home.run_folder(self.container.id)}/attach.sock"
        if os.path.lexists(path):
            os.unlink(path)
        self.hub.listener = sockets.listen(path)
        _reachable()
        self.attendant.heed_sigterm()
        process.set_name(self._name)
        self.hub.log = logs.of(self.home, self.container)

    # -- the middle ------------------------------------------------------------------------

    def _serve(self, started: Started) -> int:
        """Moves bytes until the first process has ended; returns its wait status."""
        self.pid = started.pid
        self.watch = self._watch(started)
        if self.watch is not None or not self.attendant.ends_within(_A_MOMENT, started.pid):
            self.home.close()
        return self.attendant.serve(started.pid, self.watch, self.rest)

    def rest(self) -> None:
        """Goes on with little memory, if that can be (see :mod:`engine.resting`)."""
        knows = {
            "home": [self.home.root, self.home.run, self.home.trash_age],
            "container": containers.row(self.container),
            "held": self.held.save() if self.held is not None else None,
            "pid": self.pid, "pause": self.pause, "began": self.began,
        }  # fmt: skip
        held = self.held.descriptors if self.held is not None else ()
        resting.rest(knows, self._name, self.hub, held)

    @staticmethod
    def wake(knows: dict[str, Any], attendant: Attendant) -> Monitor:
        """The monitor that rested, with all that it has to do besides."""
        from engine.home import Home

        made = Monitor(Home(*knows["home"]), containers.of_row(knows["container"]))
        made.attendant, made.hub = attendant, attendant.hub
        made.pid, made.pause, made.began = knows["pid"], knows["pause"], knows["began"]
        if knows["held"] is not None:
            from network.holding import Held

            made.held = Held.restore(knows["held"])
        return made

    def host_ends(self) -> None:
        """Ends the container as `stop` does, but not for good. A process of its own has the time
        to be patient, and is nobody's child to wait for.
        """
        containers.mark_stopped(self.home, self.container.id, containers.BY_SYSTEM)
        self.home.close()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        try:
            if os.fork() == 0:
                keep_only(set())
                signals.signal(signals.SIGTERM, signals.SIG_IGN)
                from engine import stop

                stop.stop(self.home, self.container.id, by=containers.BY_SYSTEM)
        finally:
            os._exit(0)

    def _watch(self, started: Started) -> Watch | None:
        """The health checks of this run; what they need is loaded where there are any."""
        if not health.command(self.container.settings):
            return None
        from engine.probe import Watch

        return Watch(self.home, self.container, started)

    def freeze(self, client: Client, frozen: bool) -> None:
        """Freezes the container for a client; it thaws at the latest when the client is gone."""
        try:
            with locks.alone(self.home, self.container) as held:
                if frozen or held.container.status != "paused":  # by a person, meanwhile
                    cgroups.of(self.container.cgroup).freeze(frozen)
        except ContainerNotFound:  # the database was lost
            cgroups.of(self.container.cgroup).freeze(frozen)
        finally:
            self.home.close()

    def resized(self, columns: int, rows: int) -> None:
        row = containers.get(self.home, self.container.id) or self.container
        events.of_container(self.home, row, "resize", height=str(rows), width=str(columns))
        self.home.close()

    # -- the end ---------------------------------------------------------------------------

    def _end(self, status: int) -> bool:
        """Records that the program has ended; whether it is to be started again."""
        _ended()
        # In a shared pid namespace others may have outlived the first process, and still write.
        cgroup = cgroups.of(self.container.cgroup)
        cgroup.kill()
        self.oom_killed = cgroup.oom_kills() > 0
        if self.watch is not None:
            self.watch.close()
        self.hub.finish_output()
        code = os.waitstatus_to_exitcode(status)
        self.code = 128 - code if code < 0 else code
        while True:
            try:
                return self._record()
            except Exception as error:
                if not passes(error):
                    raise
            self.home.close()
            time.sleep(_PAUSE)

    def _record(self) -> bool:
        """Writes the end down; whether the program is to be started again."""
        try:
            with locks.alone(self.home, self.container) as held:  # nobody pauses or starts it now
                again = restart.is_due(held.container, self.code)
                self._record_end(held.container, again)
                if not again and self.container.settings.auto_remove:
                    erase(self.home, held.container, volumes="free")
        except ContainerNotFound:  # the database was lost, but not what it knew of
            again = False
            self._record_end(self.container, again)
        return again

    def _record_end(self, container: Container, again: bool) -> None:
        cgroup = cgroups.of(container.cgroup)
        cgroup.kill()
        cgroup.remove()
        _cgroup_removed()
        columns = {
            "exit_code": self.code, "oom_killed": int(self.oom_killed), "error": "",
            "finished": time.time(), "health": health.at_end(container),
        }  # fmt: skip
        if again:
            containers.update(
                self.home, container.id, status="restarting", pid=0, start_time=0,
                restarts=container.restarts + 1, **columns,
            )  # fmt: skip
        else:
            containers.exited(self.home, container.id, os.getpid(), **columns)
            network.release(self.home, container)
        _exit_recorded()
        events.of_volumes(self.home, container, "unmount")
        network.tell_events(self.home, container, "disconnect")
        if self.oom_killed:
            events.of_container(self.home, container, "oom")
        events.of_container(self.home, container, "die", exitCode=str(self.code))
        if not again:
            self._close_door()

    def _close_door(self) -> None:
        """Nobody can reach this monitor any more. Under the lock: the next one has our place."""
        self._let_go()
        tree.remove_tree(self.home.run_folder(self.container.id))
        _unreachable()
        self.hub.close_door()

    def _let_go(self) -> None:
        """Whoever starts the container next is to have its ports."""
        if self.held is not None:
            self.held.close()

    def _start_again(self) -> Started | None:
        """Starts the program anew when it is time; None if it must not be, or cannot."""
        self.hub.disconnect(wire.message(wire.EXIT, self.code))
        self.pause = restart.pause(self.pause, time.monotonic() - self.began)
        self._wait(self.pause)
        _waited()
        try:
            with locks.alone(self.home, self.container) as held:
                if not self._is_waiting(held.container):
                    return None  # it is another monitor's by now
                columns: dict[str, object] = {}
                if not held.container.stopped:
                    try:
                        return self._launch_again(held.container)
                    except PyctrError as error:
                        self.code = error.exit_code
                        columns = {"exit_code": self.code, "error": str(error)}
                containers.exited(self.home, self.container.id, os.getpid(), **columns)
                network.release(self.home, self.container)
                self._close_door()
        except ContainerNotFound:  # the database was lost
            self._close_door()
        return None

    def _wait(self, seconds: float) -> None:
        """Serves clients until it is time to start again, or that is not wanted any more."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            row = containers.get(self.home, self.container.id)
            self.home.close()
            if row is None or row.stopped or not self._is_waiting(row):
                return
            self.attendant.turn(timeout=left)

    def _is_waiting(self, row: Container) -> bool:
        """Whether a row says that this monitor is to start the container again."""
        return row.status == "restarting" and row.monitor_pid == os.getpid()

    def _launch_again(self, row: Container) -> Started:
        """Starts the program by a plan made now. The caller holds the container's lock."""
        from engine import compose, files

        self.container = row
        self.joining = joining = network.join(self.home, row, self.held)
        if joining is not None:
            self.held = joining.held
        try:
            path = joining.path if joining is not None else ""
            plan = compose.make_plan(self.home, row, network=path)
            files.write(self.home, row)
            if joining is not None:
                joining.complete()
        except BaseException:
            if joining is not None:
                joining.abandon()
            raise
        return self._launch(plan, hold_volumes(self.home, row), None)

    def _leave(self) -> None:
        """Who waits for the end is told of it."""
        if self.hub.log is not None:
            self.hub.log.close()
        for client in self.hub.clients.values():
            client.tell(wire.message(wire.EXIT, self.code))
        self.hub.drain()
        self.home.fold_log()
        if self.container.settings.is_on_networks:
            from engine import network_mending

            try:
                network_mending.tidy(self.home)
            except (PyctrError, OSError):  # the next command will
                return


def _refused(container: Container, error: OSError) -> EngineError:
    """What the kernel refused before there was a plan to perform: descriptors, memory, room."""
    from kernel import hints

    why = (error.strerror or str(error)).lower()
    path = error.filename if isinstance(error.filename, str) else ""
    number = error.errno or 0
    what = f"cannot start container {container.name}"
    return EngineError(what, why, hints.of(number), path, number)
