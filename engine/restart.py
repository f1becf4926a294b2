"""Restart policies: whether a container that has ended is started again, and how soon.

The monitor starts it again, after a pause that doubles with each time; the command that
``engine.boot`` gives to systemd does so after a reboot. Nothing here touches anything.

Source: Docker's documentation, "Start containers automatically" and "docker run", --restart.
"""

from __future__ import annotations

from engine import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container

FIRST_PAUSE = 0.1  # seconds
LONGEST_PAUSE = 60.0
_SETTLED = 10.0  # seconds after which a run counts as a success, and pauses begin anew


def is_due(container: Container, exit_code: int) -> bool:
    """Whether the policy starts a container again that has just ended with ``exit_code``."""
    settings = container.settings
    if container.stopped:
        return False
    if settings.restart == "on-failure":
        left = not settings.restart_max or container.restarts < settings.restart_max
        return exit_code != 0 and left
    return settings.restart in ("always", "unless-stopped")


def pause(before: float, ran: float) -> float:
    """Seconds to wait before the next start: ``before`` was the last pause (0: none yet), and the
    container ran for ``ran`` seconds after it.
    """
    if not before or ran >= _SETTLED:
        return FIRST_PAUSE
    return min(2 * before, LONGEST_PAUSE)


def is_due_at_boot(container: Container) -> bool:
    """Whether a container that does not run is started with the host.

    One that never started is not: a policy takes effect with the first successful start.
    """
    if not container.started:
        return False
    policy = container.settings.restart
    by_person = container.stopped == containers.BY_PERSON
    return policy == "always" or (policy == "unless-stopped" and not by_person)
