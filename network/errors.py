"""What can go wrong with networks."""

from __future__ import annotations

from kernel.errors import Conflict, NotFound, PyctrError


class NetworkError(PyctrError):
    """A network, an address or a port that cannot be had."""


class NetworkNotFound(NotFound, NetworkError):
    """There is no network of that name or id."""


class NetworkConflict(Conflict, NetworkError):
    """The network is in use, or has what is asked for already."""
