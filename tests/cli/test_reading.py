"""Command lines are read exactly, or refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import commands, options
from cli.errors import UsageError
from cli.options import Command, option, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

COMMAND = Command(
    "test",
    "WORD...",
    "A test.",
    lambda _parsed: 0,
    (
        option("-i --interactive", "flag"),
        option("-t --tty", "flag"),
        option("-m --memory", "value", kind="value", read=int, default=0),
        option("-e --env", "list", kind="list"),
        option("--explain", "maybe", kind="maybe", implied="yes"),
    ),
    at_most=-1,
    verbatim=True,
)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["-it", "x"], {"interactive": True, "tty": True}),
        (["-itm5", "x"], {"interactive": True, "tty": True, "memory": 5}),
        (["-m", "5"], {"memory": 5}),
        (["-m=5"], {"memory": 5}),
        (["--memory=5"], {"memory": 5}),
        (["--memory", "5", "--memory", "6"], {"memory": 6}),
        (["-e", "A=1", "-eB=2", "--env=C"], {"env": ["A=1", "B=2", "C"]}),
        (["--interactive=false"], {"interactive": False}),
        (["--explain"], {"explain": "yes"}),
        (["--explain=sh"], {"explain": "sh"}),
        ([], {"explain": None, "memory": 0, "env": []}),
    ],
)
def test_flags_in_every_spelling(argv: list[str], expected: dict[str, Any]) -> None:
    values = parse(COMMAND, argv).values
    assert expected.items() <= values.items()


def test_what_follows_the_first_word_belongs_to_the_container() -> None:
    assert parse(COMMAND, ["-i", "image", "ls", "-t", "--", "-m"]).words == [
        "image", "ls", "-t", "--", "-m",
    ]  # fmt: skip
    assert parse(COMMAND, ["--", "-i"]).words == ["-i"]


@pytest.mark.parametrize(
    "argv", [["-x"], ["-ix"], ["--nope"], ["-m"], ["-m", "x"], ["--tty=maybe"], ["--memory"]]
)
def test_what_is_wrong_is_named(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(COMMAND, argv)


@given(st.lists(st.text(alphabet="-=imtex5 ", max_size=6), max_size=5))
def test_any_command_line_is_read_or_refused(argv: list[str]) -> None:
    try:
        parse(COMMAND, argv)
    except UsageError:
        return


def test_every_command_can_explain_itself() -> None:
    for noun, verbs in commands.NOUNS.items():
        for verb in verbs:
            command = commands.load(noun, verb)
            text = options.help_text(command)
            assert text.startswith("Usage:  pyctr ")
            assert all(one.help for one in command.options)
            keys = [name for one in command.options for name in one.names]
            assert len(keys) == len(set(keys)), f"{noun} {verb}: a flag stands twice"
            assert max(map(len, text.splitlines())) <= 100
