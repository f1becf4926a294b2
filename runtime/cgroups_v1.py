"""Control groups, version 1 and hybrid: one folder in each hierarchy.

Orders that the kernel wants: a new cpuset is filled from its parent before anything joins it; a
raised memory limit is written after memsw, a lowered one before; a frozen process ignores
SIGKILL, so thaw comes before kill.
"""

from __future__ import annotations

import os

from runtime import cgroups
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.cgroups import Hierarchies


class Cgroup:
    """``path`` in every hierarchy. See :class:`runtime.cgroups.Cgroup`."""

    def __init__(self, path: str, found: Hierarchies) -> None:
        self._at = {name: folder + path for name, folder in found.v1.items()}
        self._parents = dict(found.v1)
        self._path = path
        self.folders = tuple(dict.fromkeys(self._at.values()))
        if found.v2:
            self.folders += (found.v2 + path,)

    def create(self, resources: dict[str, Any]) -> None:
        """Makes the folders and sets the limits. RuntimeFailure if the parent is frozen."""
        for folder in self.folders:
            cgroups.make(folder)
        if "cpuset" in self._at:
            self._fill_cpuset()
        parent = os.path.dirname(self._at.get("freezer", ""))
        if parent and cgroups.read(parent, "freezer.state") in ("FROZEN", "FREEZING"):
            raise RuntimeFailure(
                "the parent control group is frozen",
                path=parent,
                hint=f"echo THAWED > {parent}/freezer.state",
            )
        self.update(resources)

    def _fill_cpuset(self) -> None:
        folder = self._parents["cpuset"]
        for part in self._path.strip("/").split("/"):
            above, folder = folder, f"{folder}/{part}"
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not cgroups.read(folder, file):
                    cgroups.write(folder, file, cgroups.read(above, file))

    def add(self, pid: int) -> None:
        """Moves a process into the cgroup, in every hierarchy."""
        for folder in self.folders:
            cgroups.write(folder, "cgroup.procs", str(pid))

    def update(self, resources: dict[str, Any]) -> None:
        """Sets the limits of ``linux.resources`` (OCI config-linux.md)."""
        for path, value in self.writes(resources):
            folder, _, file = path.rpartition("/")
            cgroups.write(folder, file, value)

    def writes(self, resources: dict[str, Any]) -> list[tuple[str, str]]:
        """What :meth:`update` writes: (path, value) in order."""
        made: list[tuple[str, str]] = []
        for controller, file, value in _wanted(resources, self._memory_limit()):
            if controller not in self._at:
                raise RuntimeFailure(
                    f"cannot set {file}",
                    f"the {controller} controller is not mounted on this host",
                    "leave the limit out, or enable the controller",
                )
            made.append((f"{self._at[controller]}/{file}", value))
        return made

    def _memory_limit(self) -> int:
        return int(cgroups.read(self._at.get("memory", ""), "memory.limit_in_bytes") or 0)

    def pids(self) -> list[int]:
        """All processes in the cgroup and below."""
        return cgroups.pids_below(self._at.get("pids") or self.folders[0])

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for want of memory."""
        text = cgroups.read(self._at.get("memory", ""), "memory.oom_control")
        return cgroups.counter(text, "oom_kill")

    def freeze(self, frozen: bool) -> None:
        """Freezes or thaws all processes."""
        folder = self._at["freezer"]
        state = "FROZEN" if frozen else "THAWED"
        cgroups.write(folder, "freezer.state", state)
        while frozen and cgroups.read(folder, "freezer.state") != "FROZEN":
            cgroups.write(folder, "freezer.state", state)

    def kill(self) -> None:
        """Thaws, then kills everything inside."""
        if cgroups.read(self._at.get("freezer", ""), "freezer.state") in ("FROZEN", "FREEZING"):
            self.freeze(False)
        cgroups.kill_all(self)

    def remove(self) -> None:
        """Removes the folders; nothing may run in them."""
        for folder in self.folders:
            cgroups.remove_below(folder)


def _wanted(resources: dict[str, Any], memory_now: int) -> list[tuple[str, str, str]]:
    made: list[tuple[str, str, str]] = []
    for rule in resources.get("devices") or ():
        made.append(("devices", f"devices.{_verb(rule)}", device_rule(rule)))
    made += _memory(resources.get("memory") or {}, memory_now)
    made += _cpu(resources.get("cpu") or {})
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        made.append(("pids", "pids.max", str(pids) if pids > 0 else "max"))
    made += _blkio(resources.get("blockIO") or {})
    return made


def _verb(rule: dict[str, Any]) -> str:
    return "allow" if rule["allow"] else "deny"


def device_rule(rule: dict[str, Any]) -> str:
    """``type major:minor access`` as devices.allow wants it; "a" for everything."""
    kind = rule.get("type") or "a"
    if kind == "a" and rule.get("major") in (None, -1):
        return "a"
    numbers = (rule.get("major"), rule.get("minor"))
    major, minor = ("*" if number in (None, -1) else str(number) for number in numbers)
    return f"{kind} {major}:{minor} {rule.get('access') or 'rwm'}"


def _memory(memory: dict[str, Any], now: int) -> list[tuple[str, str, str]]:
    made = []
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit is not None:
        made.append(("memory", "memory.limit_in_bytes", str(limit)))
    if swap is not None:
        made.append(("memory", "memory.memsw.limit_in_bytes", str(swap)))
    if limit is not None and swap is not None and (limit > now > 0 or limit == -1):
        made.reverse()  # memsw may never be below the limit: raise it first, lower it last
    if memory.get("reservation") is not None:
        made.append(("memory", "memory.soft_limit_in_bytes", str(memory["reservation"])))
    if memory.get("swappiness") is not None:
        made.append(("memory", "memory.swappiness", str(memory["swappiness"])))
    if memory.get("disableOOMKiller"):
        made.append(("memory", "memory.oom_control", "1"))
    return made


def _cpu(cpu: dict[str, Any]) -> list[tuple[str, str, str]]:
    files = (
        ("shares", "cpu", "cpu.shares"),
        ("period", "cpu", "cpu.cfs_period_us"),
        ("quota", "cpu", "cpu.cfs_quota_us"),
        ("cpus", "cpuset", "cpuset.cpus"),
        ("mems", "cpuset", "cpuset.mems"),
    )
    return [
        (controller, file, str(cpu[key]))
        for key, controller, file in files
        if cpu.get(key) not in (None, "")
    ]


def _blkio(block: dict[str, Any]) -> list[tuple[str, str, str]]:
    made = []
    if block.get("weight"):
        made.append(("blkio", "blkio.bfq.weight", str(block["weight"])))
    names = {
        "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
        "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
        "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
        "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
    }
    for key, file in names.items():
        for device in block.get(key) or ():
            made.append(("blkio", file, f"{device['major']}:{device['minor']} {device['rate']}"))
    return made
