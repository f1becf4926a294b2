"""What running containers use, read from the kernel at one moment.

Each number is a total since the start or a state of the moment; a share of the CPUs needs two
samples. The numbers are those of Docker: memory without the page cache that can be dropped at once,
network traffic of the container's own interfaces but the loopback, bytes of block devices as far
as the kernel counts them.

Source: cgroups(7), proc_pid_net(5); Docker's documentation, "docker container stats".
"""

from __future__ import annotations

import os
import time

from engine import containers
from kernel import process
from kernel.record import Record
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container


class Sample(Record):
    """What a container has used so far; ``at`` in seconds (time.monotonic), the others in bytes."""

    at: float
    usage: cgroups.Usage
    memory_limit: int
    received: int
    sent: int


def sample(container: Container) -> Sample | None:
    """The numbers of now; None if the container does not run (any more)."""
    if container.status not in containers.ALIVE:
        return None
    try:
        folder = process.open_folder(container.pid, container.start_time)
    except ProcessLookupError:
        return None
    try:
        at = time.monotonic()
        usage = cgroups.of(container.cgroup).usage()
        received, sent = _traffic(folder)
    except (OSError, ValueError):  # it has ended between two reads
        return None
    finally:
        os.close(folder)
    if not containers.is_running(container):
        return None
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Sample(at, usage, min(usage.memory_limit or host, host), received, sent)


def cpu_percent(before: Sample, after: Sample) -> float:
    """The share of CPU time between two samples: 100 is one whole CPU."""
    passed = after.at - before.at
    used = after.usage.cpu - before.usage.cpu
    return max(0.0, used / passed / 1e7) if passed > 0 else 0.0


def memory_percent(one: Sample) -> float:
    """The share of the memory that the container may use, or of the host's."""
    return one.usage.memory / one.memory_limit * 100 if one.memory_limit else 0.0


def _traffic(folder: int) -> tuple[int, int]:
    """(received, sent) of the interfaces of a process; nothing where they are the host's."""
    if os.path.samestat(os.stat("ns/net", dir_fd=folder), os.stat("/proc/self/ns/net")):
        return 0, 0
    fd = os.open("net/dev", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    with open(fd, encoding="ascii", errors="replace") as file:
        return parse_traffic(file.read())


def parse_traffic(text: str) -> tuple[int, int]:
    """(received, sent) bytes of /proc/PID/net/dev, without the loopback."""
    received = sent = 0
    for line in text.splitlines()[2:]:
        name, _, numbers = line.rpartition(":")
        words = numbers.split()
        if name.strip() != "lo":
            received += int(words[0])
            sent += int(words[8])
    return received, sent
