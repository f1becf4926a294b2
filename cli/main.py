"""One run of `pyctr`: find the command, do it, say what went wrong, leave with the exit code.

The process ends with _exit(2) once its output is written: nothing is left to tear down, and
closing the database would wait for the disk.
"""

from __future__ import annotations

import os
import sys

from cli import commands, options
from cli.errors import UsageError
from kernel.errors import PyctrError

VERSION = "0.1.0"

_MAIN = """\
Usage:  pyctr [--root DIR] COMMAND

Containers from namespaces, cgroups and overlayfs, with volumes at their heart.

"""
_GLOBAL = (
    options.option("--root", "Where everything is kept", kind="value", metavar="DIR"),
    options.option("-v --version", "Show the version"),
)


def run() -> None:
    """The console command. Never returns."""
    _open_standard_streams()
    code = 1
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
    except PermissionError as error:
        hint = "" if os.geteuid() == 0 else "pyctr needs root: try sudo"
        tell(PyctrError("permission denied", str(error), hint))
        return 125
    except BrokenPipeError:
        raise
    except OSError as error:
        tell(PyctrError("the system refused", str(error)))
        return 125


def tell(error: PyctrError) -> None:
    """The one place where errors are shown: what, why, and what to do."""
    lines = f"pyctr: {error}"
    if error.path and error.path not in lines:
        lines += f" ({error.path})"
    if error.hint:
        lines += f"\n  hint: {error.hint}"
    sys.stdout.flush()
    print(lines, file=sys.stderr)


def _dispatch(argv: list[str]) -> int:
    words = _global_options(list(argv))
    if words is None:
        return 0
    if not words or words[0] in ("help", "--help", "-h"):
        return _help(words[1:])
    noun, verb, length = commands.find(words)
    if not noun:
        return _unknown(words)
    command = commands.load(noun, verb)
    parsed = options.parse(command, words[length:])
    if parsed.help:
        print(options.help_text(command), end="")
        return 0
    return command.run(parsed) or 0


def _global_options(words: list[str]) -> list[str] | None:
    """Takes --root off the front; None after --version."""
    while words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        word = words.pop(0)
        name, sign, value = word.partition("=")
        if word in ("-v", "--version"):
            print(f"pyctr version {VERSION}")
            return None
        if name != "--root":
            raise UsageError(f"unknown flag: {name}", "", "see pyctr --help")
        if not sign and not words:
            raise UsageError("flag needs an argument: --root")
        os.environ["PYCTR_ROOT"] = os.path.abspath(value if sign else words.pop(0))
        os.environ.pop("PYCTR_RUN", None)
    return words


def _help(words: list[str]) -> int:
    noun, verb, _ = commands.find(words)
    if noun:
        print(options.help_text(commands.load(noun, verb)), end="")
        return 0
    if words:
        return _unknown(words)
    lines = [_MAIN.rstrip("\n"), "", "Common commands:"]
    for short in (
        "run",
        "create",
        "start",
        "stop",
        "restart",
        "rm",
        "ps",
        "logs",
        "exec",
        "commit",
    ):
        noun, verb = commands.SHORT[short]
        lines.append(f"  {short:<12}{commands.NOUNS[noun][verb]}")
    lines += ["", "All commands, by what they are about:"]
    for noun, verbs in commands.NOUNS.items():
        lines.append(f"  {noun:<12}{' '.join(verbs)}")
    lines += ["", "Options:"]
    lines += [f"  {', '.join(one.names):<16}{one.help}" for one in _GLOBAL]
    lines += ["", "pyctr COMMAND --help explains a command. Begin with:", ""]
    lines += ["  pyctr run --rm -v data:/data base sh -c 'date >> /data/log; cat /data/log'"]
    print("\n".join(lines))
    return 0


def _unknown(words: list[str]) -> int:
    first = words[0]
    if first in commands.NOUNS:
        if len(words) == 1 or words[1] in ("--help", "-h"):
            print(f"Usage:  pyctr {first} COMMAND\n\nCommands:")
            for verb, summary in commands.NOUNS[first].items():
                print(f"  {verb:<12}{summary}")
            return 0
        raise UsageError(f"pyctr {first} has no command {words[1]!r}", "", f"see pyctr {first}")
    raise UsageError(f"pyctr has no command {first!r}", "", "see pyctr --help")


if __name__ == "__main__":
    run()
