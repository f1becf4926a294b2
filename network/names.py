"""The server of names: it answers what containers ask, on the gateway of each network.

Who asks is known by the network it comes through (the socket is bound to the bridge) and by the
address it has there. What :mod:`network.zone` knows is answered; everything else goes on to the
resolvers of the container or of the host. Every packet is taken for hostile: what is wrong with one
concerns nobody but its sender, and what one container has under way is limited.

It lives in the agent's loop, which calls what is registered in its selector, and
:meth:`Server.expire` after each turn.

Source: RFC 1034, 1035, 7766; socket(7), SO_BINDTODEVICE; Docker's "Embedded DNS server".
"""

from __future__ import annotations

import random
import selectors
import socket
import traceback
from collections import Counter

import dns.rcode

from network import forward, listeners, packets
from network.listeners import Listener
from network.resolvers import Watched
from network.zone import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from network.packets import Query
    from network.store import Network
    from network.zone import Zone

MOST = 64  # questions of one container that are under way to other resolvers
COMPLAINTS = 20  # that are written to the log at most


class Server:
    """The server for all networks of an agent; ``zone`` gives the names as they are now."""

    def __init__(
        self,
        selector: selectors.BaseSelector,
        zone: Callable[[], Zone],
        resolvers: Watched | None = None,
    ) -> None:
        self._selector = selector
        self._zone = zone
        self._resolvers = resolvers or Watched()
        self._forwarder = forward.Forwarder(selector)
        self._listeners: dict[str, Listener] = {}  # by the id of the network
        self._load: Counter[str] = Counter()  # questions under way, by the id of the container
        self._sent: set[tuple[object, ...]] = set()  # the same ones: from where, and what
        self._complaints = 0
        self._port = listeners.PORT

    # -- networks --------------------------------------------------------------------------

    def serve(self, network: Network) -> None:
        """Answers in a network, whose bridge is there. Costs little where it does already.

        OSError.
        """
        index = socket.if_nametoindex(network.bridge)
        found = self._listeners.get(network.id)
        if found is not None and found.is_for(network, index):
            return
        if found is not None:
            found.close()
        self._listeners.pop(network.id, None)
        self._listeners[network.id] = Listener(
            self._selector, network, index, self._asked, self._port
        )

    def vacate(self) -> None:
        """Leaves port 53 of all gateways to somebody who wants it: :attr:`redirects` say where
        the server is from now on. OSError.
        """
        self._port = 0
        networks = [one.network for one in self._listeners.values()]
        self.keep(())
        for one in networks:
            self.serve(one)

    def keep(self, ids: Iterable[str]) -> None:
        """Stops answering in all networks but these."""
        for gone in set(self._listeners) - set(ids):
            self._listeners.pop(gone).close()

    @property
    def is_serving(self) -> bool:
        """Whether there is any network to answer in."""
        return bool(self._listeners)

    @property
    def redirects(self) -> list[tuple[str, str, str, int]]:
        """(bridge, gateway, protocol, port) where we could not have port 53 of a gateway."""
        return [found for one in self._listeners.values() for found in one.redirects]

    def patience(self) -> float:
        """Seconds until :meth:`expire` has something to do."""
        found = [one.patience() for one in self._listeners.values()]
        return min([self._forwarder.patience(), *found])

    def expire(self) -> None:
        """Ends what has waited long enough."""
        self._forwarder.expire()
        for one in self._listeners.values():
            one.expire()

    # -- questions -------------------------------------------------------------------------

    def _asked(
        self,
        network: Network,
        source: str,
        port: int,
        wire: bytes,
        reply: Callable[[bytes], None],
        tcp: bool,
    ) -> None:
        """Answers a message; whatever it is, the server goes on."""
        try:
            zone = self._zone()
            container_id = zone.asker(network.id, source)
            if not container_id:
                return  # nobody that we know
            query = packets.read(wire)
            answer = _known(
                zone, container_id, query, packets.LONGEST_ANSWER if tcp else query.limit
            )
            if answer:
                reply(answer)
            else:
                self._pass_on(zone, container_id, query, (source, port), reply, tcp=tcp)
        except packets.Refused as refused:
            if refused.answer:
                reply(refused.answer)
        except Exception:  # a mistake of ours, which a container must not turn against the others
            self._complain()

    def _pass_on(
        self,
        zone: Zone,
        container_id: str,
        query: Query,
        source: tuple[str, int],
        reply: Callable[[bytes], None],
        *,
        tcp: bool,
    ) -> None:
        key = (*source, query.number, query.question)
        if key in self._sent:  # asked again while the first one is under way
            return
        servers = zone.servers(container_id, self._resolvers.servers)
        if not servers:
            reply(packets.failed(query, dns.rcode.NXDOMAIN))
            return
        if self._load[container_id] >= MOST:
            reply(packets.failed(query, dns.rcode.SERVFAIL))
            return
        self._load[container_id] += 1
        self._sent.add(key)

        def done(answer: bytes) -> None:
            self._sent.discard(key)
            self._load[container_id] -= 1
            if not self._load[container_id]:
                del self._load[container_id]
            try:
                fits = tcp or len(answer) <= query.limit
                reply(answer if fits else packets.truncated(query))
            except Exception:
                self._complain()

        self._forwarder.ask(query, servers, done, tcp=tcp)

    def _complain(self) -> None:
        """Writes the traceback into the agent's log; not for ever, it stands on a disk."""
        self._complaints += 1
        if self._complaints <= COMPLAINTS:
            traceback.print_exc()


def _known(zone: Zone, container_id: str, query: Query, limit: int) -> bytes:
    """The answer to what is known here; b"" if it is not."""
    address = query.address
    if address:
        name = zone.name_at(container_id, address)
        if name == "":
            return packets.failed(query, dns.rcode.NXDOMAIN)
        return packets.pointer(query, name) if name else b""
    found = zone.find(container_id, query.name) if query.name else None
    if found is None:
        return b""
    all_of_it = [word for one in found for word in addresses(one)]
    random.shuffle(all_of_it)  # clients take the first
    return packets.addresses(query, all_of_it, limit)
