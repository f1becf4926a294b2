"""A container from nothing to gone, without a network: `run --rm --network none base true`."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.pairing import Finding, paired, timed

_RUN = ("run", "--rm", "--network", "none")


def measure(rounds: int) -> list[Finding]:
    """Beside docker, podman, and what runs a bundle that is ready."""
    with peers.place() as here:
        env = here.env
        commands = {p.name: [*p.argv, *_RUN, *p.flags, "base", "true"] for p in here.peers}
        commands["pyctr -v /data"] = [peers.PYCTR, *_RUN, "-v", "/data", "base", "true"]
        for name in ("runc", "crun"):
            if argv := here.bundle(name):
                commands[name] = argv
        commands["interpreter"] = peers.INTERPRETER
        measures = {name: lambda argv=argv: timed(argv, env) for name, argv in commands.items()}
        values = paired(measures, rounds, warm=2)
    limits = {"docker": 0.15, "runc": 1.5}
    return [Finding("run", "run --rm --network none base true", "ms", values, limits)]
