"""What tests watch from outside: processes by proc(5), and waiting for what must come."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Pyctr


def until(holds: Callable[[], object], what: str) -> None:
    """Waits for a condition; ``what`` completes the sentence "waited until"."""
    deadline = time.monotonic() + 90
    while not holds():
        assert time.monotonic() < deadline, f"waited until {what}"
        time.sleep(0.02)


def state(pyctr: Pyctr, name: str) -> str:
    """Status and exit code of a container: "running 0"."""
    return pyctr.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)


def monitor_of(pyctr: Pyctr, name: str) -> int:
    """The monitor of a running container: the parent of its first process."""
    return int(fields(int(pyctr.out("inspect", "-f", "{{.State.Pid}}", name)))[1])


def fields(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the third on: state, parent, ..."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        return fields(pid)[0] == "Z"
    except FileNotFoundError:
        return True


def ticks(pid: int) -> int:
    """Processor time in ticks, a hundredth of a second each."""
    found = fields(pid)
    return int(found[11]) + int(found[12])


def status(pid: int, key: str) -> str:
    """The first word of a line of proc_pid_status(5)."""
    with open(f"/proc/{pid}/status") as file:
        (word,) = [line.split()[1] for line in file if line.startswith(f"{key}:")]
    return word


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    return bool(int(status(pid, "SigCgt"), 16) >> (number - 1) & 1)


def descriptors(pid: int) -> dict[int, str]:
    """What the descriptors of a process lead to, as far as proc(5) names it."""
    folder = f"/proc/{pid}/fd"
    return {int(fd): os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)}


def rested(pyctr: Pyctr, name: str) -> int:
    """The monitor of a running container, as soon as it rests."""
    pid = monitor_of(pyctr, name)
    until(lambda: is_resting(pid), f"the monitor of {name} rests")
    return pid


def is_resting(pid: int) -> bool:
    """Whether it is the other program, and heeds signals already."""
    with open(f"/proc/{pid}/cmdline") as file:
        command = file.read()
    return "resting.main" in command and int(status(pid, "SigCgt"), 16) >> 14 & 1 == 1
