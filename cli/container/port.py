"""port: which ports of the host lead to a container."""

from __future__ import annotations

from cli.errors import UsageError
from cli.options import Command, Parsed
from engine import home, publishing, reconcile
from engine.errors import EngineError
from network import ports


def _port(parsed: Parsed) -> int:
    here = home.find()
    word, *rest = parsed.words
    wanted = _name(rest[0]) if rest else ""
    one = reconcile.find(here, word)
    found = publishing.bindings(here, one)
    if not wanted:
        for binding in found:
            print(f"{binding.name} -> {binding.place}")
        return 0
    places = [binding.place for binding in found if binding.name == wanted]
    if not places:
        raise EngineError(f"no public port '{wanted}' published for {one.name}", exit_code=1)
    print("\n".join(places))
    return 0


def _name(text: str) -> str:
    """``80`` or ``80/udp`` as ``80/tcp``, ``80/udp``."""
    try:
        (made,) = ports.parse_exposed(text)
    except ValueError as error:
        # Also more than one value to unpack: a range is no port.
        raise UsageError(f"invalid port {text!r}", str(error)) from None
    return made


COMMANDS: tuple[Command, ...] = (
    Command(
        "port",
        "CONTAINER [PORT[/PROTOCOL]]",
        "Show which ports of the host lead to a container, or to one of its ports.",
        _port,
        at_least=1,
        at_most=2,
        examples=("pyctr port web",),
    ),
)
