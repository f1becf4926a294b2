"""A container whose files stay as they are while they are read: for `commit` and `export`.

Nobody deletes them, and a running container is frozen by its monitor, which thaws it when our
connection ends, so also when we are killed.
"""

from __future__ import annotations

from engine import locks, start, wire
from engine.errors import ContainerConflict
from kernel import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home
    from engine.start import Session

_held = trace.point("engine.still.held")


class Still:
    """A context manager; ``freeze`` stops a running container meanwhile.

    ContainerNotFound if it was removed meanwhile.
    """

    def __init__(self, home: Home, container: Container, *, freeze: bool = True) -> None:
        self._home = home
        self._container = container
        self._freeze = freeze and container.status == "running"
        self._session: Session | None = None
        self._lock = locks.reading(home, container)

    def __enter__(self) -> Still:
        if self._freeze:
            try:
                self._session = _frozen(self._home, self._container)
            except ContainerConflict:  # it has just ended, and is still by itself
                pass
        try:
            self._lock.take()
        except BaseException:
            self._thaw()
            raise
        _held()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()
        self._thaw()

    def _thaw(self) -> None:
        if self._session is not None:
            self._session.connection.close()


def _frozen(home: Home, container: Container) -> Session:
    """A session with the monitor, which has frozen the container for it, or seen its end."""
    session = start.attach(home, container)
    session.connection.sendall(wire.message(wire.FREEZE, True))
    while chunk := session.connection.recv(4096):
        for kind, _ in session.reader.feed(chunk):
            if kind in (wire.FREEZE, wire.EXIT):
                return session
    return session
