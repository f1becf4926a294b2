"""Flags about how much a container may use: memory, CPU, processes, block devices."""

from __future__ import annotations

from cli.creation import readers
from cli.errors import UsageError
from cli.options import Option, Parsed, several, value
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    value("-m --memory", "BYTES", "Memory limit, for example 64m", read=readers.memory,
          default=0),
    value("--memory-swap", "BYTES", "Memory and swap together; -1 for no limit of swap",
          read=readers.swap, default=0),
    value("--memory-reservation", "BYTES", "Soft memory limit", read=units.parse_bytes,
          default=0),
    value("--cpus", "NUMBER", "CPUs, for example 1.5", read=readers.cpus, default=0),
    value("-c --cpu-shares", "NUMBER", "CPU weight among containers (1024 is normal)",
          read=readers.shares, default=0),
    value("--cpuset-cpus", "LIST", "CPUs it may use, for example 0-2,4", read=readers.cpu_list,
          default=""),
    value("--cpuset-mems", "LIST", "Memory nodes it may use", read=readers.cpu_list, default=""),
    value("--pids-limit", "NUMBER", "Processes and threads at most", read=readers.pids,
          default=0),
    value("--blkio-weight", "NUMBER", "Block input/output weight, 10 to 1000",
          read=readers.weight, default=0),
    value("--oom-score-adj", "NUMBER", "How willingly the kernel kills it for memory",
          read=readers.oom_score, default=0),
    value("--shm-size", "BYTES", "Size of /dev/shm", read=units.parse_bytes, default=64 << 20),
    several("--ulimit", "NAME=SOFT[:HARD]", "Set a resource limit", read=readers.ulimit),
)  # fmt: skip


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide. UsageError for combinations that cannot be."""
    if parsed.memory_swap and not parsed.memory:
        raise UsageError("--memory-swap needs --memory as well")
    if 0 < parsed.memory_swap < parsed.memory:
        raise UsageError("--memory-swap is smaller than --memory", "it counts both together")
    if parsed.memory_reservation > parsed.memory > 0:
        raise UsageError("--memory-reservation is larger than --memory")
    return {
        "memory": parsed.memory,
        "memory_swap": parsed.memory_swap,
        "memory_reservation": parsed.memory_reservation,
        "nano_cpus": parsed.cpus,
        "cpu_shares": parsed.cpu_shares,
        "cpuset_cpus": parsed.cpuset_cpus,
        "cpuset_mems": parsed.cpuset_mems,
        "pids_limit": parsed.pids_limit,
        "blkio_weight": parsed.blkio_weight,
        "oom_score_adj": parsed.oom_score_adj,
        "shm_size": parsed.shm_size,
        "ulimits": dict(parsed.ulimit),
    }
