"""`rm`: a stopped container, or with force any."""

from __future__ import annotations

from engine import containers, reconcile
from engine.erase import erase_locked
from engine.errors import ContainerConflict, ContainerNotFound
from kernel import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home

_found = trace.point("engine.remove.found")


def remove(home: Home, text: str, *, force: bool = False, volumes: bool = False) -> Container:
    """`rm`: a running container only with ``force``; ``volumes`` frees its anonymous volumes.

    ContainerConflict if it runs, also if it was started meanwhile; with ``force`` it is then
    killed again. ContainerNotFound if another command removes it first.
    """
    container = reconcile.find(home, text)
    _found()
    freed = volumes or container.settings.auto_remove
    while True:
        if containers.is_up(container):
            if not force:
                raise ContainerConflict(
                    f"cannot remove container {container.name}",
                    f"it is {container.status}",
                    f"stop it first (pyctr stop {container.name}), or force: pyctr rm -f"
                    f" {container.name}",
                )
            from engine import stop

            stop.kill_and_wait(home, container)
        elif container.status in containers.ALIVE:
            reconcile.settle(home, container)  # it has just ended
        try:
            gone = erase_locked(home, container, volumes="free" if freed else "retire")
        except ContainerConflict:
            if not force:
                raise
            container = reconcile.find(home, container.id)  # the name may be another's by now
            continue
        if gone or container.settings.auto_remove:  # whose end is its removal
            return container
        raise ContainerNotFound(f"no such container: {text}", "another command has just removed it")
