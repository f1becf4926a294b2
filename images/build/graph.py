"""Which stages a build needs, what each waits for, and what it consists of.

A stage waits for the stage that it is FROM, and for those that its COPY and RUN --mount take
files from. What nobody needs on the way to the target is left out. Triggers that ONBUILD left in
a base stand before a stage's own instructions.

Source: Docker's "Multi-stage builds"; "Dockerfile reference", ONBUILD.
"""

from __future__ import annotations

from images import platforms
from images.build import changes, mounts, variables
from images.build.errors import BuildError
from images.dockerfile import lines, parser
from images.dockerfile.errors import at
from images.dockerfile.parser import Instruction
from kernel.errors import PyctrError
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from images.dockerfile.parser import Dockerfile

SCRATCH = "scratch"
ON_FILES = ("ADD", "COPY", "RUN", "WORKDIR")  # instructions that may make a layer


class Work(Record):
    """One stage that is to be built.

    ``base`` is an image as FROM names it, "" if ``stage`` is the index of the stage it is FROM
    (else -1); ``parent`` is what FROM says. ``sources`` are the stages that files are taken from:
    name as written to index.
    """

    index: int
    number: int  # line of FROM
    name: str
    base: str
    stage: int
    parent: str
    platform: str
    instructions: tuple[Instruction, ...]
    sources: dict[str, int]

    @property
    def needs(self) -> set[int]:
        """The indexes of the stages that must be there before."""
        return {*self.sources.values(), *([self.stage] if self.stage >= 0 else [])}


class Graph(Record):
    """``works`` in an order in which each comes after what it needs; ``target`` is its last."""

    works: tuple[Work, ...]
    target: int
    outer: dict[str, str]  # the variables before the first FROM
    consumed: tuple[str, ...]  # build arguments that some ARG asked for


def plan(
    dockerfile: Dockerfile,
    target: str,
    given: Mapping[str, str],
    predefined: Mapping[str, str],
    triggers_of: Callable[[str, str], list[str]],
) -> Graph:
    """The stages on the way to ``target`` ("" is the last one).

    ``given`` are the build arguments; ``triggers_of(image, platform)`` the ONBUILD triggers of an
    image. BuildError, DockerfileError.
    """
    last = dockerfile.stage(target) if target else len(dockerfile.stages) - 1
    if last < 0:
        names = ", ".join(stage.name for stage in dockerfile.stages if stage.name)
        raise BuildError(
            f"no stage {target!r} in {dockerfile.file}", "", f"there are {names}" if names else ""
        )
    outer = dict(predefined)
    consumed = set()
    for one in dockerfile.args:
        try:
            outer |= variables.arg(one, dockerfile.escape, outer, given, {})
        except BuildError as error:
            raise at(dockerfile.file, one.number, str(error)) from None
        consumed |= names_of(one, dockerfile.escape)
    found: dict[int, Work] = {}
    _need(dockerfile, last, outer, triggers_of, found)
    for stage in dockerfile.stages:  # also those that are not built have asked for it
        for one in stage.instructions:
            if one.word == "ARG":
                consumed |= names_of(one, dockerfile.escape)
    return Graph(tuple(found.values()), last, outer, tuple(sorted(consumed)))


def names_of(one: Instruction, escape: str) -> set[str]:
    """The names that an ARG declares, as they are written."""
    return {word.partition("=")[0] for word in variables.split(one.text, escape)}


def _need(
    dockerfile: Dockerfile,
    index: int,
    outer: Mapping[str, str],
    triggers_of: Callable[[str, str], list[str]],
    found: dict[int, Work],
) -> None:
    """Adds a stage to ``found``, after all that it needs; stages only ever name earlier ones."""
    if index in found:
        return
    stage, file, escape = dockerfile.stages[index], dockerfile.file, dockerfile.escape
    try:
        base = variables.expand(stage.base, outer, escape)
        platform = variables.expand(stage.platform, outer, escape)
        if platform:
            platforms.parse(platform)
    except (BuildError, ValueError) as error:
        raise at(file, stage.number, f"FROM: {error}") from None
    if not base:
        raise at(file, stage.number, f"FROM {stage.base}: the name is empty", "give ARG a default")
    own = _earlier(dockerfile, base, index)
    if own >= 0:
        _need(dockerfile, own, outer, triggers_of, found)
        inherited = dockerfile.stages[own].instructions
        texts = [changes.trigger_text(one) for one in inherited if one.word == "ONBUILD"]
    else:
        try:
            texts = triggers_of(base, platform) if base != SCRATCH else []
        except PyctrError as error:
            what = f"{file}:{stage.number}: FROM {base}"
            raise BuildError(what, str(error), error.hint) from None
    triggers = [one for text in texts for one in _triggers(text, base, stage.number)]
    instructions = (*triggers, *stage.instructions)
    sources: dict[str, int] = {}
    for one in instructions:
        for name in sources_of(one, file):
            source = _earlier(dockerfile, name, index)
            if source < 0 and dockerfile.stage(name) > index:
                raise at(file, one.number, f"{one.word}: the stage {name} comes later")
            if source >= 0:
                sources[name] = source
                _need(dockerfile, source, outer, triggers_of, found)
    found[index] = Work(
        index, stage.number, stage.name, "" if own >= 0 else base, own, base, platform,
        instructions, sources,
    )  # fmt: skip


def _earlier(dockerfile: Dockerfile, name: str, index: int) -> int:
    """The index of an earlier stage of that name or number, -1 if none: the rest are images."""
    found = dockerfile.stage(name)
    return found if found < index else -1


def sources_of(one: Instruction, file: str) -> list[str]:
    """What COPY --from and RUN --mount from= name: stages or images."""
    if one.word in ("COPY", "ADD"):
        names = [one.flag("from")] if one.flag("from") else []
    elif one.word == "RUN":
        names = [name for text in one.flag_values("mount") if (name := mounts.source_of(text))]
    else:
        names = []
    for name in names:
        if "$" in name:
            raise at(
                file, one.number, f"{one.word}: from={name} holds a variable",
                "name a stage that is FROM what the variable means",
            )  # fmt: skip
    return names


def _triggers(text: str, base: str, number: int) -> list[Instruction]:
    """The instructions of a trigger; errors name the image that it comes from."""
    file = f"ONBUILD of {base}"
    found = []
    for line in lines.split(text, file).lines:
        one = parser.instruction(line, file)
        if one.word in ("ONBUILD", "FROM", "MAINTAINER"):
            raise at(file, line.number, f"{one.word} may not stand in ONBUILD")
        found.append(one.replace(number=number))
    return found
