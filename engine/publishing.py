"""Published ports of containers: what is asked for, what is held while one runs, what is shown.

The ports of the host are bound before the agent is asked for the network, and stay bound as long as
the container has a monitor, through restarts by its policy as well. So a port that somebody else
has is refused before anything starts, and the rules never send on what is not held.

Most containers publish nothing: what reads and writes ports is imported for those that do.

Source: Docker's "docker container run", -p, -P, --expose, and "docker container port".
"""

from __future__ import annotations

from engine import containers
from engine.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from engine.settings import Settings
    from network.holding import Held, Taken
    from network.ports import Binding, Publication

_OTHERS = "container:"
_NAMES = 53  # the port that servers of names have


# -- what is asked for ---------------------------------------------------------------------


def checked(
    settings: Settings, image: str, exposed: Iterable[str], warn: Callable[[str], None]
) -> Settings:
    """The settings with what the image exposes; EngineError for what excludes each other.

    ``exposed`` are the keys of the image's ExposedPorts, which may be anything.
    """
    if settings.network.startswith(_OTHERS):
        for given, what in ((settings.publish or settings.publish_all, "publishing"),
                            (settings.expose, "exposing")):  # fmt: skip
            if given:
                raise EngineError(
                    f"conflicting options: port {what} and the container type network mode",
                    "ports are those of the container whose network is shared",
                )
    from network import ports

    names = {*settings.expose}
    for word in exposed:
        try:
            names |= {*ports.parse_exposed(word)}
        except ValueError as error:
            raise EngineError(f"image {image} exposes {word!r}", str(error)) from None
    settings = settings.replace(expose=tuple(sorted(names, key=ports.order)))
    wanted = publications(settings)
    if wanted and settings.network == "host":
        warn("published ports are discarded when using host network mode")
    elif wanted and settings.network == "none":
        warn("published ports are discarded: the container has no network")
    _check_twice(wanted)
    return settings


def _publishes(settings: Settings) -> bool:
    return bool(settings.publish) or settings.publish_all


def publications(settings: Settings) -> tuple[Publication, ...]:
    """What a container publishes: what was named, and with -P each exposed port that was not."""
    if not _publishes(settings):
        return ()
    from network.ports import Publication

    made = [Publication(*fields) for fields in settings.publish]
    if settings.publish_all:
        named = {one.name for one in made}
        for name in settings.expose:
            if name not in named:
                made.append(_of_exposed(name))
    return tuple(dict.fromkeys(made))


def record(home: Home, container: Container) -> None:
    """What a new container publishes, within the caller's transaction."""
    wanted = publications(container.settings)
    if wanted:
        home.networks.published.insert(container.id, wanted)


def _of_exposed(name: str) -> Publication:
    from network import ports

    try:
        return ports.of_exposed(name)
    except ValueError as error:
        raise EngineError(
            f"cannot publish port {name}", str(error), "publish the others with -p instead of -P"
        ) from None


def _check_twice(wanted: tuple[Publication, ...]) -> None:
    """Refuses one port of the host for two ports: only the first could have it."""
    taken: dict[tuple[str, int, str], Publication] = {}
    for one in wanted:
        if not one.host_first or one.host_first != one.host_last:
            continue
        key = (one.host_address, one.host_first, one.protocol)
        other = taken.setdefault(key, one)
        if other is not one:
            raise EngineError(
                f"cannot publish port {one.name} on port {one.wanted} of the host",
                f"port {other.name} is published there",
                "choose another port of the host",
            )


# -- what is held --------------------------------------------------------------------------


def hold(home: Home, container: Container, warn: Callable[[str], None]) -> Held | None:
    """Binds what a container publishes, and records it; None if that is nothing. NetworkError.

    The container has its addresses already.
    """
    if not _publishes(container.settings):
        return None
    from network import forwards, holding

    published = home.networks.published
    wanted = published.of(container.id)
    hosts = tuple(forwards.reached(home.networks.endpoints(container.id)))
    if not hosts:
        warn("published ports are discarded: the container has internal networks only")
        return None
    try:
        held = holding.hold(wanted, hosts)
    except holding.Taken as taken:
        if taken.port != _NAMES:
            raise _named(home, taken) from None
        held = _held_beside_names(home, wanted, hosts)
    published.hold(container.id, held.publications)
    return held


