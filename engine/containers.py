"""The table of containers: one record each, found by name or by the beginning of its id."""

from __future__ import annotations

from engine.errors import ContainerConflict, ContainerNotFound, EngineError
from engine.settings import Settings, decode
from kernel import process, trace
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from engine.home import Home

_renaming = trace.point("engine.containers.renaming")
_renamed = trace.point("engine.containers.renamed")

ALIVE = ("running", "paused")  # the statuses in which there is a first process
UP = (*ALIVE, "restarting")  # the statuses in which there is a monitor

# ``Container.stopped``: who ended it. No restart policy applies then, until it is started again.
BY_PERSON = 1
BY_SYSTEM = 2  # `system stop-all`, when the host shuts down: it comes back with the host

PARENT = "/pyctr"  # the control group above those of containers, unless another one was chosen

_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_HEX = frozenset("0123456789abcdef")


class Container(Record):
    """A row of the table; see engine.tables.CONTAINERS for the meaning of the columns."""

    id: str
    name: str
    image_id: str
    image: str
    created: float
    settings: Settings
    status: str
    pid: int = 0
    start_time: int = 0
    monitor_pid: int = 0
    monitor_start: int = 0
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started: float = 0.0
    finished: float = 0.0
    restarts: int = 0
    stopped: int = 0
    health: str = ""

    @property
    def cgroup(self) -> str:
        """Its control group, from the root of each hierarchy."""
        return f"{self.settings.cgroup_parent or PARENT}/{self.id}"

    @property
    def short_id(self) -> str:
        """The first twelve digits, as tables show it."""
        return self.id[:12]


_COLUMNS = ", ".join(Container._fields)


def is_id(text: str) -> bool:
    """Whether it is a full id: 64 hexadecimal digits."""
    return len(text) == 64 and set(text) <= _HEX


def is_name(text: str) -> bool:
    """Docker's rule for container names, but one letter will do."""
    return 0 < len(text) < 200 and text[0] in _ALNUM and set(text) <= _NAME


_NAME = _ALNUM | frozenset("_.-")


def search(home: Home, text: str) -> Container:
    """The row that a person means by a full id, a name, or the beginning of an id.

    In this order: a name counts more than the same letters at the beginning of an id.
    ContainerNotFound; EngineError lists the containers if several ids begin so.
    """
    wanted = text.removeprefix("/")
    query = f"SELECT {_COLUMNS} FROM containers WHERE name = ? OR id = ? ORDER BY id = ? DESC"
    rows = home.db.execute(query, (wanted, wanted, wanted)).fetchall()
    if not rows and wanted and len(wanted) < 64 and set(wanted) <= _HEX:
        query = f"SELECT {_COLUMNS} FROM containers WHERE id >= ? AND id < ? ORDER BY id"
        rows = home.db.execute(query, (wanted, wanted + "g")).fetchall()
        if len(rows) > 1:
            raise _ambiguous(text, [of_row(row) for row in rows])
    if not rows:
        raise ContainerNotFound(
            f"no such container: {text}", "", "pyctr ps -a shows all containers"
        )
    return of_row(rows[0])


_SHOWN = 10


def _ambiguous(text: str, found: list[Container]) -> EngineError:
    names = [f"{one.short_id if len(text) < 12 else one.id} ({one.name})" for one in found]
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    shown = ", ".join([*names[:_SHOWN], *more])
    return EngineError(
        f"container id {text!r} is ambiguous",
        f"so begin {shown}",
        "add digits, or use the name",
        exit_code=1,
    )


def get(home: Home, container_id: str) -> Container | None:
    """The row as it is now, or None."""
    query = f"SELECT {_COLUMNS} FROM containers WHERE id = ?"
    row = home.db.execute(query, (container_id,)).fetchone()
    return of_row(row) if row else None


def named(home: Home, name: str) -> Container | None:
    """The container that has exactly that name, or None."""
    query = f"SELECT {_COLUMNS} FROM containers WHERE name = ?"
    row = home.db.execute(query, (name,)).fetchone()
    return of_row(row) if row else None


def require(home: Home, container: Container) -> Container:
    """The row as it is now; ContainerNotFound if it was removed meanwhile."""
    fresh = get(home, container.id)
    if fresh is None:
        raise ContainerNotFound(f"no such container: {container.name}", "it was removed just now")
    return fresh


def listing(home: Home, statuses: tuple[str, ...] = ()) -> list[Container]:
    """All containers, or those with one of the statuses, the newest first."""
    only = f"WHERE status IN ({', '.join('?' * len(statuses))})" if statuses else ""
    query = f"SELECT {_COLUMNS} FROM containers {only} ORDER BY created DESC"
    return [of_row(row) for row in home.db.execute(query, statuses)]


