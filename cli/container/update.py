"""update: other limits, and another restart policy, for containers that are there already."""

from __future__ import annotations

from cli.creation import limits, readers
from cli.errors import UsageError
from cli.options import Command, Parsed, value
from cli.shared import named, warn
from engine import home


def _update(parsed: Parsed) -> int:
    from engine.update import update

    changes = limits.changes(parsed)
    if parsed.restart is not None:
        changes["restart"], changes["restart_max"] = parsed.restart
    if not changes:
        raise UsageError("you must provide one or more flags", "", "see pyctr update --help")
    here = home.find()
    return named(parsed.words, lambda word: update(here, word, changes, warn))


COMMANDS: tuple[Command, ...] = (
    Command(
        "update",
        "CONTAINER [CONTAINER...]",
        "Change the limits of containers, running or not.",
        _update,
        (
            *limits.CHANGEABLE,
            value("--restart", "POLICY", "Start it again when it ends: no, on-failure[:MAX],"
                  " always or unless-stopped", read=readers.restart),
            *limits.NEVER,
        ),
        at_least=1,
        at_most=-1,
        details="What is not named stays as it is. A running container has its new limits at once."
        "\nA limit of one block device takes the place of the former one; a rate of 0 ends it.",
        examples=("pyctr update -m 512m --cpus 2 web db", "pyctr update --restart always web"),
    ),
)  # fmt: skip
