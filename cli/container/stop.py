"""stop, restart, kill, rm, wait, pause, unpause and rename: what ends or changes."""

from __future__ import annotations

from cli.flags import SIGNAL, TIMEOUT
from cli.options import Command, Parsed, option, refused, value
from cli.shared import each, named
from engine import home, reconcile
from kernel import signals
from kernel.errors import NotFound


def _stop(parsed: Parsed) -> int:
    from engine import stop

    here = home.find()
    return named(parsed.words, lambda word: stop.stop(here, word, parsed.timeout, parsed.signal))


def _restart(parsed: Parsed) -> int:
    from engine import stop

    here = home.find()
    return named(parsed.words, lambda word: stop.restart(here, word, parsed.timeout, parsed.signal))


def _kill(parsed: Parsed) -> int:
    from engine import stop

    here = home.find()
    return named(parsed.words, lambda word: stop.kill(here, word, parsed.signal))


def _rm(parsed: Parsed) -> int:
    from engine import remove

    here = home.find()

    def away(word: str) -> None:
        try:
            remove.remove(here, word, force=parsed.force, volumes=parsed.volumes)
        except NotFound:
            if not parsed.force:
                raise

    return named(parsed.words, away)


def _wait(parsed: Parsed) -> int:
    from engine import stop

    here = home.find()
    return each(parsed.words, lambda word: str(stop.wait(here, word)))


def _rename(parsed: Parsed) -> int:
    from engine import containers

    here = home.find()
    containers.rename(here, reconcile.find(here, parsed.words[0]), parsed.words[1])
    return 0


def _pause(parsed: Parsed) -> int:
    from engine import pause

    here = home.find()
    return named(parsed.words, lambda word: pause.pause(here, reconcile.find(here, word)))


def _unpause(parsed: Parsed) -> int:
    from engine import pause

    here = home.find()
    return named(parsed.words, lambda word: pause.unpause(here, reconcile.find(here, word)))


COMMANDS: tuple[Command, ...] = (
    Command(
        "stop",
        "CONTAINER [CONTAINER...]",
        "Ask containers to end, and kill those that do not.",
        _stop,
        (SIGNAL, TIMEOUT),
        at_least=1,
        at_most=-1,
        examples=("pyctr stop web", "pyctr stop --signal INT --timeout 2 web"),
    ),
    Command(
        "restart",
        "CONTAINER [CONTAINER...]",
        "Stop containers and start them again.",
        _restart,
        (SIGNAL, TIMEOUT),
        at_least=1,
        at_most=-1,
        examples=("pyctr restart --timeout 2 web",),
    ),
    Command(
        "kill",
        "CONTAINER [CONTAINER...]",
        "Send a signal to running containers.",
        _kill,
        (
            value(
                "-s --signal",
                "SIGNAL",
                "KILL if not given; a name or a number",
                read=signals.number,
                default=signals.SIGKILL,
            ),
        ),
        at_least=1,
        at_most=-1,
        examples=("pyctr kill web", "pyctr kill --signal HUP web"),
    ),
    Command(
        "rm",
        "CONTAINER [CONTAINER...]",
        "Remove containers.",
        _rm,
        (
            option("-f --force", "Kill it if it runs"),
            option("-v --volumes", "Free its anonymous volumes at once"),
            refused("-l --link", "a link goes with the container that has it"),
        ),
        at_least=1,
        at_most=-1,
        details="Without -v an anonymous volume whose last container goes can be restored for a"
        " day:\npyctr volume restore NAME. Named volumes stay in any case.",
        examples=("pyctr rm --force web", "pyctr rm -v greeter"),
    ),
    Command(
        "wait",
        "CONTAINER [CONTAINER...]",
        "Wait until containers end and print their exit codes.",
        _wait,
        at_least=1,
        at_most=-1,
        examples=("pyctr wait greeter",),
    ),
    Command("rename", "CONTAINER NAME", "Give a container another name.", _rename,
            at_least=2, at_most=2,
            examples=("pyctr rename web shop",)),
    Command("pause", "CONTAINER [CONTAINER...]", "Stop all processes of containers where they are.",
            _pause, at_least=1, at_most=-1,
            examples=("pyctr pause web",)),
    Command("unpause", "CONTAINER [CONTAINER...]", "Let paused containers go on.", _unpause,
            at_least=1, at_most=-1,
            examples=("pyctr unpause web",)),
)  # fmt: skip
