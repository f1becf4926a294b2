"""The volumes of a container that is being made: named, made where they are missing, and held.

From :meth:`Claim.take` until the end of the ``with`` block nobody can remove them; by then their
mounts are recorded, and forbid it. If the block fails, volumes that it made are gone again, unless
somebody else has taken them up.
"""

from __future__ import annotations

import os

from volumes.store import new_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kernel.locks import Lock
    from volumes.plan import Mount
    from volumes.store import Store, Volume


class Claim:
    """``volumes`` are all that the mounts need, each once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, Volume] = {}
        self._made: list[str] = []
        self._locks: list[Lock] = []

    @property
    def volumes(self) -> list[Volume]:
        return list(self._held.values())

    def take(self, mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
        """The mounts with names for anonymous volumes; missing host folders of -v are made."""
        decided: list[Mount] = []
        for mount in mounts:
            if mount.kind == "bind" and mount.make_source and not os.path.exists(mount.source):
                os.makedirs(mount.source, mode=0o755, exist_ok=True)
            name = mount.source
            if mount.kind == "volume":
                name = name or new_name()
                if name not in self._held:
                    self._hold(name, anonymous=not mount.source)
            decided.append(mount.replace(source=name))
        return tuple(decided)

    def _hold(self, name: str, *, anonymous: bool) -> None:
        volume, lock, made = self._store.claim(name, anonymous=anonymous)
        self._held[name] = volume
        self._locks.append(lock)
        if made:
            self._made.append(name)

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        for lock in self._locks:
            lock.release()
        if kind is not None:
            self._store.discard(self._made)
