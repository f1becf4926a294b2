"""Shell completion: what may follow, made from the commands themselves.

The scripts for bash, zsh and fish are small: they hand the words that were typed to
`pyctr __complete`, which answers with one candidate a line (the whole word, a tab, a description),
and with ``:files`` or ``:folders`` where the shell completes paths itself.

What a place takes is read from the notation that help shows. ``CONTAINER [CONTAINER...]`` are
containers, ``none|host`` is one of two words, ``FILE|-`` is a file.
"""

from __future__ import annotations

import os

from cli import commands, options
from cli.errors import UsageError
from cli.options import Command, Option, Parsed
from engine import home
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engine.home import Home

    Candidates = list[tuple[str, str]]

FILES, FOLDERS = ":files", ":folders"

# Containers in which states a command is for; others take any.
_STATES = {
    **dict.fromkeys(("attach", "exec", "kill", "pause", "stop", "top"), ("running",)),
    "start": ("created", "exited"),
    "unpause": ("paused",),
    "wait": ("running", "paused"),
}


def complete(words: list[str]) -> list[str]:
    """The lines for what was typed after `pyctr`; the last word is the one being typed."""
    from cli import main

    *before, current = words or [""]
    place = _place(main.GLOBAL, before)
    if place.option is None and place.words:
        main.choose(options.parse(main.GLOBAL, before))
        return _lines(*_in_command(place.words, current))
    if place.option is not None or current.startswith("-"):
        return _lines(_flag_or_value(main.GLOBAL, place, current), current)
    return _lines(_first_words(), current)


def _lines(candidates: Candidates, current: str) -> list[str]:
    return [
        f"{word}\t{help_}".rstrip("\t")
        for word, help_ in candidates
        if word in (FILES, FOLDERS) or word.startswith(current)
    ]


def _first_words() -> Candidates:
    shorts = [
        (word, commands.NOUNS[noun][verb])
        for word, (noun, verb) in commands.SHORT.items()
        if verb in commands.NOUNS[noun]
    ]
    return [*shorts, *((noun, f"pyctr {noun} COMMAND") for noun in commands.NOUNS), _HELP]


_HELP = ("help", "Explain a command")


def _in_command(words: list[str], current: str) -> tuple[Candidates, str]:
    """Candidates after the words of a command, and the word that they complete."""
    if words[0] == "help":
        return (_first_words() if len(words) == 1 else _verbs(words[1])), current
    noun, verb, length = commands.find(words)
    if not noun:
        return (_verbs(words[0]) if len(words) == 1 else []), current
    command = commands.load(noun, verb)
    place = _place(command, words[length:])
    if place.option is None and not current.startswith("-"):
        return _positional(command, verb, len(place.words)), current
    if command.verbatim and place.words:
        return [], current
    return _flag_or_value(command, place, current), current


def _verbs(noun: str) -> Candidates:
    return list(commands.NOUNS.get(noun, {}).items())


class _Place:
    """Where the cursor is: after how many words, and whether a flag waits for its value."""

    def __init__(self, words: list[str], option: Option | None) -> None:
        self.words = words
        self.option = option


def _place(command: Command, before: list[str]) -> _Place:
    by_name = {name: one for one in command.options for name in one.names}
    words: list[str] = []
    rest = list(before)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return _Place([*words, *rest], None)
        if not word.startswith("-") or word == "-":
            words.append(word)
            if command.verbatim:
                return _Place([*words, *rest], None)
            continue
        one = _waiting(by_name, word)
        if one is not None:
            if not rest:
                return _Place(words, one)
            rest.pop(0)
    return _Place(words, None)


def _waiting(by_name: dict[str, Option], word: str) -> Option | None:
    """The flag in ``word`` that takes the next word as its value."""
    if word.startswith("--"):
        one = by_name.get(word)
        return one if one is not None and one.kind in ("value", "list") else None
    for at, letter in enumerate(word[1:], 2):
        one = by_name.get(f"-{letter}")
        if one is not None and one.kind in ("value", "list"):
            return None if word[at:] else one
    return None


