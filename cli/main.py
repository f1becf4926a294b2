"""One run of `pyctr`: find the command, do it, say what went wrong, leave with the exit code.

The process ends with _exit(2) once its output is written: nothing is left to tear down, and
closing the database would wait for the disk.
"""

from __future__ import annotations

import os
import sys

from cli import commands, options
from cli.errors import UsageError
from kernel.errors import PyctrError, printable

VERSION = "0.1.0"

_DETAILS = """\
Containers from namespaces, cgroups and overlayfs, with volumes at their heart.
"""
_EMFILE = 24  # errno(3)
_NO_DAEMON = "pyctr has no daemon to connect to: it does its work itself"
GLOBAL = options.Command(
    "",
    "COMMAND",
    "",
    lambda _parsed: None,
    (
        options.value("--root", "FOLDER", "Where everything is kept"),
        options.value("--config", "FILE", "The configuration of this host"),
        options.option("-v --version", "Show the version"),
        options.refused("-c --context", _NO_DAEMON),
        options.refused("-D --debug", "pyctr run --explain shows every step of a start"),
        options.refused("-H --host", _NO_DAEMON),
        options.refused("-l --log-level", "pyctr has no daemon that logs"),
        options.refused("--tls", _NO_DAEMON),
        options.refused("--tlscacert", _NO_DAEMON),
        options.refused("--tlscert", _NO_DAEMON),
        options.refused("--tlskey", _NO_DAEMON),
        options.refused("--tlsverify", _NO_DAEMON),
    ),
    at_most=-1,
    verbatim=True,
)
# Commands with flags whose default may be configured.
_CONFIGURED = ("attach", "build", "create", "exec", "run", "start")
_COMMON = ("run", "create", "start", "stop", "restart", "rm", "ps", "logs", "exec", "commit")


def run() -> None:
    """The console command. Never returns."""
    _open_standard_streams()
    code = 1
    # Bytes that are no text (PEP 383) leave as they came.
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 141
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        try:
            sys.stderr.flush()
        finally:
            if sys.exc_info()[0] is None:
                os._exit(code)


def _open_standard_streams() -> None:
    """Those that the caller closed lead to /dev/null: another file must not take their numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)


def main(argv: list[str]) -> int:
    """Does one command line and returns the exit code. Expected failures are told on stderr."""
    try:
        return _dispatch(argv)
    except PyctrError as error:
        tell(error)
        return error.exit_code
    except BrokenPipeError:
        raise
    except (OSError, MemoryError) as error:
        if getattr(error, "errno", 0) == _EMFILE:  # what it had open makes room for the next line
            os.closerange(3, 1 << 16)
        from cli import refusals

        tell(refusals.explained(error))
        return 125
    except Exception as error:
        from engine.home import as_failure

        told = as_failure(error)
        if told is None:
            raise
        tell(told)
        return told.exit_code


def tell(error: PyctrError) -> None:
    """The one place where errors are shown: what, why, and what to do."""
    lines = f"pyctr: {error}"
    if error.path and error.path not in lines:
        lines += f" ({error.path})"
    if error.hint:
        lines += f"\n  hint: {error.hint}"
    sys.stdout.flush()
    print(printable(lines, "\n"), file=sys.stderr)


def _dispatch(argv: list[str]) -> int:
    before = options.parse(GLOBAL, argv)
    words = before.words
    if before.version:
        print(f"pyctr version {VERSION}")
        return 0
    if before.help or not words or words[0] == "help":
        return _help(words[1:] if words and words[0] == "help" else words)
    choose(before)
    noun, verb, length = commands.find(words)
    if not noun:
        return _noun(words)
    command = commands.load(noun, verb)
    parsed = options.parse(command, words[length:])
    if parsed.help:
        print(options.help_text(command), end="")
        return 0
    parsed.before = before
    if command.name in _CONFIGURED:
        from cli import defaults

        defaults.fill(parsed)
    return command.run(parsed) or 0


def choose(before: options.Parsed) -> None:
    """--root and --config, as if the environment said so: the rest reads it there."""
    if before.config is not None:
        os.environ["PYCTR_CONFIG"] = os.path.abspath(before.config)
    if before.root is not None:
        os.environ["PYCTR_ROOT"] = os.path.abspath(before.root)
        os.environ.pop("PYCTR_RUN", None)  # it belongs to another root folder


def _help(words: list[str]) -> int:
    noun, verb, _ = commands.find(words)
    if noun:
        print(options.help_text(commands.load(noun, verb)), end="")
        return 0
    if words:
        return _noun(words[:2])
    lines = ["Usage:  pyctr [OPTIONS] COMMAND", "", _DETAILS, "Common commands:"]
    for short in _COMMON:
        noun, verb = commands.SHORT[short]
        lines.append(f"  {short:<12}{commands.NOUNS[noun][verb]}")
    lines += ["", "All commands, by what they are about:"]
    for noun, verbs in commands.NOUNS.items():
        lines += options.hanging(f"  {noun:<12}", " ".join(verbs))
    lines += ["", *options.option_lines(GLOBAL.options)]
    lines += ["", "pyctr COMMAND --help explains a command. Begin with:", ""]
    lines += ["  pyctr run --rm -v data:/data base sh -c 'date >> /data/log; cat /data/log'"]
    print("\n".join(lines))
    return 0


def _noun(words: list[str]) -> int:
    """`pyctr container`: its commands; otherwise there is no such command."""
    first = words[0]
    refused, why = commands.refusal(words)
    if refused:
        raise UsageError(f"the command {refused} is not supported", why)
    if first not in commands.NOUNS:
        raise UsageError(f"pyctr has no command {first!r}", "", "see pyctr --help")
    if len(words) > 1 and words[1] not in ("--help", "-h", "help"):
        raise UsageError(f"pyctr {first} has no command {words[1]!r}", "", f"see pyctr {first}")
    lines = [f"Usage:  pyctr {first} COMMAND", "", "Commands:"]
    verbs = commands.NOUNS[first]
    width = max(map(len, verbs)) + 2
    lines += [f"  {verb:<{width}}{summary}" for verb, summary in verbs.items()]
    lines += ["", f"pyctr {first} COMMAND --help explains a command."]
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    run()
