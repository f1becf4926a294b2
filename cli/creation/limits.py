"""Flags about how much a container may use: memory, CPU, processes, block devices.

Some of them can be changed later: :data:`CHANGEABLE` are those of `update` as well.
"""

from __future__ import annotations

from cli.creation import amounts, readers
from cli.options import Option, Parsed, option, refused, several, value
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CHANGEABLE: tuple[Option, ...] = (
    value("-m --memory", "BYTES", "Memory limit, for example 64m", read=amounts.memory, default=0),
    value("--memory-swap", "BYTES", "Memory and swap together; -1 for no limit of swap, as much as"
          " --memory for no swap at all", read=amounts.swap, default=0),
    value("--memory-reservation", "BYTES", "Soft memory limit: what it keeps when memory is short",
          read=amounts.memory, default=0),
    value("--cpus", "NUMBER", "CPUs, for example 1.5", read=amounts.cpus, default=0),
    value("--cpu-period", "MICROSECONDS", "Length of the CFS scheduler's period",
          read=amounts.period, default=0),
    value("--cpu-quota", "MICROSECONDS", "CPU time in each period; -1 for no limit",
          read=amounts.quota, default=0),
    value("-c --cpu-shares", "NUMBER", "CPU weight among containers (1024 is normal)",
          read=amounts.shares, default=0),
    value("--cpuset-cpus", "LIST", "CPUs it may use, for example 0-2,4", read=amounts.cpu_list,
          default=""),
    value("--cpuset-mems", "LIST", "Memory nodes it may use", read=amounts.cpu_list, default=""),
    value("--pids-limit", "NUMBER", "Processes and threads at most; -1 for no limit",
          read=amounts.pids, default=0),
    value("--blkio-weight", "NUMBER", "Block input/output weight, 10 to 1000",
          read=amounts.weight, default=0),
    several("--blkio-weight-device", "PATH:WEIGHT", "Weight for one block device",
            read=amounts.device_weight),
    several("--device-read-bps", "PATH:RATE", "Bytes a second read from a block device,"
            " for example /dev/sda:1mb", read=amounts.device_bytes),
    several("--device-write-bps", "PATH:RATE", "Bytes a second written to a block device",
            read=amounts.device_bytes),
    several("--device-read-iops", "PATH:RATE", "Reads a second from a block device",
            read=amounts.device_operations),
    several("--device-write-iops", "PATH:RATE", "Writes a second to a block device",
            read=amounts.device_operations),
)  # fmt: skip

_NO_REAL_TIME = (
    "control groups of version 2 have no real-time quota, and those of version 1 keep it in their"
    " root; --ulimit rtprio and --cap-add SYS_NICE allow real-time scheduling"
)
NEVER: tuple[Option, ...] = (
    refused("--cpu-rt-period", _NO_REAL_TIME),
    refused("--cpu-rt-runtime", _NO_REAL_TIME),
    refused("--kernel-memory", "the kernel has dropped this limit (Linux 5.16); --memory counts"
            " kernel memory as well"),
)  # fmt: skip

OPTIONS: tuple[Option, ...] = (
    *(one.replace(read=amounts.unless_zero(one.read)) if one.default == 0 else one
      for one in CHANGEABLE),
    value("--memory-swappiness", "NUMBER", "How gladly its memory is swapped out, 0 to 100"
          " (cgroup v1 only)", read=amounts.swappiness, default=-1),
    option("--oom-kill-disable", "At its memory limit it waits instead of being killed"
           " (cgroup v1 only)"),
    value("--oom-score-adj", "NUMBER", "How willingly the kernel kills it for memory, -1000 to"
          " 1000", read=amounts.oom_score, default=0),
    value("--shm-size", "BYTES", "Size of /dev/shm", read=units.parse_bytes, default=64 << 20),
    several("--ulimit", "NAME=SOFT[:HARD]", "Set a resource limit", read=readers.ulimit),
    *NEVER,
    refused("--cpu-count", "it is for Windows; --cpus limits CPU time"),
    refused("--cpu-percent", "it is for Windows; --cpus limits CPU time"),
    refused("--io-maxbandwidth", "it is for Windows; --device-read-bps and --device-write-bps limit"
            " a device"),
    refused("--io-maxiops", "it is for Windows; --device-read-iops and --device-write-iops limit"
            " a device"),
)  # fmt: skip

# Option to field of the settings, where the names differ.
_FIELDS = {"cpus": "nano_cpus"}


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide."""
    return {
        **{_field(one): _value(parsed, one) for one in CHANGEABLE},
        "memory_swappiness": parsed.memory_swappiness,
        "oom_kill_disable": parsed.oom_kill_disable,
        "oom_score_adj": parsed.oom_score_adj,
        "shm_size": parsed.shm_size,
        "ulimits": dict(parsed.ulimit),
    }


def changes(parsed: Parsed) -> dict[str, Any]:
    """The settings that were given, of :data:`CHANGEABLE`."""
    return {_field(one): _value(parsed, one) for one in CHANGEABLE if one.key in parsed.given}


def _value(parsed: Parsed, one: Option) -> Any:
    value = parsed.values[one.key]
    return tuple(value) if one.kind == "list" else value


def _field(one: Option) -> str:
    return _FIELDS.get(one.key, one.key)
