"""Commands about this host and about anything."""

from __future__ import annotations

from cli import output
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


_FORMAT = value("-f --format", "TEMPLATE", "A Go template, or json")

COMMANDS: tuple[Command, ...] = (
    Command(
        "inspect",
        "OBJECT [OBJECT...]",
        "Show everything about containers, images or volumes, as JSON.",
        _inspect,
        (_FORMAT, value("--type", "container|image|volume", "Only this kind", read=_kind)),
        at_least=1,
        at_most=-1,
        examples=("pyctr inspect --format '{{.State.Status}}' web",),
    ),
    Command(
        "info",
        "",
        "Show facts about this host.",
        _info,
        (_FORMAT,),
        examples=(
            "pyctr info",
            "pyctr info --format '{{.RootDir}}'",
        ),
    ),
    Command("version", "", "Show the version.", _version, (_FORMAT,), examples=("pyctr version",)),
)
