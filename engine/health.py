"""Health: what a container's probe is, how its results are judged, and how they are shown.

The health check comes from the image (HEALTHCHECK) or from --health-*, in ``settings.health`` with
the field names of an image's configuration: Test, Interval, Timeout, StartPeriod, StartInterval
(nanoseconds), Retries. The record is JSON in the row: Status (starting, healthy, unhealthy),
FailingStreak and the last five results. Nothing here runs anything: see :mod:`engine.probe`.

Source: Docker's documentation, "HEALTHCHECK" of the Dockerfile reference; OCI image specification,
"Healthcheck" of Docker's image configuration v1.2.
"""

from __future__ import annotations

from kernel import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.settings import Settings

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"

OUTPUT_MAX = 4096  # bytes of a probe's output that are kept
_RESULTS = 5
_RETRIES = 3
_SECONDS = {"Interval": 30.0, "Timeout": 30.0, "StartPeriod": 0.0, "StartInterval": 5.0}


def command(settings: Settings) -> tuple[str, ...]:
    """The command line of the probe; () if the container has no health check."""
    kind, *words = settings.health.get("Test") or ["NONE"]
    if kind == "CMD-SHELL":
        return (*(settings.shell or ("/bin/sh", "-c")), *words)
    return tuple(words) if kind == "CMD" else ()


def seconds(settings: Settings, name: str) -> float:
    """One of the times of a health check, its default where none is set."""
    nanoseconds = settings.health.get(name)
    return nanoseconds / 10**9 if nanoseconds else _SECONDS[name]


def merged(own: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """The health check with what the image says where the person said nothing."""
    return {**image, **{name: value for name, value in own.items() if value}}


def state(container: Container) -> dict[str, Any]:
    """The record: Status, FailingStreak, Log; {} if there is no health check."""
    found: dict[str, Any] = quickjson.loads(container.health) if container.health else {}
    return found


def status(container: Container) -> str:
    """starting, healthy, unhealthy, or none."""
    return str(state(container).get("Status") or "none")


def words(container: Container) -> str:
    """What `ps` puts in brackets; "" without a health check."""
    found = state(container).get("Status") or ""
    return "health: starting" if found == STARTING else found


def at_start(container: Container) -> str:
    """The record of a container that is started now: results of earlier runs are kept."""
    if not command(container.settings):
        return ""
    return quickjson.dumps({"Status": STARTING, "FailingStreak": 0, "Log": _log(container)})


def at_end(container: Container) -> str:
    """The record of a container that does not run any more: Docker calls it unhealthy."""
    found = state(container)
    return quickjson.dumps({**found, "Status": UNHEALTHY}) if found else ""


def _log(container: Container) -> list[Any]:
    return list(state(container).get("Log") or [])


def judged(
    record: dict[str, Any], result: dict[str, Any], settings: Settings, *, starting: bool
) -> dict[str, Any]:
    """The record after one more result.

    ``starting`` says that the probe began within the start period: as long as no probe has
    succeeded, failures do not count then.
    """
    status, streak = record["Status"], record["FailingStreak"]
    if result["ExitCode"] == 0:
        status, streak = HEALTHY, 0
    elif not (starting and status == STARTING):
        streak += 1
        if streak >= (settings.health.get("Retries") or _RETRIES):
            status = UNHEALTHY
    log = [*record["Log"], result][-_RESULTS:]
    return {"Status": status, "FailingStreak": streak, "Log": log}


def duration(seconds: float) -> str:
    """``30s``, ``1m30s``, ``500ms``: as Go writes durations, and so Docker in its messages."""
    nanoseconds = round(seconds * 10**9)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if nanoseconds < size * 1000:
            return f"{_decimal(nanoseconds, size)}{unit}" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    shown = f"{_decimal(rest, 10**9)}s"
    return f"{hours}h{minutes}m{shown}" if hours else f"{minutes}m{shown}" if minutes else shown


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
