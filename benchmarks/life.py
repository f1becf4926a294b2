"""The other commands of a container's life, and those that look."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.pairing import Finding, paired, timed
from benchmarks.peers import Peer

_LIMITS = {
    "create": {"docker": 1.0},
    "start": {"docker": 0.25},
    "exec": {"docker": 0.6},
    "stop": {"docker": 1.0},
    "rm": {"docker": 1.0},
}
_LOOKING = {
    "ps": ("ps",),
    "inspect": ("inspect", "kept-0"),
    "volume ls": ("volume", "ls"),
}


def measure(rounds: int) -> list[Finding]:
    """create, start, exec, stop and rm of one container after the other; ps, inspect, volume ls."""
    with peers.place() as here:
        found = _lives(here.peers, rounds)
        for peer in here.peers:
            for number in range(5):
                peer("volume", "create", f"kept-{number}")
                _create(peer, f"kept-{number}")
                peer("start", f"kept-{number}")
        for work, argv in _LOOKING.items():
            measures = {p.name: lambda p=p, argv=argv: p.timed(*argv) for p in here.peers}
            measures["interpreter"] = lambda: timed(peers.INTERPRETER, here.env)
            values = paired(measures, rounds)
            limits = {"docker": 1.5, "interpreter": 2.5}
            found.append(Finding("life", work, "ms", values, limits))
    return found


def _create(peer: Peer, name: str) -> float:
    # The first process of a container ignores SIGTERM: a stop would wait for ten seconds.
    flags = ("--stop-signal", "KILL", "--network", "none")
    return peer.timed("create", "--name", name, *peer.flags, *flags, "base", "sleep", "36000")


def _lives(found: list[Peer], rounds: int) -> list[Finding]:
    values: dict[str, dict[str, list[float]]] = {
        work: {peer.name: [] for peer in found} for work in _LIMITS
    }
    for number in range(rounds + 1):
        for peer in found:
            name = f"c{number}"
            took = {
                "create": _create(peer, name),
                "start": peer.timed("start", name),
                "exec": peer.timed("exec", name, "true"),
                "stop": peer.timed("stop", name),
                "rm": peer.timed("rm", name),
            }
            for work, value in took.items():
                if number:  # the first warms up
                    values[work][peer.name].append(value)
    return [Finding("life", work, "ms", values[work], _LIMITS[work]) for work in _LIMITS]
