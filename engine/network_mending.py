"""Networks as a crash or another tool has left them: what is looked at by every list.

Nothing is to be done nearly always, so only what looks is imported; :mod:`engine.network` acts.
"""

from __future__ import annotations

import os

from engine import containers
from engine.errors import ContainerNotFound
from kernel import netfilter
from network import host
from network.store import table_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.home import Home


def mend(home: Home) -> None:
    """Mends what a crash, or another tool, has done to networks.

    Addresses of containers that do not run are taken back; rules that are gone are made again, and
    those that nobody needs any more go.
    """
    take_back(home)
    if (home.networks.live() and not has_table(home)) or left_bridges(home):
        from engine import network

        network.ask_for(home, "refresh").answer()
    tidy(home)


def left_bridges(home: Home) -> set[str]:
    """Bridges that are there though their networks are gone: who removed those was killed."""
    prefix = home.networks.bridges
    found = {name for name in host.interfaces() if name.startswith(prefix)}
    return found and found - {one.bridge for one in home.networks.listing()}


def tidy(home: Home) -> None:
    """Where nothing is on a network any more, and no agent is there to see it, one is started that
    takes bridges and rules away.
    """
    if not has_table(home) or not os.path.exists(f"{home.root}/state.db") or home.networks.live():
        return
    from network import client

    if not client.is_there(home.run):
        from engine import network

        network.ask_for(home, "leave").answer()


def has_table(home: Home) -> bool:
    """Whether the kernel has rules of ours."""
    try:
        return netfilter.has_table(table_name(home.tag))
    except OSError:  # a kernel without nf_tables has none
        return False


def take_back(home: Home) -> None:
    """Addresses of containers that do not run, and of builds that were killed, are free."""
    for holder in {one.container_id for one in home.networks.live()}:
        one = containers.get(home, holder)
        if one is None:
            _end_lease(home, holder)
            continue
        if one.status in containers.UP:
            continue
        from engine import locks, network

        try:
            with locks.alone(home, one, blocking=False) as held:  # otherwise it is being started
                if held.container.status not in containers.UP:
                    network.release(home, held.container)
        except (BlockingIOError, ContainerNotFound):
            continue


def _end_lease(home: Home, holder: str) -> None:
    """Gives back what a build had, unless somebody has the lock of its workspace."""
    from engine import locks

    try:
        with locks.leftover(home, holder):
            home.networks.give_back(holder)
    except FileNotFoundError:
        home.networks.give_back(holder)
    except BlockingIOError:
        return
