"""Commands about this host and about anything."""

from __future__ import annotations

from cli import commands, options, output
from cli.errors import UsageError
from cli.main import VERSION
from cli.options import Command, Parsed, value
from engine import describe, home, reconcile
from kernel.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.home import Home

_KINDS = ("container", "image", "volume")


def _inspect(parsed: Parsed) -> int:
    here = home.find()
    kinds = (parsed.type,) if parsed.type else _KINDS
    found = [_one(here, word, kinds) for word in parsed.words]
    output.objects(found, parsed.format or "")
    return 0


def _one(here: Home, word: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    for kind in kinds:
        try:
            if kind == "container":
                return describe.container(here, reconcile.find(here, word))
            if kind == "image":
                return describe.image(here, here.images.resolve(word))
            return describe.volume(here, here.volumes.get(word))
        except NotFound:
            continue
    raise NotFound(f"no such object: {word}", f"there is no {' or '.join(kinds)} of that name")


def _kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError(f"it is one of {', '.join(_KINDS)}")
    return text


def _info(parsed: Parsed) -> int:
    here = home.find()
    reconcile.mend_all(here)
    found = describe.about(here)
    if parsed.format:
        output.objects([found], parsed.format)
        return 0
    for key, own in found.items():
        shown = ", ".join(own) if isinstance(own, list) else own
        print(f"{key}: {shown}")
    return 0


def _version(parsed: Parsed) -> int:
    import os
    import platform

    found = {
        "Version": VERSION,
        "ApiVersion": "OCI runtime 1.2, OCI image 1.1",
        "Python": platform.python_version(),
        "Kernel": os.uname().release,
        "Os": "linux",
        "Arch": os.uname().machine,
    }
    if parsed.format:
        output.objects([found], parsed.format)
        return 0
    for key, own in found.items():
        print(f"{key + ':':<12}{own}")
    return 0


_BASH = """\
# Completion of pyctr for {shell}. Load it with: source <(pyctr completion {shell})
_pyctr() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} line="${{COMP_WORDS[*]:1:COMP_CWORD-1}}"
    local verb=${{COMP_WORDS[1]}} words=""
    case "$verb" in {nouns}) verb="$verb ${{COMP_WORDS[2]}}" ;; esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{first}"
    else
        case "$verb" in
{cases}
        esac
        if [[ "$cur" != -* ]]; then
            case "$verb" in
            run|create|rmi|tag|"image "*|"container run"|"container create")
                words=$(pyctr image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' 2>/dev/null) ;;
            "volume rm"|"volume inspect")
                words=$(pyctr volume ls -q 2>/dev/null) ;;
            {nouns}|"{nouns_only} ")
                ;;
            *)
                words=$(pyctr ps -a --format '{{{{.Names}}}}' 2>/dev/null) ;;
            esac
        fi
    fi
    [ "$COMP_CWORD" -eq 2 ] && case "${{COMP_WORDS[1]}}" in
{verbs}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _pyctr pyctr
"""


def _completion(parsed: Parsed) -> int:
    shell = parsed.words[0]
    if shell not in ("bash", "zsh"):
        raise UsageError(f"shell {shell!r} is not supported", "pyctr knows bash and zsh")
    if shell == "zsh":
        print("autoload -U +X bashcompinit && bashcompinit")
    print(completion_script(shell), end="")
    return 0


def completion_script(shell: str) -> str:
    """A script for the shell, made of what :mod:`cli.commands` knows."""
    cases = []
    for name, (noun, verb) in commands.SHORT.items():
        cases.append(f'            "{name}"|"{noun} {verb}") words="{_flags(noun, verb)}" ;;')
    for noun, verbs in commands.NOUNS.items():
        for verb in verbs:
            if (noun, verb) not in commands.SHORT.values():
                cases.append(f'            "{noun} {verb}") words="{_flags(noun, verb)}" ;;')
    verbs_of = [
        f'        {noun}) words="{" ".join(verbs)}" ;;' for noun, verbs in commands.NOUNS.items()
    ]
    return _BASH.format(
        shell=shell,
        nouns="|".join(commands.NOUNS),
        nouns_only=next(iter(commands.NOUNS)),
        first=" ".join([*commands.SHORT, *commands.NOUNS]),
        cases="\n".join(cases),
        verbs="\n".join(verbs_of),
    )


def _flags(noun: str, verb: str) -> str:
    command = commands.load(noun, verb)
    return " ".join(one.names[-1] for one in (*command.options, options.HELP))


_FORMAT = value("-f --format", "TEMPLATE", "A Go template, or json")

COMMANDS: tuple[Command, ...] = (
    Command(
        "inspect",
        "NAME [NAME...]",
        "Show everything about containers, images or volumes, as JSON.",
        _inspect,
        (_FORMAT, value("--type", "KIND", "container, image or volume", read=_kind)),
        at_least=1,
        at_most=-1,
        examples=("pyctr inspect --format '{{.State.Status}}' web",),
    ),
    Command("info", "", "Show facts about this host.", _info, (_FORMAT,)),
    Command("version", "", "Show the version.", _version, (_FORMAT,)),
    Command(
        "completion",
        "bash|zsh",
        "Print a completion script for a shell.",
        _completion,
        at_least=1,
        at_most=1,
        examples=("source <(pyctr completion bash)",),
    ),
)
