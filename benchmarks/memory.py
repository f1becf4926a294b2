"""Memory of what watches containers that idle: everything that is ours, and Docker's daemons."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from benchmarks import peers
from benchmarks.pairing import Finding
from benchmarks.peers import Peer, Place

CONTAINERS = int(os.environ.get("DETACHED", "100"))
_PATIENCE = 60.0  # seconds


def measure(_rounds: int) -> list[Finding]:
    """Pss of all processes (proc_pid_smaps(5)); one measurement, of many processes.

    What watches the first container has nobody of its kind to share pages with: it is told apart,
    without the daemons. Its Pss profits from the benchmark's two interpreters, which have the same
    pages of files; its Rss is what it would be if nobody had any of them.
    """
    with peers.place() as here:
        found = [peer for peer in here.peers if peer.name != "podman"]
        first: dict[str, list[float]] = {}
        first_rss: dict[str, list[float]] = {}
        alone: dict[str, list[float]] = {}
        together: dict[str, list[float]] = {}
        for peer in found:
            before = _pss(_own(here, peer))
            _up(peer, 0)
            first[peer.name] = [_settled(here, peer, _watchers)]
            first_rss[peer.name] = [_memory(_watchers(here, peer), "Rss:")]
            for number in range(1, CONTAINERS):
                _up(peer, number)
            together[peer.name] = [_settled(here, peer)]
            alone[peer.name] = [(together[peer.name][0] - before) / CONTAINERS]
    many = f"memory of {CONTAINERS} that idle"
    return [
        Finding("memory", many, "MB", together, {"docker": 1.0}),
        Finding("memory", f"{many}, each", "MB", alone),
        Finding("memory", "the only container's, Pss", "MB", first),
        Finding("memory", "the only container's, Rss", "MB", first_rss),
    ]


def _up(peer: Peer, number: int) -> None:
    peer("run", "-d", "--network", "none", "--name", f"m{number}", "base", "sleep", "36000")


def _watchers(here: Place, peer: Peer) -> list[int]:
    """Monitors, or shims."""
    found = _own(here, peer)
    return [pid for pid in found if peer.name != "docker" or "-shim-" in _command(pid)]


def _own(here: Place, peer: Peer) -> list[int]:
    """Monitors of a root folder, without networks; dockerd, containerd and the shims."""
    if peer.name == "docker":
        return [pid for pid in _processes() if here.folder in _command(pid) and _is_docker(pid)]
    children = {pid: _parent(pid) for pid in _processes()}
    programs = peer("ps", "-q").split()
    pids = peer("inspect", "--format", "{{.State.Pid}}", *programs).split() if programs else []
    return [children[int(pid)] for pid in pids]


def _is_docker(pid: int) -> bool:
    return os.path.basename(_command(pid).split("\0")[0]) in (
        "dockerd", "containerd", "containerd-shim-runc-v2",
    )  # fmt: skip


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command(pid: int) -> str:
    return _read(f"/proc/{pid}/cmdline")


def _parent(pid: int) -> int:
    words = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(words[1]) if words else 0


def _read(path: str) -> str:
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _pss(pids: list[int]) -> float:
    return _memory(pids, "Pss:")


def _memory(pids: list[int], what: str) -> float:
    """Megabytes (10^6 bytes)."""
    total = 0
    for pid in pids:
        for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith(what):
                total += 1024 * int(line.split()[1])
    return total / 1e6


def _settled(here: Place, peer: Peer, whose: Callable[[Place, Peer], list[int]] = _own) -> float:
    """When nothing has changed for a few seconds: monitors make themselves small after one."""
    deadline = time.monotonic() + _PATIENCE
    last = 0.0
    while time.monotonic() < deadline:
        time.sleep(3)
        now = _pss(whose(here, peer))
        if abs(now - last) < 0.02 * now:
            return now
        last = now
    return last
