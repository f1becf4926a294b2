"""`build` of examples/webapp beside Docker and buildah: cold, and with everything in the cache.

The base is one archive of Debian for all. A cold build fetches the same packages from the same
place for each, with the host's network; the tools take turns.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from benchmarks import peers
from benchmarks.pairing import Finding, paired, run, timed
from benchmarks.peers import Place

CONTEXT = f"{peers.PROJECT}/examples/webapp"
_NAME = "training/webapp"


def measure(rounds: int) -> list[Finding]:
    """A quarter of the ``rounds`` of commands: a cold build takes many seconds."""
    rounds = max(3, rounds // 4)
    with peers.place() as here:
        builds = _prepared(here)
        cached = {name: lambda argv=argv: timed(argv, here.env) for name, argv in builds.items()}
        cold = {
            name: lambda argv=argv: timed(_cold(argv), here.env) for name, argv in builds.items()
        }
        one = {"docker": 1.0, "buildah": 1.0}
        half = {"docker": 0.5, "buildah": 0.5}
        return [
            Finding("build", "build, cold", "ms", paired(cold, rounds, warm=0), one),
            Finding("build", "build, cached", "ms", paired(cached, 2 * rounds), half),
        ]


def _cold(argv: list[str]) -> list[str]:
    at = argv.index("-q")
    return [*argv[:at], "--no-cache", *argv[at:]]


def _prepared(here: Place) -> dict[str, list[str]]:
    """Tool to its `build` command; each has the image debian."""
    archive = os.environ.get("BUILD_DEBIAN", f"{here.folder}/debian.tar")
    if not os.path.exists(archive):
        run(["mmdebstrap", "--quiet", "--variant=minbase", "bookworm", archive])
    made = {}
    for peer in here.peers:
        if peer.name == "podman":  # it builds with buildah
            continue
        peer("import", archive, "debian")
        made[peer.name] = [*peer.argv, "build", "-q", "--network", "host", "-t", _NAME, CONTEXT]
    if shutil.which("buildah"):
        made["buildah"] = _buildah(here, archive)
    working = {}
    for name, argv in made.items():
        try:
            run(argv, here.env)
            working[name] = argv
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    return working


def _buildah(here: Place, archive: str) -> list[str]:
    buildah = ["buildah", "--root", f"{here.folder}/buildah", "--runroot", f"{here.folder}/br"]
    root = f"{here.folder}/debian"
    os.mkdir(root)
    subprocess.run(["tar", "-xf", archive, "-C", root, "--exclude=./dev/*"], check=True)
    with open(f"{root}/Dockerfile", "w") as file:
        file.write("FROM scratch\nCOPY . /\n")
    run([*buildah, "bud", "-q", "-t", "localhost/debian", root])
    more = ["--layers", "--isolation", "chroot", "--network", "host"]
    return [*buildah, "bud", "-q", *more, "-t", _NAME, CONTEXT]
