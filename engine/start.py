"""Starting a container: the plan is made, the monitor is forked, and answers when it runs."""

from __future__ import annotations

import os

from engine import compose, containers, events, files, locks, logopts, network, reconcile, wire
from engine.errors import ContainerConflict, EngineError
from kernel import sockets, trace
from overlay import union
from runtime import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from engine.containers import Container
    from engine.home import Home
    from engine.locks import Alone
    from runtime.plan import Plan

_found = trace.point("engine.start.found")
_attaching = trace.point("engine.start.attaching")
_forked = trace.point("engine.start.monitor_forked")


class Session:
    """A connection to the monitor of a container that has just been started or attached to.

    ``early`` are frames that came together with the answer.
    """

    def __init__(self, connection: socket, reader: wire.Reader) -> None:
        self.connection = connection
        self.reader = reader
        self.early: list[tuple[int, bytes]] = []


def start(
    home: Home,
    container: Container,
    *,
    stdin: bool = False,
    output: tuple[str, ...] = (),
    console: tuple[int, int] = (0, 0),
    on_line: Callable[[str], None] | None = None,
    warn: Callable[[str], None] = lambda _sentence: None,
) -> Session:
    """Starts a container that does not run; returns the session of its first client.

    ``stdin`` and ``output`` say which streams the session serves. ``on_line`` is told each step
    of the plan as it is performed (--explain), ``warn`` gets sentences for the person. If another
    command has started it meanwhile, the session is one with that start. ContainerConflict if it is
    paused or its files are gone, ContainerNotFound if it was removed meanwhile; errors of the plan
    name the step that failed, with Docker's exit codes 126 and 127.
    """
    while True:
        _found()
        with locks.alone(home, container) as held:
            fresh = held.container
            if fresh.status in ("created", "exited"):
                steps = on_line is not None
                if stdin or output:
                    events.of_container(home, fresh, "attach")
                plan, session = _fork(
                    home, held, console, stdin=stdin, output=output, steps=steps, warn=warn
                )
                break  # the monitor has the lock by inheritance, and keeps it until it answers
        if fresh.status == "restarting":
            containers.require_running(fresh)
        if fresh.status == "paused" or fresh.status not in containers.ALIVE:
            raise ContainerConflict(
                f"cannot start container {fresh.name}",
                f"it is {fresh.status}",
                f"unpause it: pyctr unpause {fresh.name}" if fresh.status == "paused" else "",
            )
        if containers.is_running(fresh):
            return attach(home, fresh, stdin=stdin, output=output)
        reconcile.settle(home, fresh)

    def told(payload: bytes) -> None:
        index, nanoseconds = wire.value(payload)
        if on_line is not None:
            from runtime import explain

            on_line(explain.line(index, len(plan.steps), plan.steps[index], nanoseconds))

    _await(home, container, session, told)
    return session


def _fork(
    home: Home,
    held: Alone,
    console: tuple[int, int],
    *,
    stdin: bool,
    output: tuple[str, ...],
    steps: bool,
    warn: Callable[[str], None],
) -> tuple[Plan, Session]:
    """Makes the plan and the monitor that performs it."""
    container = held.container
    folder = home.folder(container.id)
    if not os.path.isdir(f"{folder}/upper"):
        raise ContainerConflict(
            f"cannot start container {container.name}", "its files are gone", "pyctr rm it"
        )
    if container.settings.auto_remove:
        union.reuse(f"{folder}/work")  # its program has never run, or it would be gone
    logopts.require(container.settings.log_driver)
    joining = network.join(home, container)
    try:
        path = joining.path if joining is not None else ""
        plan = compose.make_plan(home, container, console, path)
        files.write(home, container)
        launch.preload()
        from engine import monitor

        if joining is not None:
            for sentence in joining.complete():
                warn(sentence)
        volumes = monitor.hold_volumes(home, container)
    except BaseException:
        if joining is not None:
            joining.abandon()
        raise
    ours, theirs = sockets.pair()
    home.close()
    if os.fork() == 0:
        ours.close()
        monitor.main(
            home, held, volumes, plan, theirs, joining, stdin=stdin, output=output, steps=steps
        )
    _forked()
    theirs.close()
    for lock in volumes:
        lock.release()
    if joining is not None:
        joining.close()
        joining.let_go()
    return plan, Session(ours, wire.Reader())


def _await(
    home: Home, container: Container, session: Session, told: Callable[[bytes], None]
) -> None:
    """Reads until the monitor says that the program runs, or why not."""
    while True:
        chunk = session.connection.recv(1 << 16)
        if not chunk:
            raise _died(home, container)
        answered = False
        for kind, payload in session.reader.feed(chunk):
            if kind == wire.STEP:
                told(payload)
            elif kind == wire.ERROR:
                said = wire.value(payload)
                raise EngineError(
                    said["what"],
                    said["why"],
                    said["hint"],
                    said["path"],
                    said["errno"],
                    said["exit_code"],
                )
            elif kind == wire.STARTED:
                answered = True
            else:
                session.early.append((kind, payload))
        if answered:
            return


def _died(home: Home, container: Container) -> EngineError:
    path = f"{home.folder(container.id)}/monitor-error"
    try:
        with open(path) as file:
            last = file.read().strip().splitlines()[-1]
    except (OSError, IndexError):
        last = "it was killed"
    return EngineError(f"the monitor of container {container.name} died", last, f"see {path}", path)


def attach(
    home: Home, container: Container, *, stdin: bool = False, output: tuple[str, ...] = ()
) -> Session:
    """A further client of a running container, or of one whose end is not on record yet.

    It gets the streams it names, or just learns of the end. ContainerConflict if there are no
    streams to be had: it is stopped, paused or restarting.
    """
    _require_streams(container, stdin or bool(output))
    _attaching()
    try:
        session = _joined(home, container, stdin, output)
    except OSError:
        fresh = locks.wait(home, container)  # its start or end was under way
        _require_streams(fresh, stdin or bool(output))
        containers.require_running(fresh)
        try:
            session = _joined(home, container, stdin, output)
        except OSError as error:
            raise EngineError(
                f"cannot attach to container {container.name}",
                f"its monitor does not answer: {error.strerror}",
                exit_code=1,
            ) from None
    if stdin or output:
        events.of_container(home, container, "attach")
    return session


def _joined(home: Home, container: Container, stdin: bool, output: tuple[str, ...]) -> Session:
    connection = connect(home, container)
    connection.sendall(wire.message(wire.ATTACH, {"stdin": stdin, "output": output}))
    return Session(connection, wire.Reader())


def _require_streams(container: Container, wanted: bool) -> None:
    """Refuses what does not run, and where streams are ``wanted`` what is paused."""
    name, status = container.name, container.status
    if not wanted:
        if status not in containers.ALIVE:
            containers.require_running(container)
        return
    if status == "restarting":
        why, hint = "it is restarting", "wait until it is running"
    elif status == "paused":
        why, hint = "it is paused", f"unpause it first: pyctr unpause {name}"
    elif status not in containers.ALIVE:
        why, hint = "it is stopped", f"start it first: pyctr start {name}"
    else:
        return
    raise ContainerConflict(f"cannot attach to container {name}", why, hint)


def connect(home: Home, container: Container) -> socket:
    """A connection to the monitor of a container; OSError if there is none."""
    return sockets.connect(f"{home.run_folder(container.id)}/attach.sock")


def reach(home: Home, container: Container) -> socket:
    """:func:`connect`, also while a start is not complete; OSError if there is no monitor then."""
    try:
        return connect(home, container)
    except OSError:
        return connect(home, locks.wait(home, container))  # its start or its end was under way
