"""Another process in a running container. The command itself is its parent; there is no monitor."""

from __future__ import annotations

import os
import select

from engine import attach, compose, containers, reconcile, stop
from engine.create import merged_env
from engine.errors import EngineError
from kernel import process, signals, terminals
from kernel.paths import keep_only
from kernel.record import Record
from runtime import explain, join
from runtime.steps import reset_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.attach import Streams
    from engine.home import Home
    from runtime.launch import Started
    from runtime.steps import Step


class ExecRequest(Record):
    """What a person asked for. ``columns`` and ``rows`` are those of the caller's terminal."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    interactive: bool = False
    detach: bool = False
    console: tuple[int, int] = (0, 0)


def execute(
    home: Home,
    text: str,
    request: ExecRequest,
    streams: Streams,
    on_line: Callable[[str], None] | None = None,
) -> int:
    """Runs a command in a container and returns its exit code (0 at once if detached).

    attach.DETACHED if the person left its terminal with the detach keys; then it goes on.
    ContainerConflict if the container does not run; exit codes 126 and 127 as for a start.
    """
    container = containers.require_unpaused(reconcile.find(home, text))
    spec = _process(container, request)
    on_plan = None
    if on_line is not None:
        say = on_line

        def on_plan(steps: tuple[Step, ...]) -> Callable[[int, int], None]:
            return lambda index, took: say(explain.line(index, len(steps), steps[index], took))

    ours, theirs = _pipes(request)
    try:
        started = join.join(
            container.pid,
            container.start_time,
            container.cgroup,
            spec,
            theirs,
            profile=compose.seccomp(container.settings),
            cache=home.filters,
            on_plan=on_plan,
        )
    finally:
        for fd in set(theirs or ()):
            os.close(fd)
    if request.detach:
        return 0
    return _serve(started, request, streams, ours)


def _process(container: containers.Container, request: ExecRequest) -> dict[str, Any]:
    """``process`` of the specification: the container's own with what was asked for."""
    made = compose.process(container, request.console)
    made |= {
        "args": list(request.args),
        "env": list(merged_env(tuple(made["env"]), request.env)),
        "terminal": request.tty and not request.detach,
        "user": {"username": request.user or container.settings.user},
    }
    if request.working_dir:
        if not request.working_dir.startswith("/"):
            raise EngineError(
                f"invalid working folder {request.working_dir!r}", "it is not an absolute path"
            )
        made["cwd"] = request.working_dir
    return made


def _pipes(request: ExecRequest) -> tuple[list[int], tuple[int, int, int] | None]:
    """(our ends of stdin, stdout, stderr; the program's), none with a terminal."""
    if request.tty and not request.detach:
        return [], None
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    if request.detach:
        return [], (null, null, null)
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    if not request.interactive:
        return [-1, out_read, err_read], (null, out_write, err_write)
    os.close(null)
    in_read, in_write = os.pipe()
    return [in_write, out_read, err_read], (in_read, out_write, err_write)


def _serve(started: Started, request: ExecRequest, streams: Streams, ours: list[int]) -> int:
    pidfd = process.pidfd_open(started.pid)

    def send(number: int) -> bool:
        stop.send(pidfd, number)
        return True

    # A stopped program could not be interrupted, and would have nobody to make it go on.
    job_control = (signals.SIGTSTP, signals.SIGCONT)
    streams.proxied = tuple(number for number in streams.proxied if number not in job_control)
    streams.send_signal = send
    resize = None
    console = started.console
    if console >= 0:
        terminals.open_peer(console)  # as for a container: it must not hang up for a while
        outputs, target = {console: 1}, console

        def resize(size: tuple[int, int]) -> None:
            try:
                terminals.set_size(console, *size)
            except OSError:  # EIO: the program has just ended
                return

    else:
        outputs, target = {ours[1]: 1, ours[2]: 2}, ours[0]
        streams.stdin = streams.stdin if target >= 0 else -1
    for fd in {target, *outputs} - {-1}:
        os.set_blocking(fd, False)
    if not attach.relay(outputs, target, streams, resize, pidfd):
        _leave(console, pidfd)
        return attach.DETACHED
    code = os.waitstatus_to_exitcode(os.waitpid(started.pid, 0)[1])
    return 128 - code if code < 0 else code


def _leave(console: int, pidfd: int) -> None:
    """A process that keeps a program's terminal open and takes its output until it ends.

    Without it the end of the command would hang up the terminal, and with it the program.
    """
    if os.fork():
        return
    try:
        os.setsid()
        os.chdir("/")
        reset_signals()
        keep_only({console, terminals.open_peer(console), pidfd})
        process.set_name("pyctr:exec")
        poll = select.poll()
        for fd in (console, pidfd):
            poll.register(fd, select.POLLIN)
        while not any(fd == pidfd for fd, _ in poll.poll()):
            try:
                os.read(console, 1 << 16)
            except BlockingIOError:
                continue
    finally:
        os._exit(0)
