"""diff, commit and export: the files of a container."""

from __future__ import annotations

import os

from cli.errors import UsageError
from cli.options import Command, Parsed, option, several, value
from engine import home, reconcile


def _diff(parsed: Parsed) -> int:
    from engine.changes import changes

    here = home.find()
    for change in changes(here, reconcile.find(here, parsed.words[0])):
        print(f"{change.kind} {change.path}")
    return 0


def _commit(parsed: Parsed) -> int:
    from engine.commit import commit
    from images import references

    name = references.parse(parsed.words[1]) if len(parsed.words) > 1 else None
    made = commit(
        home.find(),
        parsed.words[0],
        name,
        changes=parsed.change,
        author=parsed.author or "",
        message=parsed.message or "",
        pause=parsed.pause != "false",
    )
    print(f"sha256:{made}")
    return 0


def _export(parsed: Parsed) -> int:
    from engine.export import export

    if not parsed.output and os.isatty(1):
        raise UsageError("an archive is not for a terminal", "", "use -o FILE, or a pipe")
    here = home.find()
    one = reconcile.find(here, parsed.words[0])
    with open(parsed.output or 1, "wb", closefd=bool(parsed.output)) as out:
        export(here, one, out)
    return 0


COMMANDS: tuple[Command, ...] = (
    Command(
        "diff",
        "CONTAINER",
        "Show what a container added (A), changed (C) and deleted (D). Volumes are not in it.",
        _diff,
        at_least=1,
        at_most=1,
        examples=("pyctr diff web",),
    ),
    Command(
        "commit",
        "CONTAINER [NAME[:TAG]]",
        "Make an image of a container's changes. Volumes are not in it.",
        _commit,
        (
            several("-c --change", "INSTRUCTION", "Change the configuration: CMD, ENTRYPOINT, ENV,"
                    " EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR"),
            value("-m --message", "TEXT", "A message"),
            value("-a --author", "TEXT", "The author"),
            option("-p --pause", "Freeze the container meanwhile (the default)", kind="maybe",
                   metavar="false", implied="true", read=str),
        ),
        at_least=1,
        at_most=2,
        examples=("pyctr commit -c 'VOLUME /data' web mine:1.0",),
    ),
    Command(
        "export",
        "CONTAINER",
        "Write a container's file system as a tar archive. Volumes are not in it.",
        _export,
        (value("-o --output", "FILE", "Write to a file"),),
        at_least=1,
        at_most=1,
        examples=("pyctr export web | pyctr image import - flat",),
    ),
)  # fmt: skip
