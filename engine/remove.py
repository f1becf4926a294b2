"""`rm`: a stopped container, or with force any."""

from __future__ import annotations

from engine import containers, reconcile, stop
from engine.erase import erase_locked
from engine.errors import ContainerConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home


def remove(home: Home, text: str, *, force: bool = False, volumes: bool = False) -> Container:
    """`rm`: a running container only with ``force``; ``volumes`` frees its anonymous volumes."""
    container = reconcile.find(home, text)
    if containers.is_running(container):
        if not force:
            raise ContainerConflict(
                f"cannot remove container {container.name}",
                "it is running",
                f"stop it first (pyctr stop {container.name}), or force: pyctr rm -f"
                f" {container.name}",
            )
        stop.kill_and_wait(home, container)
    if containers.get(home, container.id) is None:  # it had --rm
        return container
    erase_locked(home, container, volumes="free" if volumes else "retire")
    return container
