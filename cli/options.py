"""Reading a command line, and the help that goes with it.

A command is data: its options, what follows them, and the function that does it. Parsing is what
Docker's users know: ``-it``, ``-m64m``, ``--name=x``, ``--rm=false``, ``--`` ends the options, and
for run, create and exec everything after the first word that is no option belongs to the
container. An unknown flag is an error that names it. :mod:`argparse` can do most of this, at six
milliseconds for its import, in a command that takes forty.
"""

from __future__ import annotations

from cli.errors import UsageError
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Option(Record):
    """One flag: ``names`` as typed, short first; ``key`` in the result.

    A second long name is an older spelling: it is understood and not shown. ``kind`` is flag (true
    or false), value (the last one counts), list (all of them), or maybe (a value only after ``=``,
    otherwise ``implied``), or refused: known, not supported, and ``help`` says why. ``read`` turns
    the word into a value and raises ValueError or a PyctrError. ``metavar`` also tells completion
    what to offer (see :mod:`cli.completion`): words in lower case with ``|`` are all that there is.
    """

    names: tuple[str, ...]
    help: str
    kind: str = "flag"
    metavar: str = ""
    read: Callable[[str], Any] = str
    default: Any = None
    implied: str = ""

    @property
    def shown(self) -> tuple[str, ...]:
        """The names that help shows: the short one if there is one, and the long one."""
        long = [name for name in self.names if name.startswith("--")]
        return tuple(name for name in self.names if name not in long[1:])

    @property
    def key(self) -> str:
        """The long name without dashes: ``volumes_from``."""
        for name in self.names:
            if name.startswith("--"):
                break
        return name.lstrip("-").replace("-", "_")


class Command(Record):
    """One command. ``words`` describes what follows the options; ``at_least`` and ``at_most`` count
    them (``at_most`` -1: any number). ``verbatim`` leaves everything after the first word alone.
    ``groups`` are the same options under headings, for the help of a command that has many.
    ``verb`` is what it is called under its noun, where that is another word (`ps`: `container ls`).
    """

    name: str
    words: str
    summary: str
    run: Callable[[Parsed], int | None]
    options: tuple[Option, ...] = ()
    at_least: int = 0
    at_most: int = 0
    verbatim: bool = False
    details: str = ""
    examples: tuple[str, ...] = ()
    verb: str = ""
    groups: tuple[tuple[str, tuple[Option, ...]], ...] = ()


class Parsed:
    """Values by key (``parsed.name``), the words, and which keys were given (``parsed.given``).

    ``before`` is what stood before the command: the global flags.
    """

    def __init__(
        self, command: Command, values: dict[str, Any], words: list[str], given: frozenset[str]
    ) -> None:
        self.command = command
        self.values = values
        self.words = words
        self.given = given
        self.before: Parsed | None = None

    def __getattr__(self, key: str) -> Any:
        try:
            return self.values[key]
        except KeyError:
            raise AttributeError(key) from None


HELP = Option(("--help",), "Show this help")


def option(names: str, help: str, **more: Any) -> Option:  # noqa: A002 - the field's name
    """``option("-n --name", "...")``: names parted by spaces."""
    return Option(tuple(names.split()), help, **more)


def value(names: str, metavar: str, help: str, **more: Any) -> Option:  # noqa: A002
    """An option whose last value counts."""
    return option(names, help, kind="value", metavar=metavar, **more)


def several(names: str, metavar: str, help: str, **more: Any) -> Option:  # noqa: A002
    """An option that may be given many times."""
    return option(names, help, kind="list", metavar=metavar, **more)


def refused(names: str, why: str) -> Option:
    """A flag of Docker's that is not supported: whoever types it is told why."""
    return option(names, why, kind="refused")


def parse(command: Command, argv: Sequence[str]) -> Parsed:
    """Reads a command line without the command's name. UsageError names the word at fault."""
    by_name = {name: one for one in (*command.options, HELP) for name in one.names}
    by_name.setdefault("-h", HELP)
    values: dict[str, Any] = {one.key: _unset(one) for one in by_name.values()}
    given: set[str] = set()
    words: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if word.startswith("--"):
            given.add(_long(command, by_name, word, rest, values))
        elif word.startswith("-") and len(word) > 1:
            given |= _short(command, by_name, word, rest, values)
        else:
            words.append(word)
            if command.verbatim:
                words += rest
                break
    if not values["help"]:
        _count(command, words)
    return Parsed(command, values, words, frozenset(given))


def _unset(one: Option) -> Any:
    """What a flag is that nobody gave."""
    if one.kind == "list":
        return []
    return bool(one.default) if one.kind == "flag" else one.default


