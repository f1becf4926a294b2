"""An image from a container: its writable layer, while nothing in it moves."""

from __future__ import annotations

from engine import reconcile, start, wire
from images import commit as image_commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.containers import Container
    from engine.home import Home
    from engine.start import Session
    from images.references import Reference


def commit(
    home: Home,
    text: str,
    name: Reference | None,
    *,
    changes: Iterable[str] = (),
    author: str = "",
    message: str = "",
    pause: bool = True,
) -> str:
    """Makes an image of a container; returns its id. A running one is frozen meanwhile."""
    container = reconcile.find(home, text)
    settings = container.settings
    args = list(settings.args)
    differing = {
        "Cmd": args[settings.path_length :] or None,
        "Entrypoint": args[: settings.path_length] or None,
        "Env": list(settings.env) or None,
        "Labels": dict(settings.labels) or None,
        "User": settings.user,
        "WorkingDir": settings.working_dir if settings.working_dir != "/" else "",
        "StopSignal": settings.stop_signal,
    }
    parent = home.images.get(container.image_id)
    kept = {key: value for key, value in differing.items() if value}
    frozen = (
        freeze_while_attached(home, container) if pause and container.status == "running" else None
    )
    try:
        return image_commit.commit(
            home.images,
            parent,
            f"{home.folder(container.id)}/upper",
            kept,
            name,
            changes=changes,
            author=author,
            message=message,
        )
    finally:
        if frozen is not None:  # the monitor thaws the container when this connection ends
            frozen.connection.close()


def freeze_while_attached(home: Home, container: Container) -> Session:
    """Asks the monitor to freeze the container as long as the session lasts, even if we die."""
    session = start.attach(home, container)
    session.connection.sendall(wire.message(wire.FREEZE, True))
    while chunk := session.connection.recv(4096):
        for kind, _ in session.reader.feed(chunk):
            if kind in (wire.FREEZE, wire.EXIT):
                return session
    return session
