"""The server of names as the agent keeps it: loaded with the first network whose containers ask.

The default network needs none on most hosts, and without one the library stays out of memory.
"""

from __future__ import annotations

from network import resolvers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable, Iterable

    from network.names import Server
    from network.store import Network
    from network.zone import Zone


class Names:
    """See :class:`network.names.Server`; nothing of it is there before it is needed."""

    def __init__(self, selector: selectors.BaseSelector, zone: Callable[[], Zone]) -> None:
        self._selector = selector
        self._zone = zone
        self._server: Server | None = None

    def serve(self, networks: Iterable[Network]) -> list[str]:
        """Answers in these networks, whose bridges are there, if it is we whom they ask.

        What is to be said where that cannot be: a container runs without names as well.
        """
        said = []
        for one in networks:
            if not resolvers.is_asked(one):
                continue
            if self._server is None:
                from network import names

                self._server = names.Server(self._selector, self._zone)
            try:
                self._server.serve(one)
            except OSError as error:
                said.append(f"names cannot be found in network {one.name}: {error.strerror}")
        return said

    def vacate(self) -> None:
        """Leaves port 53 to somebody who wants it. OSError."""
        if self._server is not None:
            self._server.vacate()

    def keep(self, ids: Iterable[str]) -> bool:
        """Stops answering in all networks but these; whether there are any left."""
        if self._server is None:
            return False
        self._server.keep(ids)
        return self._server.is_serving

    @property
    def is_serving(self) -> bool:
        """Whether there is any network to answer in."""
        return self._server is not None and self._server.is_serving

    @property
    def redirects(self) -> list[tuple[str, str, str, int]]:
        """What the firewall must lead elsewhere, as :attr:`network.names.Server.redirects`."""
        return [] if self._server is None else self._server.redirects

    def patience(self) -> float:
        """Seconds until :meth:`expire` has something to do; infinity for never."""
        return float("inf") if self._server is None else self._server.patience()

    def expire(self) -> None:
        """Ends what has waited long enough."""
        if self._server is not None:
            self._server.expire()
