"""Networks: addresses, bridges and rules that nobody has, or that should be there."""

from __future__ import annotations

from engine import containers, network_mending
from engine.verify.containers import is_busy
from kernel.finding import Finding
from network import client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.home import Home


def check(home: Home) -> Iterator[Finding]:
    """All findings about networks; each is mended by :mod:`engine.network_mending`."""
    for about, what in _wrong(home):
        yield Finding(about, what, "", "put it right", lambda: network_mending.mend(home))


def _wrong(home: Home) -> Iterator[tuple[str, str]]:
    live = home.networks.live()
    for one in live:
        container = containers.get(home, one.container_id)
        is_up = container is None or container.status in containers.UP
        if not is_up and container is not None and not is_busy(home, container.id):
            what = f"it does not run, and has an address in network {one.network.name}"
            yield f"container {container.name}", what
    for bridge in sorted(network_mending.left_bridges(home)):
        yield f"bridge {bridge}", "its network is gone"
    if live and not network_mending.has_table(home):
        yield "the firewall", "the rules of running containers are gone"
    if not live and network_mending.has_table(home) and not client.is_there(home.run):
        yield "the firewall", "there are rules that nobody needs"
