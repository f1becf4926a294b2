"""A running container gets or loses a network: undone, or finished, if the command is killed.

``plugging.json`` in the run folder names the network from before anything changes until interface,
row and files have. Whoever finds it while nobody has the container's lock takes the interface away,
and the row: what was to be connected is not, and what was to be disconnected is. A container that
does not run has only the row.
"""

from __future__ import annotations

import os

from engine import containers, files, network, publishing, reconcile
from kernel import quickjson, trace, tree
from network.errors import NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home
    from network.store import Network

_noted = trace.point("engine.plugging.noted")
_unplugged = trace.point("engine.plugging.unplugged")
_detached = trace.point("engine.plugging.detached")


def begin(home: Home, container: Container, found: Network) -> None:
    """Notes that a running container gets or loses a network."""
    content = quickjson.dumps({"network": found.id}).encode()
    tree.write_atomically(_note(home, container), content, sync=False)
    _noted()


def over(home: Home, container: Container) -> None:
    """It has happened."""
    os.unlink(_note(home, container))


def unplug(home: Home, container: Container, network_id: str, *, force: bool = False) -> None:
    """Takes interface and row away. NetworkError; with ``force`` the row goes all the same."""
    there = home.networks.endpoints(container.id)
    for one in there:
        if one.network.id != network_id:
            continue
        try:
            if one.mac:
                network.tell_agent(home, "disconnect", container, one.network)
        except NetworkError:
            if not force:
                raise
        _unplugged()
        home.networks.detach(container.id, network_id)
        _detached()
    files.follow(home, container, there)
    publishing.follow(home, container)


def mend(home: Home, container: Container) -> None:
    """What a command that was killed has begun; the caller has the container's lock."""
    try:
        with open(_note(home, container), "rb") as file:
            said = quickjson.loads(file.read())
    except FileNotFoundError:
        return
    if not containers.is_running(container):
        return  # the note goes with the run folder
    try:
        unplug(home, container, said["network"])
    except NetworkError:  # another command tries again
        return
    over(home, container)


def _note(home: Home, container: Container) -> str:
    return f"{home.run_folder(container.id)}/{reconcile.NETWORK_NOTE}"
