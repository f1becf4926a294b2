"""inspect, logs and top: what a person looks at in one container."""

from __future__ import annotations

from cli import looking
from cli.options import Command, Parsed, option, value
from engine import attach, containers, home, reconcile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _inspect(parsed: Parsed) -> int:
    from engine import describe

    here = home.find()

    def described(word: str) -> dict[str, Any]:
        return describe.container(here, reconcile.find(here, word), sized=parsed.size)

    return looking.inspect(parsed.words, described, parsed.format or "")


def _moment(text: str) -> str:
    from cli import moments

    return moments.utc(moments.read(text))


def _tail(text: str) -> int | None:
    if text in ("all", "-1"):
        return None
    if not (text.isascii() and text.isdigit()):
        raise ValueError("it is a number or all")
    return int(text)


def _logs(parsed: Parsed) -> int:
    from engine import logread

    here = home.find()
    one = reconcile.find(here, parsed.words[0])

    def going_on() -> bool:
        """Until the end is on record, and with it everything that was said before it."""
        fresh = containers.get(here, one.id)
        up = fresh is not None and fresh.status in containers.ALIVE
        return up and fresh is not None and reconcile.is_watched(here, fresh)

    entries = logread.of(
        here,
        one,
        follow=going_on if parsed.follow else None,
        tail=parsed.tail,
        since=parsed.since,
        until=parsed.until,
    )
    for entry in entries:
        head = f"{entry.time} " if parsed.timestamps else ""
        head += f"{logread.details(entry)} " if parsed.details else ""
        attach.write_all(2 if entry.stream == "stderr" else 1, head.encode() + entry.content)
    return 0


def _top(parsed: Parsed) -> int:
    from engine.top import top

    here = home.find()
    word, *options = parsed.words
    print("\n".join(top(here, reconcile.find(here, word), options)))
    return 0


COMMANDS: tuple[Command, ...] = (
    Command(
        "inspect",
        "CONTAINER [CONTAINER...]",
        "Show everything about containers, as JSON.",
        _inspect,
        (looking.FORMAT, option("-s --size", "Also how much it has written")),
        at_least=1,
        at_most=-1,
        examples=("pyctr inspect --format '{{.State.Status}}' web",),
    ),
    Command(
        "logs",
        "CONTAINER",
        "Show what a container has written.",
        _logs,
        (
            option("-f --follow", "Go on as long as it runs"),
            option("-t --timestamps", "Show when"),
            option("--details", "Show what --log-opt labels, env and tag have kept"),
            value("-n --tail", "NUMBER", "Only the last lines", read=_tail),
            value("--since", "TIME", "From a moment (2026-01-31T12:00:00) or how long ago (10m)",
                  read=_moment, default=""),
            value("--until", "TIME", "Up to a moment", read=_moment, default=""),
        ),
        at_least=1,
        at_most=1,
        examples=(
            "pyctr logs --tail 5 web",
            "pyctr logs --follow --timestamps web",
            "pyctr logs --since 10m web",
        ),
    ),
    Command(
        "top",
        "CONTAINER [PS OPTIONS]",
        "Show the processes of a container, as ps(1) does on the host.",
        _top,
        at_least=1,
        at_most=-1,
        verbatim=True,
        examples=("pyctr top web", "pyctr top web -o pid,comm"),
    ),
)  # fmt: skip
