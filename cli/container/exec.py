"""exec: a further process in a running container."""

from __future__ import annotations

from cli import terminal
from cli.creation import keyvalue, readers
from cli.errors import UsageError
from cli.flags import DETACH_KEYS, EXPLAIN
from cli.options import Command, Parsed, option, several, value
from cli.shared import explain, left, need_terminal
from engine import home
from engine.attach import DETACHED, Streams


def _exec(parsed: Parsed) -> int:
    from engine.execute import ExecRequest, execute

    if parsed.explain == "sh":
        raise UsageError(
            "--explain=sh needs run, create or start", "", "nsenter(1) is exec by hand"
        )
    word, *args = parsed.words
    if parsed.interactive and parsed.tty and not parsed.detach:
        need_terminal()
    wanted = ExecRequest(
        tuple(args),
        (*keyvalue.environment(parsed.env_file), *map(readers.env_entry, parsed.env)),
        parsed.workdir or "",
        parsed.user or "",
        parsed.tty,
        parsed.interactive,
        parsed.detach,
        terminal.size(),
        parsed.privileged,
    )
    stdin = parsed.interactive and not parsed.detach
    streams = Streams(
        stdin=0 if stdin else -1, tty=parsed.tty, size=terminal.size, keys=parsed.detach_keys
    )
    with terminal.Raw(0 if stdin and parsed.tty else -1):
        on_line = explain if parsed.explain else None
        code = execute(home.find(), word, wanted, streams, on_line)
    return left(1) if code == DETACHED else code


COMMANDS: tuple[Command, ...] = (
    Command(
        "exec",
        "CONTAINER COMMAND [ARG...]",
        "Run a command in a running container.",
        _exec,
        (
            option("-i --interactive", "Keep standard input open"),
            option("-t --tty", "Give it a terminal"),
            option("-d --detach", "Do not wait for it"),
            option("--privileged", "Give it all capabilities"),
            several("-e --env", "NAME=VALUE", "Set an environment variable", read=readers.env),
            several("--env-file", "FILE", "Read environment variables from a file"),
            value("-w --workdir", "PATH", "Working folder inside", read=readers.working_dir),
            value("-u --user", "USER[:GROUP]", "Run as this user", read=readers.user),
            DETACH_KEYS,
            EXPLAIN,
        ),
        at_least=2,
        at_most=-1,
        verbatim=True,
        examples=("pyctr exec -it web sh",),
    ),
)  # fmt: skip
