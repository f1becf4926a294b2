"""inspect of anything."""

from __future__ import annotations

from cli import looking
from cli.errors import UsageError
from cli.options import Command, Parsed, option, value
from engine import describe, home, reconcile
from kernel.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.home import Home

_KINDS = ("container", "image", "volume", "network")


def _inspect(parsed: Parsed) -> int:
    here = home.find()
    kinds = (parsed.type,) if parsed.type else _KINDS

    def described(word: str) -> dict[str, Any]:
        return _one(here, word, kinds, sized=parsed.size)

    return looking.inspect(parsed.words, described, parsed.format or "")


def _one(here: Home, word: str, kinds: tuple[str, ...], *, sized: bool) -> dict[str, Any]:
    for kind in kinds:
        try:
            if kind == "container":
                return describe.container(here, reconcile.find(here, word), sized=sized)
            if kind == "image":
                return describe.image(here, here.images.resolve(word))
            if kind == "volume":
                return describe.volume(here, here.volumes.get(word))
            from engine import describe_network, networks

            return describe_network.network(here, networks.find_any(here, word))
        except NotFound:
            continue
    raise NotFound(f"no such object: {word}", f"there is no {' or '.join(kinds)} of that name")


def _kind(text: str) -> str:
    if text in _KINDS:
        return text
    if text in ("config", "node", "plugin", "secret", "service", "task"):
        raise UsageError(f"type {text} is not supported", "pyctr has neither swarm nor plugins")
    raise ValueError(f"it is one of {', '.join(_KINDS)}")


COMMANDS: tuple[Command, ...] = (
    Command(
        "inspect",
        "OBJECT [OBJECT...]",
        "Show everything about containers, images, volumes or networks, as JSON.",
        _inspect,
        (
            looking.FORMAT,
            option("-s --size", "Also how much containers have written"),
            value("--type", "container|image|network|volume", "Only this kind", read=_kind),
        ),
        at_least=1,
        at_most=-1,
        examples=("pyctr inspect --format '{{.State.Status}}' web",),
    ),
)
