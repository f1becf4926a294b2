"""Instructions and stages of a Dockerfile.

Everything that can be known without building is checked here: words, flags, forms, names of
stages. Variables stay as they are written: they are known when the instruction's turn comes.
"""

from __future__ import annotations

from images.dockerfile import lines as logical
from images.dockerfile.errors import at
from kernel import quickjson
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.dockerfile.lines import Heredoc, Line

# Word to the flags that it knows; those that end with "=" need a value, others may have one.
_FLAGS: dict[str, tuple[str, ...]] = {
    "ADD": ("chown=", "chmod=", "link", "checksum=", "exclude=", "unpack"),
    "ARG": (),
    "CMD": (),
    "COPY": ("from=", "chown=", "chmod=", "link", "parents", "exclude="),
    "ENTRYPOINT": (),
    "ENV": (),
    "EXPOSE": (),
    "FROM": ("platform=",),
    "HEALTHCHECK": ("interval=", "timeout=", "start-period=", "start-interval=", "retries="),
    "LABEL": (),
    "MAINTAINER": (),
    "ONBUILD": (),
    "RUN": ("mount=", "network="),
    "SHELL": (),
    "STOPSIGNAL": (),
    "USER": (),
    "VOLUME": ("reset",),
    "WORKDIR": (),
}
_EXEC_FORMS = ("ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME")
_NOT_TRIGGERED = ("ONBUILD", "FROM", "MAINTAINER")
_REPEATED = ("mount", "exclude")
_TRUE_OR_NOT_SAID = ("unpack",)  # flags of which "false" is not the same as nothing
_STAGE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-")


class Instruction(Record):
    """One instruction. ``text`` is what stands after the flags, ``listed`` the same as the words
    of a JSON list where it is one (the "exec form"), ``flags`` (name, value) in order.
    """

    number: int
    word: str
    text: str
    flags: tuple[tuple[str, str], ...] = ()
    listed: tuple[str, ...] | None = None
    heredocs: tuple[Heredoc, ...] = ()

    def flag(self, name: str, default: str = "") -> str:
        """The value of a flag that stands once."""
        return next((value for key, value in self.flags if key == name), default)

    def flag_values(self, name: str) -> list[str]:
        """All values of a flag."""
        return [value for key, value in self.flags if key == name]

    @property
    def shown(self) -> str:
        """The instruction in one line, for progress, errors and the image's history."""
        flags = [f"--{key}={value}" if value else f"--{key}" for key, value in self.flags]
        return " ".join([self.word, *flags, self.text]).strip()


class Stage(Record):
    """``FROM base [AS name]`` and what follows; ``name`` is "" if it has none."""

    number: int
    base: str
    name: str
    platform: str
    instructions: tuple[Instruction, ...]


class Dockerfile(Record):
    """A whole file: ARGs before the first FROM, and the stages."""

    file: str
    escape: str
    args: tuple[Instruction, ...]
    stages: tuple[Stage, ...]

    def stage(self, name: str) -> int:
        """The index of a stage by its name or number, -1 if there is none."""
        wanted = name.lower()
        for index in reversed(range(len(self.stages))):
            if self.stages[index].name == wanted:
                return index
        if name.isascii() and name.isdigit() and int(name) < len(self.stages):
            return int(name)
        return -1


def parse(content: str, file: str = "Dockerfile") -> Dockerfile:
    """A Dockerfile. DockerfileError names file and line."""
    split = logical.split(content, file)
    args: list[Instruction] = []
    stages: list[Stage] = []
    body: list[Instruction] = []
    for line in split.lines:
        made = instruction(line, file)
        if made.word == "FROM":
            if stages:
                stages[-1] = stages[-1].replace(instructions=tuple(body))
            body = []
            stages.append(_stage(made, stages, file))
        elif stages:
            body.append(made)
        elif made.word == "ARG":
            args.append(made)
        else:
            raise at(file, made.number, f"{made.word} stands before the first FROM")
    if not stages:
        raise at(
            file, 1, "there is no FROM", "the first instruction is FROM image, or FROM scratch"
        )
    stages[-1] = stages[-1].replace(instructions=tuple(body))
    return Dockerfile(file, split.escape, tuple(args), tuple(stages))


