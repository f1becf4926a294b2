"""Control groups, version 1 and hybrid: one folder in each hierarchy.

Orders that the kernel wants: a new cpuset is filled from its parent before anything joins it; memsw
(memory and swap together) is never below the memory limit, so it is raised first and lowered last;
a frozen process ignores SIGKILL, so thaw comes before kill.

Source: Documentation/admin-guide/cgroup-v1 (memory.rst, cpusets.rst, blkio-controller.rst);
Documentation/block/bfq-iosched.rst; OCI config-linux.md, "Control groups".
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
        self.unified = found.v2 and found.v2 + path
        if self.unified:
            self.folders += (self.unified,)

    def create(self, resources: dict[str, Any]) -> None:
        """Makes the folders and sets the limits. RuntimeFailure if the parent is frozen."""
        self._make()
        parent = os.path.dirname(self._at.get("freezer", ""))
        if parent and cgroups.read(parent, "freezer.state") in ("FROZEN", "FREEZING"):
            raise RuntimeFailure(
                "the parent control group is frozen",
                path=parent,
                hint=f"echo THAWED > {parent}/freezer.state",
            )
        cgroups.write_all(self.writes(resources))

    def _make(self) -> None:
        for folder in self.folders:
            cgroups.make(folder)
        if "cpuset" in self._at:
            self._fill_cpuset()

    def _fill_cpuset(self) -> None:
        folder = self._parents["cpuset"]
        for part in self._path.strip("/").split("/"):
            above, folder = folder, f"{folder}/{part}"
            for file in ("cpuset.cpus", "cpuset.mems"):
                if not cgroups.read(folder, file):
                    cgroups.write(folder, file, cgroups.read(above, file))

    def writes(self, resources: dict[str, Any]) -> list[tuple[str, str]]:
        """The control files that ``linux.resources`` (OCI config-linux.md) means.

        (path, value) in the order in which the kernel takes them, which depends on the limits
        that are in force.
        """
        made: list[tuple[str, str]] = []
        for _, file, value in self._wanted(resources):
            controller = file.partition(".")[0]
            if controller not in self._at:
                raise RuntimeFailure(
                    f"cannot set {file}",
                    f"the {controller} controller is not mounted on this host",
                    "leave the limit out, or enable the controller",
                )
            made.append((f"{self._at[controller]}/{file}", value))
        return made

    def lacking(self, resources: dict[str, Any]) -> dict[str, str]:
        """What of ``resources`` this host cannot do: keys such as "memory.swap" and their files.

        The folder is made where it is missing, because the root of a hierarchy has fewer files.
        """
        self._make()
        missing: dict[str, str] = {}
        for key, file, _ in self._wanted(resources):
            folder = self._at.get(file.partition(".")[0], "")
            if not os.path.exists(f"{folder}/{file}"):
                missing[key] = file
        return missing

    def available(self) -> tuple[str, str]:
        """The CPUs and memory nodes that it has, as lists such as 0-3; "" if nobody says."""
        folder = self._at.get("cpuset", "")
        return cgroups.read(folder, "cpuset.cpus"), cgroups.read(folder, "cpuset.mems")

    def check_memory(self, limit: int) -> None:
        """Nothing: the kernel itself refuses a limit (EBUSY) that is below what is in use."""

    def _wanted(self, resources: dict[str, Any]) -> list[tuple[str, str, str]]:
        memory = resources.get("memory") or {}
        if "swap" not in memory:
            return wanted(resources)
        path = f"{self._at.get('memory', '')}/memory.memsw.limit_in_bytes"
        folder, _, file = path.rpartition("/")
        made = wanted(resources, cgroups.amount(cgroups.read(folder, file)))
        if memory["swap"] == -1 and not os.path.exists(path):
            made = [one for one in made if one[1] != file]  # nothing limits swap here anyway
        return made

    def usage(self) -> cgroups.Usage:
        """What it has used so far."""
        memory, pids = self._at.get("memory", ""), self._at.get("pids", "")
        cpu = cgroups.read(self._at.get("cpuacct", ""), "cpuacct.usage")
        used = cgroups.amount(cgroups.read(memory, "memory.usage_in_bytes"))
        idle = cgroups.counter(cgroups.read(memory, "memory.stat"), "total_inactive_file")
        read, written = self._block_bytes()
        return cgroups.Usage(
            cgroups.amount(cpu),
            cgroups.without_idle_files(used, idle),
            cgroups.amount(cgroups.read(memory, "memory.limit_in_bytes")),
            cgroups.amount(cgroups.read(pids, "pids.current")),
            read,
            written,
        )

    def _block_bytes(self) -> tuple[int, int]:
        """BFQ counts the devices that it schedules; the throttle those that have a limit."""
        folder = self._at.get("blkio", "")
        found: dict[tuple[str, str], int] = {}
        for kind in ("bfq", "throttle"):
            counts = cgroups.read(folder, f"blkio.{kind}.io_service_bytes_recursive")
            for line in counts.splitlines():
                device, _, rest = line.partition(" ")
                word, _, count = rest.partition(" ")
                if word in ("Read", "Write"):
                    found[device, word] = int(count)
        read, written = (
            sum(count for (_, own), count in found.items() if own == word)
            for word in ("Read", "Write")
        )
        return read, written

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


def wanted(resources: dict[str, Any], swap_now: int = 0) -> list[tuple[str, str, str]]:
    """(key of the specification, control file, value) for ``linux.resources``, in order.

    ``swap_now`` is the limit of memory and swap that is in force, 0 for none.
    """
    made: list[tuple[str, str, str]] = []
    for rule in resources.get("devices") or ():
        made.append(("devices", f"devices.{_verb(rule)}", device_rule(rule)))
    made += _memory(resources.get("memory") or {}, swap_now)
    made += _cpu(resources.get("cpu") or {})
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        made.append(("pids.limit", "pids.max", str(pids) if pids > 0 else "max"))
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


def _memory(memory: dict[str, Any], swap_now: int) -> list[tuple[str, str, str]]:
    limit, swap = memory.get("limit"), memory.get("swap")
    made = []
    if limit is not None:
        made.append(("memory.limit", "memory.limit_in_bytes", str(limit)))
    if swap is not None:
        made.append(("memory.swap", "memory.memsw.limit_in_bytes", str(swap)))
        if swap_now and (swap == -1 or swap > swap_now):
            made.reverse()  # memsw may at no moment be below the limit: raise it first
    if memory.get("reservation") is not None:
        made.append(
            ("memory.reservation", "memory.soft_limit_in_bytes", str(memory["reservation"]))
        )
    if memory.get("swappiness") is not None:
        made.append(("memory.swappiness", "memory.swappiness", str(memory["swappiness"])))
    if memory.get("disableOOMKiller"):
        made.append(("memory.disableOOMKiller", "memory.oom_control", "1"))
    return made


def _cpu(cpu: dict[str, Any]) -> list[tuple[str, str, str]]:
    files = {
        "shares": "cpu.shares",
        "period": "cpu.cfs_period_us",
        "quota": "cpu.cfs_quota_us",
        "cpus": "cpuset.cpus",
        "mems": "cpuset.mems",
    }
    return [
        (f"cpu.{key}", file, str(cpu[key]))
        for key, file in files.items()
        if cpu.get(key) not in (None, "")
    ]


def _blkio(block: dict[str, Any]) -> list[tuple[str, str, str]]:
    made = []
    if block.get("weight"):
        made.append(("blockIO.weight", "blkio.bfq.weight", str(block["weight"])))
    devices = {
        "weightDevice": "blkio.bfq.weight_device",
        "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
        "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
        "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
        "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
    }
    for key, file in devices.items():
        for one in block.get(key) or ():
            number = one["weight" if key == "weightDevice" else "rate"]
            made.append((f"blockIO.{key}", file, f"{one['major']}:{one['minor']} {number}"))
    return made
