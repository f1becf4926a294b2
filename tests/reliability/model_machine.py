"""One step of the model: a command is done, everything is looked at, and the model follows."""

from __future__ import annotations

import copy

from hypothesis.stateful import RuleBasedStateMachine

from tests.reliability import model_changes as changes
from tests.reliability.model_place import FILES, Place
from tests.reliability.model_seen import Seen
from tests.reliability.model_server import Said
from tests.reliability.model_world import Image, Refused, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Change = Iterator[None]


class Machine(RuleBasedStateMachine):
    """``world`` is what the model expects, ``seen`` what was there after the last step."""

    place: Place

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.log: list[str] = []
        seen = self.place.see()
        for image, tags in seen.images().items():
            volumes = ("data",) if tags == {"own"} else ()
            self.world.images.append(Image(image, dict(FILES), volumes, tags))
        self.compare([self.world], seen)

    def do(self, argv: tuple[str, ...], change: Callable[[World], Change], *, touched: str = "",
           kill: int | None = None, rooms: tuple[str, ...] = (),
           also: tuple[Callable[[World], Change], ...] = ()) -> Said:  # fmt: skip
        """Does a command, and changes the world as it did.

        With ``kill`` a trace point of one of the ``rooms`` is armed. What may have died then is
        the container ``touched``; ``also`` are other changes that may have been made half.
        """
        trace = self._trace(kill, rooms)
        complete = copy.deepcopy(self.world)
        complete.code = 0
        try:
            worlds, code = follow(change, complete), complete.code
        except Refused as refused:
            complete, worlds, code = self.world, [], refused.code
            self.place.refused += 1
        self.log.append(" ".join(argv) + (f"    # {trace}" if trace else ""))
        self.place.steps += 1
        there = self.world.containers.get(touched)
        doomed = bool(trace) or (there is not None and there.doomed)
        said = self.place.server(*argv, trace=trace)
        assert "Traceback" not in said.err, self.story(said.err)
        if doomed:
            self.place.armed += 1
            self.place.failed += said.code != code
            before = [self.world, *worlds]
            for other in also if worlds else ():
                before += follow(other, copy.deepcopy(self.world))
            self.compare([complete, *before, *deaths(before, touched)], self.see())
            there = self.world.containers.get(touched)
            if there is not None:
                there.doomed = there.status == "running"
        else:
            assert said.code == code, self.story(f"exit {said.code}, not {code}: {said.err}")
            self.compare([complete], self.see())
        return said

    def _trace(self, kill: int | None, rooms: tuple[str, ...]) -> str:
        if kill is None:
            return ""
        which, number = kill % len(rooms), kill // len(rooms)
        points = [name for name in self.place.server.points if name.startswith(rooms[which])]
        return f"kill:{points[number % len(points)]}"

    def see(self) -> Seen:
        try:
            return self.place.see()
        except AssertionError as error:
            raise AssertionError(self.story(str(error))) from error

    def compare(self, worlds: list[World], seen: Seen) -> None:
        """Goes on with the first world that is what was seen."""
        facts = seen.facts()
        for world in worlds:
            world.adopt_names(seen.mounts(), facts["volumes"], seen.images())
            told = world.facts()
            for name, one in world.containers.items():
                if one.code is None and name in facts["containers"]:
                    one.code = facts["containers"][name]["code"]
                    told = world.facts()
            if told == facts:
                self.world, self.seen = world, seen
                return
        nearest = "\n".join(differences(worlds[0].facts(), facts))
        raise AssertionError(self.story(f"none of {len(worlds)} worlds; the first:\n{nearest}"))

    def story(self, what: str) -> str:
        """All commands of this sequence, and what was wrong after the last."""
        seed = f"PYCTR_MODEL_SEED={self.place.seed}"
        return "\n".join([seed, *(f"pyctr {line}" for line in self.log), what])


def follow(change: Callable[[World], Change], world: World) -> list[World]:
    """The world after each step of a change, the last one done. Refused."""
    return [copy.deepcopy(world) for _ in change(world)]


def deaths(worlds: list[World], name: str) -> Iterator[World]:
    """The same, but that the container died of it, with whatever exit code."""
    for world in worlds:
        if name in world.containers and world.containers[name].status == "running":
            dead = copy.deepcopy(world)
            one = dead.containers[name]
            for _ in changes.end(dead, one):
                one.code = None
                yield copy.deepcopy(dead)


def differences(told: dict[str, Any], seen: dict[str, Any]) -> Iterator[str]:
    """Where the model and what was seen are not the same."""
    for kind in told:
        for name in {**told[kind], **seen[kind]}:
            ours, theirs = told[kind].get(name), seen[kind].get(name)
            if ours != theirs:
                yield f"{kind} {name}: expected {ours}, found {theirs}"
