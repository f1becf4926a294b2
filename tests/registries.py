"""A registry of one's own on a free loopback port: Debian's docker-registry."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time

import pytest

from tests.certificates import Authority

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class Served:
    """A running registry: ``host`` is 127.0.0.1:PORT, ``kept`` the folder of its content.

    ``auth`` asks for ann and secret; ``tls`` is the authority that vouches for it, ``clients``
    whether it wants a certificate of that authority from whoever comes; ``token`` is the
    registry's own object of that name (see :mod:`tests.tokens`). ``wrapped`` stands before its
    command line, ``address`` is where it listens.
    """

    def __init__(
        self,
        folder: str,
        *,
        auth: bool = False,
        tls: Authority | None = None,
        clients: bool = False,
        token: dict[str, str] | None = None,
        wrapped: tuple[str, ...] = (),
        address: str = "127.0.0.1",
    ) -> None:
        self.host = f"{address}:{free_port()}"
        self.kept = f"{folder}/kept"
        os.makedirs(folder)
        http: dict[str, Any] = {"addr": self.host}
        if tls:
            certificate, key = tls.sign(f"server-{os.path.basename(folder)}", address)
            http["tls"] = {"certificate": certificate, "key": key}
            http["tls"] |= {"clientcas": [tls.certificate]} if clients else {}
        settings: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": self.kept}, "delete": {"enabled": True}},
            "http": http,
        }
        if auth:
            settings["auth"] = {"htpasswd": {"realm": "test", "path": _passwords(folder)}}
        if token:
            settings["auth"] = {"token": token}
        with open(f"{folder}/config.yml", "w") as file:
            json.dump(settings, file)  # JSON is YAML
        self._process = subprocess.Popen(
            [*wrapped, "docker-registry", "serve", f"{folder}/config.yml"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait(wrapped)

    def _wait(self, wrapped: tuple[str, ...]) -> None:
        probe = "import socket,sys;socket.create_connection((sys.argv[1],sys.argv[2]),5).close()"
        argv = [*wrapped, "/usr/bin/python3", "-c", probe, *self.host.split(":")]
        deadline = time.monotonic() + 60
        while subprocess.run(argv, capture_output=True, timeout=60).returncode:
            assert self._process.poll() is None, "the registry ended"
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.05)

    def blob(self, digest: str) -> str:
        """The file in which it keeps a blob of that digest (hex digits)."""
        return f"{self.kept}/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _passwords(folder: str) -> str:
    path = f"{folder}/htpasswd"
    subprocess.run(
        ["htpasswd", "-Bbc", path, "ann", "secret"], check=True, capture_output=True, timeout=60
    )
    return path


@pytest.fixture
def serve(home_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """Starts registries, which end with the test; credentials are kept in a folder of its own."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed: run scripts/setup dev")
    monkeypatch.setenv("DOCKER_CONFIG", f"{home_dir}/docker-config")
    running: list[Served] = []

    def started(**how: Any) -> Served:
        running.append(Served(f"{home_dir}/registry-{len(running)}", **how))
        return running[-1]

    yield started
    for one in running:
        one.end()
