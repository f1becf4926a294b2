"""create, run, start, attach and restart: what begins, and what is attached to it."""

from __future__ import annotations

import sys

from cli import terminal
from cli.creation import general, request
from cli.errors import UsageError
from cli.flags import DETACH_KEYS, EXPLAIN, SIGNAL, TIMEOUT
from cli.options import Command, Parsed, option, refused
from cli.shared import each, explain, left, named, need_terminal, note, warn
from engine import attach, containers, create, events, home, reconcile, start, stop
from engine.attach import Streams
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home
    from engine.start import Session
    from images.pull import Told

_BOTH = ("stdout", "stderr")


def _make(here: Home, parsed: Parsed) -> Container:
    if not parsed.cidfile:
        return _made(here, parsed)
    from cli.creation.cidfile import CidFile

    with CidFile(parsed.cidfile) as cidfile:
        made = _made(here, parsed)
        cidfile.write(made.id)
        return made


def _made(here: Home, parsed: Parsed) -> Container:
    if parsed.disable_content_trust:
        warn("--disable-content-trust is of the past: nothing is ever signed or verified")

    def told(digest: str, state: str, done: int, total: int) -> None:
        if not shown:
            from cli.layers import Layers

            shown.append(Layers(sys.stderr, "pull", quiet=parsed.quiet))
        shown[0](digest, state, done, total)

    shown: list[Told] = []
    try:
        return create.create(
            here, request.request(parsed), warn, None if parsed.quiet else note, told
        )
    except PyctrError as error:  # whatever failed, there is no container whose code it could be
        error.exit_code = 125
        raise


def _create(parsed: Parsed) -> int:
    here = home.find()
    made = _make(here, parsed)
    if parsed.explain == "sh":
        print(start.script(here, made), end="")
        return 0
    if parsed.explain:
        for line in start.outline(here, made):
            explain(line)
    print(made.id)
    return 0


def _run(parsed: Parsed) -> int:
    if parsed.detach and parsed.rm and parsed.explain == "sh":
        raise UsageError("--explain=sh starts nothing", "leave --detach and --rm out")
    attached = general.attached(parsed)
    stdin = parsed.interactive and "stdin" in attached
    output = tuple(name for name in attached if name != "stdin")
    if stdin and parsed.tty:
        need_terminal()
    here = home.find()
    made = _make(here, parsed)
    if parsed.explain == "sh":
        print(start.script(here, made), end="")
        explain(f"container {made.name} is made; the script starts it by hand")
        return 0
    session = None
    try:
        with terminal.Raw(0 if stdin and parsed.tty else -1):
            session = start.start(
                here,
                made,
                stdin=stdin,
                output=output,
                console=terminal.size(),
                on_line=explain if parsed.explain else None,
                warn=warn,
            )
            if not output:
                print(made.id)
            if not attached:
                return 0
            streams = Streams(stdin=0 if stdin else -1, input_only=not output)
            proxied = not (stdin and parsed.tty)  # as Docker; attach and start with any terminal
            code = _follow(here, made, session, streams, parsed, proxied=proxied)
    except PyctrError as error:
        if session is None:
            if error.exit_code == 1:  # to a person who typed one command, it is pyctr that failed
                error.exit_code = 125
            if parsed.rm:
                from engine.erase import erase_locked

                erase_locked(here, made, volumes="free")
        raise
    return left(0) if code == attach.DETACHED else code


def _follow(
    here: Home,
    one: Container,
    session: Session,
    streams: Streams,
    parsed: Parsed,
    *,
    proxied: bool,
) -> int:
    """Relays until the container ends; the exit code, or DETACHED."""

    def send(number: int) -> bool:
        try:
            stop.kill(here, one.id, number)
        except PyctrError:  # it has just ended
            return False
        return True

    streams.tty, streams.size = one.settings.tty, terminal.size
    streams.keys = parsed.detach_keys
    streams.send_signal = send if proxied and parsed.sig_proxy else None
    sys.stdout.flush()
    try:
        code = attach.follow(session, streams)
    except BrokenPipeError:
        raise
    except ConnectionError:
        fresh = containers.get(here, one.id)
        if fresh is not None and fresh.status == "exited":  # it had just recorded the end
            return fresh.exit_code
        if fresh is None:
            warn(f"container {one.name} is gone, and with it its exit code")
            return 137
        reconcile.mend(here, fresh)
        warn(f"the monitor of {one.name} was killed, and the container with it")
        return 137
    if code == attach.DETACHED:
        events.of_container(here, one, "detach")
    return code


def _start(parsed: Parsed) -> int:
    here = home.find()
    if not (parsed.attach or parsed.interactive):

        def begin(word: str) -> str:
            one = reconcile.find(here, word)
            if parsed.explain == "sh":
                return start.script(here, one).rstrip("\n")
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
        code = _follow(here, one, session, streams, parsed, proxied=not one.settings.tty)
    return left(0) if code == attach.DETACHED else code


def _attach(parsed: Parsed) -> int:
    here = home.find()
    one = reconcile.find(here, parsed.words[0])
    stdin = one.settings.stdin_open and not parsed.no_stdin
    if stdin and one.settings.tty and containers.is_running(one):
        need_terminal()
    with terminal.Raw(0 if stdin and one.settings.tty else -1):
        session = start.attach(here, one, stdin=stdin, output=_BOTH)
        streams = Streams(stdin=0 if stdin else -1, redraw=True)
        code = _follow(here, one, session, streams, parsed, proxied=not one.settings.tty)
    return left(1) if code == attach.DETACHED else code


def _restart(parsed: Parsed) -> int:
    here = home.find()
    return named(parsed.words, lambda word: stop.restart(here, word, parsed.timeout, parsed.signal))


_PLACES = """\
Volumes are folders that bypass the container's union file system: what is written there stays
when the container is removed, is shared with --volumes-from, and is in no image. The container
stays as well, until `pyctr rm`: it can be started again with everything in it.
"""

_SIG_PROXY = option(
    "--sig-proxy",
    "Pass signals on to the program, unless it has a terminal; =false keeps them for this command",
    default=True,
)
_RUN_ONLY = (
    option("-d --detach", "Leave it running and print its id"),
    _SIG_PROXY,
    DETACH_KEYS,
)
_NO_CHECKPOINTS = "pyctr makes no checkpoints of processes"

COMMANDS: tuple[Command, ...] = (
    Command(
        "create",
        "IMAGE [COMMAND] [ARG...]",
        "Make a container without starting it. Its volumes are initialised now.",
        _create,
        request.OPTIONS,
        groups=request.GROUPS,
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
        (*_RUN_ONLY, *request.OPTIONS),
        at_least=1,
        at_most=-1,
        verbatim=True,
        groups=(("Options", _RUN_ONLY), *request.GROUPS),
        details=_PLACES,
        examples=(
            "pyctr run -it --rm base sh",
            "pyctr run -d --name web -v /webapp base sleep 1000",
            "pyctr run --rm --volumes-from web base ls /webapp",
            "pyctr run -d --name site -p 8080:80 base httpd -f",
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
            _SIG_PROXY,
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
        (option("--no-stdin", "Do not attach standard input"), _SIG_PROXY, DETACH_KEYS),
        at_least=1,
        at_most=1,
        examples=(
            "pyctr attach web",
            "pyctr attach --detach-keys ctrl-x,x web",
            "pyctr attach --no-stdin --sig-proxy=false web",
        ),
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
)  # fmt: skip
