"""The plan of a build and the values of its variables, without building anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.build import changes, graph, mounts, state, variables
from images.build.cache import key_of
from images.build.errors import BuildError
from images.build.state import State
from images.config import ImageConfig, Layer
from images.dockerfile import parser
from images.errors import ImageError
from images.platforms import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.build.graph import Graph
    from images.dockerfile.parser import Instruction

NAMES = st.from_regex(r"\A[A-Z][A-Z0-9_]{0,6}\Z").filter(lambda name: name not in variables.PROXIES)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), max_size=8)


def planned(content: str, target: str = "", **given_args: str) -> Graph:
    dockerfile = parser.parse(content)
    return graph.plan(dockerfile, target, given_args, {"OS": "linux"}, lambda *_names: [])


def single(word: str, text: str) -> Instruction:
    stage = parser.parse(f"FROM x\n{word} {text}\n").stages[0]
    return stage.instructions[0]


def quoted(value: str) -> str:
    for char in '\\"$':
        value = value.replace(char, f"\\{char}")
    return f'"{value}"'


# -- which stages --------------------------------------------------------------------------


@st.composite
def dockerfiles(draw: st.DrawFn) -> tuple[str, list[set[int]], int]:
    """A Dockerfile, what each stage needs directly, and the target."""
    lines: list[str] = []
    needs: list[set[int]] = []
    for index in range(draw(st.integers(1, 7))):
        earlier = st.integers(0, index - 1) if index else st.nothing()
        base = draw(st.one_of(st.just(-1), earlier))
        copied = draw(st.sets(earlier, max_size=3)) if index else set()
        mounted = draw(st.sets(earlier, max_size=2)) if index else set()
        by_number = draw(st.booleans())

        def called(n: int, by_number: bool = by_number) -> str:
            return str(n) if by_number else f"s{n}"

        lines.append(f"FROM {'image' if base < 0 else f's{base}'} AS s{index}")
        lines += [f"COPY --from={called(n)} /a /b" for n in sorted(copied)]
        lines += [f"RUN --mount=type=bind,from={called(n)},target=/m x" for n in sorted(mounted)]
        needs.append(copied | mounted | ({base} if base >= 0 else set()))
    return "\n".join(lines), needs, draw(st.integers(0, len(needs) - 1))


@given(dockerfiles())
def test_exactly_the_stages_that_the_target_needs_are_planned_each_after_its_own(
    made: tuple[str, list[set[int]], int],
) -> None:
    content, needs, target = made
    wanted, left = set[int](), [target]
    while left:
        index = left.pop()
        if index not in wanted:
            wanted.add(index)
            left += needs[index]
    found = planned(content, f"s{target}")
    order = [work.index for work in found.works]
    assert set(order) == wanted and len(order) == len(wanted)
    assert found.target == order[-1] == target
    for position, work in enumerate(found.works):
        assert work.needs == needs[work.index]
        assert work.needs <= set(order[:position])


def test_a_stage_may_have_the_name_of_its_image() -> None:
    (work,) = planned("FROM debian AS debian\nRUN x\n").works
    assert (work.base, work.stage) == ("debian", -1)


def test_a_base_may_be_named_by_a_variable() -> None:
    content = "ARG WHICH=one\nFROM a AS one\nFROM b AS two\nFROM ${WHICH}\n"
    assert [work.index for work in planned(content).works] == [0, 2]
    assert [work.index for work in planned(content, WHICH="two").works] == [1, 2]
    with pytest.raises(ImageError, match="the name is empty"):
        planned("ARG EMPTY\nFROM $EMPTY\n")


def test_triggers_of_a_base_stand_before_the_stage_and_may_need_other_stages() -> None:
    dockerfile = parser.parse("FROM a AS files\nFROM parent\nRUN own\n")
    found = graph.plan(
        dockerfile, "", {}, {},
        lambda image, _platform: ["COPY --from=files /x /y"] if image == "parent" else [],
    )  # fmt: skip
    assert [work.index for work in found.works] == [0, 1]
    assert [one.word for one in found.works[1].instructions] == ["COPY", "RUN"]
    with pytest.raises(ImageError, match="may not stand in ONBUILD"):
        graph.plan(dockerfile, "", {}, {}, lambda *_names: ["FROM x"])


# -- variables -----------------------------------------------------------------------------


@given(NAMES, VALUES, VALUES, VALUES, st.booleans(), st.booleans(), st.booleans())
def test_an_argument_is_what_was_given_else_its_default_else_the_one_outside(
    name: str, passed: str, default: str, outer: str, is_passed: bool, has_default: bool,
    is_outer: bool,
) -> None:  # fmt: skip
    one = single("ARG", f"{name}={quoted(default)}" if has_default else name)
    found = variables.arg(
        one, "\\", {}, {name: passed} if is_passed else {}, {name: outer} if is_outer else {}
    )
    if is_passed:
        assert found == {name: passed}
    elif has_default:
        assert found == {name: default}
    else:
        assert found == ({name: outer} if is_outer else {})


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), NAMES, VALUES)
def test_variables_of_the_environment_hide_arguments(
    env: dict[str, str], name: str, value: str
) -> None:
    text = " ".join(f"{key}={quoted(own)}" for key, own in env.items())
    before = State({}, {}, args={name: value})
    after = changes.apply(before, single("ENV", text), "\\")
    assert after.env == env
    assert after.variables == {name: value, **env}
    assert before.config == {}, "a state does not change"
    told = changes.apply(after, single("LABEL", f"l=<${{{name}}}>"), "\\")
    assert told.config["Labels"] == {"l": f"<{env.get(name, value)}>"}


def test_variables_of_one_instruction_are_those_before_it() -> None:
    before = State({"Env": ["A=old"]}, {})
    after = changes.apply(before, single("ENV", "A=new B=$A C=$B"), "\\")
    assert after.env == {"A": "new", "B": "old", "C": ""}


def test_platform_variables_are_there_when_they_are_asked_for() -> None:
    found = variables.predefined(Platform("linux", "arm", "v6"), Platform("linux", "amd64"), "")
    assert found["TARGETPLATFORM"] == "linux/arm/v6" and found["TARGETVARIANT"] == "v6"
    assert found["BUILDARCH"] == "amd64" and found["TARGETSTAGE"] == "default"
    assert variables.arg(single("ARG", "TARGETARCH"), "\\", {}, {}, found) == {"TARGETARCH": "arm"}


def test_what_cannot_name_a_variable_is_refused() -> None:
    for text in ("1A=x", "A-B", "=x"):
        with pytest.raises(BuildError, match="cannot name a variable"):
            variables.arg(single("ARG", text), "\\", {}, {}, {})


# -- states, keys, mounts ------------------------------------------------------------------


@given(st.dictionaries(NAMES, VALUES), st.lists(st.tuples(VALUES, VALUES, st.integers(0, 9))))
def test_a_state_comes_out_of_a_pipe_as_it_went_in(
    args: dict[str, str], layers: list[tuple[str, str, int]]
) -> None:
    made = State(
        {"Env": [f"{key}={value}" for key, value in args.items()], "Volumes": {"/v": {}}},
        {"os": "linux"},
        tuple(Layer(*one) for one in layers),
        ({"created": "x", "created_by": "y", "empty_layer": True},),
        args,
        "2001-09-09T01:46:40Z",
        True,
    )
    assert state.loads(state.dumps(made)) == made


def test_hostile_history_of_a_base_is_left_aside() -> None:
    raw = {"config": {}, "history": [{"created": 7, "created_by": ["x"]}, "text", {"created": "t"}]}
    made = state.of_image(ImageConfig(raw, ()), [])
    assert made.created == "t"
    assert state.triggers(ImageConfig({"config": {"OnBuild": 5}}, ())) == []
    old = ImageConfig({"config": {"Env": "A=1", "Cmd": "sh"}}, (), ("A=1",), (), ("sh",))
    assert state.of_image(old, []).env == {"A": "1"}
    assert made.history == ({"created": "", "created_by": ""}, {"created": "t"})


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
def test_two_keys_are_equal_only_if_everything_in_them_is(one: list[str], two: list[str]) -> None:
    assert (key_of("RUN", one) == key_of("RUN", two)) == (one == two)
    assert key_of(None, one) != key_of(0, one)
    assert key_of([*one, *two]) != key_of(one, two)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type=cache,target=/c", ("cache", "/c", True, "shared", "/c")),
        ("type=cache,dst=c,id=x,sharing=locked,ro", ("cache", "/w/c", False, "locked", "x")),
        ("target=/b", ("bind", "/b", False, "shared", "")),
        ("type=bind,target=../b,rw=true", ("bind", "/b", True, "shared", "")),
        ("type=bind,target=/b,readonly=false", ("bind", "/b", False, "shared", "")),
        ("type=secret,id=s", ("secret", "/run/secrets/s", False, "shared", "s")),
        ("type=secret,target=/x/s", ("secret", "/x/s", False, "shared", "s")),
        ("type=secret,id=s,env=S", ("secret", "", False, "shared", "s")),
    ],
)
def test_mounts_of_run_are_read(text: str, expected: tuple[str, str, bool, str, str]) -> None:
    found = mounts.parse(text, "/w")
    assert (found.kind, found.target, found.writable, found.sharing, found.identity) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("type=cache", "a target is missing"),
        ("type=bind,target=/", "cannot be /"),
        ("type=none,target=/x", "the type is one of"),
        ("type=ssh", "not supported"),
        ("type=tmpfs,target=/x,id=y", "knows no id"),
        ("type=tmpfs,target=/x,size=many", "size"),
        ("type=cache,target=/x,sharing=some", "sharing is one of"),
        ("type=cache,target=/x,mode=9", "out of range"),
        ("type=secret", "needs an id"),
        ("target=/x,source", "is not key=value"),
        ("target=/x,rw=perhaps", "true or false"),
    ],
)
def test_mounts_of_run_that_cannot_be_are_refused(text: str, words: str) -> None:
    with pytest.raises(BuildError, match=words):
        mounts.parse(text, "/")


WORDS = (
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL ONBUILD RUN SHELL STOPSIGNAL"
    " USER VOLUME WORKDIR"
).split()
PIECES = (
    "a=b", "a", "$A", "${A", "${A:-x}", "${A:?}", "${A/x/}", "${A#*}", '"', "'", "\\", "[", '["a"]',
    "[]", "<<E", "--from=s", "--chown=x", "--mount=type=cache", "--mount=", "--interval=1x", "NONE",
    "CMD", "80", "99999/udp", "9-1", "=", "/", "é", "\udcff", "AS", "scratch", "--reset", "--", " ",
    "--retries=-1", "--platform=$A", "{", "}", "RUN", "COPY --from=0", "\t", "SIGTERM",
)  # fmt: skip
LINES = st.tuples(st.sampled_from(WORDS), st.lists(st.sampled_from(PIECES), max_size=5))


@given(st.lists(LINES, max_size=6), st.booleans())
def test_whatever_stands_in_a_dockerfile_is_understood_or_refused(
    lines: list[tuple[str, list[str]]], spaced: bool
) -> None:
    text = "\n".join(f"{word} {(' ' if spaced else '').join(rest)}" for word, rest in lines)
    try:
        dockerfile = parser.parse(f"FROM x AS s\n{text}\n")
        found = graph.plan(dockerfile, "", {}, {}, lambda *_names: [])
    except ImageError:
        return
    for work in found.works:
        current = State({}, {})
        for one in work.instructions:
            try:
                if one.word == "ARG":
                    made = variables.arg(one, "\\", current.variables, {}, found.outer)
                    current = current.replace(args={**current.args, **made})
                elif one.word not in graph.ON_FILES or one.word == "WORKDIR":
                    current = changes.apply(current, one, "\\")
                for mount in one.flag_values("mount"):
                    mounts.parse(mount, current.workdir)
            except ImageError:
                continue
        assert state.loads(state.dumps(current)) == current
