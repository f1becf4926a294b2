"""Commands about containers."""

from __future__ import annotations

import os
import sys
import time

from cli import creation, terminal
from cli.creation import EXPLAIN, several, value
from cli.errors import UsageError
from cli.main import tell
from cli.options import Command, Parsed, option
from engine import attach, containers, create, home, reconcile, start, stop
from engine.attach import Streams
from kernel import signals, units
from kernel.errors import NotFound, PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from engine.start import Session


def _warn(sentence: str) -> None:
    print(f"pyctr: warning: {sentence}", file=sys.stderr)


def _explain(line: str) -> None:
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


# -- making and starting ---------------------------------------------------------------------


def _make(here: Home, parsed: Parsed) -> Container:
    if parsed.cidfile and os.path.exists(parsed.cidfile):
        raise UsageError(f"the file {parsed.cidfile} exists already", "remove it first")
    try:
        made = create.create(here, creation.request(parsed), _warn)
    except NotFound as error:
        error.exit_code = 125
        raise
    if parsed.cidfile:
        with open(parsed.cidfile, "w") as file:
            file.write(made.id)
    return made


def _create(parsed: Parsed) -> int:
    here = home.find()
    made = _make(here, parsed)
    if parsed.explain == "sh":
        print(start.script(here, made), end="")
        return 0
    if parsed.explain:
        for line in start.outline(here, made):
            _explain(line)
    print(made.id)
    return 0


def _run(parsed: Parsed) -> int:
    if parsed.detach and parsed.rm and parsed.explain == "sh":
        raise UsageError("--explain=sh starts nothing", "leave --detach and --rm out")
    if parsed.interactive and parsed.tty and not parsed.detach:
        _need_terminal()
    here = home.find()
    made = _make(here, parsed)
    if parsed.explain == "sh":
        print(start.script(here, made), end="")
        _explain(f"container {made.name} is made; the script starts it by hand")
        return 0
    stdin = parsed.interactive and not parsed.detach
    session = None
    try:
        with terminal.Raw(0 if stdin and parsed.tty else -1):
            session = start.start(
                here,
                made,
                stdin=stdin,
                output=not parsed.detach,
                console=terminal.size(),
                on_line=_explain if parsed.explain else None,
            )
            if parsed.detach:
                print(made.id)
                return 0
            return _follow(here, made, session, stdin=stdin)
    except PyctrError:
        if session is None and parsed.rm:
            from engine.erase import erase_locked

            erase_locked(here, made, volumes="free")
        raise


def _need_terminal() -> None:
    if not os.isatty(0):
        raise UsageError(
            "the input device is not a TTY", "", "leave -t out to use a pipe", exit_code=1
        )


def _follow(here: Home, one: Container, session: Session, *, stdin: bool) -> int:
    """Relays until the container ends or the person detaches; the exit code."""

    def send(number: int) -> None:
        try:
            stop.kill(here, one.id, number)
        except PyctrError:
            return  # it has just ended

    streams = Streams(
        stdin=0 if stdin else -1, tty=one.settings.tty, size=terminal.size, send_signal=send
    )
    sys.stdout.flush()
    try:
        code = attach.follow(session, streams)
    except ConnectionError:
        fresh = containers.get(here, one.id)
        if fresh is not None and fresh.status == "exited":  # it had just recorded the end
            return fresh.exit_code
        if fresh is not None:
            reconcile.mend(here, fresh)
        _warn(f"the monitor of {one.name} was killed, and the container with it")
        return 137
    return 0 if code == attach.DETACHED else code