def unsettled(home: Home) -> list[Container]:
    """Those of which the row says that something is under way, or may go with its end (--rm).

    Among a thousand that do not run only these are read.
    """
    query = (
        f"SELECT {_COLUMNS} FROM containers WHERE status NOT IN ('created', 'exited')"
        " OR status = 'exited' AND instr(settings, '\"auto_remove\"')"
    )
    return [of_row(row) for row in home.db.execute(query)]


def names(home: Home, ids: list[str]) -> list[str]:
    """The names of containers, in order, for messages."""
    found = dict(home.db.execute("SELECT id, name FROM containers").fetchall())
    return [found.get(i, i[:12]) for i in ids]


def insert(home: Home, container: Container) -> None:
    """A new row, within the caller's transaction."""
    values = row(container)
    marks = ", ".join("?" * len(values))
    home.db.execute(f"INSERT INTO containers ({_COLUMNS}) VALUES ({marks})", values)


def update(home: Home, container_id: str, **columns: Any) -> bool:
    """Sets columns; False if the container is gone."""
    assignments = ", ".join(f"{name} = ?" for name in columns)
    cursor = home.db.execute(
        f"UPDATE containers SET {assignments} WHERE id = ?", (*columns.values(), container_id)
    )
    return cursor.rowcount == 1


def exited(home: Home, container_id: str, monitor_pid: int, **columns: Any) -> bool:
    """Records that a container has ended for good; False if another monitor has it by now.

    ``columns`` are further ones to set, such as ``exit_code`` and ``finished``.
    """
    values = {
        "status": "exited", "pid": 0, "start_time": 0, "monitor_pid": 0, "monitor_start": 0,
        **columns,
    }  # fmt: skip
    assignments = ", ".join(f"{name} = ?" for name in values)
    query = f"UPDATE containers SET {assignments} WHERE id = ? AND monitor_pid = ?"
    return home.db.execute(query, (*values.values(), container_id, monitor_pid)).rowcount == 1


def mark_stopped(home: Home, container_id: str, by: int) -> None:
    """Says who ends a container that is up: its restart policy does not apply from now on."""
    home.db.execute(
        "UPDATE containers SET stopped = ? WHERE id = ? AND stopped <> ?"
        " AND status IN ('running', 'paused', 'restarting')",
        (by, container_id, BY_PERSON),
    )


def is_running(container: Container) -> bool:
    """Whether its first process lives; a pid counts only with its start time."""
    return container.status in ALIVE and process.is_alive(container.pid, container.start_time)


def is_up(container: Container) -> bool:
    """Whether it runs, or will be started again by its monitor."""
    return container.status == "restarting" or is_running(container)


def require_running(container: Container) -> Container:
    """The container if it runs, else ContainerConflict."""
    if is_running(container):
        return container
    if container.status == "restarting":
        raise ContainerConflict(
            f"container {container.name} is restarting", "wait until it is running"
        )
    status = "has just ended" if container.status in ALIVE else f"is {container.status}"
    raise ContainerConflict(
        f"container {container.name} is not running",
        f"it {status}",
        f"start it: pyctr start {container.name}",
    )


def require_unpaused(container: Container) -> Container:
    """The container if it runs and is not paused, else ContainerConflict."""
    if require_running(container).status != "paused":
        return container
    raise ContainerConflict(
        f"container {container.name} is paused",
        "nothing in it can run",
        f"unpause it: pyctr unpause {container.name}",
    )


def rename(home: Home, container: Container, name: str) -> None:
    """Gives a container another name; EngineError if it is not one, or taken.

    Whoever is at work on the container meanwhile knows it by its id. ContainerNotFound if it has
    just been removed.
    """
    if not is_name(name):
        raise EngineError(
            f"invalid container name {name!r}",
            "it is made of a-z A-Z 0-9 _ . - and begins with a letter or digit",
            exit_code=1,
        )
    _renaming()
    try:
        if not update(home, container.id, name=name):
            require(home, container)
    except home.db.IntegrityError:
        raise ContainerConflict(
            f"cannot rename container {container.name}", f"the name {name} is already in use"
        ) from None
    _renamed()
    from engine import events

    renamed = container.replace(name=name)
    events.of_container(home, renamed, "rename", oldName=f"/{container.name}")


def row(container: Container) -> tuple[Any, ...]:
    """The values of a container's columns; :func:`of_row` is the way back."""
    from engine.settings import encode

    values = container.as_dict() | {
        "settings": encode(container.settings),
        "oom_killed": int(container.oom_killed),
    }
    return tuple(values.values())


def of_row(row: Sequence[Any]) -> Container:
    """The container of the values of its columns."""
    fields = dict(zip(Container._fields, row, strict=True))
    try:
        fields["settings"] = decode(fields["settings"])
    except (ValueError, TypeError, AttributeError) as error:
        raise EngineError(
            f"cannot read what the database says of container {fields['name']}",
            str(error),
            "pyctr system check --repair saves what is left",
        ) from None
    fields["oom_killed"] = bool(fields["oom_killed"])
    return Container(**fields)
