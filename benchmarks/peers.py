"""pyctr and its peers, ready to work on the same root file system, each in folders of its own.

Docker gets a daemon of its own on a private socket, which is ended in the end. A peer that is not
installed, or does not work here, is left out, and it is said why.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.pairing import run, timed

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = f"{PROJECT}/.venv/bin/python"
PYCTR = f"{PROJECT}/.venv/bin/pyctr"
INTERPRETER = [PYTHON, "-I", "-S", "-c", "pass"]


class Peer:
    """One of them: ``argv`` is how its commands begin, ``flags`` what its containers need here."""

    def __init__(
        self, name: str, argv: list[str], env: dict[str, str], flags: tuple[str, ...] = ()
    ) -> None:
        self.name, self.argv, self.env, self.flags = name, argv, env, flags

    def __call__(self, *args: str) -> str:
        """The output of a command that must succeed."""
        return run([*self.argv, *args], self.env)

    def timed(self, *args: str) -> float:
        """Milliseconds."""
        return timed([*self.argv, *args], self.env)


class Place:
    """A folder for all of them, with an archive of the root file system; ends what it began."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.archive = f"{folder}/base.tar"
        self.env = {name: value for name, value in os.environ.items() if name != "PYCTR_RUN"}
        self.env["PYCTR_ROOT"] = f"{folder}/pyctr"
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)
        self.daemon: subprocess.Popen[bytes] | None = None
        self.peers: list[Peer] = []
        self.homes = [self.env["PYCTR_ROOT"]]

    def gather(self, *, bridge: bool = False) -> None:
        """Finds those that work; Docker has a ``bridge``, or no network at all."""
        from images import base

        with open(self.archive, "wb") as file:
            file.write(base.archive(base.find_busybox()))
        self._add(Peer("pyctr", [PYCTR], self.env))
        if shutil.which("dockerd") and shutil.which("docker"):
            self._add(Peer("docker", self._docker(bridge=bridge), self.env))
        if shutil.which("podman"):
            podman = ["podman", "--root", f"{self.folder}/podman", "--runroot"]
            podman += [f"{self.folder}/pr", "--cgroup-manager=cgroupfs", "--runtime=runc"]
            # It wants limits raised, which not every machine allows.
            limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
            self._add(Peer("podman", podman, self.env, limits))

    def _add(self, peer: Peer) -> None:
        try:
            if peer.name != "pyctr":
                peer("import", self.archive, "base")
            peer("run", "--rm", *peer.flags, "--network", "none", "base", "true")
        except RuntimeError as error:
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
            return
        self.peers.append(peer)

    def _docker(self, *, bridge: bool) -> list[str]:
        socket = f"unix://{self.folder}/docker.sock"
        net = ["--bip", "10.77.0.1/16"] if bridge else ["--bridge=none"]
        net += [] if bridge else ["--iptables=false", "--ip6tables=false"]
        argv = ["dockerd", "--data-root", f"{self.folder}/docker", "--exec-root"]
        argv += [f"{self.folder}/exec", *net, "-p", f"{self.folder}/docker.pid", "-H", socket]
        with open(f"{self.folder}/docker.log", "wb") as log:
            self.daemon = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        docker = ["docker", "-H", socket]
        deadline = time.monotonic() + 60
        while subprocess.run([*docker, "version"], capture_output=True).returncode:
            if time.monotonic() > deadline:
                break  # its first command will say why
            time.sleep(0.2)
        return docker

    def bundle(self, name: str) -> list[str] | None:
        """The command by which runc or crun runs a bundle that is ready."""
        if not shutil.which(name):
            return None
        bundle = f"{self.folder}/{name}"
        os.makedirs(f"{bundle}/rootfs")
        run(["tar", "xf", self.archive, "-C", f"{bundle}/rootfs"])
        run([name, "spec"], cwd=bundle)
        with open(f"{bundle}/config.json") as file:
            spec = json.load(file)
        spec["process"] |= {"terminal": False, "args": ["true"]}
        with open(f"{bundle}/config.json", "w") as file:
            json.dump(spec, file)
        argv = [name, "--root", f"{self.folder}/{name}-state", "run", "--bundle", bundle, "bench"]
        try:
            run(argv)
        except RuntimeError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            return None
        return argv

    def end(self) -> None:
        """Removes all containers, ends the daemon, and takes away what they have mounted."""
        for peer in self.peers:
            for home in self.homes if peer.name == "pyctr" else [""]:
                own = Peer(peer.name, peer.argv, peer.env | {"PYCTR_ROOT": home})
                self._clear(own)
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(60)
        for mounted in ("podman/overlay", "exec/netns/default", "buildah/overlay"):
            subprocess.run(["umount", f"{self.folder}/{mounted}"], capture_output=True)

    @staticmethod
    def _clear(peer: Peer) -> None:
        try:
            ids = peer("ps", "-aq").split()
            if ids:
                peer("rm", "-f", *ids)
            if peer.name == "pyctr":
                shutil.rmtree(peer("info", "--format", "{{.RunDir}}"), ignore_errors=True)
        except RuntimeError as error:
            print(error, file=sys.stderr)


@contextlib.contextmanager
def place(*, bridge: bool = False) -> Iterator[Place]:
    """All peers that work here, until the end of the block."""
    made = Place(tempfile.mkdtemp(prefix="pyctr-bench-"))
    try:
        made.gather(bridge=bridge)
        yield made
    finally:
        made.end()
        shutil.rmtree(made.folder, ignore_errors=True)
