"""Containers and their networks: what the engine asks of the room `network`, and when.

A container that starts is given its addresses in one transaction; then the agent is asked for its
network namespace, which it makes while the command goes on with the plan. When the container ends,
the addresses are taken back; the namespace and all in it go with its last process. A command of a
build is lent a place in a network. What a kill -9 has left in the database is mended by
:mod:`engine.network_mending`.
"""

from __future__ import annotations

import os
import sys

from engine import config, publishing
from kernel import trace
from kernel.digest import fingerprint
from network import host, subnets
from network.errors import NetworkError
from network.store import (
    DEFAULT,
    MODES,
    Endpoint,
    Network,
    Store,
    default_network,
    new_id,
    table_name,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Iterable

    from engine.containers import Container
    from engine.home import Home
    from network import client
    from network.holding import Held
    from network.requests import Attachment

_begun = trace.point("engine.network.begun")
_ready = trace.point("engine.network.ready")
_default_made = trace.point("engine.network.default_made")
_released = trace.point("engine.network.released")
_agent_forked = trace.point("engine.network.agent_forked")

_CGROUP = "/pyctr/monitors"


# -- networks ------------------------------------------------------------------------------


def find(home: Home, text: str) -> Network:
    """The network of a name, an id or the beginning of one; the default one is made if needed."""
    if text in (DEFAULT, "default"):
        return default(home)
    return home.networks.get(text)


def builtin(home: Home) -> dict[str, str]:
    """The ids of the networks that nobody makes, by name."""
    return {name: fingerprint(f"{name} {home.run}".encode()).hex() for name in MODES}


def default(home: Home) -> Network:
    """The default network; its subnet is chosen when it is first needed."""
    store = home.networks
    found = store.known(DEFAULT)
    if found is None:
        with home.db:
            home.db.execute("BEGIN IMMEDIATE")
            found = store.known(DEFAULT)  # another command was faster
            if found is None:
                chosen = config.current()
                own = chosen.network_subnet
                pools = (own,) if own else chosen.network_pools or subnets.POOLS
                found = default_network(store.default_bridge, pools, taken(home))
                store.insert(found)
        _default_made()
    return found


def taken(home: Home) -> list[subnets.Subnet]:
    """What no new subnet may overlap: the routes of the host, and the networks that there are."""
    found = host.routes()
    for one in home.networks.listing():
        found += [subnets.parse(word) for word in (one.subnet, one.subnet6) if word]
    return found


# -- containers ----------------------------------------------------------------------------


def endpoints(home: Home, container_id: str, attachments: Iterable[Attachment]) -> list[Endpoint]:
    """The endpoints of a new container, not recorded yet. NetworkNotFound, NetworkError."""
    made: list[Endpoint] = []
    for one in attachments:
        if not one.is_mode:
            found = find(home, one.network)
            if any(other.network.id == found.id for other in made):
                raise NetworkError(f"network {found.name!r} is specified multiple times")
            made.append(endpoint(home, container_id, found, one, len(made)))
    return made


def endpoint(
    home: Home, container_id: str, found: Network, one: Attachment, position: int
) -> Endpoint:
    """What an attachment is in a network that was found. NetworkError, ContainerNotFound."""
    _check_address(found, one.address, found.subnet)
    _check_address(found, one.address6, found.subnet6)
    if one.aliases and found.is_default:
        raise NetworkError(
            "network-scoped alias is supported only for containers in user defined networks",
            f"network {found.name} has no names",
            "pyctr network create makes one that has",
        )
    links = one.links
    if links:
        from engine import linked

        links = linked.resolved(home, links)
    return Endpoint(
        container_id, found, new_id(), position, one.address, one.address6, one.mac, one.aliases,
        links, one.options, one.priority,
    )  # fmt: skip


def _check_address(found: Network, address: str, subnet: str) -> None:
    if not address:
        return
    if not subnet or subnets.number(address) not in subnets.parse(subnet):
        raise NetworkError(
            f"invalid address {address}",
            f"it does not belong to any of network {found.name}'s subnets",
            f"the network has {found.subnet or found.subnet6}",
        )


class Joining:
    """The network namespace of a container that is being started.

    ``path`` is what the plan names it by. It is complete after :meth:`complete`; until then, and
    until :meth:`close`, whatever fails is undone by :meth:`abandon`. ``held`` are the ports of the
    host, which the monitor keeps: those given, where it has them already.
    """

    def __init__(self, home: Home, container: Container, held: Held | None = None) -> None:
        self._home = home
        self._container = container
        self.held = held
        self._warnings: list[str] = []
        # The descriptor has its number, which the plan needs, before it is the namespace's.
        self._fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._request: client.Request | None = None
        try:
            _allocate(home, container.id)
            if held is None:
                self.held = publishing.hold(home, container, self._warnings.append)
            self._request = ask_for(home, "attach", container=container.id)
        except BaseException:
            self.abandon()
            raise
        _begun()

    @property
    def descriptors(self) -> list[int]:
        """What the process needs that starts the container."""
        return [self._fd, *(self.held.descriptors if self.held is not None else ())]

    @property
    def path(self) -> str:
        """The namespace as a path, in this process and its children."""
        return f"/proc/self/fd/{self._fd}"

    def complete(self) -> list[str]:
        """Waits for the agent; what it warns of. NetworkError."""
        assert self._request is not None
        said, fd = self._request.answer()
        self._request = None
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        _ready()
        return [*self._warnings, *map(str, said["warnings"])]

    def close(self) -> None:
        """The namespace is its processes' from now on."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def abandon(self) -> None:
        """The container does not start after all."""
        if self._request is not None:
            self._request.abandon()
        publishing.let_go(self._home, self._container)
        self.close()
        self.let_go()
        self._home.networks.release(self._container.id)

    def let_go(self) -> None:
        """The ports are the monitor's, or nobody's, from now on."""
        if self.held is not None:
            self.held.close()


def _allocate(home: Home, container_id: str) -> None:
    """Gives a container its addresses; what a crash has left to others is taken back for that."""
    try:
        home.networks.allocate(container_id)
    except NetworkError:
        from engine import network_mending

        network_mending.take_back(home)
        home.networks.allocate(container_id)


def lend(home: Home, container: Container) -> Joining | None:
    """Begins to make the network of a command that is no container, in the one that its settings
    name; None if that is none or the host's. Who has it does :meth:`Store.give_back` in the end.
    """
    if not container.settings.is_on_networks:
        return None
    found = find(home, container.settings.network)
    try:
        home.networks.lease(container.id, found)
    except NetworkError:
        from engine import network_mending

        network_mending.take_back(home)
        home.networks.lease(container.id, found)
    return Joining(home, container)


def join(home: Home, container: Container, held: Held | None = None) -> Joining | None:
    """Begins to make the network of a container that starts; None if it has none of its own.

    ``held`` are the ports that its monitor has already.
    """
    if not container.settings.is_on_networks or not home.networks.endpoints(container.id):
        return None
    return Joining(home, container, held)


def release(home: Home, container: Container) -> None:
    """A container has ended, or could not be started: its addresses are free."""
    if container.settings.is_on_networks:
        publishing.let_go(home, container)
        home.networks.release(container.id)
        _released()


def tell_agent(home: Home, what: str, container: Container, found: Network) -> None:
    """connect or disconnect: a running container gets or loses its endpoint in a network."""
    words = {"container": container.id, "network": found.id}
    process_words = {"pid": container.pid, "start_time": container.start_time}
    ask_for(home, what, **words, **process_words).answer()


def refresh(home: Home) -> None:
    """Networks are gone: their bridges and rules go as well, if the kernel has any."""
    from network import client

    if client.is_there(home.run):
        ask_for(home, "refresh").answer()


def tell_events(home: Home, container: Container, action: str) -> None:
    """connect or disconnect, for each network of a container that has started or has ended."""
    if container.settings.is_on_networks:
        for one in home.networks.endpoints(container.id):
            home.networks.tell(action, one.network, container.id)


# -- the agent -----------------------------------------------------------------------------


def ask_for(home: Home, what: str, **words: object) -> client.Request:
    """A request to the agent, which is started if it does not run."""
    from network import client

    return client.Request(home.run, _starter(home), do=what, **words)


def _starter(home: Home) -> Callable[[socket], None]:
    def start(listener: socket) -> None:
        home.close()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            _agent_forked()
            return
        try:
            if os.fork() == 0:
                _agent(home, listener)
        finally:
            os._exit(0)

    return start


def _store(home: Home) -> Store:
    """The networks of the database that is there now. FileNotFoundError: it makes none."""
    os.stat(f"{home.root}/state.db")
    return home.fresh().networks


def _agent(home: Home, listener: socket) -> None:
    """The forked agent's whole life. Never returns."""
    code = 1
    try:
        import gc

        from engine import directory
        from kernel import process, signals
        from kernel.paths import keep_only
        from network import agent
        from runtime import cgroups

        gc.set_threshold(700)  # it lives long, unlike the command that has started it
        os.setsid()
        os.chdir("/")
        for number in (signals.SIGHUP, signals.SIGINT, signals.SIGQUIT, signals.SIGTSTP):
            signals.signal(number, signals.SIG_IGN)
        signals.signal(signals.SIGTERM, signals.SIG_DFL)
        signals.set_wakeup_fd(-1)
        log = os.open(
            f"{home.run}/network.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        os.dup2(log, 2)
        keep_only({2, listener.fileno()})
        process.set_name("pyctr:network")
        cgroups.leave_unit(_CGROUP)
        names = directory.Directory(home)
        table = table_name(home.tag)
        agent.main(listener, home.run, table, lambda: _store(home), names.zone)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
    finally:
        os._exit(code)
