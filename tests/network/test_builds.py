"""RUN of a build has a network like a container, and leaves nothing in it."""

from __future__ import annotations

import os
import sqlite3
import subprocess

import pytest

from tests.network.conftest import HOST, OUTSIDE, Host, eventually
from tests.network.test_bridge import SERVER

FETCH = f"wget -q -O - http://{OUTSIDE}/"


def _args(tmp_path: object, dockerfile: str, *more: str) -> tuple[str, ...]:
    with open(f"{tmp_path}/Dockerfile", "w") as file:
        file.write(f"FROM base\n{dockerfile}\n")
    return ("build", "--no-cache", "-t", "x", *more, str(tmp_path))


def _leases(host: Host) -> list[str]:
    db = sqlite3.connect(f"{host.root}/state.db")
    try:
        return [row[0] for row in db.execute("SELECT address FROM leases")]
    finally:
        db.close()


def test_run_reaches_the_world_through_the_default_network(host: Host, tmp_path: object) -> None:
    host.outside.start(SERVER)
    host.up("one")
    dockerfile = (
        f"RUN {FETCH} > /said\nRUN ip -o -4 addr show eth0 > /address; cat /etc/hosts > /hosts"
    )
    host(*_args(tmp_path, dockerfile))
    assert host.out("run", "--rm", "x", "cat", "/said") == f"you are {HOST}"
    assert "172.17.0.3/16" in host.out("run", "--rm", "x", "cat", "/address")
    assert "172.17.0.3\tbuild" in host.out("run", "--rm", "x", "cat", "/hosts")
    assert _leases(host) == []
    assert "172.17.0.3/16" in host.out("run", "--rm", "base", "ip", "addr", "show", "eth0")


def test_stages_that_run_at_once_have_different_addresses(host: Host, tmp_path: object) -> None:
    script = "ip -o -4 addr show eth0 | cut -d' ' -f7 > /address; sleep 1"
    host("run", "--rm", "base", "true")  # the agent is there
    host(*_args(
        tmp_path,
        f"RUN {script}\nFROM base AS b\nRUN {script}\nFROM base\n"
        "COPY --from=0 /address /a\nCOPY --from=b /address /b",
    ))  # fmt: skip
    said = host.out("run", "--rm", "x", "cat", "/a", "/b").split()
    assert sorted(said) == ["172.17.0.2/16", "172.17.0.3/16"]
    assert _leases(host) == []


def test_run_is_in_the_network_that_is_asked_for(
    host: Host, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    host("network", "create", "mine")
    host.up("db", "--network", "mine")
    host(*_args(tmp_path, "RUN ping -c1 -W2 db", "--network", "mine"))
    failed = host(*_args(tmp_path, "RUN exit 3", "--network", "mine"), code=None)
    assert failed.returncode and _leases(host) == []
    monkeypatch.setenv("PYCTR_NETWORK", "none")
    host(*_args(tmp_path, 'RUN [ "$(ls /sys/class/net)" = lo ]'))
    host(*_args(tmp_path, 'RUN [ "$(ls /sys/class/net)" = lo ]', "--network", "none"))


def test_a_build_that_was_killed_gives_its_address_back(host: Host, tmp_path: object) -> None:
    host("network", "create", "mine")
    argv = host.argv(*_args(tmp_path, "RUN echo there; sleep 3600", "--network", "mine",
                            "--progress", "plain"))  # fmt: skip
    build = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    assert build.stderr is not None
    for line in build.stderr:
        if line.rstrip().endswith(" there"):
            break
    assert len(_leases(host)) == 1
    assert "in use by a build" in host("network", "rm", "mine", code=1).stderr
    host("ps")
    assert len(_leases(host)) == 1, "nobody takes it away from a build that runs"
    build.kill()
    build.wait()
    build.stderr.close()
    eventually(lambda: not any(name.startswith("veth") for name in host.links()))
    host("network", "rm", "mine")
    assert _leases(host) == []
    eventually(lambda: host("ps") and os.listdir(f"{host.root}/containers") == [])
