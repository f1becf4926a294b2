"""create and run: what makes a container."""

from __future__ import annotations

import sys

from cli import terminal
from cli.container.session import SIG_PROXY, follow
from cli.creation import general, request
from cli.errors import UsageError
from cli.flags import DETACH_KEYS
from cli.options import Command, Parsed, option
from cli.shared import explain, left, need_terminal, note, warn
from engine import create, home
from engine.attach import DETACHED, Streams
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home
    from images.pull import Told


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
    if parsed.explain:
        from engine import outline

        if parsed.explain == "sh":
            print(outline.script(here, made), end="")
            return 0
        for line in outline.steps(here, made):
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
        from engine import outline

        print(outline.script(here, made), end="")
        explain(f"container {made.name} is made; the script starts it by hand")
        return 0
    from engine import start

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
            code = follow(here, made, session, streams, parsed, proxied=proxied)
    except PyctrError as error:
        if session is None:
            if error.exit_code == 1:  # to a person who typed one command, it is pyctr that failed
                error.exit_code = 125
            if parsed.rm:
                _take_away(here, made)
        raise
    return left(0) if code == DETACHED else code


def _take_away(here: Home, made: Container) -> None:
    """A container that could not be started, unless somebody else has started it meanwhile."""
    from engine import containers, reconcile
    from engine.erase import erase_locked

    fresh = containers.get(here, made.id)
    if fresh is None or reconcile.mend(here, fresh) or fresh.status in containers.UP:
        return
    erase_locked(here, fresh, volumes="free")


_PLACES = """\
Volumes are folders that bypass the container's union file system: what is written there stays
when the container is removed, is shared with --volumes-from, and is in no image. The container
stays as well, until `pyctr rm`: it can be started again with everything in it.
"""

_RUN_ONLY = (
    option("-d --detach", "Leave it running and print its id"),
    SIG_PROXY,
    DETACH_KEYS,
)

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
)  # fmt: skip
