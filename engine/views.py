"""Which namespaces a container has for itself, and which it shares: with the host, or another one.

The settings hold a mode for each kind: "" (its own), "private", "host", "container:<id>", and for
IPC "shareable" (its own, that others may join) and "none" (its own, without /dev/shm). Names become
ids when a container is created; the process behind an id is looked for at each start.

Source: namespaces(7); Docker's --pid, --ipc, --uts, --cgroupns, --network and what they exclude.
"""

from __future__ import annotations

import os

from engine import containers, reconcile
from engine.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from engine.settings import Settings
    from runtime.peers import Peer

_FIELDS = {  # kind, as the specification calls it, to the field of the settings
    "pid": "pid_mode",
    "ipc": "ipc_mode",
    "uts": "uts_mode",
    "cgroup": "cgroupns_mode",
    "network": "network",
}
_OTHERS = "container:"
_FILES = {"network": "net"}  # kind to the name in /proc/PID/ns, where that is another


def mode(settings: Settings, kind: str) -> str:
    """The mode of a kind of namespace."""
    return str(getattr(settings, _FIELDS[kind]))


def kinds(settings: Settings) -> tuple[str, ...]:
    """The kinds of namespaces in which the container is not with the host."""
    return ("mount", *(kind for kind in _FIELDS if mode(settings, kind) != "host"))


def other(settings: Settings, kind: str) -> str:
    """The id (before :func:`resolved`, the name) of the container that it shares a kind with."""
    word = mode(settings, kind)
    return word.removeprefix(_OTHERS) if word.startswith(_OTHERS) else ""


def others(settings: Settings) -> list[str]:
    """The ids of all containers that it shares something with."""
    return [found for kind in _FIELDS if (found := other(settings, kind))]


def resolved(home: Home, settings: Settings) -> Settings:
    """The settings with ids for names, and the names of a network that is another container's.

    ContainerNotFound for a container that is not there, EngineError for what excludes each other.
    """
    _check(settings)
    own = list(kinds(settings))
    changes: dict[str, str] = {}
    for kind in _FIELDS:
        name = other(settings, kind)
        if not name:
            continue
        donor = reconcile.find(home, name)
        _check_donor(kind, donor)
        changes[_FIELDS[kind]] = _OTHERS + donor.id
        if mode(_owner(home, donor, kind).settings, kind) == "host":
            own.remove(kind)
        if kind == "network" and mode(settings, "uts") != "host":
            from engine.environment import hostname

            changes["hostname"] = hostname(donor)
            changes["domainname"] = settings.domainname or donor.settings.domainname
    if settings.sysctls:
        from runtime import sysctls

        for parameter in settings.sysctls:
            sysctls.check(parameter, tuple(own))
    return settings.replace(**changes) if changes else settings


def _owner(home: Home, container: Container, kind: str) -> Container:
    """The container that a namespace belongs to at first, where one joins another's another's."""
    identity = other(container.settings, kind)
    while identity and (found := containers.get(home, identity)) is not None:
        container, identity = found, other(found.settings, kind)
    return container


def _check(settings: Settings) -> None:
    """Refuses names for a namespace that is not the container's own (as Docker does)."""
    given = {
        "hostname": settings.hostname,
        "domainname": settings.domainname,
        "dns": settings.dns or settings.dns_search or settings.dns_options,
        "add-host": settings.extra_hosts,
    }
    if other(settings, "network"):
        for name in ("hostname", "dns", "add-host"):
            if given[name]:
                raise EngineError(
                    f"conflicting options: {name} and the network mode",
                    "names and resolvers are those of the container whose network is shared",
                )
    if settings.uts_mode == "host":
        for name in ("hostname", "domainname"):
            if given[name]:
                raise EngineError(
                    f"conflicting options: {name} and the UTS mode", "it would rename the host"
                )


def _check_donor(kind: str, donor: Container) -> None:
    """An IPC namespace is joined only where its container was made for that."""
    if kind == "ipc" and mode(donor.settings, "ipc") in ("", "private", "none"):
        raise EngineError(
            f"cannot join the IPC namespace of container {donor.name}",
            "non-shareable IPC",
            "create that one with --ipc shareable",
        )


def peers(home: Home, container: Container) -> dict[str, Peer]:
    """The processes whose namespaces the container joins, by kind.

    EngineError if one of those containers does not run.
    """
    found: dict[str, Peer] = {}
    for kind in _FIELDS:
        identity = other(container.settings, kind)
        if not identity:
            continue
        donor = containers.get(home, identity)
        if donor is None:
            raise EngineError(
                f"cannot join the {kind} namespace of container {identity[:12]}",
                "there is no such container any more",
            )
        if not containers.is_running(donor):
            raise EngineError(
                f"cannot join the {kind} namespace of container {donor.name}",
                "it is not running",
                f"start it: pyctr start {donor.name}",
            )
        from runtime.peers import Peer

        found[kind] = Peer(donor.pid, donor.start_time, f"container {donor.name}")
    return found


def namespaces(
    settings: Settings, joined: dict[str, Peer], network: str = ""
) -> list[dict[str, Any]]:
    """``linux.namespaces`` of the specification; ``network`` is the path of one made for it."""
    made: list[dict[str, Any]] = []
    for kind in kinds(settings):
        entry = {"type": kind}
        if kind in joined:
            entry["path"] = f"/proc/{joined[kind].pid}/ns/{_FILES.get(kind, kind)}"
        elif kind == "network" and network:
            entry["path"] = network
        made.append(entry)
    return made


def shared_memory(
    settings: Settings, joined: dict[str, Peer], own: dict[str, Any]
) -> list[dict[str, Any]]:
    """The mount of /dev/shm, which goes with the IPC namespace; ``own`` is the usual one."""
    word = mode(settings, "ipc")
    if word == "none":
        return []
    if word == "host":
        options = ["rbind", "rprivate", "nosuid", "noexec", "nodev"]
        return [own | {"type": "bind", "source": "/dev/shm", "options": options}]
    if "ipc" in joined:
        source = f"/proc/{joined['ipc'].pid}/root/dev/shm"
        return [own | {"type": "bind", "source": source, "options": ["bind"]}]
    return [own]


def network_files(home: Home, container: Container) -> str:
    """The folder of hosts, hostname and resolv.conf: that of the container that has the network.

    Its own if that one has none, because it is gone or has never run.
    """
    folder = home.folder(_owner(home, container, "network").id)
    return folder if os.path.exists(f"{folder}/hosts") else home.folder(container.id)
