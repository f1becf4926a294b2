"""Control groups, version 2: one folder, controllers switched on from the root down.

Values of the specification are written for version 1; they are converted as the OCI runtimes
agreed: shares 2..262144 become weight 1..10000, swap counts without the memory in it, a soft limit
is memory.low.

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
        self.unified = found.v2 + path
        self.folders = (self.unified, *(f + path for n, f in found.v1.items()))

    def create(self, resources: dict[str, Any]) -> None:
        """Makes the folder, sets limits and device rules. RuntimeFailure below a frozen one."""
        self._make()
        cgroups.write_all(self.writes(resources))
        rules = resources.get("devices")
        if rules:
            from runtime import device_filter

            device_filter.attach(self.unified, rules)

    def _make(self) -> None:
        """Makes the folders, and switches the controllers on in those above."""
        folder = self._root
        for part in self._path.strip("/").split("/"):
            self._enable(folder)
            if cgroups.read(folder, "cgroup.freeze") == "1":
                raise RuntimeFailure(
                    "the parent control group is frozen",
                    path=folder,
                    hint=f"echo 0 > {folder}/cgroup.freeze",
                )
            folder = f"{folder}/{part}"
            cgroups.make(folder)
        for other in self.folders[1:]:
            cgroups.make(other)

    def _enable(self, folder: str) -> None:
        enabled = cgroups.read(folder, "cgroup.subtree_control").split()
        missing = [name for name in self._controllers if name not in enabled]
        if missing:
            cgroups.write(folder, "cgroup.subtree_control", " ".join(f"+{n}" for n in missing))

    def writes(self, resources: dict[str, Any]) -> list[tuple[str, str]]:
        """The control files that ``linux.resources`` (OCI config-linux.md) means.

        (path, value) in order. RuntimeFailure names what version 2 or this host has not.
        """
        made = []
        for key, file, value in self._wanted(resources):
            if not file:
                raise RuntimeFailure(
                    f"cannot set {key}", "control groups of version 2 have no such limit"
                )
            controller = file.partition(".")[0]
            if controller not in self._controllers:
                raise RuntimeFailure(
                    f"cannot set {file}",
                    f"the {controller} controller is not available in {self._root}",
                    "leave the limit out, or enable the controller",
                )
            made.append((f"{self.unified}/{file}", value))
        return made

    def check_memory(self, limit: int) -> None:
        """RuntimeFailure if so low a limit (bytes, -1 for none) would kill processes at once."""
        used = cgroups.amount(cgroups.read(self.unified, "memory.current"))
        counts = cgroups.read(self.unified, "memory.stat")
        kept = used - cgroups.counter(counts, "file") + cgroups.counter(counts, "shmem")
        if 0 <= limit < kept:
            raise RuntimeFailure(
                f"cannot set memory.max to {limit}",
                f"{kept} bytes are in use",
                "end something in the container first",
                f"{self.unified}/memory.max",
            )

    def lacking(self, resources: dict[str, Any]) -> dict[str, str]:
        """What of ``resources`` this host cannot do: keys such as "memory.swap" and their files.

        The file is "" where version 2 has none. The folder is made where it is missing, because
        the root of the hierarchy has fewer files.
        """
        self._make()
        return {
            key: file
            for key, file, _ in self._wanted(resources)
            if not file or not os.path.exists(f"{self.unified}/{file}")
        }

    def available(self) -> tuple[str, str]:
        """The CPUs and memory nodes that it has, as lists such as 0-3; "" if nobody says."""
        cpus, mems = (f"cpuset.{word}.effective" for word in ("cpus", "mems"))
        return cgroups.read(self.unified, cpus), cgroups.read(self.unified, mems)

    def _wanted(self, resources: dict[str, Any]) -> list[tuple[str, str, str]]:
        weight = "io.bfq.weight" if self._offers("io.bfq.weight") else "io.weight"
        made = wanted(resources, weight)
        if (resources.get("memory") or {}).get("swap") == -1 and not self._offers(
            "memory.swap.max"
        ):
            made = [one for one in made if one[0] != "memory.swap"]  # nothing limits swap here
        return made

    def _offers(self, file: str) -> bool:
        """Whether the file is there, in the folder or, before it is made, in the one above."""
        folder = self.unified if os.path.isdir(self.unified) else os.path.dirname(self.unified)
        return os.path.exists(f"{folder}/{file}")

    def usage(self) -> cgroups.Usage:
        """What it has used so far."""
        used = cgroups.amount(cgroups.read(self.unified, "memory.current"))
        idle = cgroups.counter(cgroups.read(self.unified, "memory.stat"), "inactive_file")
        counts = [line.split()[1:] for line in cgroups.read(self.unified, "io.stat").splitlines()]
        moved = {"rbytes": 0, "wbytes": 0}
        for word in (word for words in counts for word in words):
            name, _, count = word.partition("=")
            if name in moved:
                moved[name] += int(count)
        return cgroups.Usage(
            cgroups.counter(cgroups.read(self.unified, "cpu.stat"), "usage_usec") * 1000,
            cgroups.without_idle_files(used, idle),
            cgroups.amount(cgroups.read(self.unified, "memory.max")),
            cgroups.amount(cgroups.read(self.unified, "pids.current")),
            moved["rbytes"],
            moved["wbytes"],
        )

    def pids(self) -> list[int]:
        """All processes in the cgroup and below."""
        return cgroups.pids_below(self.unified)

    def oom_kills(self) -> int:
        """How many processes the kernel killed here for want of memory."""
        return cgroups.counter(cgroups.read(self.unified, "memory.events"), "oom_kill")

    def freeze(self, frozen: bool) -> None:
        """Freezes or thaws all processes; returns when the kernel says that it is done."""
        import time

        cgroups.write(self.unified, "cgroup.freeze", str(int(frozen)))
        state = "frozen 1" if frozen else "frozen 0"
        while state not in cgroups.read(self.unified, "cgroup.events"):
            time.sleep(0.002)

    def kill(self) -> None:
        """Kills everything inside; cgroup.kill (since 5.14) also reaches what is frozen."""
        if os.path.exists(f"{self.unified}/cgroup.kill"):
            cgroups.write(self.unified, "cgroup.kill", "1")
            return
        if cgroups.read(self.unified, "cgroup.freeze") == "1":
            self.freeze(False)
        cgroups.kill_all(self)

    def remove(self) -> None:
        """Removes the folder; nothing may run in it."""
        for folder in self.folders:
            cgroups.remove_below(folder)


def wanted(resources: dict[str, Any], weight: str = "io.weight") -> list[tuple[str, str, str]]:
    """(key of the specification, control file, value) for ``linux.resources``, in order.

    ``weight`` is the file for weights of block devices, io.bfq.weight or io.weight. The file is ""
    where version 2 has nothing like it.
    """
    made = _memory(resources.get("memory") or {}) + _cpu(resources.get("cpu") or {})
    pids = (resources.get("pids") or {}).get("limit")
    if pids is not None:
        made.append(("pids.limit", "pids.max", str(pids) if pids > 0 else "max"))
    made += _io(resources.get("blockIO") or {}, weight)
    for file, value in (resources.get("unified") or {}).items():
        if "/" in file:
            raise RuntimeFailure(f"{file!r} is not the name of a control file")
        made.append((f"unified.{file}", file, value))
    return made


def _maximum(value: int) -> str:
    return "max" if value == -1 else str(value)


def _memory(memory: dict[str, Any]) -> list[tuple[str, str, str]]:
    made = []
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit is not None:
        made.append(("memory.limit", "memory.max", _maximum(limit)))
    if swap is not None:
        if swap != -1 and (limit is None or limit == -1 or swap < limit):
            raise RuntimeFailure("the limit of memory and swap needs a smaller memory limit")
        made.append(("memory.swap", "memory.swap.max", "max" if swap == -1 else str(swap - limit)))
    if memory.get("reservation") is not None:
        made.append(("memory.reservation", "memory.low", _maximum(memory["reservation"])))
    if memory.get("swappiness") is not None:
        made.append(("memory.swappiness", "", str(memory["swappiness"])))
    if memory.get("disableOOMKiller"):
        made.append(("memory.disableOOMKiller", "", "1"))
    return made


def weight_of_shares(shares: int) -> int:
    """cpu.weight for cpu.shares: (2, 1), (1024, 100) and (262144, 10000) lie on a smooth curve.

    The curve is that of runc 1.3.2 and crun 1.23 (opencontainers/cgroups, pull request 20); the
    straight line of before gave the usual 1024 shares two fifths of the usual weight.
    """
    from math import ceil, log2

    exponent = log2(min(max(shares, 2), 262144))
    return ceil(10 ** ((exponent**2 + 125 * exponent) / 612 - 7 / 34)) if exponent > 1 else 1


def _cpu(cpu: dict[str, Any]) -> list[tuple[str, str, str]]:
    made = []
    if cpu.get("shares"):
        made.append(("cpu.shares", "cpu.weight", str(weight_of_shares(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        value = f"{'max' if quota < 0 else quota} {cpu.get('period') or 100000}"
        made.append(("cpu.quota" if cpu.get("quota") else "cpu.period", "cpu.max", value))
    for key in ("cpus", "mems"):
        if cpu.get(key):
            made.append((f"cpu.{key}", f"cpuset.{key}", cpu[key]))
    return made


def _io(block: dict[str, Any], file: str) -> list[tuple[str, str, str]]:
    made = []

    def weight(value: int) -> int:
        # 10..1000 of the specification: BFQ takes it as it is, io.weight goes from 1 to 10000.
        return value if file == "io.bfq.weight" else 1 + (value - 10) * 9999 // 990

    if block.get("weight"):
        made.append(("blockIO.weight", file, f"default {weight(block['weight'])}"))
    for device in block.get("weightDevice") or ():
        numbers = f"{device['major']}:{device['minor']}"
        made.append(("blockIO.weightDevice", file, f"{numbers} {weight(device['weight'])}"))
    limits = {
        "throttleReadBpsDevice": "rbps",
        "throttleWriteBpsDevice": "wbps",
        "throttleReadIOPSDevice": "riops",
        "throttleWriteIOPSDevice": "wiops",
    }
    for key, word in limits.items():
        for device in block.get(key) or ():
            numbers = f"{device['major']}:{device['minor']}"
            made.append((f"blockIO.{key}", "io.max", f"{numbers} {word}={device['rate'] or 'max'}"))
    return made