def _start(parsed: Parsed) -> int:
    here = home.find()
    if not (parsed.attach or parsed.interactive):

        def begin(word: str) -> str:
            one = reconcile.find(here, word)
            if parsed.explain == "sh":
                return start.script(here, one).rstrip("\n")
            if not containers.is_running(one):
                on_line = _explain if parsed.explain else None
                start.start(here, one, on_line=on_line).connection.close()
            return word

        return each(parsed.words, begin)
    if len(parsed.words) > 1:
        raise UsageError("only one container can be attached to", "", "leave -a and -i out")
    one = reconcile.find(here, parsed.words[0])
    stdin = parsed.interactive and one.settings.stdin_open
    with terminal.Raw(0 if stdin and one.settings.tty else -1):
        on_line = _explain if parsed.explain else None
        if containers.is_running(one):
            session = start.attach(here, one, stdin=stdin, output=True)
        else:
            session = start.start(
                here, one, stdin=stdin, output=True, console=terminal.size(), on_line=on_line
            )
        return _follow(here, one, session, stdin=stdin)


def _attach(parsed: Parsed) -> int:
    here = home.find()
    one = reconcile.find(here, parsed.words[0])
    stdin = one.settings.stdin_open and not parsed.no_stdin
    if stdin and one.settings.tty:
        _need_terminal()
    with terminal.Raw(0 if stdin and one.settings.tty else -1):
        session = start.attach(here, one, stdin=stdin, output=True)
        return _follow(here, one, session, stdin=stdin)


# -- ending ----------------------------------------------------------------------------------


def _seconds(text: str) -> float:
    if text == "-1":
        return -1.0
    return units.parse_duration(text)


def _named(words: list[str], action: Callable[[str], object]) -> int:
    """:func:`each` for an action whose result is of no interest: the word itself is printed."""

    def done(word: str) -> str:
        action(word)
        return word

    return each(words, done)


def _stop(parsed: Parsed) -> int:
    here = home.find()
    return _named(parsed.words, lambda word: stop.stop(here, word, parsed.time))


def _restart(parsed: Parsed) -> int:
    here = home.find()
    return _named(parsed.words, lambda word: stop.restart(here, word, parsed.time))


def _kill(parsed: Parsed) -> int:
    here = home.find()
    return _named(parsed.words, lambda word: stop.kill(here, word, parsed.signal))


def _rm(parsed: Parsed) -> int:
    from engine import remove

    here = home.find()

    def away(word: str) -> None:
        try:
            remove.remove(here, word, force=parsed.force, volumes=parsed.volumes)
        except NotFound:
            if not parsed.force:
                raise

    return _named(parsed.words, away)


def _wait(parsed: Parsed) -> int:
    here = home.find()
    return each(parsed.words, lambda word: str(stop.wait(here, word)))


def _rename(parsed: Parsed) -> int:
    here = home.find()
    containers.rename(here, reconcile.find(here, parsed.words[0]), parsed.words[1])
    return 0


def _pause(parsed: Parsed) -> int:
    from engine import pause

    here = home.find()
    return _named(parsed.words, lambda word: pause.pause(here, reconcile.find(here, word)))


def _unpause(parsed: Parsed) -> int:
    from engine import pause

    here = home.find()
    return _named(parsed.words, lambda word: pause.unpause(here, reconcile.find(here, word)))


