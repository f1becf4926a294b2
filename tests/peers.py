"""Other programs that know images: skopeo, podman, buildah, docker, each with a store of its own.

They are installed for these tests alone (scripts/setup dev). Where one is missing, its tests are
skipped with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Peer = Callable[..., str]


def need(program: str) -> None:
    """Skips the test where there is no such program."""
    if shutil.which(program) is None:
        pytest.skip(
            f"{program} is not installed here (scripts/setup dev): IMAGES ARE NOT EXCHANGED"
        )


def called(*argv: str, stdin: bytes | None = None, **more: str) -> str:
    """What a program that succeeds writes to standard output, without the last newline."""
    known = {name: value for name, value in os.environ.items() if name != "DOCKER_CONFIG"}
    ran = subprocess.run(
        argv, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True, timeout=300, env=known | more,
    )  # fmt: skip
    assert ran.returncode == 0, f"{' '.join(argv)}: {ran.stderr.decode()}{ran.stdout.decode()}"
    return ran.stdout.decode().rstrip("\n")


@pytest.fixture
def skopeo() -> Peer:
    """``skopeo("copy", FROM, TO)``."""
    need("skopeo")

    def run(*words: str) -> str:
        return called("skopeo", "--insecure-policy", *words)

    return run


def _podman_like(program: str, folder: str) -> Peer:
    need(program)
    os.makedirs(folder)
    where = ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "vfs"]
    if program == "podman":
        where += ["--cgroup-manager", "cgroupfs", "--runtime", "runc", "--tmpdir", f"{folder}/tmp"]
        where += ["--events-backend", "none"]

    def run(*words: str, stdin: bytes | None = None) -> str:
        return called(program, *where, *words, stdin=stdin)

    return run


@pytest.fixture
def podman(home_dir: str) -> Peer:
    """``podman("load", "-i", FILE)``, without network and control groups of its own."""
    return _podman_like("podman", f"{home_dir}/podman")


@pytest.fixture
def buildah(home_dir: str) -> Peer:
    """``buildah("from", "scratch")``."""
    return _podman_like("buildah", f"{home_dir}/buildah")


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    """``docker("load", "-i", FILE)`` with a daemon of its own that touches no network."""
    need("dockerd")
    need("docker")
    folder = str(tmp_path_factory.mktemp("docker"))
    address = f"unix://{folder}/docker.sock"
    with open(f"{folder}/log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--host", address, "--data-root", f"{folder}/data", "--exec-root",
             f"{folder}/exec", "--pidfile", f"{folder}/pid", "--bridge=none", "--iptables=false",
             "--ip6tables=false", "--storage-driver=vfs"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip

    def run(*words: str, stdin: bytes | None = None) -> str:
        return called("docker", "--host", address, *words, stdin=stdin, DOCKER_CONFIG=folder)

    def ended() -> None:
        daemon.terminate()
        try:
            daemon.wait(60)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    deadline = time.monotonic() + 90
    argv = ["docker", "--host", address, "version"]
    while subprocess.run(argv, capture_output=True, timeout=90).returncode:
        if daemon.poll() is not None or time.monotonic() > deadline:
            ended()
            with open(f"{folder}/log") as said:
                last = said.read().strip().splitlines()[-1:]
            pytest.skip(f"dockerd cannot run here: IMAGES ARE NOT EXCHANGED WITH IT: {last}")
        time.sleep(0.1)
    yield run
    ended()
