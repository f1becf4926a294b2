"""Docker and podman on the same host: their bridges and rules stay as they are, and all work."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time

import pytest

from images import base
from tests.network.conftest import OUTSIDE, Host, eventually
from tests.network.test_bridge import SERVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., str]

FETCH = ("wget", "-q", "-O", "-", f"http://{OUTSIDE}/")


def _command(host: Host, *argv: str) -> Run:
    def run(*args: str) -> str:
        ran = subprocess.run(
            host.place.argv(*argv, *args), capture_output=True, text=True, timeout=120,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert ran.returncode == 0, f"{argv[0]} {' '.join(args)}: {ran.stderr}"
        return ran.stdout

    return run


@pytest.fixture
def archive() -> Iterator[str]:
    """The image base as an archive, for those who have no busybox of their own."""
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        file.write(base.archive(base.find_busybox()))
        file.flush()
        yield file.name


@pytest.fixture
def docker(host: Host, archive: str) -> Iterator[Run]:
    """A daemon on the host of this test, with the image base."""
    if not (shutil.which("dockerd") and shutil.which("docker")):
        pytest.skip("docker is not installed")
    # Where forwarding was off, docker switches it on and drops what it does not know.
    host.sh("echo 0 > /proc/sys/net/ipv4/ip_forward")
    folder = tempfile.mkdtemp(prefix="pyctr-docker-")
    socket = f"unix://{folder}/sock"
    places = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    argv = ["dockerd", *places, "-p", f"{folder}/pid", "-H", socket, "--bip", "10.77.0.1/24"]
    with open(f"{folder}/log", "wb") as log:
        daemon = subprocess.Popen(host.place.argv(*argv), stdout=log, stderr=log)
    try:
        asking = ["docker", "-H", socket, "version"]
        deadline = time.monotonic() + 60
        while subprocess.run(asking, capture_output=True).returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                pytest.skip("docker's daemon does not start here")
            time.sleep(0.2)
        run = _command(host, "docker", "-H", socket)
        run("import", archive, "base")
        yield run
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        subprocess.run(["umount", f"{folder}/exec/netns/default"], capture_output=True)
        host.sh("ip link delete docker0 2>/dev/null || true; nft flush ruleset")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def podman(host: Host, archive: str) -> Iterator[Run]:
    """Podman with a store of its own, with the image base."""
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    folder = tempfile.mkdtemp(prefix="pyctr-podman-")
    argv = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run",
            "--cgroup-manager=cgroupfs", "--runtime=runc"]  # fmt: skip
    run = _command(host, *argv)
    try:
        try:
            run("import", archive, "base")
            run("run", "--rm", *LIMITS, "base", "true")
        except AssertionError as error:
            pytest.skip(f"podman does not run here: {error}")
        yield run
    finally:
        subprocess.run(host.place.argv(*argv, "rm", "-af", "-t", "0"), capture_output=True)
        host.sh(
            "for one in $(ip -br link show type bridge | cut -d' ' -f1); do case $one in"
            " cni*|podman*) ip link delete $one;; esac; done; nft flush ruleset"
        )
        subprocess.run(["umount", f"{folder}/root/overlay"], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


# Podman wants limits raised, which not every machine allows.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


def state(host: Host) -> str:
    """Every table but ours, without what is counted, and every bridge with its addresses."""
    tables = [line for line in host.sh("nft list tables").splitlines() if "pyctr" not in line]
    rules = "".join(host.sh(f"nft -s list {table}") for table in sorted(tables))
    bridges = host.sh("ip -o -4 addr").splitlines()
    ours = ("pyctr", "py", "veth")
    return rules + "\n".join(line for line in bridges if not line.split()[1].startswith(ours))


def test_docker_beside_us_is_undisturbed(host: Host, docker: Run) -> None:
    host.outside.start(SERVER)
    docker("run", "-d", "--name", "theirs", "base", "sleep", "3600")
    before = state(host)
    ran = host("run", "-d", "--name", "ours", "base", "sleep", "3600")
    assert "of another firewall drops" in ran.stderr, "docker's policy is told of"
    for way in ("-i", "-o"):  # as the warning says
        host.sh(f"iptables -I DOCKER-USER {way} 'py+' -j ACCEPT")
    assert "you are" in docker("exec", "theirs", *FETCH)
    assert "you are" in host.out("exec", "ours", *FETCH)
    assert "10.77.0." in docker("exec", "theirs", "ip", "-4", "addr")
    host("rm", "-f", "ours")
    host.leave()
    for way in ("-i", "-o"):
        host.sh(f"iptables -D DOCKER-USER {way} 'py+' -j ACCEPT")
    assert state(host) == before
    assert "you are" in docker("exec", "theirs", *FETCH)
    docker("rm", "-f", "theirs")


def test_podman_beside_us_is_undisturbed(host: Host, podman: Run) -> None:
    host.outside.start(SERVER)
    podman("run", "-d", "--name", "theirs", *LIMITS, "base", "sleep", "3600")
    before = state(host)
    host.up("ours")
    assert "you are" in podman("exec", "theirs", *FETCH)
    assert "you are" in host.out("exec", "ours", *FETCH)
    host("rm", "-f", "ours")
    host.leave()
    eventually(lambda: state(host) == before)
    assert "you are" in podman("exec", "theirs", *FETCH)
    podman("rm", "-f", "-t", "0", "theirs")