def _flag_or_value(command: Command, place: _Place, current: str) -> Candidates:
    if place.option is not None:
        return _values(place.option.metavar)
    name, sign, _ = current.partition("=")
    if sign and current.startswith("--"):
        one = next((one for one in command.options if name in one.names), None)
        if one is None:
            return []
        words = _values("true|false" if one.kind == "flag" else one.metavar)
        whole = [(f"{name}={word}", text) for word, text in words if word[0] != ":"]
        return [*whole, *(pair for pair in words if pair[0][0] == ":")]
    shown = [one for one in (*command.options, options.HELP) if one.kind != "refused"]
    return [(one.shown[-1], one.help) for one in shown]


def _positional(command: Command, verb: str, index: int) -> Candidates:
    """What the word of that number is, by the notation of the command."""
    tokens = [token for token in command.words.split() if token != "..."]
    if not tokens or (command.verbatim and index >= len(tokens)):
        return []
    if index >= len(tokens):
        if "..." not in tokens[-1]:
            return []
        index = -1
    return _values(tokens[index], _STATES.get(verb, ()))


def _values(notation: str, states: tuple[str, ...] = ()) -> Candidates:
    """Candidates for one token of the notation."""
    made: Candidates = []
    bare = notation.replace("...", "")
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    for part in bare.split("|"):
        kind, colon, _ = part.partition("[")[0].partition(":")
        source = _SOURCES.get(kind)
        if source is not None:
            made += [(f"{word}{colon}", text) for word, text in source(states)]
        elif colon and kind.upper() in _SOURCES:  # container:NAME
            named = _SOURCES[kind.upper()](states)
            made += [(f"{kind}:{word}", text) for word, text in named]
        elif not colon and kind[:1].isalpha() and kind == kind.lower():
            made.append((kind, ""))
    return made


# -- what there is -------------------------------------------------------------------------


def _asked(query: Callable[[Home], Iterable[tuple[str, str]]]) -> Candidates:
    """Asks the database, if there is one; completion makes none, and never fails."""
    here = home.find()
    if not os.path.exists(f"{here.root}/state.db"):
        return []
    return sorted(query(here))


def _containers(states: tuple[str, ...]) -> Candidates:
    from engine import containers

    return _asked(
        lambda here: (
            (one.name, f"{one.status}, {one.image}")
            for one in containers.listing(here)
            if not states or one.status in states
        )
    )


def _images(_states: tuple[str, ...]) -> Candidates:
    def query(here: Home) -> Iterable[tuple[str, str]]:
        found = here.images.listing()
        yield from {(one.reference.familiar, "image") for one in found if one.reference}

    return _asked(query)


def _volumes(_states: tuple[str, ...]) -> Candidates:
    def query(here: Home) -> Iterable[tuple[str, str]]:
        names = here.db.execute("SELECT name FROM volumes WHERE NOT anonymous")
        return [(str(name), "volume") for (name,) in names]

    return _asked(query)


def _networks(_states: tuple[str, ...]) -> Candidates:
    def query(here: Home) -> Iterable[tuple[str, str]]:
        names = {str(name) for (name,) in here.db.execute("SELECT name FROM networks")}
        return [(name, "network") for name in names - {"bridge"}]

    return [("bridge", "network"), *_asked(query)]


def _anything(states: tuple[str, ...]) -> Candidates:
    return [*_containers(states), *_images(()), *_volumes(())]


def _signals(_states: tuple[str, ...]) -> Candidates:
    from kernel import signals

    return [(name.removeprefix("SIG"), "") for name in sorted(signals.names())]


def _capabilities(_states: tuple[str, ...]) -> Candidates:
    from runtime import capabilities

    return [("ALL", ""), *((name.removeprefix("CAP_"), "") for name in capabilities.NAMES)]


_SOURCES: dict[str, Callable[[tuple[str, ...]], Candidates]] = {
    "CAPABILITY": _capabilities,
    "CONTAINER": _containers,
    "FILE": lambda _states: [(FILES, "")],
    "FOLDER": lambda _states: [(FOLDERS, "")],
    "IMAGE": _images,
    "NETWORK": _networks,
    "OBJECT": _anything,
    "SIGNAL": _signals,
    "TEMPLATE": lambda _states: [("json", ""), ("table", "")],
    "VOLUME": _volumes,
}