def agreed(question: str, force: bool) -> bool:
    """Whether the person wants what cannot be undone."""
    if force:
        return True
    print(f"WARNING! {question}\nAre you sure you want to continue? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _prune(parsed: Parsed) -> int:
    from cli import filters
    from engine import remove
    from kernel import tree

    if not agreed("This will remove all stopped containers.", parsed.force):
        return 0
    here = home.find()
    reconcile.mend_all(here)
    wanted = filters.combined(
        parsed.filter, {"label": lambda one, word: filters.label(one.settings.labels, word)}
    )
    freed = 0
    gone: list[str] = []
    for one in containers.listing(here):
        if one.status in ("created", "exited") and wanted(one):
            size = tree.disk_usage(here.folder(one.id))
            remove.remove(here, one.id)
            freed += size
            gone.append(one.id)
    if gone:
        print("Deleted Containers:", *gone, "", sep="\n")
    print(f"Total reclaimed space: {units.show_bytes(freed)}")
    return 0


# -- looking ---------------------------------------------------------------------------------

_COLUMNS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAgo": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}


def status(one: Container, now: float) -> str:
    """As `ps` shows it: ``Up 5 minutes``, ``Exited (0) 2 hours ago``."""
    if one.status in containers.ALIVE:
        paused = " (Paused)" if one.status == "paused" else ""
        return f"Up {units.show_age(now - one.started)}{paused}"
    if one.status == "exited":
        return f"Exited ({one.exit_code}) {units.show_age(now - one.finished)} ago"
    return one.status.capitalize()


def _row(here: Home, one: Container, *, whole: bool, with_mounts: bool) -> dict[str, Any]:
    now = time.time()
    command = " ".join(one.settings.args)
    if not whole and len(command) > 20:
        command = command[:19] + "…"
    mounts = here.volumes.mounts(one.id) if with_mounts else ()
    return {
        "ID": one.id if whole else one.short_id,
        "Image": one.image,
        "Command": f'"{command}"',
        "CreatedAgo": f"{units.show_age(now - one.created)} ago",
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(one.created)),
        "RunningFor": f"{units.show_age(now - one.created)} ago",
        "Status": status(one, now),
        "State": one.status,
        "Ports": "",
        "Names": one.name,
        "Labels": ",".join(f"{key}={value}" for key, value in one.settings.labels.items()),
        "Mounts": ",".join(mount.source or mount.kind for mount in mounts),
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in mounts)),
        "Networks": one.settings.network,
    }


def _ls(parsed: Parsed) -> int:
    from cli import filters, output

    here = home.find()
    reconcile.mend_all(here)
    found = containers.listing(here)
    wanted = filters.containers(here, parsed.filter)
    limited = 1 if parsed.latest else parsed.last
    statuses = any(key == "status" for key, _ in parsed.filter)
    if not (parsed.all or limited or statuses):
        found = [one for one in found if one.status in containers.ALIVE]
    found = [one for one in found if wanted(one)]
    found = found[:limited] if limited else found
    if parsed.quiet:
        for one in found:
            print(one.id if parsed.no_trunc else one.short_id)
        return 0
    template = parsed.format or ""
    needed = "ounts" in template or "LocalVolumes" in template or template == "json"
    rows = [_row(here, one, whole=parsed.no_trunc, with_mounts=needed) for one in found]
    output.table(_COLUMNS, rows, template)
    return 0


def _inspect(parsed: Parsed) -> int:
    from cli import output
    from engine import describe

    here = home.find()
    values = [describe.container(here, reconcile.find(here, word)) for word in parsed.words]
    output.objects(values, parsed.format or "")
    return 0


