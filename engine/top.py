"""The processes of a container, as the host's ps(1) shows them."""

from __future__ import annotations

from engine import containers, events
from engine.errors import EngineError
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home


def top(home: Home, container: Container, options: list[str]) -> list[str]:
    """Lines of ps, the heading first; ``options`` are ps's own (-ef if none)."""
    import os
    import subprocess

    containers.require_running(container)
    pids = {str(pid) for pid in cgroups.of(container.cgroup).pids()}
    try:
        ran = subprocess.run(
            ["ps", *(options or ["-ef"])],
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env={key: own for key, own in os.environ.items() if key != "COLUMNS"},
        )
    except FileNotFoundError:
        raise EngineError(
            "cannot list processes", "this host has no ps", "apt-get install procps"
        ) from None
    if ran.returncode:
        raise EngineError("ps refused its options", ran.stderr.strip().splitlines()[0])
    heading, *lines = ran.stdout.splitlines()
    if "PID" not in heading.split():
        raise EngineError("ps shows no PID column", "it is needed to find the container's own")
    events.of_container(home, container, "top")
    column = heading.split().index("PID")
    return [heading, *(line for line in lines if _word(line, column) in pids)]


def _word(line: str, column: int) -> str:
    words = line.split(None, column + 1)
    return words[column] if len(words) > column else ""