# -- the scripts ---------------------------------------------------------------------------

_BASH = r"""# Completion of pyctr for bash. Load it with: source <(pyctr completion bash)
_pyctr() {
    # bash parts words at = and : as well; put together what was typed without a space
    local line=${COMP_LINE:0:COMP_POINT} words=() word own="" i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        local start=0
        if [[ $i -eq 0 || $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            start=1
        fi
        [[ $i -eq $COMP_CWORD ]] && word=$line own=$line
        line=${line#"$word"}
        if ((start)); then words+=("$word"); else words[-1]+=$word; fi
    done
    [[ $own == [=:] ]] && own=""
    local current=${words[-1]}
    local before=${current%"$own"} candidate
    COMPREPLY=()
    while IFS=$'\t' read -r candidate _; do
        case $candidate in
        :files | :folders)
            local kind=f
            [[ $candidate == :folders ]] && kind=d
            compopt -o filenames 2>/dev/null
            while IFS= read -r candidate; do
                COMPREPLY+=("$candidate")
            done < <(compgen -"$kind" -- "$own")
            ;;
        *)
            [[ $candidate == *[:=] ]] && compopt -o nospace 2>/dev/null
            COMPREPLY+=("${candidate#"$before"}")
            ;;
        esac
    done < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
}
complete -F _pyctr pyctr
"""

_ZSH = r"""#compdef pyctr
# Completion of pyctr for zsh. Load it with: source <(pyctr completion zsh)
_pyctr() {
    local line candidate
    local -a candidates descriptions open
    for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}"; do
        candidate=${line%%$'\t'*}
        case $candidate in
        '') ;;
        :files) compset -P '*='; _files ;;
        :folders) compset -P '*='; _files -/ ;;
        *[:=]) open+=("$candidate") ;;
        *)
            candidates+=("$candidate")
            descriptions+=("$candidate  ${${line#*$'\t'}#$candidate}")
            ;;
        esac
    done
    (( $#open )) && compadd -S '' -- $open
    (( $#candidates )) && compadd -l -d descriptions -- $candidates
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _pyctr pyctr
[[ $funcstack[1] == _pyctr ]] && _pyctr
"""  # noqa: E501 - zsh wants it in one line

_FISH = r"""# Completion of pyctr for fish. Load it with: pyctr completion fish | source
function __pyctr_complete
    set -l current (commandline -ct)
    set -l words (commandline -opc)
    set -l flag (string match -r '^--[^=]*=' -- "$current")
    set -l path (string replace -r '^--[^=]*=' '' -- "$current")
    for line in (command $words[1] __complete -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path "$path" | string replace -r '^' -- "$flag"
            case :folders
                __fish_complete_directories "$path" | string replace -r '^' -- "$flag"
            case '*'
                echo -- $line
        end
    end
end
complete -c pyctr -f -a '(__pyctr_complete)'
"""

SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


def _completion(parsed: Parsed) -> int:
    (shell,) = parsed.words
    if shell not in SCRIPTS:
        raise UsageError(f"shell {shell!r} is not supported", f"pyctr knows {', '.join(SCRIPTS)}")
    print(SCRIPTS[shell], end="")
    return 0


def _complete(parsed: Parsed) -> int:
    try:
        print(*complete(parsed.words), sep="\n")
    except (PyctrError, OSError):  # nobody reads an error in the middle of typing
        return 1
    return 0


COMMANDS: tuple[Command, ...] = (
    Command(
        "completion",
        "bash|fish|zsh",
        "Print a completion script for a shell.",
        _completion,
        at_least=1,
        at_most=1,
        details="Load it in the file that your shell reads when it starts, or put it where it"
        " looks for\ncompletions: /etc/bash_completion.d/pyctr,"
        " /usr/share/zsh/vendor-completions/_pyctr, or\n"
        "/etc/fish/completions/pyctr.fish.",
        examples=(
            "source <(pyctr completion bash)",
            "pyctr completion fish > pyctr.fish",
        ),
    ),
    Command(
        "__complete",
        "-- WORD...",
        "What may follow these words; the completion scripts ask it.",
        _complete,
        at_most=-1,
        verbatim=True,
    ),
)
