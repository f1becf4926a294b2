"""A monitor at rest: the same process with little memory.

What starts a container leaves megabytes in its monitor: the command line, the plan, the images, the
database. When nobody has been attached for a second, the monitor executes the interpreter anew with
what it needs beside a running program (:mod:`engine.attendant`) and nothing else. It is the same
process, so it stays the parent of the container's first one, whose PR_SET_PDEATHSIG asks for the
death of its parent and not for execve(2); its descriptors stay open, and what it knows waits in a
memfd. It wakes when something else is to be done, at the latest at the program's end: then it
imports the rest and is a monitor as before, which may rest again.

Containers with health checks, which work all the time, and logs that cannot be handed on (journald)
keep their monitor awake.

Source: execve(2), PR_SET_PDEATHSIG(2const), memfd_create(2), pthread_sigmask(3).
"""

from __future__ import annotations

import os
import sys

from engine.attendant import Attendant, run
from engine.hub import Client, Hub
from kernel import quickjson, signals, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, NoReturn

    from engine.monitor import Monitor

_PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROGRAM = "import sys; sys.path.insert(0, {!r}); from engine import resting; resting.main({})"

_resting = trace.point("engine.resting.executing")
_rested = trace.point("engine.resting.executed")


def rest(knows: dict[str, Any], name: str, hub: Hub, held: Collection[int]) -> None:
    """Executes the interpreter anew; returns only where that is not possible now.

    ``knows`` is what :meth:`engine.monitor.Monitor.wake` will be given, among it the program's
    "pid"; ``name`` is that of the process, ``held`` are descriptors that stay open beside those of
    the hub.
    """
    log = hub.log.save() if hub.log is not None else None
    if hub.listener is None or (hub.log is not None and log is None):
        return
    file = os.memfd_create("pyctr-monitor")
    descriptors = [file, hub.listener.fileno(), *hub.descriptors, *held]
    state = {
        "path": sys.path,
        "name": name,
        "descriptors": descriptors,
        "knows": knows,
        "hub": hub.save(),
        "log": log,
    }
    before = signals.pthread_sigmask(signals.SIG_BLOCK, {signals.SIGTERM})
    try:
        with open(os.dup(file), "w") as out:
            out.write(quickjson.dumps(state))
        for fd in descriptors:
            os.set_inheritable(fd, True)
        _resting()
        program = _PROGRAM.format(_PROJECT, file)
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", program])
    except OSError:  # there is no memory, or no interpreter any more
        for fd in descriptors:
            os.set_inheritable(fd, False)
        signals.pthread_sigmask(signals.SIG_SETMASK, before)
        os.close(file)


def main(file: int) -> NoReturn:
    """The interpreter that was executed: attends the program and wakes when it is needed."""
    state = _read(file)
    run(lambda: _Rest(file, state).attend(), state["hub"]["folder"])


def _read(file: int) -> Any:
    return quickjson.loads(os.pread(file, os.fstat(file).st_size, 0))


class _Rest:
    """``file`` has what the monitor knew; it is read again when the monitor wakes."""

    def __init__(self, file: int, state: dict[str, Any]) -> None:
        self._file = file
        sys.path[:] = state["path"]
        self._pid: int = state["knows"]["pid"]
        self._monitor: Monitor | None = None
        self.hub = hub = Hub.restore(state["hub"], self._freeze)
        hub.on_resize = self._resized
        for fd in state["descriptors"]:
            os.set_inheritable(fd, False)
        if state["log"] is not None:
            from engine import logs

            hub.log = logs.Writer.restore(state["log"])
        with open("/proc/self/comm", "w") as comm:
            comm.write(state["name"])
        self.attendant = Attendant(hub, lambda: self._wake().host_ends())

    def attend(self) -> None:
        """Serves the program to its end, and is a monitor from then on."""
        self.attendant.heed_sigterm()
        signals.pthread_sigmask(signals.SIG_UNBLOCK, {signals.SIGTERM})
        _rested()
        status = self.attendant.serve(self._pid, None, self._rest_again)
        self._wake().carry_on(status)

    def _wake(self) -> Monitor:
        """The monitor that this was."""
        if self._monitor is None:
            from engine.monitor import Monitor

            self._monitor = Monitor.wake(_read(self._file)["knows"], self.attendant)
        return self._monitor

    def _rest_again(self) -> None:
        if self._monitor is not None:
            self._monitor.rest()

    def _freeze(self, client: Client, frozen: bool) -> None:
        self._wake().freeze(client, frozen)

    def _resized(self, columns: int, rows: int) -> None:
        self._wake().resized(columns, rows)
