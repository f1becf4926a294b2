"""Changing the limits of a container while it runs, or before its next start.

Row and control group change together. The order, under the container's lock:

1. ``update.json`` in the run folder says what the control files hold now, and the settings.
2. The control files are written.
3. The row gets the new settings.
4. The file goes.

A failure at 2 or 3 writes the former values back. After a kill -9 the file is still there, and
whoever looks at the container next (:func:`mend`) writes them back, unless the row was reached.
A container that does not run has only the row.

Source: Docker's documentation, "docker container update"; Documentation/admin-guide/cgroup-v1
and cgroup-v2.rst.
"""

from __future__ import annotations

import os

from engine import containers, events, limits, locks, reconcile
from engine.errors import ContainerConflict, ContainerNotFound
from engine.settings import Settings, encode
from kernel import quickjson, trace
from kernel.errors import PyctrError
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.containers import Container
    from engine.home import Home

_noted = trace.point("engine.update.noted")
_written = trace.point("engine.update.written")
_recorded = trace.point("engine.update.recorded")


def update(
    home: Home, text: str, changes: dict[str, Any], warn: Callable[[str], None]
) -> Container:
    """Changes settings of a container: limits that can change, and its restart policy.

    ``changes`` are fields of the settings. ContainerConflict for what does not fit to what it has;
    nothing is changed then, and neither after any other error.
    """
    container = reconcile.find(home, text)
    with locks.alone(home, container) as held:
        mend(home, held.container)  # somebody may have been killed while we waited
        if held.container.status in ("creating", "removing"):
            raise ContainerConflict(
                f"cannot update container {container.name}", f"it is {held.container.status}"
            )
        settings = changed(held.container, changes, warn)
        _apply(home, held.container, settings)
        made = held.container.replace(settings=settings)
    events.of_container(home, made, "update")
    return made


def changed(container: Container, changes: dict[str, Any], warn: Callable[[str], None]) -> Settings:
    """The settings after a change. ContainerConflict where old and new contradict each other."""
    old = container.settings
    what = f"cannot update container {container.name}"
    if changes.get("cpu_quota") == -1:  # no limit, whichever way it was given
        changes = {"nano_cpus": 0, **changes}
    for field, other, words in (
        ("nano_cpus", "cpu_period", "a CPU period"),
        ("nano_cpus", "cpu_quota", "a CPU quota"),
        ("cpu_period", "nano_cpus", "a number of CPUs"),
        ("cpu_quota", "nano_cpus", "a number of CPUs"),
    ):
        if changes.get(field, 0) > 0 and other not in changes and getattr(old, other) > 0:
            raise ContainerConflict(what, f"it was given {words}", "change that instead")
    memory = changes.get("memory", 0)
    if "memory_swap" not in changes and 0 < old.memory_swap < memory:
        raise ContainerConflict(
            what,
            f"its limit of memory and swap together is {old.memory_swap} bytes, less than that",
            "give --memory-swap as well",
        )
    if changes.get("restart", "no") != "no" and old.auto_remove:
        raise ContainerConflict(what, "it is removed when it ends (--rm)", "it has no next start")
    merged = {
        field: _merged(getattr(old, field), changes[field])
        for field in limits.DEVICE_LISTS
        if field in changes
    }
    return limits.checked(old.replace(**changes | merged), warn)


def _merged(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    """Block devices with their numbers: a new number takes the place of the device's old one."""
    return tuple({path: (path, number) for path, number in (*old, *new)}.values())


def _apply(home: Home, container: Container, settings: Settings) -> None:
    """Control files, if it runs, and the row: both or none."""
    writes = _writes(container, settings) if containers.is_running(container) else []
    before = cgroups.undoing(writes)
    note = f"{home.run_folder(container.id)}/{reconcile.UPDATE_NOTE}"
    if writes:
        _write_note(note, {"settings": encode(container.settings), "before": before})
    try:
        _noted()
        try:
            cgroups.write_all(writes)
        except PyctrError:
            if containers.is_running(container):
                raise
            # It has ended meanwhile: there is only the row now.
        _written()
        if not containers.update(home, container.id, settings=encode(settings)):
            raise ContainerNotFound(f"no such container: {container.name}")
    except BaseException:
        _undo(container, before, note)
        raise
    _recorded()
    _forget(note)


# What can change in a section of ``linux.resources``. It is written as a whole: the files of a
# section depend on each other.
_SECTIONS = {
    "memory": ("limit", "swap", "reservation"),
    "cpu": ("shares", "period", "quota", "cpus", "mems"),
    "pids": ("limit",),
}


def _writes(container: Container, settings: Settings) -> list[tuple[str, str]]:
    """What is to be written into the control files of a running container."""
    old, new = _changeable(container.settings), _changeable(settings)
    if old["pids"] and not new["pids"]:
        new["pids"] = {"limit": -1}
    different = {name: section for name, section in new.items() if section != old[name]}
    different |= _block_devices(container.settings, settings)
    cgroup = cgroups.of(container.cgroup)
    if "limit" in different.get("memory", {}):
        cgroup.check_memory(different["memory"]["limit"])
    return cgroup.writes(different)


def _changeable(settings: Settings) -> dict[str, dict[str, Any]]:
    made = limits.resources(settings, lambda _path: (0, 0))
    return {
        name: {key: value for key, value in made.get(name, {}).items() if key in keys}
        for name, keys in _SECTIONS.items()
    }


def _block_devices(old: Settings, new: Settings) -> dict[str, Any]:
    """``blockIO`` of what differs: a device that has not changed need not even be there."""
    weight = new.blkio_weight if new.blkio_weight != old.blkio_weight else 0
    lists: dict[str, Any] = {}
    for field in limits.DEVICE_LISTS:
        before = {tuple(pair) for pair in getattr(old, field)}
        lists[field] = tuple(p for p in getattr(new, field) if tuple(p) not in before)
    return limits.resources(Settings((), blkio_weight=weight, **lists))


def _undo(container: Container, before: list[tuple[str, str]], note: str) -> None:
    """Writes back what the control files held. If that fails, the note stays for another try."""
    try:
        cgroups.write_all(before)
    except PyctrError:
        if containers.is_running(container):
            return
    _forget(note)


def _write_note(path: str, value: Any) -> None:
    with open(f"{path}.new", "w") as file:
        file.write(quickjson.dumps(value))
    os.rename(f"{path}.new", path)


def _forget(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def mend(home: Home, container: Container) -> None:
    """Undoes an update that was killed before it reached the row.

    The caller has the container's lock, and ``container`` is the row as it is.
    """
    note = f"{home.run_folder(container.id)}/{reconcile.UPDATE_NOTE}"
    try:
        with open(note) as file:
            said = quickjson.loads(file.read())
    except FileNotFoundError:
        return
    if encode(container.settings) == said["settings"]:
        _undo(container, [(path, value) for path, value in said["before"]], note)
    else:
        _forget(note)
