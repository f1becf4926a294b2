"""What a container's row says about its state, in Docker's words."""

from __future__ import annotations

from engine import containers, health
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container


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
    words = "Paused" if one.status == "paused" else health.words(one)
    return f" ({words})" if words else ""
