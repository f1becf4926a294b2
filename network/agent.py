"""The network agent: one process for each root folder, on demand, that speaks with the kernel.

It keeps what is slow to load (pyroute2, libnftables) and nothing that matters: what should be
stands in the database, what is in the kernel. So it may be killed at any time, and the next command
starts another. One thread; requests are done one after the other (see :mod:`network.client`), and
no client can hold it up: a request is read when it is there, and an answer that nobody takes is
dropped with its connection.

It leaves when it has had nothing to do for a minute, and takes away bridges and rules that no
running container needs.
"""

from __future__ import annotations

import os
import selectors
import time

from kernel import process, quickjson, sockets, trace
from kernel.errors import PyctrError
from network import client, firewall, host, links, options, service
from network.errors import NetworkError
from network.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

    from network.store import Endpoint, Network
    from network.zone import Zone

_asked = trace.point("network.agent.asked")
_namespace_made = trace.point("network.agent.namespace_made")
_plugged = trace.point("network.agent.plugged")
_published = trace.point("network.agent.published")
_connected = trace.point("network.agent.connected")
_disconnected = trace.point("network.agent.disconnected")
_rules_made = trace.point("network.agent.rules_made")
_unreachable = trace.point("network.agent.unreachable")
_cleared = trace.point("network.agent.cleared")

IDLE = 60.0  # seconds without a request after which it leaves
_LONGEST = 1 << 16  # bytes of a request


