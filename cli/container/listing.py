"""ps: which containers there are."""

from __future__ import annotations

import time

from cli.creation.readers import positive
from cli.options import Command, Parsed, option, value
from cli.shared import FILTER, FORMAT
from engine import containers, health, home, reconcile, state
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.templates import Row
    from engine.containers import Container
    from engine.home import Home

_COLUMNS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}
_SIZE = {"Size": "SIZE"}
_MORE = {
    "CreatedAt": "CREATED AT",
    "HealthStatus": "HEALTH STATUS",
    "Labels": "LABELS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Mounts": "MOUNTS",
    "Networks": "NETWORKS",
    "State": "STATE",
}
_COMMAND, _MOUNT = 20, 15  # places that a table gives a command and a mount


def row(here: Home, one: Container, *, whole: bool, size: str | Callable[[], str] = "N/A") -> Row:
    """A container as a line of a table; ``whole`` shortens nothing."""
    from cli import output
    from cli.templates import Row
    from cli.templates.values import quote

    now = time.time()
    labels = one.settings.labels

    def command() -> str:
        first, *rest = one.settings.args
        words = " ".join([first, *(f"'{word}'" if " " in word else word for word in rest)])
        return quote(words if whole else output.ellipsis(words, _COMMAND))

    def mounts() -> str:
        names = [mount.source for mount in here.volumes.mounts(one.id) if mount.source]
        return ",".join(names if whole else [output.ellipsis(name, _MOUNT) for name in names])

    def ports() -> str:
        from engine import publishing

        return publishing.column(here, one)

    def volumes() -> str:
        return str(sum(mount.kind == "volume" for mount in here.volumes.mounts(one.id)))

    def networks() -> str:
        found = [endpoint.network.name for endpoint in here.networks.endpoints(one.id)]
        return ",".join(found) or one.settings.network

    return Row(
        "container",
        {
            "ID": one.id if whole else one.short_id,
            "Image": _image(one, whole=whole),
            "Command": command,
            "CreatedAt": lambda: _created_at(one),
            "HealthStatus": lambda: health.state(one).get("Status", ""),
            "Labels": ",".join(sorted(f"{key}={own}" for key, own in labels.items())),
            "LocalVolumes": volumes,
            "Mounts": mounts,
            "Names": one.name,
            "Networks": networks,
            "Ports": ports,
            "RunningFor": f"{units.show_age(now - one.created)} ago",
            "Size": size,
            "State": one.status,
            "Status": state.sentence(one, now),
        },
        Label=lambda key: labels.get(key, ""),
    )


def _created_at(one: Container) -> str:
    from cli import moments

    return moments.day_and_time(one.created)


def _size(here: Home, one: Container) -> str:
    """``2B (virtual 5MB)``: what it has written, and that with its image."""
    from engine import sizes

    found = sizes.of(here, one)
    return f"{units.show_bytes(found.writable)} (virtual {units.show_bytes(found.virtual)})"


def _image(one: Container, *, whole: bool) -> str:
    """As it was written; if that is an id, as long as the table's other ids."""
    digits = one.image.removeprefix("sha256:")
    if len(digits) >= 12 and one.image_id.startswith(digits):
        return f"sha256:{one.image_id}" if whole else digits[:12]
    return one.image


def _ls(parsed: Parsed) -> int:
    from cli import output

    here = home.find()
    reconcile.mend_all(here)
    found = _found(here, parsed)
    if parsed.quiet:
        for one in found:
            print(one.id if parsed.no_trunc else one.short_id)
        return 0
    template = parsed.format or ""
    sized = parsed.size or ".Size" in template

    def shown(one: Container) -> Row:
        size = (lambda: _size(here, one)) if sized else "N/A"
        return row(here, one, whole=parsed.no_trunc, size=size)

    columns = {**_COLUMNS, **(_SIZE if parsed.size else {})}
    output.table(columns, map(shown, found), template, {**_MORE, **_SIZE})
    return 0


def _found(here: Home, parsed: Parsed) -> list[Container]:
    limit = 1 if parsed.latest else parsed.last
    states = any(key == "status" for key, _ in parsed.filter)
    only_up = not (parsed.all or limit > 0 or states)
    found = containers.listing(here, containers.UP if only_up and not parsed.filter else ())
    if parsed.filter:
        from cli.container import filters

        wanted = filters.wanted(here, parsed.filter, found)
        found = [one for one in found if wanted(one)]
    if only_up:
        found = [one for one in found if one.status in containers.UP]
    return found[:limit] if limit > 0 else found


def _last(text: str) -> int:
    return -1 if text == "-1" else positive(text)


COMMANDS: tuple[Command, ...] = (
    Command(
        "ps",
        "",
        "List containers.",
        _ls,
        (
            option("-a --all", "Also those that do not run"),
            option("-q --quiet", "Only ids"),
            option("-s --size", "How much they have written"),
            option("--no-trunc", "Nothing is shortened"),
            value("-n --last", "NUMBER", "The last created ones, in any state (-1: all that run)",
                  read=_last, default=-1),
            option("-l --latest", "The last created one, in any state"),
            FORMAT,
            FILTER,
        ),
        details="Filters: ancestor, before, exited, expose, health, id, label, name, network,"
        "\npublish, since, status, volume.",
        verb="ls",
        examples=(
            "pyctr ps -a --filter status=exited --filter label=stage=test",
            "pyctr ps --format 'table {{.Names}}\\t{{.Status}}\\t{{.Mounts}}'",
        ),
    ),
)  # fmt: skip
