"""A registry of one's own on a free loopback port."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/kept}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_AUTH = "auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}\n"


class Served:
    """A running registry: ``host`` is 127.0.0.1:PORT, ``kept`` the folder of its content."""

    def __init__(self, folder: str, *, auth: bool = False) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self.kept = f"{folder}/kept"
        os.makedirs(folder)
        text = _CONFIG + (_AUTH if auth else "")
        with open(f"{folder}/config.yml", "w") as file:
            file.write(text.format(folder=folder, port=port))
        if auth:
            subprocess.run(
                ["htpasswd", "-Bbc", f"{folder}/htpasswd", "ann", "secret"],
                check=True,
                capture_output=True,
                timeout=60,
            )
        self._process = subprocess.Popen(
            ["docker-registry", "serve", f"{folder}/config.yml"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the registry ended"
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=5).close()
                return
            except urllib.error.HTTPError:  # 401: it answers
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the registry does not answer")

    def blob(self, digest: str) -> str:
        """The file in which it keeps a blob of that digest (hex digits)."""
        return f"{self.kept}/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"

    def end(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()


@pytest.fixture
def serve(home_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    """Starts registries, which end with the test; credentials are kept in a folder of its own."""
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed: run scripts/setup dev")
    monkeypatch.setenv("DOCKER_CONFIG", f"{home_dir}/docker-config")
    running: list[Served] = []

    def started(*, auth: bool = False) -> Served:
        running.append(Served(f"{home_dir}/registry-{len(running)}", auth=auth))
        return running[-1]

    yield started
    for one in running:
        one.end()
