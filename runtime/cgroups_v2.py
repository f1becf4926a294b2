"""Control groups, version 2: one folder, controllers switched on from the root down.

Values of the specification are written for version 1; they are converted as the OCI runtimes
agreed: shares 2..262144 become weight 1..10000, swap counts without the memory in it.

Source: Documentation/admin-guide/cgroup-v2.rst; OCI config-linux.md, "Control groups".
"""

from __future__ import annotations

import os

from runtime import cgroups
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.cgroups import Hierarchies

_CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


class Cgroup:
    """``path`` in the unified hierarchy. See :class:`runtime.cgroups.Cgroup`."""

    def __init__(self, path: str, found: Hierarchies) -> None:
        self._root = found.v2
        self._path = path
        self._controllers = tuple(c for c in _CONTROLLERS if c in found.v2_controllers)
        self._folder = found.v2 + path
        self.folders = (self._folder, *(f + path for n, f in found.v1.items()))

    def create(self, resources: dict[str, Any]) -> None:
        """Switches the controllers on, makes the folder, sets limits and the device program."""
        folder = self._root
        for part in self._path.strip("/").split("/"):
            self._enable(folder)
            folder = f"{folder}/{part}"
            cgroups.make(folder)
        for other in self.folders[1:]:
            cgroups.make(other)
        self.update(resources)
        rules = resources.get("devices")
        if rules:
            from runtime import device_filter

            device_filter.attach(self._folder, rules)

    def _enable(self, folder: str) -> None:
        enabled = cgroups.read(folder, "cgroup.subtree_control").split()
        missing = [name for name in self._controllers if name not in enabled]
        if missing:
            cgroups.write(folder, "cgroup.subtree_control", " ".join(f"+{n}" for n in missing))

    def add(self, pid: int) -> None:
        """Moves a process into the cgroup."""
        for folder in self.folders:
            cgroups.write(folder, "cgroup.procs", str(pid))

    def update(self, resources: dict[str, Any]) -> None:
        """Sets the limits of ``linux.resources`` (OCI config-linux.md)."""
        for path, value in self.writes(resources):
            folder, _, file = path.rpartition("/")
            cgroups.write(folder, file, value)

    def writes(self, resources: dict[str, Any]) -> list[tuple[str, str]]:
        """What :meth:`update` writes: (path, value) in order."""
        made = []
        for file, value in wanted(resources):
            controller = file.partition(".")[0]
            if controller not in self._controllers:
                raise RuntimeFailure(
                    f"cannot set {file}",
                    f"the {controller} controller is not available in {self._root}",
                    "leave the limit out, or enable the controller",
                )
            made.append((f"{self._folder}/{file}", value))
        return made

    def pids(self) -> list[int]:
        """All processes in the cgroup and below."""
        return cgroups.pids_below(self._folder)

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for want of memory."""
        return cgroups.counter(cgroups.read(self._folder, "memory.events"), "oom_kill")

    def freeze(self, frozen: bool) -> None:
        """Freezes or thaws all processes; returns when the kernel says that it is done."""
        import time

        cgroups.write(self._folder, "cgroup.freeze", str(int(frozen)))
        state = "frozen 1" if frozen else "frozen 0"
        while state not in cgroups.read(self._folder, "cgroup.events"):
            time.sleep(0.002)

    def kill(self) -> None:
        """Kills everything inside; cgroup.kill (since 5.14) also reaches what is frozen."""
        if os.path.exists(f"{self._folder}/cgroup.kill"):
            cgroups.write(self._folder, "cgroup.kill", "1")
            return
        if cgroups.read(self._folder, "cgroup.freeze") == "1":
            self.freeze(False)
        cgroups.kill_all(self)

    def remove(self) -> None:
        """Removes the folder; nothing may run in it."""
        for folder in self.folders:
            cgroups.remove_below(folder)


def wanted(resources: dict[str, Any]) -> list[tuple[str, str]]:
    """The control files and values for ``linux.resources``."""
    made = _memory(resources.get("memory") or {}) + _cpu(resources.get("cpu") or {})
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        made.append(("pids.max", str(pids) if pids > 0 else "max"))
    made += _io(resources.get("blockIO") or {})
    for file, value in (resources.get("unified") or {}).items():
        if "/" in file:
            raise RuntimeFailure(f"{file!r} is not the name of a control file")
        made.append((file, value))
    return made


def _maximum(value: int) -> str:
    return "max" if value == -1 else str(value)


def _memory(memory: dict[str, Any]) -> list[tuple[str, str]]:
    if memory.get("disableOOMKiller"):
        raise RuntimeFailure("the OOM killer cannot be disabled", "cgroup v2 has no such switch")
    made = []
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit is not None:
        made.append(("memory.max", _maximum(limit)))
    if swap is not None:
        if swap != -1 and (limit is None or limit == -1 or swap < limit):
            raise RuntimeFailure("the limit of memory and swap needs a smaller memory limit")
        made.append(("memory.swap.max", "max" if swap == -1 else str(swap - limit)))
    if memory.get("reservation") is not None:
        made.append(("memory.low", _maximum(memory["reservation"])))
    return made


def weight_of_shares(shares: int) -> int:
    """cpu.weight for cpu.shares, the line from (2, 1) to (262144, 10000)."""
    return 1 + ((min(max(shares, 2), 262144) - 2) * 9999) // 262142


def _cpu(cpu: dict[str, Any]) -> list[tuple[str, str]]:
    made = []
    if cpu.get("shares"):
        made.append(("cpu.weight", str(weight_of_shares(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        made.append(("cpu.max", f"{'max' if quota < 0 else quota} {cpu.get('period') or 100000}"))
    for key in ("cpus", "mems"):
        if cpu.get(key):
            made.append((f"cpuset.{key}", cpu[key]))
    return made


def _io(block: dict[str, Any]) -> list[tuple[str, str]]:
    made = []
    if block.get("weight"):
        weight = 1 + (block["weight"] - 10) * 9999 // 990
        made.append(("io.weight", f"default {weight}"))
    names = {
        "throttleReadBpsDevice": "rbps",
        "throttleWriteBpsDevice": "wbps",
        "throttleReadIOPSDevice": "riops",
        "throttleWriteIOPSDevice": "wiops",
    }
    for key, word in names.items():
        for device in block.get(key) or ():
            numbers = f"{device['major']}:{device['minor']}"
            made.append(("io.max", f"{numbers} {word}={device['rate']}"))
    return made
