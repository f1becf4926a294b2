"""events: what happened, and what happens now."""

from __future__ import annotations

import sys

from cli import filters, moments, templates
from cli.errors import UsageError
from cli.options import Command, Parsed, value
from cli.shared import FILTER, FORMAT, warn
from engine import history, home
from kernel.mapping import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.history import Event

_BY_BEGINNING = ("health_status", "exec_create", "exec_start")  # their names have more behind
_NO_SWARM = "pyctr has no swarm"
_REFUSED = {
    "config": _NO_SWARM,
    "daemon": "pyctr has no daemon",
    "node": _NO_SWARM,
    "plugin": "pyctr has no plugins",
    "secret": _NO_SWARM,
    "service": _NO_SWARM,
}


def _events(parsed: Parsed) -> int:
    here = home.find()
    here.db  # noqa: B018 - makes the root folder, which is watched
    since, until = parsed.since, parsed.until
    if since is not None and until is not None and until < since:
        raise UsageError("--until is before --since")
    wanted = _wanted(parsed.filter)
    shown = _shown(parsed.format or "")

    def lost() -> None:
        warn("events are missing: whoever reads this was too slow")

    for event in history.read(here, since=since, until=until, on_loss=lost):
        if event is None:
            sys.stdout.flush()
        elif wanted(event):
            print(shown(event))
    return 0


def _wanted(pairs: list[tuple[str, str]]) -> Callable[[Event], bool]:
    """Docker's rules: an object is meant by its name or the beginning of its id or name."""

    def object_(event: Event, word: str) -> bool:
        return event.identity.startswith(word) or event.attributes.get("name", "").startswith(word)

    def action(event: Event, word: str) -> bool:
        return event.action == word or (
            word in _BY_BEGINNING and event.action.startswith(f"{word}:")
        )

    def image(event: Event, word: str) -> bool:
        name = event.attributes.get("name" if event.kind == "image" else "image", "")
        return word in (event.identity, name, _without_tag(event.identity), _without_tag(name))

    pairs = [("event" if key == "action" else key, word) for key, word in pairs]
    return filters.combined(
        pairs,
        {
            "container": object_,
            "event": action,
            "image": image,
            "label": lambda event, word: filters.label(event.attributes, word),
            "network": object_,
            "scope": lambda _event, word: word == "local",
            "type": lambda event, word: event.kind == word,
            "volume": object_,
        },
        _REFUSED,
    )


def _without_tag(name: str) -> str:
    before, colon, after = name.rpartition(":")
    return before if colon and "/" not in after else name


def _shown(template: str) -> Callable[[Event], str]:
    if not template:
        return _line
    if template.startswith("table"):
        raise UsageError(
            "events come one by one, and make no table", "", "leave the word table out"
        )
    made = templates.compile_template(template.replace("\\t", "\t").replace("\\n", "\n"))
    return lambda event: made(_row(event))


def _line(event: Event) -> str:
    pairs = ", ".join(f"{key}={own}" for key, own in sorted(event.attributes.items()))
    more = f" ({pairs})" if pairs else ""
    return f"{moments.local(event.moment)} {event.kind} {event.action} {event.identity}{more}"


def _row(event: Event) -> templates.Row:
    """Docker's fields: their names in JSON are older than those in templates."""
    actor = {"ID": event.identity, "Attributes": Map(sorted(event.attributes.items()))}
    seconds = event.moment // 10**9
    older: dict[str, object] = {}
    if event.kind in ("container", "image"):
        older = {"status": event.action, "id": event.identity}
    if event.kind == "container":
        older["from"] = event.attributes.get("image", "")
    plain = {
        **older,
        "Type": event.kind,
        "Action": event.action,
        "Actor": actor,
        "scope": "local",
        "time": seconds,
        "timeNano": event.moment,
    }
    fields = {
        "Type": event.kind,
        "Action": event.action,
        "Actor": actor,
        "Scope": "local",
        "Time": seconds,
        "TimeNano": event.moment,
        "Status": older.get("status", ""),
        "ID": older.get("id", ""),
        "From": older.get("from", ""),
    }
    return templates.Row("event", fields, plain)


COMMANDS: tuple[Command, ...] = (
    Command(
        "events",
        "",
        "Show what happens to containers, images and volumes, as it happens.",
        _events,
        (
            value("--since", "TIME", "Also what happened since a moment (2026-01-31T12:00:00) or"
                  " how long ago (10m)", read=moments.read),
            value("--until", "TIME", "Up to a moment; without it, for ever", read=moments.read),
            FORMAT,
            FILTER,
        ),
        details="Filters: container, event, image, label, network, scope, type, volume.",
        examples=(
            "pyctr events --since 1h --until 0s",
            "pyctr events --since 1h --until 0s --filter event=die --format json",
        ),
    ),
)  # fmt: skip
