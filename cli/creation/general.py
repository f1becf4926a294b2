"""Flags about the program and its surroundings: streams, names, environment, user."""

from __future__ import annotations

from cli.creation import keyvalue, readers
from cli.errors import UsageError
from cli.options import Option, Parsed, option, several, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _pull(text: str) -> str:
    if text not in ("always", "missing", "never"):
        raise ValueError("it is always, missing or never")
    return text


def _trust(text: str) -> str:
    if text.lower() not in ("true", "1", "t"):
        raise UsageError("content trust is not supported", "nothing is signed or verified")
    return text


OPTIONS: tuple[Option, ...] = (
    value("--name", "NAME", "Name the container"),
    option("-i --interactive", "Keep standard input open"),
    option("-t --tty", "Give it a terminal"),
    several("-a --attach", "STREAM", "Attach to stdin, stdout or stderr only",
            read=readers.stream),
    option("--rm", "Remove the container and its anonymous volumes when it ends"),
    several("-e --env", "NAME=VALUE", "Set an environment variable", read=readers.env),
    several("--env-file", "FILE", "Read environment variables from a file"),
    value("-w --workdir", "PATH", "Working folder inside", read=readers.working_dir, default=""),
    value("-u --user", "USER[:GROUP]", "Run as this user", read=readers.user, default=""),
    several("--group-add", "GROUP", "Further groups"),
    value("--entrypoint", "COMMAND", "Instead of the image's entrypoint"),
    several("-l --label", "KEY=VALUE", "Attach a label", read=readers.label),
    several("--label-file", "FILE", "Read labels from a file"),
    value("--stop-signal", "SIGNAL", "The signal that asks it to stop", read=readers.signal,
          default=""),
    value("--stop-timeout", "SECONDS", "Patience before it is killed; -1 waits for ever",
          read=readers.seconds, default=10.0),
    value("--cidfile", "FILE", "Write the container's id to a file"),
    value("--pull", "always|missing|never", "When the image is pulled; never: base is not made of"
          " this machine's busybox either", read=_pull, default="missing"),
    option("-q --quiet", "Do not show that an image is pulled or made"),
    value("--platform", "SYSTEM/ARCHITECTURE", "Only if the image is for this platform",
          read=readers.platform, default=""),
    option("--disable-content-trust", "Nothing is verified; this is always so", kind="maybe",
           metavar="true", implied="true", read=_trust),
)  # fmt: skip


def attached(parsed: Parsed) -> tuple[str, ...]:
    """The streams that the command wants for itself: those of -a, otherwise all that there are."""
    if parsed.values.get("detach"):
        if parsed.attach:
            raise UsageError("conflicting options: --attach and --detach")
        return ()
    if parsed.attach:
        return tuple(name for name in readers.STREAMS if name in parsed.attach)
    return readers.STREAMS if parsed.interactive else readers.STREAMS[1:]


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide."""
    env = keyvalue.environment(parsed.env_file)
    return {
        "env": (*env, *map(readers.env_entry, parsed.env)),
        "working_dir": parsed.workdir,
        "user": parsed.user,
        "group_add": tuple(parsed.group_add),
        "tty": parsed.tty,
        "stdin_open": parsed.interactive,
        "attach": attached(parsed),
        "auto_remove": parsed.rm,
        "labels": keyvalue.labels(parsed.label_file) | dict(parsed.label),
        "stop_signal": parsed.stop_signal,
        "stop_timeout": parsed.stop_timeout,
    }
