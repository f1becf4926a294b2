"""hosts, hostname and resolv.conf of a container, made anew for each start.

They stand in the container's folder and are mounted over the files in /etc. With the host's
network they are the host's own with what the person added; what a person says of resolvers
replaces the lines of that kind and keeps the others.

On networks of one's own the agent answers, at each gateway (:mod:`network.names`): it knows the
names there and asks the resolvers of --dns or of the host for the others. On the default network
a container asks those itself; of the host's only the ones that it can reach, and if there is none,
the agent.

Source: hosts(5), resolv.conf(5), Docker's "Container networking", DNS services.
"""

from __future__ import annotations

import os

from engine import environment
from engine.errors import EngineError
from kernel import trace
from network import resolvers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engine.containers import Container
    from engine.home import Home
    from engine.settings import Settings
    from network.resolvers import Resolvers
    from network.store import Endpoint

_written = trace.point("engine.files.written")

_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_NO_NETWORK = "# this container has no network\n"
_KINDS = {"nameserver": "dns", "search": "dns_search", "domain": "dns_search",
          "options": "dns_options"}  # fmt: skip
GATEWAY = "host-gateway"  # of --add-host: where the host is
_MOST = 3  # resolvers in a file: no library reads more
_LARGEST = 1 << 20  # bytes of a file, which is the container's to write


def check(settings: Settings) -> None:
    """Refuses, when a container is created, an address that it would not have. EngineError."""
    if settings.network != "none":
        return
    for entry in settings.extra_hosts:
        if entry.endswith(f":{GATEWAY}"):
            raise EngineError(
                f"cannot add host {entry.partition(':')[0]}",
                "without a network there is no gateway",
                "give it a network, or an address in place of host-gateway",
            )


def write(home: Home, container: Container) -> None:
    """Writes the three files, for the addresses that the container has now."""
    settings, name = container.settings, environment.hostname(container)
    shares = settings.network == "host"
    endpoints = home.networks.endpoints(container.id)
    of_host = resolvers.read("/etc/hosts") if shares else ""
    contents = {
        "hosts": hosts(settings, name, of_host, endpoints),
        "hostname": f"{name}\n",
        "resolv.conf": resolv_conf(settings, endpoints),
    }
    for file, content in contents.items():
        with open(f"{home.folder(container.id)}/{file}", "w", errors="surrogateescape") as out:
            out.write(content)
    _written()
    if any(one.network.is_default for one in endpoints):
        from engine import linked

        linked.write(home, container, endpoints)


def follow(home: Home, container: Container, before: Iterable[Endpoint]) -> None:
    """A running container has other endpoints than before: its files follow.

    What the container has written itself stays: hosts loses and gets lines, and a resolv.conf that
    is not as we wrote it is left alone.
    """
    settings, name = container.settings, environment.hostname(container)
    folder, old = home.folder(container.id), list(before)
    now = home.networks.endpoints(container.id)
    was = own_lines(settings, name, old).encode().splitlines(True)
    lines = own_lines(settings, name, now).encode().splitlines(True)

    def named(content: list[bytes]) -> list[bytes]:
        return [*(one for one in content if one not in was), *lines]

    def resolved(content: list[bytes]) -> list[bytes]:
        if b"".join(content) != resolv_conf(settings, old).encode(errors="surrogateescape"):
            return content
        return [resolv_conf(settings, now).encode(errors="surrogateescape")]

    change(f"{folder}/hosts", named)
    change(f"{folder}/resolv.conf", resolved)
    if any(one.network.is_default for one in now):
        from engine import linked

        linked.write(home, container, now)


def change(path: str, changed: Callable[[list[bytes]], list[bytes]]) -> None:
    """Changes the lines of one of the files of a container that may be running.

    The file keeps its inode, which is mounted in the container. A missing one is left alone.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:  # it has not run yet, or is being removed
        return
    with open(fd, "r+b") as file:
        lines = file.read(_LARGEST).splitlines(True)
        if lines and not lines[-1].endswith(b"\n"):
            lines[-1] += b"\n"
        file.seek(0)
        file.write(b"".join(changed(lines)))
        file.truncate()


def hosts(settings: Settings, name: str, of_host: str, endpoints: Iterable[Endpoint] = ()) -> str:
    """/etc/hosts: that of the host, or the usual one with the container's name; and --add-host."""
    text = of_host or _HOSTS + own_lines(settings, name, endpoints)
    text += "" if text.endswith("\n") else "\n"
    for entry in settings.extra_hosts:
        other, _, word = entry.partition(":")
        for address in _gateways(endpoints) if word == GATEWAY else [word]:
            text += f"{address}\t{other}\n"
    return text


def own_lines(settings: Settings, name: str, endpoints: Iterable[Endpoint]) -> str:
    """The lines of the container's own name: one for each address that it has."""
    own = f"{name}.{settings.domainname} {name}" if settings.domainname else name
    addresses = [word for one in endpoints for word in (one.address, one.address6) if word]
    return "".join(f"{address}\t{own}\n" for address in addresses or ["127.0.1.1"])


def _gateways(endpoints: Iterable[Endpoint]) -> list[str]:
    """Where the host is for a container: at the gateways of its way out, or in its own place."""
    found = list(endpoints)
    ways = [one for one in found if not one.network.internal] or found
    if not ways:
        return ["127.0.0.1"]
    network = max(ways, key=lambda one: (one.priority, -one.position)).network
    return [word for word in (network.gateway, network.gateway6) if word]


# -- resolv.conf ---------------------------------------------------------------------------


def resolv_conf(settings: Settings, endpoints: Iterable[Endpoint]) -> str:
    """/etc/resolv.conf of a container that is in these networks, or with the host, or in none."""
    found = list(endpoints)
    if not found:
        shares = settings.network == "host"
        return edited(settings, resolvers.read(resolvers.PATH) if shares else _NO_NETWORK)
    return composed(settings, found, resolvers.of_host())


def composed(settings: Settings, endpoints: list[Endpoint], of_host: Resolvers) -> str:
    """/etc/resolv.conf for networks of ours."""
    search = [one for one in settings.dns_search or of_host.search if one != "."]
    options = list(settings.dns_options or of_host.options)
    named = [one.network for one in endpoints if not one.network.is_default]
    if named:
        servers = [one.gateway or one.gateway6 for one in named][:_MOST]
        # A name without a dot is that of a container before it is one of a search domain.
        options += [] if any(one.startswith("ndots:") for one in options) else ["ndots:0"]
    else:
        default = endpoints[0].network
        servers = list(settings.dns or of_host.external or [default.gateway or default.gateway6])
    lines = [f"nameserver {address}" for address in servers]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join([*lines, ""])


def edited(settings: Settings, text: str) -> str:
    """/etc/resolv.conf: ``text``, in which --dns, --dns-search and --dns-option replace lines."""
    if not (settings.dns or settings.dns_search or settings.dns_options):
        return text
    kept = [
        line
        for line in text.splitlines()
        if line != _NO_NETWORK.rstrip() and not _is_replaced(settings, line)
    ]
    kept += [f"nameserver {address}" for address in settings.dns]
    search = [domain for domain in settings.dns_search if domain != "."]
    kept += [f"search {' '.join(search)}"] if search else []
    kept += [f"options {' '.join(settings.dns_options)}"] if settings.dns_options else []
    return "\n".join([*kept, ""])


def _is_replaced(settings: Settings, line: str) -> bool:
    words = line.split(None, 1)
    kind = _KINDS.get(words[0], "") if words else ""
    return bool(kind and getattr(settings, kind))
