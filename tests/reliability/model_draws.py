"""What Hypothesis draws for the model's rules: names that are there, mounts, programs, kills."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.reliability.model_world import FOLDERS, From, Program, Source, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from tests.reliability.model_machine import Machine


def mostly(fitting: Callable[[World], Iterable[str]], names: tuple[str, ...]) -> Any:
    """Names that fit the world of the moment, and now and then any of ``names``.

    What is drawn is a number, whatever the world is: kills make it differ from time to time.
    """

    def pick(drawn: tuple[Machine, int]) -> str:
        choice = (*sorted(fitting(drawn[0].world)) * 20, *names)
        return choice[drawn[1] % len(choice)]

    return st.tuples(st.runner(), NUMBERS).map(pick)


NUMBERS = st.integers(0, 1 << 16)
NAMES = ("x1", "x2", "x3", "x4")  # which begin no id
TAGS = ("plain", "own", "new", "other")
VOLUMES = ("v1", "v2", "v3")
FREE = mostly(lambda world: set(NAMES) - set(world.containers), NAMES)
THERE = mostly(lambda world: world.containers, NAMES)
RUNNING = mostly(lambda world: world.running(), NAMES)
STOPPED = mostly(lambda world: set(world.containers) - set(world.running()), NAMES)
TAGGED = mostly(lambda world: (tag for image in world.images for tag in image.tags), TAGS)
VOLUME = mostly(lambda world: (one.name for one in world.volumes), VOLUMES)
TRASH = mostly(lambda world: (one.name for one in world.trash), VOLUMES)
NEW_NAMES, NEW_TAGS = st.sampled_from(NAMES), st.sampled_from(TAGS[2:])
PATHS = st.builds("{}/{}".format, st.sampled_from(FOLDERS), st.sampled_from(("one", "f")))
LINES = st.sampled_from("abc")
SLEEP = Program("sleep")
SHORT = st.one_of(
    st.builds(Program, st.just("append"), PATHS, LINES, st.sampled_from((0, 3))),
    st.just(Program("list")),
)
PROGRAMS = st.one_of(st.just(SLEEP), SHORT)
RARELY = st.sampled_from((False, False, True))
COPY = st.sampled_from((True, True, False))
SOURCES = st.lists(
    st.one_of(
        st.builds(Source, st.sampled_from(FOLDERS), VOLUME, st.booleans(), COPY),
        st.sampled_from(FOLDERS).map(Source),
    ),
    max_size=2,
    unique_by=lambda one: one.folder,
)
FROMS = st.lists(st.builds(From, THERE, st.booleans()), max_size=2)
KILLS = st.one_of(st.none(), st.none(), NUMBERS)  # one command in three