def instruction(line: Line, file: str) -> Instruction:
    """One logical line as an instruction."""
    known = _FLAGS.get(line.word)
    if known is None:
        close = [word for word in _FLAGS if word.startswith(line.word[:3])]
        hint = f"did you mean {close[0]}?" if close and len(line.word) > 2 else ""
        raise at(file, line.number, f"unknown instruction {line.word}", hint)

    def fail(why: str) -> Exception:
        return at(file, line.number, f"{line.word}: {why}")

    flags, text = _flags(line.text, known, fail)
    listed = _listed(text) if line.word in _EXEC_FORMS else None
    made = Instruction(line.number, line.word, text, flags, listed, line.heredocs)
    _check(made, fail)
    if made.word == "ONBUILD":
        triggered(made, file)
    return made


def triggered(onbuild: Instruction, file: str) -> Instruction:
    """The instruction that an ONBUILD holds."""
    word, _, rest = onbuild.text.partition(" ")
    if word.upper() in _NOT_TRIGGERED:
        raise at(file, onbuild.number, f"{word.upper()} may not stand in ONBUILD")
    inner = logical.Line(onbuild.number, word.upper(), rest.strip(), onbuild.heredocs)
    return instruction(inner, file)


def _flags(
    text: str, known: tuple[str, ...], fail: Callable[[str], Exception]
) -> tuple[tuple[tuple[str, str], ...], str]:
    flags: list[tuple[str, str]] = []
    while text.startswith("--") and known:
        word = text.split(None, 1)[0]
        if word == "--":
            return tuple(flags), text[2:].lstrip()
        name, sign, value = word[2:].partition("=")
        if name not in known and f"{name}=" not in known:
            raise fail(f"unknown flag --{name}")
        if f"{name}=" in known and not value:
            raise fail(f"the flag --{name} needs a value")
        if name in known and sign and value not in ("true", "false"):
            raise fail(f"the flag --{name} is true or false")
        if name not in _REPEATED and any(key == name for key, _ in flags):
            raise fail(f"the flag --{name} stands twice")
        if value != "false" or name in _TRUE_OR_NOT_SAID:
            kept = f"{name}=" in known or value == "false"
            flags.append((name, value if kept else ""))
        text = text[len(word) :].lstrip()
    return tuple(flags), text


def _listed(text: str) -> tuple[str, ...] | None:
    if not text.startswith("["):
        return None
    try:
        words = quickjson.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return tuple(words)


def _check(made: Instruction, fail: Callable[[str], Exception]) -> None:
    reset = made.word == "VOLUME" and ("reset", "") in made.flags
    if not made.text and made.word not in ("CMD", "ENTRYPOINT") and not reset:
        raise fail("something must follow")
    if made.word == "SHELL" and not made.listed:
        raise fail('write a JSON list, as SHELL ["/bin/bash", "-c"]')
    if made.word in ("ADD", "COPY") and not made.heredocs:
        words = made.listed if made.listed is not None else made.text.split()
        if len(words) < 2:
            raise fail("sources and a destination must follow")
    if made.word in ("STOPSIGNAL", "USER") and len(made.text.split()) != 1:
        raise fail("one word must follow")
    if made.word == "HEALTHCHECK":
        kind = made.text.split(None, 1)[0].upper()
        if kind not in ("NONE", "CMD") or (kind == "NONE" and made.flags):
            raise fail("write NONE, or flags and CMD with a command")


def _stage(made: Instruction, before: list[Stage], file: str) -> Stage:
    words = made.text.split()
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise at(file, made.number, "FROM: write FROM image, or FROM image AS name")
    name = words[2].lower() if len(words) == 3 else ""
    if name and (not set(name) <= _STAGE or not name[0].isalpha()):
        raise at(file, made.number, f"FROM: {words[2]!r} cannot name a stage")
    if name and any(stage.name == name for stage in before):
        raise at(file, made.number, f"FROM: there is a stage {name} already")
    return Stage(made.number, words[0], name, made.flag("platform"), ())
