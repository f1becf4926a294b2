"""Starting a container: the plan is made, the monitor is forked, and answers when it runs."""

from __future__ import annotations

import os

from engine import compose, containers, wire
from engine.errors import ContainerConflict, EngineError
from kernel import sockets, trace
from runtime import explain, launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from engine.containers import Container
    from engine.home import Home

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
) -> Session:
    """Starts a container that does not run; returns the session of its first client.

    ``stdin`` and ``output`` (of stdout, stderr) say which streams the session serves. ``on_line``
    is told each step of the plan as it is performed (--explain). ContainerConflict if it runs
    already; errors of the plan name the step that failed, with Docker's exit codes 126 and 127.
    """
    if not os.path.isdir(home.folder(container.id)):
        raise ContainerConflict(
            f"cannot start container {container.name}", "its files are gone", "pyctr rm it"
        )
    with home.lock(container.id):
        fresh = containers.get(home, container.id)
        if fresh is None or fresh.status not in ("created", "exited"):
            state = fresh.status if fresh else "gone"
            raise ContainerConflict(f"cannot start container {container.name}", f"it is {state}")
        plan = compose.make_plan(home, fresh, console)
        compose.write_files(home, fresh)
        launch.preload()
        ours, theirs = sockets.pair()
        from engine import monitor

        home.close()
        if os.fork() == 0:
            ours.close()
            monitor.main(
                home, fresh, plan, theirs, stdin=stdin, output=output, steps=on_line is not None
            )
        _forked()
        theirs.close()
        session = Session(ours, wire.Reader())

        def told(payload: bytes) -> None:
            index, nanoseconds = wire.value(payload)
            if on_line is not None:
                step = plan.steps[index]
                on_line(explain.line(index, len(plan.steps), step, nanoseconds))

        _await(home, container, session, told)
    return session


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


def script(home: Home, container: Container) -> str:
    """`--explain=sh`: a shell script that builds the same container by hand."""
    compose.write_files(home, container)
    return explain.script(compose.make_plan(home, container))


def outline(home: Home, container: Container) -> list[str]:
    """The steps of a start, before they are performed."""
    plan = compose.make_plan(home, container)
    return [explain.line(i, len(plan.steps), step, 0) for i, step in enumerate(plan.steps)]


def attach(
    home: Home, container: Container, *, stdin: bool = False, output: tuple[str, ...] = ()
) -> Session:
    """A further client of a running container, for the streams it names, or just for its end.

    ContainerConflict if there are no streams to be had: it is stopped, paused or restarting.
    """
    if stdin or output:
        _require_streams(container)
    containers.require_running(container)
    try:
        connection = sockets.connect(f"{home.run_folder(container.id)}/attach.sock")
        connection.sendall(wire.message(wire.ATTACH, {"stdin": stdin, "output": output}))
    except OSError as error:
        raise EngineError(
            f"cannot attach to container {container.name}",
            f"its monitor does not answer: {error.strerror}",
            exit_code=1,
        ) from None
    return Session(connection, wire.Reader())


def _require_streams(container: Container) -> None:
    name, status = container.name, container.status
    if status == "restarting":
        why, hint = "it is restarting", "wait until it runs"
    elif not containers.is_running(container):
        why, hint = "it is stopped", f"start it first: pyctr start {name}"
    elif status == "paused":
        why, hint = "it is paused", f"unpause it first: pyctr unpause {name}"
    else:
        return
    raise ContainerConflict(f"cannot attach to container {name}", why, hint)
