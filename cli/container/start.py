"""start and attach: a container that is there begins, or is joined."""

from __future__ import annotations

from cli import terminal
from cli.container.session import SIG_PROXY, follow
from cli.errors import UsageError
from cli.flags import DETACH_KEYS, EXPLAIN
from cli.options import Command, Parsed, option, refused
from cli.shared import each, explain, left, need_terminal, warn
from engine import containers, home, reconcile, start
from engine.attach import DETACHED, Streams

_BOTH = ("stdout", "stderr")


def _start(parsed: Parsed) -> int:
    here = home.find()
    if not (parsed.attach or parsed.interactive):

        def begin(word: str) -> str:
            one = reconcile.find(here, word)
            if parsed.explain == "sh":
                from engine import outline

                return outline.script(here, one).rstrip("\n")
            if not containers.is_up(one):
                on_line = explain if parsed.explain else None
                start.start(here, one, on_line=on_line, warn=warn).connection.close()
            return word

        return each(parsed.words, begin)
    if len(parsed.words) > 1:
        raise UsageError("only one container can be attached to", "", "leave -a and -i out")
    one = reconcile.find(here, parsed.words[0])
    stdin = parsed.interactive and one.settings.stdin_open
    streams = Streams(stdin=0 if stdin else -1)
    with terminal.Raw(0 if stdin and one.settings.tty else -1):
        on_line = explain if parsed.explain else None
        if containers.is_running(one):
            session = start.attach(here, one, stdin=stdin, output=_BOTH)
            streams.redraw = True
        else:
            session = start.start(
                here,
                one,
                stdin=stdin,
                output=_BOTH,
                console=terminal.size(),
                on_line=on_line,
                warn=warn,
            )
        code = follow(here, one, session, streams, parsed, proxied=not one.settings.tty)
    return left(0) if code == DETACHED else code


def _attach(parsed: Parsed) -> int:
    here = home.find()
    one = reconcile.find(here, parsed.words[0])
    stdin = one.settings.stdin_open and not parsed.no_stdin
    if stdin and one.settings.tty and containers.is_running(one):
        need_terminal()
    with terminal.Raw(0 if stdin and one.settings.tty else -1):
        session = start.attach(here, one, stdin=stdin, output=_BOTH)
        streams = Streams(stdin=0 if stdin else -1, redraw=True)
        code = follow(here, one, session, streams, parsed, proxied=not one.settings.tty)
    return left(1) if code == DETACHED else code


_NO_CHECKPOINTS = "pyctr makes no checkpoints of processes"

COMMANDS: tuple[Command, ...] = (
    Command(
        "start",
        "CONTAINER [CONTAINER...]",
        "Start containers that do not run.",
        _start,
        (
            option("-a --attach", "Show its output and leave with its exit code"),
            option("-i --interactive", "Attach standard input as well"),
            SIG_PROXY,
            DETACH_KEYS,
            refused("--checkpoint", _NO_CHECKPOINTS),
            refused("--checkpoint-dir", _NO_CHECKPOINTS),
            EXPLAIN,
        ),
        at_least=1,
        at_most=-1,
        examples=("pyctr start web", "pyctr start --attach greeter"),
    ),
    Command(
        "attach",
        "CONTAINER",
        "Join the streams of a running container. Ctrl-P Ctrl-Q leaves it running.",
        _attach,
        (option("--no-stdin", "Do not attach standard input"), SIG_PROXY, DETACH_KEYS),
        at_least=1,
        at_most=1,
        examples=(
            "pyctr attach web",
            "pyctr attach --detach-keys ctrl-x,x web",
            "pyctr attach --no-stdin --sig-proxy=false web",
        ),
    ),
)  # fmt: skip
