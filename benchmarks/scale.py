"""Every command where 1,000 stopped containers and 2,000 volumes are, and where nothing is."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

from benchmarks import peers
from benchmarks.pairing import Finding, paired
from benchmarks.peers import Peer

CONTAINERS = int(os.environ.get("CONTAINERS", "1000"))  # each with two volumes
_FILL = """
import contextlib, io, sys
from cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    for number in range(int(sys.argv[1])):
        flags = ["--network", "none", "-v", "/a", "-v", "/b", "--name", f"old-{number}"]
        code = main(["create", *flags, "base", "true"])
        if code:
            sys.exit(f"create: exit code {code}")
"""
_NONE = ("--network", "none")


def measure(rounds: int) -> list[Finding]:
    """What grows by nature, `ps -a` and `volume ls`, is beside docker's of as many."""
    with peers.place() as here:
        empty = here.peers[0]
        root = f"{here.folder}/full"
        here.homes.append(root)
        full = Peer("full", empty.argv, empty.env | {"PYCTR_ROOT": root})
        full("run", "--rm", *_NONE, "base", "true")
        subprocess.run([peers.PYTHON, "-c", _FILL, str(CONTAINERS)], env=full.env, check=True,
                       cwd=peers.PROJECT)  # fmt: skip
        docker = next((peer for peer in here.peers if peer.name == "docker"), None)
        if docker:
            _fill_docker(f"{here.folder}/docker.sock")
        stores = {f"with {CONTAINERS}": full, "empty": empty}
        found = [*_lives(stores, rounds)]
        for peer in stores.values():
            peer("run", "-d", "--name", "c", *_NONE, "base", "sleep", "36000")
            peer("volume", "create", "vv")
        looking = {
            "run --rm -v": ("run", "--rm", *_NONE, "-v", "/data", "base", "true"),
            "ps": ("ps",),
            "inspect": ("inspect", "c"),
            "images": ("images",),
            "volume inspect": ("volume", "inspect", "vv"),
            "exec": ("exec", "c", "true"),
            "ps -a": ("ps", "-a"),
            "volume ls": ("volume", "ls"),
        }
        for work, argv in looking.items():
            grows = work in ("ps -a", "volume ls")
            who = stores | ({"docker": docker} if grows and docker else {})
            measures = {name: lambda p=p, argv=argv: p.timed(*argv) for name, p in who.items()}
            limits = {"docker": 1.0} if grows else {"empty": 1.2}
            found.append(Finding("scale", work, "ms", paired(measures, rounds), limits))
    return found


def _fill_docker(path: str) -> None:
    """As many containers and volumes, by its API: its client would take minutes. RuntimeError."""
    body = json.dumps({
        "Image": "base", "Cmd": ["true"], "Volumes": {"/a": {}, "/b": {}},
        "HostConfig": {"NetworkMode": "none"},
    })  # fmt: skip

    def make(number: int) -> None:
        connection = http.client.HTTPConnection("docker")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(path)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/containers/create?name=old-{number}", body, headers)
        answer = connection.getresponse()
        if answer.status != 201:
            raise RuntimeError(f"docker: {answer.read().decode()}")
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(CONTAINERS)))


def _lives(stores: dict[str, Peer], rounds: int) -> list[Finding]:
    works = ("create", "start", "stop", "rm", "volume create", "volume rm")
    values: dict[str, dict[str, list[float]]] = {
        work: {name: [] for name in stores} for work in works
    }
    for number in range(rounds + 1):
        for name, peer in stores.items():
            signal = ("--stop-signal", "KILL")
            took = (
                peer.timed("create", "--name", "x", *signal, *_NONE, "base", "sleep", "36000"),
                peer.timed("start", "x"),
                peer.timed("stop", "x"),
                peer.timed("rm", "x"),
                peer.timed("volume", "create", "yy"),
                peer.timed("volume", "rm", "yy"),
            )
            for work, value in zip(works, took, strict=True):
                if number:
                    values[work][name].append(value)
    return [Finding("scale", work, "ms", values[work], {"empty": 1.2}) for work in works]