class Agent:
    """The agent of one run folder.

    ``table`` is the name of its rules; ``store`` gives the store of the database as it is now, or
    raises FileNotFoundError if there is none any more; ``zone`` gives the names of containers.
    """

    def __init__(
        self,
        listener: socket,
        run: str,
        table: str,
        store: Callable[[], Store],
        zone: Callable[[], Zone],
    ) -> None:
        self.selector = selectors.DefaultSelector()
        self._names = service.Names(self.selector, zone)
        self._listener = listener
        self._run = run
        self._socket = _identity(client.socket_path(run))
        self._table = table
        self._store = store
        self._clients: dict[int, _Client] = {}
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._netlink = links.Netlink()
        self._firewall = firewall.Firewall()
        self._networks: set[str] = set()  # those that the rules know
        self._redirected: list[tuple[str, str, str, int]] = []  # the same, of names
        self._drops: list[str] = []  # chains of others that a person has been told of
        self._mark = client.mark(run)
        self._last = time.monotonic()
        self._leaving = False
        self._warnings: list[str] = []

    def serve(self) -> None:
        """Works until there is nothing to do any more."""
        self._listener.listen(64)  # the socket tells from now on that it is ours (SO_PEERCRED)
        self._listener.setblocking(False)
        self.watch(self._listener.fileno(), self._accept)
        while not (self._leaving and not self._clients):
            for key, _ in self.selector.select(min(IDLE, self._names.patience())):
                key.data()
            self._names.expire()
            if not self._leaving and self._is_idle():
                self._leave()
        self._clear_again()

    def watch(self, fd: int, ready: Callable[[], None]) -> None:
        """Calls ``ready`` whenever a descriptor can be read."""
        self.selector.register(fd, selectors.EVENT_READ, ready)

    # -- clients ---------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection = sockets.accept(self._listener)
        except BlockingIOError:
            return
        if sockets.peer_uid(connection) != 0:
            connection.close()
            return
        connection.setblocking(False)
        self._clients[connection.fileno()] = one = _Client(connection)
        self.watch(connection.fileno(), lambda: self._read(one))

    def _read(self, one: _Client) -> None:
        try:
            chunk = one.connection.recv(_LONGEST)
        except BlockingIOError:
            return
        except ConnectionError:
            chunk = b""
        one.content += chunk
        if one.content.endswith(b"\n"):
            self._last = time.monotonic()
            _asked()
            self._answer(one)
        elif chunk and len(one.content) < _LONGEST:
            return
        self.selector.unregister(one.connection.fileno())
        del self._clients[one.connection.fileno()]
        one.connection.close()

    def _answer(self, one: _Client) -> None:
        fd = -1
        self._warnings = []
        try:
            fd = self._done(quickjson.loads(one.content))
            said: dict[str, Any] = {"warnings": self._warnings}
        except PyctrError as error:
            said = {"error": _told(error)}
        except OSError as error:
            words = NetworkError("the network could not be set up", str(error.strerror or error))
            said = {"error": _told(words)}
        except Exception as error:
            import traceback

            traceback.print_exc()
            words = NetworkError("the network agent made a mistake", repr(error))
            said = {"error": _told(words)}
        content = f"{quickjson.dumps(said)}\n".encode()
        try:
            if fd >= 0:
                sockets.send_with_fd(one.connection, content, fd)
            else:
                one.connection.send(content)
        except OSError:  # nobody waits for it any more
            pass
        finally:
            if fd >= 0:
                os.close(fd)

    def _done(self, words: dict[str, Any]) -> int:
        """Does what is asked; the descriptor to answer with, or -1."""
        what = words["do"]
        if what == "attach":
            return self._attach(words["container"])
        if what == "publish":
            self._publish(self._store(), words["container"])
        elif what == "refresh":
            self._refresh()
        elif what == "connect":
            self._connect(words)
        elif what == "disconnect":
            self._disconnect(words)
        elif what == "vacate":
            self._names.vacate()
            self._refresh()
        elif what == "leave":
            self._leave()
        else:
            raise NetworkError(f"the network agent does not know {what!r}")
        return -1

    # -- containers ------------------------------------------------------------------------

    def _attach(self, container_id: str) -> int:
        store = self._store()
        endpoints = [one for one in store.endpoints(container_id) if one.mac]
        if not endpoints:
            raise NetworkError("the container has no addresses", "it was stopped meanwhile")
        self._prepare(store, endpoints)
        inside = links.Namespace(self._own)
        _namespace_made()
        try:
            links.raise_loopback(inside)
            for one in endpoints:
                self._plug(inside, one)
            links.route(inside, endpoints)
            self._serve_names(store, [one.network for one in endpoints])
            self._publish(store, container_id)
        except BaseException:
            os.close(inside.fd)
            raise
        finally:
            inside.close()
        _plugged()
        return inside.fd

    def _plug(self, inside: links.Namespace, one: Endpoint) -> None:
        bridge = links.index(one.network.bridge) or self._bridge(one.network)
        hairpin = bool(self._store().published.of(one.container_id))
        links.plug(self._netlink, inside, bridge, one, mtu_of(one.network), hairpin=hairpin)

    def _connect(self, words: dict[str, Any]) -> None:
        store = self._store()
        there, wanted = self._endpoints(store, words)
        self._prepare(store, there)
        inside = self._entered(words)
        try:
            self._plug(inside, wanted)
            links.route(inside, there)
            self._serve_names(store, [wanted.network])
            _connected()
        finally:
            inside.close()
            os.close(inside.fd)

    def _disconnect(self, words: dict[str, Any]) -> None:
        there, unwanted = self._endpoints(self._store(), words)
        inside = self._entered(words)
        try:
            links.unplug(inside, unwanted)
            links.route(inside, [one for one in there if one is not unwanted])
            _disconnected()
        finally:
            inside.close()
            os.close(inside.fd)

    def _endpoints(self, store: Store, words: dict[str, Any]) -> tuple[list[Endpoint], Endpoint]:
        """(the endpoints that a container has now, the one that a request is about)."""
        there = [one for one in store.endpoints(words["container"]) if one.mac]
        for one in there:
            if one.network.id == words["network"]:
                return there, one
        raise NetworkError("the container is not in that network", "it has ended meanwhile")

    def _entered(self, words: dict[str, Any]) -> links.Namespace:
        """The namespace of a container's first process, which is known for certain."""
        try:
            folder = process.open_folder(words["pid"], words["start_time"])
        except ProcessLookupError:
            raise NetworkError("the container has just ended") from None
        try:
            fd = os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
        return links.Namespace(self._own, fd)

    def _publish(self, store: Store, container_id: str) -> None:
        """What comes for the ports that a container holds goes to it, and no other to where it was.

        The bridge may have packets of 127.0.0.0/8 then: the table lets none in that is no answer.
        """
        wanted = store.forwards(container_id).get(container_id, ())
        led_to = {one.address for one in wanted}
        for one in store.endpoints(container_id) if wanted else ():
            if one.address in led_to:
                host.allow_localnet(one.network.bridge)
        if not self._firewall.lead(self._table, container_id, wanted):
            self._refresh(store)
        _published()

    # -- networks --------------------------------------------------------------------------

    def _prepare(self, store: Store, endpoints: list[Endpoint]) -> None:
        """The rules are there, know these networks, and nobody has touched them."""
        wanted = {one.network.id for one in endpoints}
        if not (self._firewall.is_as_we_left_it(self._table) and wanted <= self._networks):
            self._refresh(store)
        elif self._firewall.chains_changed:
            self._warn_of_drops()

    def _refresh(self, store: Store | None = None) -> None:
        """Bridges and rules as the database has them.

        A bridge is made when it is first needed; what is left of a network that is gone goes.
        """
        store = store or self._store()
        networks = store.listing()
        needed = {one.network.bridge: one.network for one in store.live()}
        known = {one.bridge for one in networks}
        for name in links.bridges(self._netlink, self._mark):
            if name not in known:
                links.remove(self._netlink, name)
        for one in needed.values():
            self._bridge(one)
        self._names.keep(one.id for one in networks)
        self._warnings += self._names.serve(needed.values())
        self._redirected = self._names.redirects
        self._firewall.put(self._table, networks, store.forwards(), self._redirected)
        _rules_made()
        self._networks = {one.id for one in networks}
        self._warn_of_drops()
        if host.allow_forwarding(v6=False):
            self._warnings.append("IPv4 forwarding was off on this host; it is on now")
        if any(one.subnet6 for one in networks) and host.allow_forwarding(v6=True):
            self._warnings.append("IPv6 forwarding was off on this host; it is on now")

    def _warn_of_drops(self) -> None:
        """Says once what another firewall will do to packets of containers."""
        found = self._firewall.foreign_drops(self._table)
        if found and found != self._drops:
            self._warnings.append(
                f"the chain {', '.join(found)} of another firewall drops what passes through this"
                " host, and so what containers send: it must accept the bridges of pyctr"
                " (with Docker: iptables -I DOCKER-USER -i 'pyctr+' -j ACCEPT, the same with -o)"
            )
        self._drops = found

    def _bridge(self, network: Network) -> int:
        return links.ensure_bridge(self._netlink, network, mtu_of(network), self._mark)

    def _serve_names(self, store: Store, networks: list[Network]) -> None:
        """Names are answered in these networks, whose bridges are there."""
        self._warnings += self._names.serve(networks)
        if self._names.redirects != self._redirected:
            self._refresh(store)

    # -- the end ---------------------------------------------------------------------------

    def _is_idle(self) -> bool:
        if self._clients or time.monotonic() - self._last < IDLE:
            return False
        if self._names.is_serving and self._names.keep(self._inhabited()):
            self._last = time.monotonic()
            return False
        return True

    def _inhabited(self) -> list[str]:
        """The ids of the networks in which there are containers, for the kernel as well."""
        bridges = {one.network.id: one.network.bridge for one in self._store().live()}
        return [
            network_id
            for network_id, bridge in bridges.items()
            if links.has_ports(self._netlink, links.index(bridge))
        ]

    def _leave(self) -> None:
        """Nobody finds the socket any more; who is in its queue is still served."""
        try:
            with client.lock(self._run):
                if self._is_ours():
                    os.unlink(client.socket_path(self._run))
                _unreachable()
                self._clear()
        except FileNotFoundError:  # the run folder is gone
            self._clear()
        while True:
            before = len(self._clients)
            self._accept()
            if len(self._clients) == before:
                break
        self._leaving = True

    def _clear_again(self) -> None:
        """Who was in the queue may have made the rules anew; a later agent's are left alone."""
        try:
            with client.lock(self._run):
                if not os.path.lexists(client.socket_path(self._run)):
                    self._clear()
        except FileNotFoundError:  # the run folder is gone
            self._clear()

    def _is_ours(self) -> bool:
        """Whether the socket in the run folder is the one that we listen on."""
        return self._socket == _identity(client.socket_path(self._run))

    def _clear(self) -> None:
        """Takes away the bridges and rules of a root folder in which nothing runs."""
        try:
            if self._store().live():
                return
        except FileNotFoundError:  # somebody has removed the root folder
            pass
        for name in links.bridges(self._netlink, self._mark):
            links.remove(self._netlink, name)
        self._firewall.remove(self._table)
        _cleared()


class _Client:
    """A connection and what it has said so far."""

    def __init__(self, connection: socket) -> None:
        self.connection = connection
        self.content = b""


def mtu_of(network: Network) -> int:
    """The MTU of a network's interfaces: the one of its options, or that of the uplink."""
    return int(network.options.get(options.MTU) or host.uplink_mtu())


def _told(error: PyctrError) -> dict[str, Any]:
    return {
        "what": error.what, "why": error.why, "hint": error.hint, "path": error.path,
        "errno": error.errno, "exit_code": error.exit_code,
    }  # fmt: skip


def _identity(path: str) -> tuple[int, int]:
    """Which file it is; (0, 0) if there is none."""
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (info.st_dev, info.st_ino)


def main(
    listener: socket,
    run: str,
    table: str,
    store: Callable[[], Store],
    zone: Callable[[], Zone],
) -> None:
    """The agent's whole life, in a process of its own."""
    process.set_name("pyctr:network")
    Agent(listener, run, table, store, zone).serve()
