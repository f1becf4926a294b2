"""The life of containers: the rules of the model for what makes, starts, ends and removes them."""

from __future__ import annotations

import copy
import os
import select
import signal

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.reliability import model_changes as changes
from tests.reliability.model_draws import (
    FREE,
    FROMS,
    KILLS,
    NEW_NAMES,
    PROGRAMS,
    RARELY,
    RUNNING,
    SHORT,
    SLEEP,
    SOURCES,
    STOPPED,
    TAGGED,
    THERE,
)
from tests.reliability.model_machine import Machine, follow
from tests.reliability.model_seen import monitor_of
from tests.reliability.model_server import PATIENCE
from tests.reliability.model_world import From, Program, Refused, Source, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Change = Iterator[None]

# Where the trace points are that a command may pass.
CREATING = ("engine.create.", "volumes.store.", "volumes.populate.")
ERASING = ("engine.remove.", "engine.erase.", "volumes.store.")
ENDING = ("engine.stop.",)
STARTING = ("engine.start.", "engine.monitor.", "runtime.")


class Containers(Machine):
    """The commands about containers."""

    @initialize(sources=SOURCES)
    def begin(self, sources: list[Source]) -> None:
        """Most commands need a container."""
        self.make(("run", "-d"), "x1", "own", SLEEP, sources, [], False, None)
        self.make(("run", "-d"), "x2", "plain", SLEEP, [], [From("x1")], False, None)

    @rule(name=FREE, tag=TAGGED, program=PROGRAMS, sources=SOURCES, froms=FROMS,
          auto_remove=RARELY, kill=KILLS)  # fmt: skip
    def create(self, **drawn: Any) -> None:
        self.make(("create",), **drawn)

    @rule(name=FREE, tag=TAGGED, program=SHORT, sources=SOURCES, froms=FROMS,
          auto_remove=st.booleans(), kill=KILLS)  # fmt: skip
    def run(self, **drawn: Any) -> None:
        self.make(("run",), **drawn)

    @rule(name=FREE, tag=TAGGED, sources=SOURCES, froms=FROMS, auto_remove=RARELY, kill=KILLS)
    def run_detached(self, **drawn: Any) -> None:
        self.make(("run", "-d"), program=SLEEP, **drawn)

    @rule(name=FREE, tag=TAGGED, sources=SOURCES, froms=FROMS, kill=KILLS)
    def run_detached_too(self, **drawn: Any) -> None:
        self.make(("run", "-d"), program=SLEEP, auto_remove=False, **drawn)

    def make(self, verb: tuple[str, ...], name: str, tag: str, program: Program,
             sources: list[Source], froms: list[From], auto_remove: bool, kill: int | None,
             ) -> None:  # fmt: skip
        listing: list[str] = []

        def change(world: World) -> Change:
            yield from changes.create(world, name, tag, program, sources, froms, auto_remove)
            made = world.containers[name]
            listing.extend(made.listing())
            if verb != ("create",):
                yield from changes.start(world, made)
                world.code = made.code or 0

        words = [*verb, "--name", name, "--pull", "never"]
        words += ["--rm"] if auto_remove else []
        words += [word for source in sources for word in source.flags]
        words += [word for one in froms for word in one.flags]
        rooms = CREATING if verb == ("create",) else (*CREATING, *STARTING, *ERASING)
        said = self.do((*words, tag, *program.argv), change, touched=name, kill=kill, rooms=rooms)
        if program.kind == "list" and verb == ("run",) and said.code == 0 and listing:
            assert sorted(said.out.splitlines()) == listing, self.story(said.out)

    @rule(name=STOPPED, kill=KILLS)
    def start(self, name: str, kill: int | None) -> None:
        self.do(("start", name), lambda world: changes.start(world, world.container(name)),
                touched=name, kill=kill, rooms=STARTING)  # fmt: skip

    @rule(name=RUNNING, how=st.sampled_from((("stop", "-t", "0"), ("kill",))), kill=KILLS)
    def end(self, name: str, how: tuple[str, ...], kill: int | None) -> None:
        def change(world: World) -> Change:
            one = world.container(name)
            if how == ("kill",) and one.status != "running":
                raise Refused
            yield from changes.end(world, one)

        self.do((*how, name), change, touched=name, kill=kill, rooms=ENDING)

    @rule(name=THERE, kill=KILLS)
    def restart(self, name: str, kill: int | None) -> None:
        self.do(("restart", "-t", "0", name),
                lambda world: changes.restart(world, world.container(name)),
                touched=name, kill=kill, rooms=STARTING)  # fmt: skip

    @rule(name=THERE, force=st.booleans(), volumes=st.booleans(), kill=KILLS)
    def rm(self, name: str, force: bool, volumes: bool, kill: int | None) -> None:
        def change(world: World) -> Change:
            return changes.remove(world, name, force=force, volumes=volumes)

        def retired(world: World) -> Change:  # the next command completes a removal, with care
            return changes.remove(world, name, force=force, volumes=False)

        words = ("rm", *(["-f"] if force else []), *(["-v"] if volumes else []), name)
        self.do(words, change, touched=name, kill=kill, rooms=(*ENDING, *ERASING), also=(retired,))

    @rule(name=THERE, volumes=st.booleans(), kill=KILLS)
    def rm_force(self, name: str, volumes: bool, kill: int | None) -> None:
        self.rm(name, True, volumes, kill)

    @rule(name=THERE, new=NEW_NAMES)
    def rename(self, name: str, new: str) -> None:
        self.do(("rename", name, new), lambda world: changes.rename(world, name, new))

    @rule(name=RUNNING)
    def kill_monitor(self, name: str) -> None:
        """kill -9 of the monitor: the kernel kills the container, and the next command sees it."""
        if name not in self.world.running():
            return
        self.log.append(f"kill -9 (the monitor of {name})")
        self.place.steps += 1
        kill_and_wait(monitor_of(self.seen.containers[name]["State"]["Pid"]))
        complete = copy.deepcopy(self.world)
        worlds = follow(lambda world: changes.end(world, world.container(name)), complete)
        self.compare(worlds[-1:], self.see())


def kill_and_wait(pid: int) -> None:
    """kill -9 of a process that is no child of ours, and until it is dead."""
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [], PATIENCE)
    os.close(pidfd)
