"""What commands of several nouns share: doing a thing to many, asking, and flags of lists."""

from __future__ import annotations

import os
import sys

from cli.errors import UsageError
from cli.main import tell
from cli.options import several, value
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def warn(sentence: str) -> None:
    print(f"pyctr: warning: {sentence}", file=sys.stderr)


def note(sentence: str) -> None:
    """Says what is under way, where a person looks at it."""
    if os.isatty(2):
        print(f"pyctr: {sentence}", file=sys.stderr)


def explain(line: str) -> None:
    print(line, file=sys.stderr)


def each(words: list[str], action: Callable[[str], str]) -> int:
    """Does ``action`` for each word and prints what it returns; 1 if any failed, told on stderr."""
    code = 0
    for word in words:
        try:
            print(action(word))
        except PyctrError as error:
            tell(error)
            code = 1
    return code


def named(words: list[str], action: Callable[[str], object]) -> int:
    """:func:`each` for an action whose result is of no interest: the word itself is printed."""

    def done(word: str) -> str:
        action(word)
        return word

    return each(words, done)


def need_terminal() -> None:
    if not os.isatty(0):
        raise UsageError(
            "the input device is not a TTY", "", "leave -t out to use a pipe", exit_code=1
        )


def left(code: int) -> int:
    """Says that the person left with the detach keys; the exit code, which Docker's commands
    do not agree about."""
    print("read escape sequence", file=sys.stderr)
    return code


def agreed(question: str, force: bool) -> bool:
    """Whether the person wants what cannot be undone."""
    if force:
        return True
    print(f"WARNING! {question}\nAre you sure you want to continue? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def filter_pair(text: str) -> tuple[str, str]:
    """``key=value`` of --filter."""
    key, sign, value_ = text.partition("=")
    if not key.strip() or not sign:
        raise ValueError("write key=value")
    return key.strip().lower(), value_.strip()


FORMAT = value("--format", "TEMPLATE", "A Go template, or json")
FILTER = several(
    "-f --filter", "KEY=VALUE", "Show only what fits; may be given many times", read=filter_pair
)
