"""Control groups: which version, whether they can be made, and which flag needs which controller.

What a controller can do is read from the files of a group that is made for it and removed at once.
In version 2 such files are only there once a controller is switched on for children, which would
change the host: there the list of controllers counts, and the files of groups that are there.

Source: cgroups(7), cgroup-v1/ and cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import os

from engine.check.child import Refused
from engine.check.probe import Limited, Place, Probe
from kernel.record import Record
from runtime import cgroups, defaults, device_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.cgroups import Hierarchies


class Need(Record):
    """A file that a flag writes: (controller, file) of version 1 and of version 2, "" if none."""

    name: str
    flags: str
    v1: tuple[str, str] = ("", "")
    v2: tuple[str, str] = ("", "")


NEEDS = (
    Need("memory", "--memory", ("memory", "memory.limit_in_bytes"), ("memory", "memory.max")),
    Need("swap", "--memory-swap", ("memory", "memory.memsw.limit_in_bytes"),
         ("memory", "memory.swap.max")),
    Need("swappiness", "--memory-swappiness", ("memory", "memory.swappiness")),
    Need("oom_control", "--oom-kill-disable", ("memory", "memory.oom_control")),
    Need("cpu quota", "--cpus", ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.max")),
    Need("cpu weight", "--cpu-shares", ("cpu", "cpu.shares"), ("cpu", "cpu.weight")),
    Need("cpuset", "--cpuset-cpus and --cpuset-mems", ("cpuset", "cpuset.cpus"),
         ("cpuset", "cpuset.cpus")),
    Need("pids", "--pids-limit", ("pids", "pids.max"), ("pids", "pids.max")),
    Need("block throttling", "--device-read-bps and its family",
         ("blkio", "blkio.throttle.read_bps_device"), ("io", "io.max")),
    Need("block weight", "--blkio-weight", ("blkio", "blkio.bfq.weight"), ("io", "io.weight")),
)  # fmt: skip


def probes(_place: Place) -> tuple[Probe, ...]:
    """The layout, what every container needs, and one line for each controller."""
    found = cgroups.hierarchies()
    fixed = (
        Probe("mode", lambda _place: _mode(found),
              "no containers: mount -t cgroup2 cgroup2 /sys/fs/cgroup", True),
        Probe("groups can be made", lambda _place: _made(found),
              "no containers: /sys/fs/cgroup must be mounted read-write", True),
        Probe("devices", lambda _place: _devices(found),
              "no containers: their devices cannot be restricted", True),
        Probe("freezer", lambda _place: _freezer(found),
              "no pause, and no commit of a container that stands still meanwhile"),
    )  # fmt: skip
    return (*fixed, *(Probe(need.name, _needed(found, need), _advice(need)) for need in NEEDS))


def _advice(need: Need) -> str:
    controller = need.v1[0]
    return (
        f"no {need.flags}: the {controller} controller must be mounted (version 1), or in"
        " cgroup.controllers (version 2), with this file"
    )


def _mode(found: Hierarchies) -> str:
    if not (found.v1 or found.v2):
        raise Refused("nothing is mounted")
    if found.pure_v2:
        return "version 2"
    both = f"; version 2 has {' '.join(found.v2_controllers) or 'none'}" if found.v2 else ""
    names = ", ".join(name for name in found.v1 if not name.startswith("name="))
    return f"{'hybrid' if found.v2 else 'version 1'}: {names}{both}"


def _in_group(folders: list[str], look: Callable[[], str]) -> str:
    """``look()`` while there is a group of our own in each of the hierarchies."""
    name = f"pyctr-check-{os.getpid()}"
    made: list[str] = []
    try:
        for folder in folders:
            _sweep(folder)
            os.mkdir(f"{folder}/{name}")
            made.append(f"{folder}/{name}")
        return look()
    finally:
        for folder in made:
            os.rmdir(folder)


def _sweep(folder: str) -> None:
    """Removes the group of a check that was killed."""
    for name in os.listdir(folder):
        maker = name.removeprefix("pyctr-check-")
        if maker != name and not os.path.isdir(f"/proc/{maker}"):
            os.rmdir(f"{folder}/{name}")


def _made(found: Hierarchies) -> str:
    folders = list(dict.fromkeys([*found.v1.values(), *filter(None, (found.v2,))]))
    return _in_group(folders, lambda: f"in {len(folders)} hierarchies")


def _devices(found: Hierarchies) -> str:
    if not found.pure_v2:
        if "devices" not in found.v1:
            raise Refused("the devices controller is not mounted")
        return "version 1"
    os.close(device_filter.load(device_filter.assemble(defaults.device_rules())))
    return "by a BPF program"


def _freezer(found: Hierarchies) -> str:
    if not found.pure_v2:
        if "freezer" not in found.v1:
            raise Refused("the freezer controller is not mounted")
        return "version 1"

    def look() -> str:
        path = f"{found.v2}/pyctr-check-{os.getpid()}/cgroup.freeze"
        if not os.path.exists(path):
            raise Refused("groups have no file cgroup.freeze")
        return "version 2"

    return _in_group([found.v2], look)


def _needed(found: Hierarchies, need: Need) -> Callable[[Place], str]:
    """A probe for one file of one controller."""
    if found.pure_v2:
        return lambda _place: _in_v2(found, *need.v2)
    return lambda _place: _in_v1(found, *need.v1)


def _in_v1(found: Hierarchies, controller: str, file: str) -> str:
    folder = found.v1.get(controller)
    if folder is None:
        raise Refused(f"the {controller} controller is not mounted")

    def look() -> str:
        if not os.path.exists(f"{folder}/pyctr-check-{os.getpid()}/{file}"):
            raise Refused(f"the {controller} controller has no {file}")
        return ""

    return _in_group([folder], look)


def _in_v2(found: Hierarchies, controller: str, file: str) -> str:
    if not controller:
        raise Limited("version 2 has no such file")
    if controller not in found.v2_controllers:
        raise Refused(f"the {controller} controller is not there")
    children = [entry.path for entry in os.scandir(found.v2) if entry.is_dir()]
    has = [path for path in children if _is_on(path, controller)]
    if has and not any(os.path.exists(f"{path}/{file}") for path in has):
        raise Refused(f"the {controller} controller has no {file}")
    return ""


def _is_on(folder: str, controller: str) -> bool:
    return controller in cgroups.read(folder, "cgroup.controllers").split()
