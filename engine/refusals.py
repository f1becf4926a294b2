"""What a container's start would refuse on this host is refused when it is created."""

from __future__ import annotations

from engine import rights

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.home import Home
    from engine.settings import Settings


def check(home: Home, settings: Settings, warn: Callable[[str], None]) -> None:
    """``warn`` is told of what is given only in part. EngineError, RuntimeFailure."""
    rights.check(home, settings, warn)
    if settings.extra_hosts:
        from engine import files

        files.check(settings)
    if settings.devices:
        from engine import devices

        devices.check(settings)
    if settings.init:
        from engine import inits

        inits.find()
