"""Another process in a running container. The command itself is its parent; there is no monitor."""

from __future__ import annotations

import os
import select

from engine import (
    attach,
    containers,
    environment,
    events,
    program,
    reconcile,
    rights,
    stop,
    views,
)
from engine.errors import ContainerConflict, EngineError
from kernel import process, signals, terminals, trace
from kernel.errors import PyctrError
from kernel.paths import keep_only
from kernel.record import Record
from runtime import join
from runtime.steps import reset_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.attach import Streams
    from engine.home import Home
    from runtime.launch import Started
    from runtime.steps import Step


_found = trace.point("engine.execute.found")
_started = trace.point("engine.execute.started")

_DYING = 0.5  # seconds that an end may take between the first and the last process


class ExecRequest(Record):
    """What a person asked for; ``console`` is (columns, rows) of the caller's terminal.

    ``privileged`` gives the program all capabilities that pyctr can give.
    """

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    tty: bool = False
    interactive: bool = False
    detach: bool = False
    console: tuple[int, int] = (0, 0)
    privileged: bool = False


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
    _found()
    spec = _process(container, request)
    on_plan = None
    if on_line is not None:
        from runtime import explain

        say = on_line

        def on_plan(steps: tuple[Step, ...]) -> Callable[[int, int], None]:
            return lambda index, took: say(explain.line(index, len(steps), steps[index], took))

    identity, command = os.urandom(32).hex(), " ".join(request.args)
    events.of_container(home, container, f"exec_create: {command}", execID=identity)
    ours, theirs = _pipes(request)
    try:
        started = join.join(
            container.pid,
            container.start_time,
            container.cgroup,
            spec,
            theirs,
            kinds=views.kinds(container.settings),
            profile=rights.seccomp(container.settings, spec["capabilities"]["bounding"]),
            cache=home.filters,
            on_plan=on_plan,
        )
    except (PyctrError, OSError):
        if _has_ended(container):  # whatever the kernel refused then, that is the reason
            raise ContainerConflict(
                f"container {container.name} is not running", "it ended meanwhile"
            ) from None
        raise
    finally:
        for fd in set(theirs or ()):
            os.close(fd)
    _started()
    events.of_container(home, container, f"exec_start: {command}", execID=identity)
    if request.detach:
        return 0
    code = _serve(started, request, streams, ours)
    if code == attach.DETACHED:  # the program goes on without us
        events.of_container(home, container, "exec_detach", execID=identity)
        return code
    events.of_container(home, container, "exec_die", execID=identity, exitCode=str(code))
    return code


def _has_ended(container: containers.Container) -> bool:
    """Whether the first process is dead or dying: the kernel kills all others before it."""
    try:
        pidfd = process.pidfd_open(container.pid)
    except ProcessLookupError:
        return True
    try:
        return not containers.is_running(container) or stop.ended(pidfd, _DYING)
    finally:
        os.close(pidfd)


def _process(container: containers.Container, request: ExecRequest) -> dict[str, Any]:
    """``process`` of the specification: the container's own with what was asked for."""
    made = program.process(container, request.console)
    made |= {
        "args": list(request.args),
        "env": list(environment.merged(tuple(made["env"]), request.env)),
        "terminal": request.tty and not request.detach,
        "user": made["user"] | {"username": request.user or container.settings.user},
    }
    if request.privileged:
        settings = container.settings.replace(privileged=True)
        made["capabilities"] = rights.capability_sets(settings)
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
    streams.send_signal = None if request.tty else send
    resize = None
    console = started.console
    if console >= 0:
        terminals.hold_open(console)
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
        keep_only({console, terminals.hold_open(console), pidfd})
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
