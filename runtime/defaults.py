"""What every container has unless the specification says otherwise: Docker's choices.

Mounts, devices and path lists in the words of the OCI runtime specification, so that whoever
composes one can start from here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _device(path: str, major: int, minor: int) -> dict[str, Any]:
    return {"path": path, "type": "c", "major": major, "minor": minor, "fileMode": 0o666}


# config-linux.md, "Default Devices". /dev/console is there with a terminal only.
DEVICES: tuple[dict[str, Any], ...] = (
    _device("/dev/null", 1, 3),
    _device("/dev/zero", 1, 5),
    _device("/dev/full", 1, 7),
    _device("/dev/random", 1, 8),
    _device("/dev/urandom", 1, 9),
    _device("/dev/tty", 5, 0),
)

LINKS: tuple[tuple[str, str], ...] = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
)

MASKED_PATHS: tuple[str, ...] = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

READONLY_PATHS: tuple[str, ...] = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)

_SAFE = ["nosuid", "noexec", "nodev"]


def mounts(shm_size: int) -> list[dict[str, Any]]:
    """The mounts of every container, in order; ``shm_size`` in bytes."""
    return [
        _mount("/proc", "proc", _SAFE),
        _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        _mount("/sys", "sysfs", [*_SAFE, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", ["ro", *_SAFE]),
        _mount("/dev/mqueue", "mqueue", _SAFE),
        _mount("/dev/shm", "tmpfs", [*_SAFE, "mode=1777", f"size={shm_size}"], "shm"),
    ]


def _mount(
    destination: str, kind: str, options: list[str], source: str | None = None
) -> dict[str, Any]:
    return {
        "destination": destination,
        "type": kind,
        "source": source or kind,
        "options": list(options),
    }


def device_rules() -> list[dict[str, Any]]:
    """``linux.resources.devices``: nothing but the default devices, terminals and mknod."""
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, -1)):
        rule = {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        rules.append(rule)
    return rules


def cgroup_folders() -> tuple[tuple[str, str], ...]:
    """(folder, option) of each v1 hierarchy of this host, v2 beside them as "unified"."""
    from runtime import cgroups

    found = cgroups.hierarchies()
    if found.pure_v2 or not found.v1:
        return ()
    by_folder: dict[str, list[str]] = {}
    for option, folder in found.v1.items():
        by_folder.setdefault(folder, []).append(option)
    made = [(folder.rpartition("/")[2], ",".join(options)) for folder, options in by_folder.items()]
    if found.v2:
        made.append((found.v2.rpartition("/")[2], "cgroup2"))
    return tuple(made)
