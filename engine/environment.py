"""What a program in a container finds around it: the name of its host, and its variables."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def hostname(container: Container) -> str:
    """The given one, the host's own with its network or its names, or the short id."""
    settings = container.settings
    if settings.hostname:
        return settings.hostname
    hosts = "host" in (settings.network, settings.uts_mode)
    return os.uname().nodename if hosts else container.short_id


def variables(container: Container) -> list[str]:
    """The variables of the settings, and the few that every container has."""
    settings = container.settings
    named = {entry.partition("=")[0] for entry in settings.env}
    made = [] if "PATH" in named else [_PATH]
    made += [] if "HOSTNAME" in named else [f"HOSTNAME={hostname(container)}"]
    made += ["TERM=xterm"] if settings.tty and "TERM" not in named else []
    return [*made, *settings.env]


def merged(*lists: tuple[str, ...]) -> tuple[str, ...]:
    """Environment entries by name, later lists winning; a bare name removes the variable."""
    merged: dict[str, str] = {}
    for entries in lists:
        for entry in entries:
            name, sign, _ = entry.partition("=")
            if sign:
                merged[name] = entry
            else:
                merged.pop(name, None)
    return tuple(merged.values())
