"""The table in the kernel, and whether anybody has changed it: a start changes only its own part.

What leads to a container is known here as well as in the kernel. As long as nobody else has
changed the table, the two are the same, so that a start adds elements, an end deletes them, and
neither looks at those of others. Others may change their own tables as often as they like, as
Docker does for each of its containers: the kernel tells of which table a change was
(:class:`kernel.netfilter.Changes`).
"""

from __future__ import annotations

from kernel import netfilter
from network import conntrack, forwards, nft, rules
from network.errors import NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from network.forwards import Forward
    from network.store import Network


class Firewall:
    """One table, by its name in each call."""

    def __init__(self) -> None:
        self._nft: nft.Nft | None = None
        self._changes = netfilter.Changes()
        self._is_known = False  # the table is as we left it
        self._chains_changed = False
        self._leads: dict[str, tuple[Forward, ...]] = {}  # by container
        self._owners: dict[tuple[object, ...], str] = {}  # forward.key to container

    def is_as_we_left_it(self, table: str) -> bool:
        """False also where it is only possible that somebody touched our table."""
        found = self._changes.take()
        if found is None or any(one[1:] == (netfilter.INET, table) for one in found):
            self._is_known = False
        elif any(kind in (netfilter.NEWCHAIN, netfilter.DELCHAIN) for kind, _, _ in found):
            self._chains_changed = True
        return self._is_known

    def foreign_drops(self, table: str) -> list[str]:
        """See :func:`network.rules.foreign_drops`."""
        self._chains_changed = False
        return rules.foreign_drops(self._loaded().run(rules.chains()), table)

    @property
    def chains_changed(self) -> bool:
        """Whether others have made or removed chains since :meth:`foreign_drops`."""
        return self._chains_changed

    def put(
        self,
        table: str,
        networks: list[Network],
        leads: Mapping[str, tuple[Forward, ...]],
        redirects: Iterable[tuple[str, str, str, int]] = (),
    ) -> None:
        """Makes the table anew: all networks, what leads to each container, and to the servers of
        names that are elsewhere (as :func:`network.rules.whole`). NetworkError.
        """
        every = [one for found in leads.values() for one in found]
        self._changes.take()
        made = [*rules.whole(table, networks, redirects), *forwards.whole(table, networks, every)]
        self._run(made)
        self._leads = dict(leads)
        self._owners = {one.key: name for name, found in leads.items() for one in found}

    def lead(self, table: str, container_id: str, wanted: tuple[Forward, ...]) -> bool:
        """What leads to a container is ``wanted`` from now on.

        False if the table is not as it was left, or is not any more: it must be made anew.
        """
        before = self._leads.get(container_id, ())
        if not self.is_as_we_left_it(table):
            return False
        stale = [one for one in before if one not in wanted]
        fresh = [one for one in wanted if one not in before]
        for one in fresh:  # what a container had that was killed and not mended yet
            owner = self._owners.get(one.key, container_id)
            if owner != container_id:
                stale += [old for old in self._leads[owner] if old.key == one.key]
                self._leads[owner] = tuple(old for old in self._leads[owner] if old.key != one.key)
        commands = forwards.change(table, "delete", stale) + forwards.change(table, "add", fresh)
        try:
            if commands:
                self._run(commands)
        except NetworkError:
            self._is_known = False
            return False
        for one in stale:
            self._owners.pop(one.key, None)
        self._owners |= {one.key: container_id for one in fresh}
        self._leads[container_id] = wanted
        if not wanted:
            del self._leads[container_id]
        conntrack.forget([*stale, *fresh])
        return True

    def remove(self, table: str) -> None:
        """Takes the table away. NetworkError."""
        self._run(rules.gone(table))
        self._is_known = False
        self._leads, self._owners = {}, {}

    def _run(self, commands: list[dict[str, Any]]) -> None:
        """Performs commands in one transaction, which is the only one since the last."""
        library = self._loaded()
        expected = self._changes.seen + 1
        library.run(commands)
        told = self._changes.take() is not None
        self._is_known = told and self._changes.seen == expected  # nobody came in between

    def _loaded(self) -> nft.Nft:
        if self._nft is None:
            self._nft = nft.Nft()
        return self._nft