def _long(
    command: Command,
    by_name: dict[str, Option],
    word: str,
    rest: list[str],
    values: dict[str, Any],
) -> str:
    """Reads one long flag; returns its key."""
    name, sign, value = word.partition("=")
    one = by_name.get(name)
    if one is None:
        raise _usage(command, f"unknown flag: {name}", _close(name, by_name))
    if one.kind == "refused":
        raise _usage(command, f"the flag {name} is not supported", one.help)
    if one.kind == "flag":
        values[one.key] = _boolean(command, name, value) if sign else True
    elif one.kind == "maybe":
        _store(command, one, name, value if sign else one.implied, values)
    else:
        _store(command, one, name, value if sign else _next(command, name, rest), values)
    return one.key


def _short(
    command: Command,
    by_name: dict[str, Option],
    word: str,
    rest: list[str],
    values: dict[str, Any],
) -> set[str]:
    """Reads a word of short flags; returns their keys."""
    letters, given = word[1:], set()
    while letters:
        name, letters = f"-{letters[0]}", letters[1:]
        one = by_name.get(name)
        if one is None:
            inside = f" in {word}" if len(word) > 2 else ""
            raise _usage(command, f"unknown shorthand flag: {name}{inside}")
        if one.kind == "refused":
            raise _usage(command, f"the flag {name} is not supported", one.help)
        given.add(one.key)
        if one.kind == "flag":
            if letters.startswith("="):
                values[one.key] = _boolean(command, name, letters[1:])
                break
            values[one.key] = True
            continue
        if one.kind == "maybe" and not letters.startswith("="):
            _store(command, one, name, one.implied, values)
            continue
        value = letters.removeprefix("=") if letters else _next(command, name, rest)
        _store(command, one, name, value, values)
        break
    return given


def _next(command: Command, name: str, rest: list[str]) -> str:
    if not rest:
        raise _usage(command, f"flag needs an argument: {name}")
    return rest.pop(0)


def _store(command: Command, one: Option, name: str, word: str, values: dict[str, Any]) -> None:
    try:
        value = one.read(word)
    except ValueError as error:
        raise _usage(command, f"invalid argument {word!r} for {name}", str(error)) from None
    if one.kind == "list":
        values[one.key].append(value)
    else:
        values[one.key] = value


def _boolean(command: Command, name: str, word: str) -> bool:
    if word.lower() in ("true", "1", "t"):
        return True
    if word.lower() in ("false", "0", "f"):
        return False
    raise _usage(command, f"invalid argument {word!r} for {name}", "it is true or false")


def _count(command: Command, words: list[str]) -> None:
    wanted = "argument" if command.at_least == 1 else "arguments"
    if len(words) < command.at_least:
        raise _usage(command, f"pyctr {command.name} needs at least {command.at_least} {wanted}")
    if 0 <= command.at_most < len(words):
        extra = words[command.at_most]
        raise _usage(command, f"pyctr {command.name} does not take {extra!r}", "too many arguments")


def _close(name: str, by_name: dict[str, Option]) -> str:
    known = [own for own, one in by_name.items() if one.kind != "refused"]
    close = [own for own in known if own.startswith(name) or name.startswith(own + "-")]
    return f"did you mean {close[0]}?" if close and len(name) > 3 else ""


def _usage(command: Command, what: str, why: str = "") -> UsageError:
    name = f"pyctr {command.name}".rstrip()
    return UsageError(what, why, f"see {name} --help")


def help_text(command: Command) -> str:
    """What `pyctr COMMAND --help` prints."""
    flags = " [OPTIONS]" if command.options else ""
    lines = [f"Usage:  pyctr {command.name}{flags} {command.words}".rstrip(), ""]
    lines += [command.summary, ""]
    if command.details:
        lines += [command.details.strip(), ""]
    for heading, options in command.groups or (("Options", command.options),):
        shown = option_lines(options, heading)
        lines += [*shown, ""] if shown else []
    if command.examples:
        lines += ["Examples:", *(f"  {example}" for example in command.examples), ""]
    return "\n".join(lines)


def option_lines(options: tuple[Option, ...], heading: str = "Options") -> list[str]:
    """The help of flags below a heading; nothing if all are refused."""
    heads = {}
    for one in options:
        if one.kind != "refused":
            short = f"{one.shown[0]}, " if len(one.shown) > 1 else "    "
            value = f"[={one.metavar}]" if one.kind == "maybe" else f" {one.metavar}".rstrip()
            heads[f"  {short}{one.shown[-1]}{value}"] = one.help
    if not heads:
        return []
    width = min(34, max(map(len, heads))) + 2
    lines = [f"{heading}:"]
    for head, text in heads.items():
        if len(head) >= width:  # its help begins on the next line
            lines.append(head)
        lines += hanging(f"{head:<{width}}" if len(head) < width else " " * width, text)
    return lines


def hanging(head: str, text: str) -> list[str]:
    """Lines of ``head`` and ``text``; further lines are indented by the length of the head."""
    width = len(head)
    lines = [""]
    for word in text.split():
        if lines[-1] and width + len(lines[-1]) + 1 + len(word) > 98:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return [head + lines[0], *(" " * width + line for line in lines[1:])]
