"""Where the model is tried: a root folder with two images, and a server of commands."""

from __future__ import annotations

import io
import os
import tarfile

from tests.reliability.model_seen import Seen, check
from tests.reliability.model_server import Server
from tests.reliability.model_world import FOLDERS

FILES = {"data/one": "1\n", "data/two": "2\n"}  # of both images; "own" has a VOLUME /data
BUSYBOX = ("sh", "cat", "grep", "sleep", "rm")


def archive() -> bytes:
    """busybox with three folders, one of which is not empty."""
    from images.base import find_busybox

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for folder in FOLDERS:
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            made.addfile(entry)
        for path, text in FILES.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
        made.add(find_busybox(), "bin/sh")
        for link in BUSYBOX[1:]:
            entry = tarfile.TarInfo(f"bin/{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "sh"
            made.addfile(entry)
    return out.getvalue()


class Place:
    """A root folder, its server, and what is the same in all sequences."""

    def __init__(self, root: str) -> None:
        self.root, self.run = root, os.environ["PYCTR_RUN"]
        self.server = Server()
        self.ever: set[str] = set()
        self.seed = 0  # of Hypothesis, for what is being tried
        self.steps = self.armed = self.failed = self.refused = 0
        with open(f"{root}/image.tar", "wb") as file:
            file.write(archive())
        for line in "abc":
            with open(f"{root}/{line}", "w") as host:
                host.write(f"{line}\n")
        for tag, options in (("plain", ()), ("own", ("-c", "VOLUME /data"))):
            self("import", *options, f"{root}/image.tar", tag)

    def told(self) -> str:
        return (f"{self.steps} steps: {self.refused} refused, {self.armed} with a kill armed,"
                f" of which {self.failed} failed")  # fmt: skip

    def __call__(self, *argv: str) -> str:
        """The output of a command that must succeed."""
        said = self.server(*argv)
        assert said.code == 0, f"pyctr {' '.join(argv)}: {said.err}"
        return said.out

    def clear(self) -> None:
        """Takes everything away but the two images, and looks whether it is."""
        containers = self("ps", "-aq").split()
        if containers:
            self("rm", "-f", "-v", *containers)
        self("volume", "prune", "-a", "-f")
        tags = set(self("images", "--format", "{{.Repository}}").split()) & {"new", "other"}
        if tags:
            self("rmi", *tags)
        self("image", "prune", "-f")
        seen = self.see()
        assert not seen.containers and not seen.volumes() and not seen.store["trash"]
        assert sorted(map(sorted, seen.images().values())) == [["own"], ["plain"]]

    def see(self) -> Seen:
        folder = f"{self.root}/containers"
        if os.path.isdir(folder):  # ids of containers that the next command takes away
            self.ever |= {name for name in os.listdir(folder) if len(name) == 64}
        seen = Seen(self.server, self.root, self.run)
        check(seen, self.ever)
        return seen
