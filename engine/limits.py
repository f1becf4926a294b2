"""What a container may use of its host: settings as ``linux.resources``, and what a host lacks.

Limits that contradict each other are refused. What this host's kernel cannot limit is told and left
out, as Docker does; where Docker would give the container more than was asked for without a word,
it is refused. Block devices are named by their paths: numbers are looked up when the container
starts, because they may be others by then.

Source: Docker's documentation, "Resource constraints"; OCI config-linux.md, "Control groups".
"""

from __future__ import annotations

import os

from engine.containers import PARENT
from engine.errors import EngineError
from engine.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MINIMUM = 6 << 20  # bytes of memory, Docker's; a program hardly starts with less

_PERIOD = 100_000  # microseconds, of a CPU quota
_THROTTLES = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}

# Settings that are a list of block devices, each with a number.
DEVICE_LISTS = ("blkio_weight_device", *_THROTTLES)


def resources(
    settings: Settings, numbers: Callable[[str], tuple[int, int]] | None = None
) -> dict[str, Any]:
    """``linux.resources`` but for the device rules: what is limited, and nothing else.

    ``numbers`` gives (major, minor) of the path of a block device: :func:`device_numbers`, which
    raises EngineError for everything else.
    """
    sections = {
        "memory": _memory(settings),
        "cpu": _cpu(settings),
        "pids": {"limit": settings.pids_limit} if settings.pids_limit else {},
        "blockIO": _block(settings, numbers or device_numbers),
    }
    return {name: section for name, section in sections.items() if section}


def _memory(settings: Settings) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if settings.memory:
        made["limit"] = settings.memory
    if settings.memory_swap:
        made["swap"] = settings.memory_swap
    if settings.memory_reservation:
        made["reservation"] = settings.memory_reservation
    if settings.memory_swappiness >= 0:
        made["swappiness"] = settings.memory_swappiness
    if settings.oom_kill_disable:
        made["disableOOMKiller"] = True
    return made


def _cpu(settings: Settings) -> dict[str, Any]:
    period, quota = settings.cpu_period, settings.cpu_quota
    if settings.nano_cpus:
        period, quota = _PERIOD, settings.nano_cpus * _PERIOD // 10**9
    given = {
        "shares": settings.cpu_shares,
        "period": period,
        "quota": quota,
        "cpus": settings.cpuset_cpus,
        "mems": settings.cpuset_mems,
    }
    return {key: value for key, value in given.items() if value}


def _block(settings: Settings, numbers: Callable[[str], tuple[int, int]]) -> dict[str, Any]:
    made: dict[str, Any] = {"weight": settings.blkio_weight} if settings.blkio_weight else {}

    def entries(pairs: tuple[Any, ...], word: str) -> list[dict[str, int]]:
        found = []
        for path, value in pairs:
            major, minor = numbers(path)
            found.append({"major": major, "minor": minor, word: value})
        return found

    if settings.blkio_weight_device:
        made["weightDevice"] = entries(settings.blkio_weight_device, "weight")
    for field, key in _THROTTLES.items():
        if getattr(settings, field):
            made[key] = entries(getattr(settings, field), "rate")
    return made


def device_numbers(path: str) -> tuple[int, int]:
    """(major, minor) of the whole block device at ``path``; EngineError otherwise."""
    import stat

    try:
        found = os.stat(path)
    except OSError as error:
        raise EngineError(
            f"cannot limit input and output of {path}", (error.strerror or "").lower(), path=path
        ) from None
    if not stat.S_ISBLK(found.st_mode):
        raise EngineError(
            f"cannot limit input and output of {path}",
            "it is no block device",
            "lsblk lists those of this host",
            path,
        )
    major, minor = os.major(found.st_rdev), os.minor(found.st_rdev)
    if os.path.exists(f"/sys/dev/block/{major}:{minor}/partition"):
        whole = os.path.basename(
            os.path.dirname(os.path.realpath(f"/sys/dev/block/{major}:{minor}"))
        )
        raise EngineError(
            f"cannot limit input and output of {path}",
            "it is a partition, and the kernel limits whole devices only",
            f"limit /dev/{whole}",
            path,
        )
    return major, minor


def checked(settings: Settings, warn: Callable[[str], None]) -> Settings:
    """The settings with what follows from them and without what this host cannot do.

    ``warn`` gets a sentence for each limit that is left out. EngineError for what contradicts
    itself or cannot be.
    """
    if settings.memory and not settings.memory_swap:
        # As Docker: without a word about swap, as much swap as memory.
        settings = settings.replace(memory_swap=2 * settings.memory)
    _check_memory(settings)
    _check_cpu(settings)
    wanted = resources(settings, lambda _path: (0, 0))
    if not wanted:
        return settings
    from runtime import cgroups

    parent = cgroups.of(settings.cgroup_parent or PARENT)
    settings = _without(settings, parent.lacking(wanted), warn)
    for word, field, available in zip(
        ("CPUs", "memory nodes"), ("cpuset_cpus", "cpuset_mems"), parent.available(), strict=True
    ):
        _check_list(word, getattr(settings, field), available)
    if settings.oom_kill_disable and not settings.memory:
        warn(
            "the OOM killer is disabled, but no memory limit is set: the container can use up the"
            " memory of the whole host"
        )
    return settings


