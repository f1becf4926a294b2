"""Stages that do not wait for each other are built at once, each by a process of its own.

A worker is forked with what the cache knew already. It says what happens in lines of JSON, and in
the end its state, or its error; then it waits until the parent holds the layers. One stage that
could go on alone is built without a fork. When one fails the others are ended, each of which
cleans up; a worker whose parent is killed dies with it.
"""

from __future__ import annotations

import os

from images.build import state
from images.build.errors import BuildError, StepFailed
from kernel import process, quickjson, signals, sockets, trace
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from images.build.site import Site
    from images.build.stage import Stage

_begun = trace.point("images.build.workers.begun")
_told = trace.point("images.build.workers.told")


def build(here: Site, stages: list[Stage]) -> None:
    """Builds all stages; those that need others come after them. BuildError."""
    running: dict[int, _Worker] = {}
    waiting = list(stages)
    try:
        while waiting or running:
            ready = [one for one in waiting if one.work.needs <= set(here.states)]
            for one in list(ready):
                if one.state is None:
                    one.begin()
                if one.advance(perform=False):  # the cache has all of it
                    _done(here, one, waiting)
                    break
            else:
                _go_on(here, ready, waiting, running)
    except BaseException:
        for worker in running.values():
            worker.end()
        raise


def _go_on(
    here: Site, ready: list[Stage], waiting: list[Stage], running: dict[int, _Worker]
) -> None:
    """Starts what can be started, or waits until one of the running is done."""
    if len(ready) == 1 and not running:
        ready[0].advance(perform=True)
        _done(here, ready[0], waiting)
        return
    for one in ready:
        if len(running) < max(2, os.cpu_count() or 1):
            waiting.remove(one)
            worker = _Worker(here, one)
            running[worker.socket.fileno()] = worker
    import select  # a build from the cache does without

    poll = select.poll()
    for fd in running:
        poll.register(fd, select.POLLIN)
    for fd, _ in poll.poll():
        worker = running[fd]
        if worker.read():
            continue
        del running[fd]
        here.states[worker.stage.work.index] = worker.result()


def _done(here: Site, one: Stage, waiting: list[Stage]) -> None:
    assert one.state is not None
    here.states[one.work.index] = one.state
    waiting.remove(one)


class _Worker:
    """The parent's side of a worker."""

    def __init__(self, here: Site, stage: Stage) -> None:
        self.stage = stage
        self._here = here
        self._content = b""
        self._said: dict[str, Any] = {}
        here.runner.idle()
        parent = os.getpid()
        self.socket, theirs = sockets.pair()
        self.pid = os.fork()
        if self.pid == 0:
            self.socket.close()
            _work(here, stage, theirs, parent)
        theirs.close()

    def read(self) -> bool:
        """Takes what the worker says; False once it has said all."""
        chunk = self.socket.recv(1 << 16)
        *lines, self._content = (self._content + chunk).split(b"\n")
        for line in lines:
            said = quickjson.loads(line)
            if isinstance(said, dict):
                self._said = said
            else:
                self._here.told(tuple(said))
        return bool(chunk) and not self._said

    def result(self) -> state.State:
        """The stage's state in the end, its layers held. BuildError of the worker."""
        try:
            said = self._said
            if "state" in said:
                made = state.loads(said["state"])
                if all(self._here.hold(layer) for layer in made.layers):
                    return made
                raise BuildError("a stage cannot be used", "its layers were removed just now")
            raise StepFailed(
                said.get("what", f"stage {self.stage.work.name or self.stage.work.index} failed"),
                said.get("why", "the process that built it was killed"),
                said.get("hint", ""),
                tuple(said.get("output", ())),
            )
        finally:
            self._let_go()
            os.waitpid(self.pid, 0)

    def _let_go(self) -> None:
        """The worker may end. (It would not see an end of file: later workers have our end too.)"""
        try:
            self.socket.sendall(b"g")
        except BrokenPipeError:  # it was killed
            pass
        self.socket.close()

    def end(self) -> None:
        """Ends a worker whose work nobody wants any more, and waits until it has cleaned up."""
        try:
            os.kill(self.pid, signals.SIGTERM)
        except ProcessLookupError:
            pass
        self.socket.close()
        os.waitpid(self.pid, 0)


def _work(here: Site, stage: Stage, said: socket, parent: int) -> None:
    """The worker itself. Never returns."""
    try:
        _clean_up_when_ended()
        process.set_pdeathsig(signals.SIGTERM)
        if os.getppid() != parent:
            return
        _begun()
        here.told = lambda event: said.sendall(quickjson.dumps(event).encode() + b"\n")
        try:
            stage.advance(perform=True)
            assert stage.state is not None
            line: dict[str, Any] = {"state": state.dumps(stage.state)}
        except PyctrError as error:
            output = error.output if isinstance(error, StepFailed) else ()
            line = {"what": error.what, "why": error.why, "hint": error.hint, "output": output}
        except OSError as error:
            line = {"what": "a stage cannot be built", "why": str(error)}
        said.sendall(quickjson.dumps(line).encode() + b"\n")
        _told()
        said.recv(1)
    except BaseException:  # the parent sees that nothing was said
        return
    finally:
        os._exit(0)


def _clean_up_when_ended() -> None:
    """The first signal is an exception; Ctrl-C and the parent may both send one."""
    import signal

    ends = (signal.SIGINT, signal.SIGTERM)

    def interrupt(_number: int, _frame: object) -> None:
        for number in ends:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in ends:
        signal.signal(number, interrupt)
