"""The filters of `ps`, by Docker's rules."""

from __future__ import annotations

from cli import filters
from cli.errors import UsageError
from engine import containers, health, publishing, reconcile
from network import ports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.containers import Container
    from engine.home import Home

_STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
_HEALTH = ("starting", "healthy", "unhealthy", "none")
_REFUSED = {
    "isolation": "that is for Windows",
    "is-task": "pyctr has no swarm",
}


def wanted(
    here: Home, pairs: list[tuple[str, str]], listing: list[Container]
) -> Callable[[Container], bool]:
    """Whether a container of ``listing`` (all of them, the newest first) is wanted."""
    place = {one.id: number for number, one in enumerate(listing)}
    names = {word: filters.pattern("name", word) for key, word in pairs if key == "name"}
    images = {word: here.images.descendants(word) for key, word in pairs if key == "ancestor"}
    # Docker compares with one container only: the last one that was named.
    fixed = {
        key: place.get(reconcile.find(here, word).id, len(listing))
        for key, word in pairs
        if key in ("before", "since")
    }
    for key, word in pairs:
        _check(key, word)

    def volume(one: Container, word: str) -> bool:
        mounts = here.volumes.mounts(one.id)
        return any(word in (mount.source, mount.destination) for mount in mounts)

    def has_open(one: Container, word: str) -> bool:
        protocol, first, last = ports.in_range(word)
        found = map(ports.order, publishing.port_map(here, one))
        return any(own == protocol and first <= port <= last for port, own in found)

    def is_reached(one: Container, word: str) -> bool:
        protocol, first, last = ports.in_range(word)
        found = publishing.bindings(here, one)
        return any(b.protocol == protocol and first <= b.host_port <= last for b in found)

    def ended_with(one: Container, word: str) -> bool:
        ran = one.started > 0 and one.status not in containers.ALIVE
        return ran and one.exit_code == int(word)

    return filters.combined(
        pairs,
        {
            "ancestor": lambda one, word: one.image_id in images[word],
            "before": lambda one, _word: place[one.id] > fixed["before"],
            "exited": ended_with,
            "expose": has_open,
            "health": lambda one, word: health.status(one) == word,
            "id": lambda one, word: one.id.startswith(word),
            "label": lambda one, word: filters.label(one.settings.labels, word),
            "name": lambda one, word: names[word](f"/{one.name}") or names[word](one.name),
            "network": lambda one, word: _is_in(here, one, word),
            "publish": is_reached,
            "since": lambda one, _word: place[one.id] < fixed["since"],
            "status": lambda one, word: one.status == word,
            "volume": volume,
        },
        _REFUSED,
    )


def _is_in(here: Home, one: Container, word: str) -> bool:
    """Whether a container is in the network of a name or the beginning of an id."""
    if one.settings.network == word:
        return True
    return any(
        endpoint.network.name == word or (word and endpoint.network.id.startswith(word))
        for endpoint in here.networks.endpoints(one.id)
    )


def _check(key: str, word: str) -> None:
    known = {"status": _STATES, "health": _HEALTH}.get(key)
    if known and word not in known:
        raise UsageError(f"invalid filter {key}={word}", f"it is one of {', '.join(known)}")
    if key in ("publish", "expose"):
        try:
            ports.in_range(word)
        except ValueError as error:
            raise UsageError(f"invalid filter {key}={word}", str(error)) from None
    digits = word.removeprefix("-")
    if key == "exited" and not (digits.isascii() and digits.isdigit()):
        raise UsageError(f"invalid filter exited={word}", "it is an exit code")
