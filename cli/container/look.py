"""ps, inspect, logs and top: what a person looks at."""

from __future__ import annotations

import time

from cli.creation.readers import positive
from cli.options import Command, Parsed, option, value
from cli.shared import FILTER, FORMAT
from engine import attach, containers, health, home, reconcile
from kernel import units
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home

_COLUMNS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAgo": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
    "Names": "NAMES",
}


def status(one: Container, now: float) -> str:
    """As `ps` shows it: ``Up 5 minutes (healthy)``, ``Exited (0) 2 hours ago``."""
    if one.status in containers.ALIVE:
        more = "Paused" if one.status == "paused" else health.words(one)
        return f"Up {units.show_age(now - one.started)}{f' ({more})' if more else ''}"
    if one.status in ("exited", "restarting"):
        ago = units.show_age(now - one.finished)
        return f"{one.status.capitalize()} ({one.exit_code}) {ago} ago"
    return one.status.capitalize()


def _row(here: Home, one: Container, *, whole: bool, with_mounts: bool) -> dict[str, Any]:
    now = time.time()
    command = " ".join(one.settings.args)
    if not whole and len(command) > 20:
        command = command[:19] + "…"
    mounts = here.volumes.mounts(one.id) if with_mounts else ()
    return {
        "ID": one.id if whole else one.short_id,
        "Image": one.image,
        "Command": f'"{command}"',
        "CreatedAgo": f"{units.show_age(now - one.created)} ago",
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(one.created)),
        "RunningFor": f"{units.show_age(now - one.created)} ago",
        "Status": status(one, now),
        "State": one.status,
        "Ports": "",
        "Names": one.name,
        "Labels": ",".join(f"{key}={value}" for key, value in one.settings.labels.items()),
        "Mounts": ",".join(mount.source or mount.kind for mount in mounts),
        "LocalVolumes": str(sum(mount.kind == "volume" for mount in mounts)),
        "Networks": one.settings.network,
    }


def _ls(parsed: Parsed) -> int:
    from cli import filters, output

    here = home.find()
    reconcile.mend_all(here)
    found = containers.listing(here)
    wanted = filters.containers(here, parsed.filter)
    limited = 1 if parsed.latest else parsed.last
    statuses = any(key == "status" for key, _ in parsed.filter)
    if not (parsed.all or limited or statuses):
        found = [one for one in found if one.status in containers.UP]
    found = [one for one in found if wanted(one)]
    found = found[:limited] if limited else found
    if parsed.quiet:
        for one in found:
            print(one.id if parsed.no_trunc else one.short_id)
        return 0
    template = parsed.format or ""
    needed = "ounts" in template or "LocalVolumes" in template or template == "json"
    rows = [_row(here, one, whole=parsed.no_trunc, with_mounts=needed) for one in found]
    output.table(_COLUMNS, rows, template)
    return 0


def _inspect(parsed: Parsed) -> int:
    from cli import output
    from engine import describe

    here = home.find()
    values = [describe.container(here, reconcile.find(here, word)) for word in parsed.words]
    output.objects(values, parsed.format or "")
    return 0


def _moment(text: str) -> str:
    """RFC 3339 in UTC of a time: itself, a unix time, or how long ago (10m)."""
    from datetime import UTC, datetime

    if "T" in text or text.count("-") == 2:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        at = at if at.tzinfo else at.astimezone()
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    seconds = float(text) if text.replace(".", "", 1).isdigit() and len(text) > 8 else None
    if seconds is None:
        seconds = time.time() - units.parse_duration(text)
    at = datetime.fromtimestamp(seconds, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _tail(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdigit():
        raise ValueError("it is a number or all")
    return int(text)


def _logs(parsed: Parsed) -> int:
    from engine import logopts, logread

    here = home.find()
    one = reconcile.find(here, parsed.words[0])

    def going_on() -> bool:
        """Until the end is on record, and with it everything that was said before it."""
        fresh = containers.get(here, one.id)
        up = fresh is not None and fresh.status in containers.ALIVE
        return up and fresh is not None and reconcile.is_watched(here, fresh)

    path = logopts.path(here, one)
    if not path:
        raise PyctrError(
            f"cannot read the log of container {one.name}",
            "configured logging driver does not support reading",
            exit_code=1,
        )
    entries = logread.read(
        path,
        follow=going_on if parsed.follow else None,
        tail=parsed.tail,
        since=parsed.since,
        until=parsed.until,
    )
    for entry in entries:
        head = f"{entry.time} " if parsed.timestamps else ""
        head += f"{logread.details(entry)} " if parsed.details else ""
        attach.write_all(2 if entry.stream == "stderr" else 1, head.encode() + entry.content)
    return 0


def _top(parsed: Parsed) -> int:
    from engine.top import top

    here = home.find()
    word, *options = parsed.words
    print("\n".join(top(here, reconcile.find(here, word), options)))
    return 0


COMMANDS: tuple[Command, ...] = (
    Command(
        "ps",
        "",
        "List containers.",
        _ls,
        (
            option("-a --all", "Also those that do not run"),
            option("-q --quiet", "Only ids"),
            option("--no-trunc", "Nothing is shortened"),
            value("-n --last", "NUMBER", "The last created ones, in any state",
                  read=positive, default=0),
            option("-l --latest", "The last created one, in any state"),
            FORMAT,
            FILTER,
        ),
        details="Filters: id, name, label, status, exited, ancestor, volume, network.",
        verb="ls",
        examples=(
            "pyctr ps -a",
            "pyctr ps --filter status=running --format '{{.Names}} {{.Status}}'",
        ),
    ),
    Command(
        "inspect",
        "CONTAINER [CONTAINER...]",
        "Show everything about containers, as JSON.",
        _inspect,
        (FORMAT.replace(names=("-f", "--format")),),
        at_least=1,
        at_most=-1,
        examples=("pyctr inspect --format '{{.State.Status}}' web",),
    ),
    Command(
        "logs",
        "CONTAINER",
        "Show what a container has written.",
        _logs,
        (
            option("-f --follow", "Go on as long as it runs"),
            option("-t --timestamps", "Show when"),
            option("--details", "Show what --log-opt labels, env and tag have kept"),
            value("-n --tail", "NUMBER", "Only the last lines", read=_tail),
            value("--since", "TIME", "From a time (2026-01-31T12:00:00) or how long ago (10m)",
                  read=_moment, default=""),
            value("--until", "TIME", "Up to a time", read=_moment, default=""),
        ),
        at_least=1,
        at_most=1,
        examples=(
            "pyctr logs --tail 5 web",
            "pyctr logs --follow --timestamps web",
            "pyctr logs --since 10m web",
        ),
    ),
    Command(
        "top",
        "CONTAINER [PS OPTIONS]",
        "Show the processes of a container, as ps(1) does on the host.",
        _top,
        at_least=1,
        at_most=-1,
        verbatim=True,
        examples=("pyctr top web", "pyctr top web -o pid,comm"),
    ),
)  # fmt: skip