def _moment(text: str) -> str:
    """RFC 3339 in UTC of a time: itself, a unix time, or how long ago (10m)."""
    from datetime import UTC, datetime

    if "T" in text or text.count("-") == 2:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        at = at if at.tzinfo else at.astimezone()
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    seconds = float(text) if text.replace(".", "", 1).isdigit() and len(text) > 8 else None
    if seconds is None:
        seconds = time.time() - units.parse_duration(text)
    at = datetime.fromtimestamp(seconds, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit():
        raise ValueError("it is a number or all")
    return int(text)


def _logs(parsed: Parsed) -> int:
    from engine import logs

    here = home.find()
    one = reconcile.find(here, parsed.words[0])

    def going_on() -> bool:
        fresh = containers.get(here, one.id)
        return fresh is not None and containers.is_running(fresh)

    path = f"{here.folder(one.id)}/log.json"
    entries = logs.read(
        path,
        follow=going_on if parsed.follow else None,
        tail=parsed.tail,
        since=parsed.since,
        until=parsed.until,
    )
    for entry in entries:
        stamp = f"{entry.time} ".encode() if parsed.timestamps else b""
        attach.write_all(2 if entry.stream == "stderr" else 1, stamp + entry.content)
    return 0


def _diff(parsed: Parsed) -> int:
    from engine.changes import changes

    here = home.find()
    for change in changes(here, reconcile.find(here, parsed.words[0])):
        print(f"{change.kind} {change.path}")
    return 0


def _top(parsed: Parsed) -> int:
    from engine.top import top

    word, *options = parsed.words
    print("\n".join(top(reconcile.find(home.find(), word), options)))
    return 0


# -- doing something with one ----------------------------------------------------------------


def _exec(parsed: Parsed) -> int:
    from engine.execute import ExecRequest, execute

    if parsed.explain == "sh":
        raise UsageError(
            "--explain=sh needs run, create or start", "", "nsenter(1) is exec by hand"
        )
    word, *args = parsed.words
    if parsed.interactive and parsed.tty and not parsed.detach:
        _need_terminal()
    env = [entry for path in parsed.env_file for entry in creation.env_file(path)]
    wanted = ExecRequest(
        tuple(args),
        (*env, *map(creation.env_entry, parsed.env)),
        parsed.workdir or "",
        parsed.user or "",
        parsed.tty,
        parsed.interactive,
        parsed.detach,
        terminal.size(),
    )
    stdin = parsed.interactive and not parsed.detach
    streams = Streams(stdin=0 if stdin else -1, tty=parsed.tty, size=terminal.size)
    with terminal.Raw(0 if stdin and parsed.tty else -1):
        on_line = _explain if parsed.explain else None
        return execute(home.find(), word, wanted, streams, on_line)


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


def filter_pair(text: str) -> tuple[str, str]:
    """``key=value`` of --filter."""
    key, sign, value_ = text.partition("=")
    if not key or not sign:
        raise ValueError("write key=value")
    return key, value_


_TIME = value("-t --time", "SECONDS", "Patience before it is killed; -1 waits for ever",
              read=_seconds)  # fmt: skip
_FORMAT = value("--format", "TEMPLATE", "A Go template, or json")
_FILTER = several("-f --filter", "KEY=VALUE", "Show only what fits; may be given many times",
                  read=filter_pair)  # fmt: skip

_PLACES = """\
Volumes are folders that bypass the container's union file system: what is written there stays
when the container is removed, is shared with --volumes-from, and is in no image. The container
stays as well, until `pyctr rm`: it can be started again with everything in it.
"""

COMMANDS: tuple[Command, ...] = (
    Command(
        "create",
        "IMAGE [COMMAND] [ARG...]",
        "Make a container without starting it. Its volumes are initialised now.",
        _create,
        creation.OPTIONS,
        at_least=1,
        at_most=-1,
        verbatim=True,
        details=_PLACES,
        examples=("pyctr create --name dbdata -v /dbdata base",),
    ),
    Command(
        "run",
        "IMAGE [COMMAND] [ARG...]",
        "Make a container and start it.",
        _run,
        (option("-d --detach", "Leave it running and print its id"), *creation.OPTIONS),
        at_least=1,
        at_most=-1,
        verbatim=True,
        details=_PLACES,
        examples=(
            "pyctr run -it --rm base sh",
            "pyctr run -d --name web -v /webapp base sleep 1000",
            "pyctr run --rm --volumes-from web base ls /webapp",
            "pyctr run --rm --explain -v data:/data base true",
        ),
    ),
    Command(
        "start",
        "CONTAINER [CONTAINER...]",
        "Start containers that do not run.",
        _start,
        (
            option("-a --attach", "Show its output and leave with its exit code"),
            option("-i --interactive", "Attach standard input as well"),
            EXPLAIN,
        ),
        at_least=1,
        at_most=-1,
    ),
    Command(
        "attach",
        "CONTAINER",
        "Join the streams of a running container. Ctrl-P Ctrl-Q leaves it running.",
        _attach,
        (option("--no-stdin", "Do not attach standard input"),),
        at_least=1,
        at_most=1,
    ),
    Command(
        "stop",
        "CONTAINER [CONTAINER...]",
        "Ask containers to end, and kill those that do not.",
        _stop,
        (_TIME,),
        at_least=1,
        at_most=-1,
    ),
    Command(
        "restart",
        "CONTAINER [CONTAINER...]",
        "Stop containers and start them again.",
        _restart,
        (_TIME,),
        at_least=1,
        at_most=-1,
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
    ),
    Command(
        "rm",
        "CONTAINER [CONTAINER...]",
        "Remove containers.",
        _rm,
        (
            option("-f --force", "Kill it if it runs"),
            option("-v --volumes", "Free its anonymous volumes at once"),
        ),
        at_least=1,
        at_most=-1,
        details="Without -v an anonymous volume whose last container goes can be restored for a"
        " day:\npyctr volume restore NAME. Named volumes stay in any case.",
    ),
    Command(
        "wait",
        "CONTAINER [CONTAINER...]",
        "Wait until containers end and print their exit codes.",
        _wait,
        at_least=1,
        at_most=-1,
    ),
    Command(
        "ps",
        "",
        "List containers.",
        _ls,
        (
            option("-a --all", "Also those that do not run"),
            option("-q --quiet", "Only ids"),
            option("--no-trunc", "Nothing is shortened"),
            value("-n --last", "NUMBER", "The last created ones, in any state",
                  read=creation._positive, default=0),
            option("-l --latest", "The last created one, in any state"),
            _FORMAT,
            _FILTER,
        ),
        details="Filters: id, name, label, status, exited, ancestor, volume, network.",
        verb="ls",
    ),
    Command(
        "inspect",
        "CONTAINER [CONTAINER...]",
        "Show everything about containers, as JSON.",
        _inspect,
        (_FORMAT.replace(names=("-f", "--format")),),
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
            value("-n --tail", "NUMBER", "Only the last lines", read=_tail),
            value("--since", "TIME", "From a time (2026-01-31T12:00:00) or how long ago (10m)",
                  read=_moment, default=""),
            value("--until", "TIME", "Up to a time", read=_moment, default=""),
        ),
        at_least=1,
        at_most=1,
    ),
    Command(
        "diff",
        "CONTAINER",
        "Show what a container added (A), changed (C) and deleted (D). Volumes are not in it.",
        _diff,
        at_least=1,
        at_most=1,
    ),
    Command(
        "exec",
        "CONTAINER COMMAND [ARG...]",
        "Run a command in a running container.",
        _exec,
        (
            option("-i --interactive", "Keep standard input open"),
            option("-t --tty", "Give it a terminal"),
            option("-d --detach", "Do not wait for it"),
            several("-e --env", "NAME=VALUE", "Set an environment variable", read=creation._env),
            several("--env-file", "FILE", "Read environment variables from a file"),
            value("-w --workdir", "PATH", "Working folder inside", read=creation._working_dir),
            value("-u --user", "USER[:GROUP]", "Run as this user", read=creation._user),
            EXPLAIN,
        ),
        at_least=2,
        at_most=-1,
        verbatim=True,
        examples=("pyctr exec -it web sh",),
    ),
    Command("rename", "CONTAINER NAME", "Give a container another name.", _rename,
            at_least=2, at_most=2),
    Command("pause", "CONTAINER [CONTAINER...]", "Stop all processes of containers where they are.",
            _pause, at_least=1, at_most=-1),
    Command("unpause", "CONTAINER [CONTAINER...]", "Let paused containers go on.", _unpause,
            at_least=1, at_most=-1),
    Command(
        "container prune",
        "",
        "Remove all containers that do not run.",
        _prune,
        (
            option("-f --force", "Do not ask"),
            several("--filter", "label=KEY[=VALUE]", "Only those that fit", read=filter_pair),
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
)  # fmt: skip
