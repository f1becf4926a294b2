"""What a container's row says about its state, in Docker's words."""

from __future__ import annotations

from engine import containers
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container


def health(container: Container) -> dict[str, Any] | None:
    """Status, FailingStreak and Log of its health check, or None if it has none yet."""
    from kernel import quickjson

    found = quickjson.loads(container.health) if container.health else None
    return found if isinstance(found, dict) else None


def health_status(container: Container) -> str:
    """starting, healthy or unhealthy; "" without a health check."""
    return str((health(container) or {}).get("Status") or "")


def sentence(container: Container, now: float) -> str:
    """As `ps` shows it: ``Up 5 minutes (healthy)``, ``Exited (0) 2 hours ago``."""
    one = container
    if one.status in containers.ALIVE:
        return f"Up {units.show_age(now - one.started)}{_remark(one)}"
    if one.status == "restarting":
        return f"Restarting ({one.exit_code}) {units.show_age(now - one.finished)} ago"
    if one.status == "exited":
        return f"Exited ({one.exit_code}) {units.show_age(now - one.finished)} ago"
    return "Removal In Progress" if one.status == "removing" else one.status.capitalize()


def _remark(one: Container) -> str:
    if one.status == "paused":
        return " (Paused)"
    found = health_status(one)
    return f" (health: {found})" if found == "starting" else f" ({found})" if found else ""
