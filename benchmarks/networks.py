"""Networks: a container from nothing to gone, bytes and requests, and many on one bridge.

Everything happens in a network namespace of its own (`benchmarks.__main__` makes it), so that the
machine's interfaces and rules stay as they are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from benchmarks import peers
from benchmarks.pairing import Finding, paired, run
from benchmarks.peers import Peer, Place

MANY = int(os.environ.get("MANY", "200"))
_MEBIBYTES = 512  # sent in a round
_REQUESTS = 3000  # in a round
_FILL = f"dd if=/dev/zero of=/tmp/big bs=1M count={_MEBIBYTES} && echo hello > /tmp/x"
_SERVE = f"{_FILL} && exec httpd -f -p 80 -h /tmp"


def measure(rounds: int) -> list[Finding]:
    """All of them; ``rounds`` for the starts, half as many for what is sent."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with peers.place(bridge=True) as here:
        try:
            found = _working(here)
            return [
                _start(found, rounds),
                *_sent(found, max(3, rounds // 2)),
                *_many(found[0]),
            ]
        finally:
            for peer in here.peers:
                if ids := peer("ps", "-aq").split():
                    peer("rm", "-f", *ids)
            _dismiss(here)


def _working(here: Place) -> list[Peer]:
    if any(peer.name == "docker" for peer in here.peers):
        # Docker drops what passes through the host unless it knows it; pyctr asks for this.
        for way in ("-i", "-o"):
            run(["iptables", "-I", "DOCKER-USER", way, "py+", "-j", "ACCEPT"])
    working = []
    for peer in here.peers:
        try:
            peer("run", "--rm", *peer.flags, "base", "true")
            working.append(peer)
        except RuntimeError as error:
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
    return working


def _start(found: list[Peer], rounds: int) -> Finding:
    measures = {p.name: lambda p=p: p.timed("run", "--rm", *p.flags, "base", "true") for p in found}
    values = paired(measures, rounds)
    return Finding("network", "run --rm base true, bridge", "ms", values, {"docker": 0.2})


def _sent(found: list[Peer], rounds: int) -> list[Finding]:
    """From one container into another, and through a published port to and from this host."""
    addresses = {}
    for number, peer in enumerate(found):
        port = f"{8100 + number}:80"
        peer("run", "-d", "--name", "source", "-p", port, *peer.flags, "base", "sh", "-c", _SERVE)
        peer("run", "-d", "--name", "sink", *peer.flags, "base", "sleep", "36000")
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        addresses[peer.name] = peer("inspect", "--format", template, "source")
        get = f"wget -q -O /dev/null http://{addresses[peer.name]}/x"
        peer("exec", "sink", "sh", "-c", f"until {get}; do sleep 1; done")
    between = {p.name: lambda p=p: _inside(p, addresses[p.name]) for p in found}
    ports = {peer.name: 8100 + number for number, peer in enumerate(found)}
    limits = {"docker": 0.95}
    works = [("container to container", "MiB/s", between)]
    works.append(("published port, bytes", "MiB/s", {
        name: lambda port=port: _fetched(port) for name, port in ports.items()
    }))  # fmt: skip
    if shutil.which("ab"):
        asked = {name: lambda port=port: _asked(port) for name, port in ports.items()}
        works.append(("published port, requests", "/s", asked))
    made = [
        Finding("network", work, unit, paired(measures, rounds), limits, more=True)
        for work, unit, measures in works
    ]
    for peer in found:
        peer("rm", "-f", "sink", "source")
    return made


def _inside(peer: Peer, address: str) -> float:
    """time(1) is inside, so that the time of an exec does not count; it knows hundredths."""
    get = f"for i in 1 2 3 4; do wget -q -O /dev/null http://{address}/big; done"
    said = peer("exec", "sink", "sh", "-c", f"time sh -c '{get}' 2>&1")
    minutes, seconds = said.partition("real")[2].split()[:2]  # 0m 0.31s
    return 4 * _MEBIBYTES / (60 * int(minutes[:-1]) + float(seconds[:-1]))


def _fetched(port: int) -> float:
    said = run(["curl", "-s", "-o", "/dev/null", "-w", "%{speed_download}",
                f"http://127.0.0.1:{port}/big"])  # fmt: skip
    return float(said) / (1 << 20)


def _asked(port: int) -> float:
    argv = ["ab", "-q", "-n", str(_REQUESTS), "-c", "8", f"http://127.0.0.1:{port}/x"]
    line = next(one for one in run(argv).splitlines() if one.startswith("Requests per second"))
    return float(line.split()[3])


def _many(pyctr: Peer) -> list[Finding]:
    """The last and the first starts of many on one bridge."""
    count = min(20, MANY // 3)
    times = [
        pyctr.timed("run", "-d", "--name", f"m{number}", "base", "sleep", "36000")
        for number in range(MANY)
    ]
    values = {"last": times[-count:], "first": times[:count]}
    pyctr("rm", "-f", *(f"m{number}" for number in range(MANY)))
    return [Finding("network", f"run -d, of {MANY} on one bridge", "ms", values, {"first": 1.2})]


def _dismiss(here: Place) -> None:
    """Asks pyctr's agent to leave."""
    from network import client

    def start(_listener: object) -> None:
        raise OSError("no agent runs")

    try:
        client.ask(here.peers[0]("info", "--format", "{{.RunDir}}"), start, do="leave")
    except OSError:
        pass
