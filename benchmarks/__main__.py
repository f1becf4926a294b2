"""pyctr beside its peers, on the same work, in one run; see `benchmarks/results/`.

    make bench                              # as root; all kinds
    make bench BENCH="run life" ROUNDS=20   # these

Each kind is a process of its own, that of the network in a network namespace of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile

from benchmarks import report
from benchmarks.pairing import Finding

KINDS = {
    "run": "runs",
    "life": "life",
    "network": "networks",
    "volumes": "volumes",
    "memory": "memory",
    "scale": "scale",
    "images": "images",
    "build": "builds",
}


def main(argv: list[str]) -> int:
    """The exit code: 1 if a kind could not be measured."""
    if os.geteuid() != 0:
        sys.exit("containers need root: run sudo make bench")
    if argv[:1] == ["--one"]:
        return _one(argv[1], argv[2])
    wanted = argv or list(KINDS)
    if unknown := set(wanted) - set(KINDS):
        sys.exit(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    failed = 0
    for kind in wanted:
        found = _apart(kind)
        if found:
            print(f"\n{kind}\n{report.table(found)}", flush=True)
            report.keep(found)
        failed += not found
    return int(failed > 0)


def _apart(kind: str) -> list[Finding]:
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        begin = ["unshare", "--net"] if kind == "network" else []
        argv = [*begin, sys.executable, "-m", "benchmarks", "--one", kind, file.name]
        env = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(report.__file__))}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        if subprocess.run(argv, env=env).returncode:
            print(f"{kind}: it could not be measured", file=sys.stderr)
            return []
        return [Finding(**one) for one in json.load(file)]


def _one(kind: str, path: str) -> int:
    import dataclasses

    rounds = int(os.environ.get("ROUNDS", "20"))
    found = importlib.import_module(f"benchmarks.{KINDS[kind]}").measure(rounds)
    with open(path, "w") as file:
        json.dump([dataclasses.asdict(one) for one in found], file)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
