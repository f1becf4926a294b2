"""cp, diff, commit and export: the files of a container."""

from __future__ import annotations

import os
import sys

from cli import output, progress, whole
from cli.errors import UsageError
from cli.options import Command, Parsed, option, several, value
from cli.shared import warn
from engine import home, reconcile
from engine.errors import ContainerNotFound
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home


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
    here = home.find()
    container = reconcile.find(here, parsed.words[0])
    made = commit(
        here,
        container.id,
        name,
        changes=parsed.change,
        author=parsed.author or "",
        message=parsed.message or "",
        pause=parsed.pause,
    )
    print(f"sha256:{made}")
    _tell_left_out(here, container)
    return 0


def _tell_left_out(here: Home, container: Container) -> None:
    """What a person may miss in the image, on standard error."""
    from engine.mounted import left_out

    mounts = left_out(here, container)
    if not mounts:
        return
    kinds = {"volume": "volume {}", "bind": "bind mount of {}", "tmpfs": "tmpfs"}
    rows = [
        [
            f"  {one.destination}",
            kinds[one.kind].format(one.source if len(one.source) < 64 else one.source[:12]),
            "not there"
            if one.size < 0
            else f"{'' if one.whole else 'more than '}{units.show_bytes(one.size)}",
        ]
        for one in mounts
    ]
    warn("these mounts are not in the image:")
    for line in output.aligned(rows, 0):
        print(line, file=sys.stderr)


def _export(parsed: Parsed) -> int:
    from engine.export import export

    here = home.find()
    if not parsed.output:
        _refuse_terminal(1, "an archive is not for a terminal", "use -o FILE, or a pipe")
        export(here, reconcile.find(here, parsed.words[0]), sys.stdout.buffer)
        return 0
    one = reconcile.find(here, parsed.words[0])
    with whole.WholeFile(parsed.output) as out:
        export(here, one, out)
    return 0


def _cp(parsed: Parsed) -> int:
    from engine import copy

    source, destination = map(_place, parsed.words)
    if bool(source[0]) == bool(destination[0]):
        raise _wrong_direction(parsed.words, both=bool(source[0]))
    here = home.find()
    try:
        one = reconcile.find(here, source[0] or destination[0])
    except ContainerNotFound as error:
        error.hint = _meant_here(parsed.words) or error.hint
        raise
    options = copy.Options(parsed.archive, parsed.follow_link)
    if destination == ("", "-"):
        _refuse_terminal(1, "an archive is not for a terminal", "redirect it, or name a file")
        copy.out_archive(here, one, source[1], sys.stdout.buffer, options)
        return 0
    with progress.Meter("Copying", quiet=parsed.quiet) as meter:
        if source == ("", "-"):
            _refuse_terminal(0, "an archive does not come from a terminal", "pipe it in")
            stdin = sys.stdin.buffer
            copied = copy.into_archive(here, one, stdin, destination[1], options, meter.add)
        elif source[0]:
            copied = copy.out(here, one, source[1], destination[1], options, meter.add)
        else:
            copied = copy.into(here, one, source[1], destination[1], options, meter.add)
    if copied.left_out:
        warn(f"{copied.left_out} device nodes were left out; with -a they are copied")
    if not parsed.quiet:
        shown = parsed.words[1] if destination[0] else os.path.abspath(destination[1])
        print(f"Successfully copied {units.show_bytes(copied.size)} to {shown}", file=sys.stderr)
    return 0


def _place(word: str) -> tuple[str, str]:
    """(container, path), or ("", path) for the host: a colon counts unless the word is a path."""
    container, colon, path = word.partition(":")
    if word == "":
        raise UsageError("an empty path names nothing", "", "the working folder is .")
    if not colon or container.startswith((".", "/")) or "/" in container:
        return "", word
    if not container:
        raise UsageError(f"{word!r} names no container", "", "write CONTAINER:PATH")
    return container, path


def _meant_here(words: list[str]) -> str:
    """A hint for whoever named a file of the host that has a colon in its name."""
    here = [word for word in words if _place(word)[0] and os.path.lexists(word)]
    return f"if the file of the host is meant, write ./{here[0]}" if here else ""


def _wrong_direction(words: list[str], *, both: bool) -> UsageError:
    if both:
        return UsageError(
            "copying between containers is not supported",
            "",
            _meant_here(words) or "pyctr cp ONE:/path - | pyctr cp - OTHER:/folder",
            exit_code=1,
        )
    return UsageError(
        "must specify at least one container source",
        "neither path is in a container",
        "write CONTAINER:PATH for one of them",
        exit_code=1,
    )


def _refuse_terminal(fd: int, what: str, hint: str) -> None:
    if os.isatty(fd):
        raise UsageError(what, "", hint, exit_code=1)


COMMANDS: tuple[Command, ...] = (
    Command(
        "cp",
        "CONTAINER:SRC DEST|-   or   pyctr cp [OPTIONS] SRC|- CONTAINER:DEST",
        "Copy files between a container, running or not, and the host; volumes count as its files.",
        _cp,
        (
            option("-a --archive", "Keep owners (and let set-user-ID, capabilities and device nodes"
                   " out of the container)"),
            option("-L --follow-link", "If SRC is a symbolic link, copy what it leads to"),
            option("-q --quiet", "Do not say what was copied"),
        ),
        at_least=2,
        at_most=2,
        details="""\
A folder comes into DEST if that is a folder, and becomes DEST if there is none; SRC/. means only
what is in it. A path of the container begins at its root. What is copied belongs to root in the
container and to you on the host, unless -a is given. With - a tar archive is written to standard
output, or read (plain, gzip, bzip2 or xz) from standard input. A name of the host that has a colon
is written ./name or /folder/name.""",
        examples=(
            "pyctr cp web:/etc/nginx ./nginx",
            "pyctr cp index.html web:/srv/",
            "pyctr cp web:/data - | gzip > data.tar.gz",
            "pyctr cp - web:/data < data.tar.gz",
        ),
    ),
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
            option("-p --pause", "Freeze the container meanwhile; =false does not", default=True),
        ),
        at_least=1,
        at_most=2,
        details="What is mounted in the container is told on standard error. With SOURCE_DATE_EPOCH"
        " in the\nenvironment the same files give the same image.",
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
