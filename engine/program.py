"""``process`` of the specification, of a container and of what is executed in it later.

Source: OCI runtime specification 1.2, config.md, "Process".
"""

from __future__ import annotations

from engine import environment, rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container


def process(container: Container, console: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """What runs, as whom, with which rights: as the container was asked to be."""
    settings = container.settings
    made: dict[str, Any] = {
        "args": list(settings.args),
        "env": environment.variables(container),
        "cwd": settings.working_dir,
        "user": {"username": settings.user, "additionalGids": list(settings.group_add)},
        "terminal": settings.tty,
        "capabilities": rights.capability_sets(settings),
        "noNewPrivileges": settings.no_new_privileges,
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
            for name, (soft, hard) in settings.ulimits.items()
        ],
    }
    if settings.oom_score_adj:
        made["oomScoreAdj"] = settings.oom_score_adj
    if settings.tty and all(console):
        made["consoleSize"] = {"width": console[0], "height": console[1]}
    return made