def _held_beside_names(home: Home, wanted: tuple[Publication, ...], hosts: tuple[str, ...]) -> Held:
    """Port 53 may be that of our own server of names, which then answers on another one."""
    from engine import network
    from network import holding

    network.ask_for(home, "vacate").answer()
    try:
        return holding.hold(wanted, hosts)
    except holding.Taken as taken:
        raise _named(home, taken) from None


def _named(home: Home, taken: Taken) -> EngineError:
    """The error that says who has the port."""
    holders = home.networks.published.holders(taken.protocol, taken.port)
    found = [one for one in (containers.get(home, identity) for identity in holders) if one]
    up = [one for one in found if containers.is_up(one)]
    pid, name = 0, ""
    if not up:
        from network import holders as programs

        pid, name = programs.program(taken.address, taken.port, taken.protocol)
    if not pid and (up or found):  # one that is not up is being started
        one = (up or found)[0]
        why = f"port is already allocated: container {one.name} has it"
        hint = f"stop it (pyctr stop {one.name}), or choose another port of the host"
        return EngineError(taken.what, why, hint)
    who = f"process {pid} ({name})" if pid else "a program that does not listen on it"
    why = f"address already in use: {who} has it"
    return EngineError(taken.what, why, "stop it, or choose another port of the host")


def let_go(home: Home, container: Container) -> None:
    """Nothing leads to a container any more, which has ended; its addresses are still its own.

    Also if that is on record already: whoever wrote it may have been killed right after.
    """
    if not _publishes(container.settings):
        return
    from engine import network_mending
    from kernel.errors import PyctrError

    home.networks.published.let_go(container.id)
    try:
        if network_mending.has_table(home):  # after a reboot nothing leads anywhere
            _follow(home, container.id)
    except (PyctrError, OSError):  # whoever next sets the rules up leaves them out
        return


def follow(home: Home, container: Container) -> None:
    """The ports of a container that runs lead to its way out, which may be another one now."""
    if home.networks.published.held(container.id):
        _follow(home, container.id)


def _follow(home: Home, container_id: str) -> None:
    from engine import network

    network.ask_for(home, "publish", container=container_id).answer()


# -- what is shown -------------------------------------------------------------------------


def bindings(home: Home, container: Container) -> tuple[Binding, ...]:
    """What leads to a container that runs, by its own ports."""
    if not _publishes(container.settings) or not containers.is_up(container):
        return ()
    from network import ports

    return ports.bindings(home.networks.published.of(container.id))


def exposed(container: Container) -> tuple[str, ...]:
    """The names of all its ports that are published or exposed."""
    settings = container.settings
    if not (settings.expose or settings.publish):
        return ()
    from network import ports
    from network.ports import Publication

    names = {*settings.expose, *(Publication(*fields).name for fields in settings.publish)}
    return tuple(sorted(names, key=ports.order))


def column(home: Home, container: Container) -> str:
    """The PORTS column of `ps`."""
    found, opened = bindings(home, container), _open(container)
    if not (found or opened):
        return ""
    from network import ports

    return ports.column(found, opened)


def _open(container: Container) -> tuple[str, ...]:
    """:func:`exposed` while it has a network in which that means something."""
    on_networks = container.settings.is_on_networks
    return exposed(container) if on_networks and containers.is_up(container) else ()


def port_map(home: Home, container: Container) -> dict[str, list[dict[str, str]] | None]:
    """``NetworkSettings.Ports``: each port and its places on the host, None without one."""
    made: dict[str, list[dict[str, str]] | None] = dict.fromkeys(_open(container))
    for one in bindings(home, container):
        entry = {"HostIp": one.host_address, "HostPort": str(one.host_port)}
        made[one.name] = [*(made.get(one.name) or []), entry]
    return made


def port_bindings(settings: Settings) -> dict[str, Any]:
    """``HostConfig.PortBindings``: what -p asked for."""
    if not settings.publish:
        return {}
    from network.ports import Publication

    made: dict[str, Any] = {}
    for fields in settings.publish:
        one = Publication(*fields)
        entry = {"HostIp": one.host_address, "HostPort": one.wanted}
        made.setdefault(one.name, []).append(entry)
    return made
