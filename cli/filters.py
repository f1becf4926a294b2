"""``--filter key=value``: the same key twice means or, different keys mean and."""

from __future__ import annotations

from cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.containers import Container
    from engine.home import Home


def combined(
    pairs: list[tuple[str, str]], tests: dict[str, Callable[[Any, str], bool]]
) -> Callable[[Any], bool]:
    """A function that says whether an object fits. UsageError for a filter that is not known."""
    by_key: dict[str, list[str]] = {}
    for key, wanted in pairs:
        if key not in tests:
            raise UsageError(f"invalid filter {key!r}", f"there are {', '.join(sorted(tests))}")
        by_key.setdefault(key, []).append(wanted)
    return lambda one: all(
        any(tests[key](one, wanted) for wanted in values) for key, values in by_key.items()
    )


def label(labels: dict[str, str], wanted: str) -> bool:
    """``key`` or ``key=value``."""
    key, sign, value = wanted.partition("=")
    return key in labels and (not sign or labels[key] == value)


def boolean(word: str) -> bool:
    """true or false of a filter."""
    if word.lower() in ("true", "1"):
        return True
    if word.lower() in ("false", "0"):
        return False
    raise UsageError(f"invalid filter value {word!r}", "it is true or false")


def containers(here: Home, pairs: list[tuple[str, str]]) -> Callable[[Container], bool]:
    """The filters of `ps`."""

    def exited(one: Container, wanted: str) -> bool:
        if not wanted.isdigit():
            raise UsageError(f"invalid filter exited={wanted}", "it is an exit code")
        return one.status == "exited" and one.exit_code == int(wanted)

    def state(one: Container, wanted: str) -> bool:
        if wanted not in ("created", "running", "exited", "paused", "restarting", "dead"):
            raise UsageError(f"invalid filter status={wanted}")
        return one.status == wanted

    def ancestor(one: Container, wanted: str) -> bool:
        return one.image_id == here.images.resolve(wanted).id

    def volume(one: Container, wanted: str) -> bool:
        mounts = here.volumes.mounts(one.id)
        return any(wanted in (mount.source, mount.destination) for mount in mounts)

    return combined(
        pairs,
        {
            "id": lambda one, wanted: one.id.startswith(wanted),
            "name": lambda one, wanted: wanted.removeprefix("/") in one.name,
            "label": lambda one, wanted: label(one.settings.labels, wanted),
            "status": state,
            "exited": exited,
            "ancestor": ancestor,
            "volume": volume,
            "network": lambda one, wanted: one.settings.network == wanted,
        },
    )
