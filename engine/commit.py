"""An image from a container: its writable layer, while nothing in it moves."""

from __future__ import annotations

from engine import events, publishing, reconcile
from engine.still import Still
from images import commit as image_commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.home import Home
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
    differing: dict[str, Any] = {
        "Cmd": args[settings.path_length :] or None,
        "Entrypoint": args[: settings.path_length] or None,
        "Env": list(settings.env) or None,
        "Labels": dict(settings.labels) or None,
        "User": settings.user,
        "WorkingDir": settings.working_dir if settings.working_dir != "/" else "",
        "StopSignal": settings.stop_signal,
        "Healthcheck": dict(settings.health) or None,
        "ExposedPorts": {port: {} for port in publishing.exposed(container)} or None,
    }
    kept = {key: value for key, value in differing.items() if value}
    with Still(home, container, freeze=pause):
        made = image_commit.commit(
            home.images,
            home.images.get(container.image_id),
            f"{home.folder(container.id)}/upper",
            kept,
            name,
            changes=changes,
            author=author,
            message=message,
        )
    events.of_container(home, container, "commit", comment=message, imageID=f"sha256:{made}")
    return made
