"""import, load, pull, save and commit of a Debian image with thousands of files, beside the peers.

Every round works on content that nobody has seen: 64 bytes of the archive change, in place, and
so do all digests. Nothing is removed between the rounds, for ext4 passes over every inode that was
freed in the last minute, and whoever comes after a removal pays for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time

from benchmarks import peers
from benchmarks.pairing import Finding

WORKS = ("import", "load", "load gzip", "pull", "save", "commit")

Tools = dict[str, list[str]]


def measure(rounds: int) -> list[Finding]:
    """A quarter of the ``rounds`` of commands: each leaves half a gigabyte a tool."""
    rounds = max(3, rounds // 4)
    with peers.place() as here:
        work = ImageWork(here.folder, {peer.name: peer.argv for peer in here.peers}, here.env)
        if why := work.prepare():
            print(f"images are left out: {why}", file=sys.stderr)
            return []
        work.serve()
        try:
            times = work.measure(rounds)
        finally:
            work.end()
    limits = {"docker": 1.0, "podman": 1.0}
    return [Finding("images", name, "ms", values, limits) for name, values in times.items()]


class ImageWork:
    """Works on the tools of one benchmark (name: the command's beginning)."""

    def __init__(self, folder: str, tools: Tools, env: dict[str, str]) -> None:
        self.folder = f"{folder}/images"
        self.tools = tools
        self.env = env
        os.makedirs(self.folder)
        self.root = f"{self.folder}/root.tar"
        self.registry: subprocess.Popen[bytes] | None = None
        self.host = ""
        self.works = WORKS

    def serve(self) -> None:
        """A registry on loopback, from which everybody pulls; without one nobody does."""
        if not (shutil.which("docker-registry") and shutil.which("skopeo")):
            self.works = tuple(work for work in WORKS if work != "pull")
            return
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        kept = {"filesystem": {"rootdirectory": f"{self.folder}/registry"}}
        settings = {"version": 0.1, "storage": kept, "http": {"addr": self.host}}
        settings["log"] = {"level": "error", "accesslog": {"disabled": True}}
        with open(f"{self.folder}/registry.yml", "w") as file:
            json.dump(settings, file)  # JSON is YAML
        argv = ["docker-registry", "serve", file.name]
        quiet = subprocess.DEVNULL
        self.registry = subprocess.Popen(argv, stdout=quiet, stderr=quiet)
        while subprocess.run(["curl", "-s", f"http://{self.host}/v2/"], stdout=quiet).returncode:
            time.sleep(0.1)

    def end(self) -> None:
        """Ends the registry."""
        if self.registry is not None:
            self.registry.kill()
            self.registry.wait()

    def prepare(self) -> str:
        """Makes the root file system, or takes that of $BENCH_ROOT; why it cannot, or ""."""
        given = os.environ.get("BENCH_ROOT")
        if given:
            content = given
        elif shutil.which("mmdebstrap"):
            content = f"{self.folder}/debian.tar"
            argv = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=python3"]
            made = subprocess.run([*argv, "bookworm", content], capture_output=True)
            if made.returncode:
                return f"mmdebstrap: {made.stderr.decode().strip().splitlines()[-1:]}"
        else:
            return "neither mmdebstrap nor $BENCH_ROOT is there"
        with open(self.root, "wb") as out, open(content, "rb") as source:
            out.write(_member("round", bytes(64)))  # what changes: block 1
            shutil.copyfileobj(source, out, 1 << 20)
        return ""

    def measure(self, rounds: int) -> dict[str, dict[str, list[float]]]:
        """Milliseconds of each round, by work and tool; the first round warms up."""
        times: dict[str, dict[str, list[float]]] = {
            work: {name: [] for name in self.tools} for work in self.works
        }
        order = list(self.tools)
        for number in range(rounds + 1):
            for work in self.works:
                if work == "pull":
                    self._push(number)
                for name in order:
                    argv = self._argv(work, name, number)
                    before = time.perf_counter()
                    self._run([*self.tools[name], *argv])
                    if number:
                        times[work][name].append(1000 * (time.perf_counter() - before))
            order = order[1:] + order[:1]
        return times

    def _argv(self, work: str, name: str, number: int) -> list[str]:
        """What a tool is asked to do; archives are made, and containers changed, before."""
        image = f"bench-{number}"
        if work == "import":
            self._change(f"{number} {name} {work}")
            return ["import", self.root, image]
        if work.startswith("load"):
            self._change(f"{number} {name} {work}")
            return ["load", "-q", "-i", self._archive(packed=work == "load gzip")]
        if work == "pull":
            trusted = ["--tls-verify=false"] if name == "podman" else []
            return ["pull", "-q", *trusted, f"{self.host}/bench:{number}"]
        if work == "save":
            out = f"{self.folder}/saved-{name}"
            if os.path.exists(out):
                os.truncate(out, 0)  # podman refuses a docker archive that is there
                os.unlink(out)
            return ["save", "-o", out, image]
        return ["commit", self._container(name, image, number), f"{image}-changed"]

    def _push(self, number: int) -> None:
        """A new image into the registry, its layer in gzip, from none of the tools."""
        self._change(f"{number} pull")
        source, target = f"docker-archive:{self._archive(packed=False)}", f"{self.host}/bench"
        argv = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
        self._run([*argv, source, f"docker://{target}:{number}"])

    def _container(self, name: str, image: str, number: int) -> str:
        """A container with some thousand files of its own."""
        own = f"work-{number}"
        self._run([*self.tools[name], "create", "--name", own, image, "true"])
        source = f"{self.folder}/changed"
        if not os.path.isdir(source):
            os.makedirs(source)
            for at in range(3000):
                with open(f"{source}/{at}", "wb") as file:
                    file.write(os.urandom(64) * (at % 500))
        self._run([*self.tools[name], "cp", source, f"{own}:/opt"])
        return own

    def _run(self, argv: list[str]) -> None:
        ran = subprocess.run(argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True)
        if ran.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {ran.stderr.decode()[-500:]}")

    def _change(self, text: str) -> None:
        with open(self.root, "r+b") as file:
            file.seek(512)
            file.write(hashlib.sha256(f"{text} {time.time()}".encode()).hexdigest().encode())

    def _archive(self, *, packed: bool) -> str:
        """An archive as `docker save` writes it, of the root file system."""
        with open(self.root, "rb") as file:
            diff_id = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        layer, made = self.root, f"{self.folder}/load.tar"
        if packed:
            layer = f"{self.folder}/root.tar.gz"
            with open(layer, "wb") as out:
                subprocess.run(["gzip", "-1", "-c", self.root], stdout=out, check=True)
        config = {
            "architecture": os.uname()
            .machine.replace("x86_64", "amd64")
            .replace("aarch64", "arm64"),
            "os": "linux",
            "config": {"Cmd": ["true"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        }
        content = json.dumps(config).encode()
        own = f"{hashlib.sha256(content).hexdigest()}.json"
        manifest = [{"Config": own, "RepoTags": ["loaded:1"], "Layers": ["layer.tar"]}]
        with tarfile.open(made, "w") as archive:
            archive.add(layer, "layer.tar")
            for name, text in ((own, content), ("manifest.json", json.dumps(manifest).encode())):
                entry = tarfile.TarInfo(name)
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text))
        return made


def _member(name: str, content: bytes) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    return entry.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)
