"""What a container's processes may do: capabilities, the filter of system calls, hidden files.

Source: capabilities(7), seccomp(2); Docker's --cap-add, --cap-drop, --privileged, --security-opt.
"""

from __future__ import annotations

from engine.errors import EngineError
from runtime import capabilities, defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.home import Home
    from engine.settings import Settings


def capability_name(word: str) -> str:
    """``net_admin``, ``NET_ADMIN`` or ``CAP_NET_ADMIN`` as the last; EngineError if unknown."""
    name = word.upper().removeprefix("CAP_")
    if name != "ALL" and f"CAP_{name}" not in capabilities.NAMES:
        raise EngineError(
            f"unknown capability {word!r}", "", "capabilities(7) lists them; ALL means all"
        )
    return f"CAP_{name}"


def wanted_capabilities(settings: Settings) -> list[str]:
    """The bounding set that was asked for, as Docker puts --cap-add and --cap-drop together.

    A privileged container has all. With ALL added, all but those that are dropped by name; with
    ALL dropped, those that are added; else the usual ones less what is dropped, and what is added.
    """
    added = [capability_name(name) for name in settings.cap_add]
    dropped = [capability_name(name) for name in settings.cap_drop]
    if settings.privileged:
        return list(capabilities.NAMES)
    if "CAP_ALL" in added:
        return [name for name in capabilities.NAMES if name not in dropped]
    kept = [] if "CAP_ALL" in dropped else capabilities.DEFAULT
    made = [name for name in kept if name not in dropped]
    return made + [name for name in dict.fromkeys(added) if name not in made]


def capability_sets(settings: Settings) -> dict[str, list[str]]:
    """``process.capabilities``: what was asked for, of what pyctr itself has and can give."""
    own = capabilities.own_bounding()
    kept = [name for name in wanted_capabilities(settings) if own >> capabilities.number(name) & 1]
    return {
        "bounding": kept,
        "effective": kept,
        "permitted": kept,
        "inheritable": [],
        "ambient": [],
    }


def seccomp(settings: Settings, bounding: list[str]) -> dict[str, Any]:
    """``linux.seccomp``: Docker's profile by its name, the person's own, or none.

    A privileged container has one only if it was asked for.
    """
    word = settings.seccomp
    if word == "unconfined" or (word == "default" and settings.privileged):
        return {}
    if word in ("default", "builtin"):
        return {"defaultAction": "default"}
    import os

    from kernel import quickjson
    from runtime import seccomp_profile

    host = os.uname()
    return seccomp_profile.resolve(
        quickjson.loads(word), tuple(bounding), host.machine, host.release
    )


def hidden_paths(settings: Settings) -> tuple[list[str], list[str]]:
    """``linux.maskedPaths`` and ``linux.readonlyPaths``."""
    if settings.privileged or settings.systempaths == "unconfined":
        return [], []
    return list(defaults.MASKED_PATHS), list(defaults.READONLY_PATHS)


def check(home: Home, settings: Settings, warn: Callable[[str], None]) -> None:
    """Warns of capabilities that pyctr cannot give, and compiles a profile of the person's own."""
    if settings.privileged or settings.cap_add:
        given = capability_sets(settings)["bounding"]
        usual = () if settings.privileged else capabilities.DEFAULT
        missing = [
            name
            for name in wanted_capabilities(settings)
            if name not in given and name not in usual
        ]
        if missing:
            warn(
                f"the container is without {', '.join(missing)}: pyctr itself does not have "
                f"{'it' if len(missing) == 1 else 'them'} on this host"
            )
    if settings.seccomp.startswith("{"):
        from runtime import seccomp as filters

        bounding = capability_sets(settings)["bounding"]
        filters.filter_of(home.filters, seccomp(settings, bounding))