def _check_memory(settings: Settings) -> None:
    memory, swap = settings.memory, settings.memory_swap
    if swap > 0 and not memory:
        raise EngineError(
            "memory and swap are limited together", "there is no memory limit",
            "--memory-swap needs --memory as well",
        )  # fmt: skip
    if 0 < swap < memory:
        raise EngineError(
            "the limit of memory and swap is below the memory limit",
            "it counts both together",
            "raise --memory-swap as well",
        )
    if settings.memory_reservation > memory > 0:
        raise EngineError(
            "the soft memory limit is above the memory limit",
            "it would never count",
            "lower --memory-reservation",
        )


def _check_cpu(settings: Settings) -> None:
    for field, word in (("cpu_period", "period"), ("cpu_quota", "quota")):
        if settings.nano_cpus and getattr(settings, field) > 0:
            raise EngineError(
                f"a number of CPUs and a CPU {word} contradict each other",
                "the number is a quota in a period of 100 ms",
                f"give --cpus, or --cpu-{word}",
            )


_NO_QUOTA = {"cpu_period": 0, "cpu_quota": 0}

# What is left out where the kernel lacks it: (key, in words, the settings without it).
_OPTIONAL: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("memory.limit", "a memory limit", {"memory": 0, "memory_swap": 0}),
    ("memory.swap", "a limit of swap", {"memory_swap": -1}),
    ("memory.reservation", "a soft memory limit", {"memory_reservation": 0}),
    ("memory.disableOOMKiller", "a disabled OOM killer", {"oom_kill_disable": False}),
    ("cpu.shares", "a CPU weight", {"cpu_shares": 0}),
    ("cpu.period", "a CPU period", _NO_QUOTA),
    ("cpu.quota", "a CPU quota", _NO_QUOTA),
    ("cpu.cpus", "a choice of CPUs", {"cpuset_cpus": ""}),
    ("cpu.mems", "a choice of memory nodes", {"cpuset_mems": ""}),
    ("pids.limit", "a limit of processes", {"pids_limit": 0}),
    ("blockIO.weight", "a weight for block devices", {"blkio_weight": 0}),
    ("blockIO.weightDevice", "the weight of a block device", {"blkio_weight_device": ()}),
    *(
        (f"blockIO.{key}", "a limit of a block device", {field: ()})
        for field, key in _THROTTLES.items()
    ),
)


def _without(settings: Settings, lacking: dict[str, str], warn: Callable[[str], None]) -> Settings:
    if "memory.swappiness" in lacking:
        raise EngineError(
            "swappiness cannot be set for a container",
            _why(lacking["memory.swappiness"]),
            "leave --memory-swappiness out",
        )
    if settings.nano_cpus and ("cpu.quota" in lacking or "cpu.period" in lacking):
        raise EngineError(
            "the number of CPUs cannot be limited",
            _why(lacking.get("cpu.quota") or lacking["cpu.period"]),
            "leave --cpus out, or enable the controller",
        )
    for key, words, without in _OPTIONAL:
        if key == "memory.swap" and settings.memory_swap <= 0:
            continue  # it went with the memory limit
        if key in lacking:
            warn(f"{words} cannot be set and is left out: {_why(lacking[key])}")
            settings = settings.replace(**without)
    return settings


def _why(file: str) -> str:
    if not file:
        return "control groups of version 2 have nothing like it"
    return f"this host has no {file} (the kernel lacks it, or its controller is not enabled)"


def _check_list(word: str, wanted: str, available: str) -> None:
    """Whether the CPUs or memory nodes of a list are there; an empty ``available`` says nothing."""
    if not wanted or not available:
        return
    there = _ranges(available)
    for first, last in _ranges(wanted):
        inside = sum(min(last, high) - max(first, low) + 1 for low, high in there
                     if low <= last and first <= high)  # fmt: skip
        if inside < last - first + 1:
            raise EngineError(
                f"requested {word} are not available", f"requested {wanted}, available {available}"
            )


def _ranges(text: str) -> list[tuple[int, int]]:
    """``0-2,4`` as [(0, 2), (4, 4)]; the kernel's lists do not overlap."""
    pairs = (part.partition("-") for part in text.split(","))
    return [(int(first), int(last or first)) for first, _, last in pairs]
