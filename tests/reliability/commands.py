"""The commands that are killed at every trace point that they pass.

A command is *done* or not, and never half done: :meth:`Case.done` looks at the disk and the
database, and AssertionError says what is half there.
"""

from __future__ import annotations

import io
import os
import tarfile

from images import base
from kernel.tree import remove_tree
from runtime import cgroups
from tests.interleave import until
from tests.reliability.invariants import House, checksum
from tests.scripted import Scripted, layer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

Commands = tuple[tuple[str, ...], ...]

CONTENT = {"data/one": "1", "data/two": "2", "etc/passwd": "root:x:0:0:root:/:/bin/sh\n"}
SLEEP = ("sleep", "1000")


class Case:
    """A command; subclasses say what comes before, and what is there when it is done.

    ``before`` brings about what it needs, ``after`` takes away what it makes; both are given
    again for each kill. ``armed`` are commands before it whose processes, monitors above all, pass
    points of the command. ``then`` are what a person does next, after a kill; ``clear`` is what
    must go before the command can be given once more, where it was not done. What is not
    ``lasting`` is never done.
    """

    command: tuple[str, ...] = ()
    before: Commands = ()
    armed: Commands = ()
    clear: Commands = ()
    after: Commands = ()
    lasting = True
    keeper = True  # a stopped container whose volume is to be as it was, whatever happens
    then: Commands = (("ps", "-aq"), ("volume", "ls", "-q"))
    steps: tuple[str, ...] = ()  # whose points it is for; "" for all
    empty = False  # there is nothing yet

    def __init__(self, pyctr: Pyctr, house: House) -> None:
        self.pyctr = pyctr
        self.house = house

    def begin(self) -> None:
        """What is needed once."""

    def prepare(self) -> None:
        """What no command can do before each kill."""

    def done(self) -> bool:
        """Whether it is done."""
        raise NotImplementedError

    def status(self, name: str = "c") -> str:
        """That of a container, "" if there is none."""
        return "".join(self.house.column("SELECT status FROM containers WHERE name = ?", name))

    def has_image(self, name: str) -> bool:
        """Whether an image is there, all of it."""
        full = f"{name if '/' in name else f'docker.io/library/{name}'}"
        return bool(self.house.column("SELECT image_id FROM image_refs WHERE name = ?", full))


# -- containers ----------------------------------------------------------------------------

FLAGS = (
    "--read-only --init --ulimit nofile=100 --sysctl net.core.somaxconn=99 --oom-score-adj 10"
    " --memory 256m --device /dev/null:/dev/own --security-opt no-new-privileges -i --tmpfs /t"
).split()


class Run(Case):
    """Each step of the plan, with volumes that get their first content."""

    steps = ("",)

    command = (
        "run", "--rm", "--name", "c", "-v", "vol:/data", "-v", "/data/below", *FLAGS, "image", "sh",
        "-c", "cat /data/one /data/two; echo x > /data/three",
    )  # fmt: skip
    clear: Commands = (("rm", "-f", "c"),)
    after: Commands = (("volume", "rm", "vol"),)
    lasting = False

    def done(self) -> bool:
        assert self.status() in ("", "created", "exited")
        data = self.house.names("volumes/vol/_data")
        assert data - {"three", "below"} in (set(), {"one", "two"}), data
        return False


class RunTerminal(Case):
    """With a terminal, in the background."""

    steps = ("AllocateConsole",)

    command = ("run", "--name", "c", "-d", "-t", "base", *SLEEP)
    clear: Commands = (("rm", "-f", "c"),)
    after: Commands = (("rm", "-f", "c"),)

    def done(self) -> bool:
        assert self.status() in ("", "created", "exited", "running")
        return self.status() == "running"


class Create(Case):
    command = ("create", "--name", "c", "-v", "vol:/data", "-v", "/own", "image", "sh")
    after: Commands = (("rm", "-v", "c"), ("volume", "rm", "vol"))

    def done(self) -> bool:
        assert self.status() in ("", "created")
        if self.status():
            assert self.house.names("volumes/vol/_data") == {"one", "two"}
        return bool(self.status())


class Start(Case):
    before: Commands = (("create", "--name", "c", "-v", "vol:/data", "base", *SLEEP),)
    command = ("start", "c")
    after: Commands = (("rm", "-f", "c"),)
    then: Commands = (("ps", "-aq"),)

    def done(self) -> bool:
        assert self.status() in ("created", "exited", "running")
        return self.status() == "running"


class Join(Start):
    """A container in the namespaces of another one."""

    steps = ("FindPeer", "JoinNamespaces", "BindFromPeer")

    before: Commands = (
        ("create", "--name", "c", "--pid", "container:x", "--ipc", "container:x", "--network",
         "container:x", "base", *SLEEP),
    )  # fmt: skip

    def begin(self) -> None:
        self.pyctr("run", "-d", "--name", "x", "--ipc", "shareable", "base", *SLEEP)

    def done(self) -> bool:
        assert self.status("x") == "running"
        return super().done()


class Stop(Case):
    armed: Commands = (
        ("run", "-d", "--name", "c", "--stop-signal", "KILL", "-v", "/own", "base", *SLEEP),
    )
    command = ("stop", "c")
    after: Commands = (("rm", "-fv", "c"),)

    def done(self) -> bool:
        assert self.status() in ("running", "exited")
        return self.status() == "exited"


class Remove(Case):
    """Its anonymous volume goes to the trash."""

    before: Commands = (("create", "--name", "c", "-v", "/data", "image", "sh"),)
    command = ("rm", "c")
    after: Commands = (("volume", "prune", "-f"),)

    def done(self) -> bool:
        trash = self.house.names("volumes/.trash")
        assert len(self.house.names("volumes") - {".trash", "keep"}) + len(trash) == 1
        assert bool(trash) != bool(self.status())
        return not self.status()


class RemoveVolumes(Case):
    """Everything at once: running, and its volume goes with it."""

    armed: Commands = (("run", "-d", "--name", "c", "-v", "/data", "image", *SLEEP),)
    command = ("rm", "-f", "-v", "c")
    after: Commands = (
        ("volume", "prune", "-f"),
    )  # what another command finishes goes to the trash

    def done(self) -> bool:
        volumes = self.house.names("volumes") - {".trash", "keep"}
        assert len(volumes) == (1 if self.status() else 0)
        return not self.status()


class Pause(Case):
    before: Commands = (("run", "-d", "--name", "c", "base", *SLEEP),)
    command = ("pause", "c")
    after: Commands = (("rm", "-f", "c"),)

    def done(self) -> bool:
        assert self.status() in ("running", "paused")
        return self.status() == "paused"


class Unpause(Case):
    before: Commands = (("run", "-d", "--name", "c", "base", *SLEEP), ("pause", "c"))
    command = ("unpause", "c")
    after: Commands = (("rm", "-f", "c"),)

    def done(self) -> bool:
        assert self.status() in ("running", "paused")
        return self.status() == "running"


class Update(Case):
    before: Commands = (("run", "-d", "--name", "c", "--pids-limit", "50", "base", *SLEEP),)
    command = ("update", "--pids-limit", "60", "c")
    after: Commands = (("rm", "-f", "c"),)

    def done(self) -> bool:
        (settings,) = self.house.column("SELECT settings FROM containers WHERE name = 'c'")
        (identity,) = self.house.column("SELECT id FROM containers WHERE name = 'c'")
        here = cgroups.hierarchies()
        with open(f"{here.v1.get('pids', here.v2)}/pyctr/{identity}/pids.max") as file:
            number = file.read().strip()
        assert f'"pids_limit": {number}' in settings, (number, settings)
        return number == "60"


class Rename(Case):
    before: Commands = (("create", "--name", "c", "base", "true"),)
    command = ("rename", "c", "d")
    after: Commands = (("rm", "d"),)
    then: Commands = (("ps", "-aq"),)

    def done(self) -> bool:
        assert bool(self.status("c")) != bool(self.status("d"))
        return bool(self.status("d"))


class Exec(Case):
    steps = ("JoinCgroup", "EnterContainer", "Execute")
    command = ("exec", "x", "true")
    lasting = False
    then: Commands = (("ps", "-aq"),)

    def begin(self) -> None:
        self.pyctr("run", "-d", "--name", "x", "base", *SLEEP)

    def done(self) -> bool:
        assert self.status("x") == "running"
        return False


class StopAll(Case):
    armed: Commands = (
        ("run", "-d", "--name", "c", "--restart", "always", "--stop-signal", "KILL", "base",
         *SLEEP),
    )  # fmt: skip
    command = ("system", "stop-all")
    after: Commands = (("rm", "-fv", "c"),)

    def done(self) -> bool:
        assert self.status() in ("running", "exited")
        return self.status() == "exited"


class StartAll(Case):
    before: Commands = (
        (
            "run",
            "-d",
            "--name",
            "c",
            "--restart",
            "always",
            "--stop-signal",
            "KILL",
            "base",
            *SLEEP,
        ),
        ("system", "stop-all"),
    )
    command = ("system", "start-all")
    after: Commands = (("rm", "-fv", "c"),)

    def done(self) -> bool:
        assert self.status() in ("running", "exited", "created")
        return self.status() == "running"


# -- volumes -------------------------------------------------------------------------------


class VolumeCreate(Case):
    command = ("volume", "create", "--label", "a=b", "vol")
    after: Commands = (("volume", "rm", "vol"),)
    then: Commands = (("volume", "ls", "-q"),)

    def done(self) -> bool:
        labels = self.house.column("SELECT labels FROM volumes WHERE name = 'vol'")
        assert labels in (set(), {'{"a": "b"}'}), labels
        return bool(labels)


class VolumeRemove(Case):
    before: Commands = (("volume", "create", "vol"),)
    command = ("volume", "rm", "vol")
    then: Commands = (("volume", "ls", "-q"),)

    def prepare(self) -> None:
        write(f"{self.house.root}/volumes/vol/_data/file", "content")
        self._sum = checksum(f"{self.house.root}/volumes/vol/_data")

    def done(self) -> bool:
        assert checksum(f"{self.house.root}/volumes/vol/_data") in ("", self._sum)
        return "vol" not in self.house.names("volumes")


class VolumeRestore(Case):
    before: Commands = (("create", "--name", "c", "-v", "/data", "image", "sh"), ("rm", "c"))
    then: Commands = (("volume", "ls", "-q"),)

    def prepare(self) -> None:
        (self._name,) = self.house.names("volumes/.trash")
        self.house.restored = {self._name}
        self.command = ("volume", "restore", self._name)
        self.after = (("volume", "prune", "-f"),)
        self._sum = checksum(f"{self.house.root}/volumes/.trash/{self._name}/_data")

    def done(self) -> bool:
        places = [f"{self.house.root}/volumes/{at}{self._name}/_data" for at in ("", ".trash/")]
        assert sorted(map(checksum, places)) == ["", self._sum]
        return os.path.isdir(places[0])


class VolumePrune(Case):
    """The trash is emptied."""

    before: Commands = (("create", "--name", "c", "-v", "/data", "image", "sh"), ("rm", "c"))
    command = ("volume", "prune", "-f")

    def done(self) -> bool:
        return not self.house.names("volumes/.trash")


# -- images --------------------------------------------------------------------------------


class Commit(Case):
    """Of a container that runs, and is frozen meanwhile."""

    command = ("commit", "x", "new:1")
    after: Commands = (("rmi", "new:1"),)

    def begin(self) -> None:
        self.pyctr("run", "-d", "--name", "x", "base", "sh", "-c", "echo 1 > /file; sleep 1000")
        (identity,) = self.house.column("SELECT id FROM containers WHERE name = 'x'")
        here = cgroups.hierarchies()
        self._frozen, self._thawed = f"{here.v2}/pyctr/{identity}/cgroup.freeze", "0\n"
        if "freezer" in here.v1:
            self._frozen = f"{here.v1['freezer']}/pyctr/{identity}/freezer.state"
            self._thawed = "THAWED\n"

    def done(self) -> bool:
        until(self._is_thawed, "the monitor to thaw what a command has frozen")
        return self.has_image("new:1")

    def _is_thawed(self) -> bool:
        with open(self._frozen) as file:
            return file.read() == self._thawed


class Import(Case):
    after: Commands = (("rmi", "new:1"),)

    def begin(self) -> None:
        self.path = f"{self.house.root}/../{os.path.basename(self.house.root)}.tar"
        with open(self.path, "wb") as file:
            file.write(image())
        self.command = ("import", self.path, "new:1")

    def done(self) -> bool:
        return self.has_image("new:1")


class Pull(Case):
    """Two layers."""

    def begin(self) -> None:
        self.registry = Scripted()
        self.registry.image("app", "1", [layer(a=b"1" * 50), layer(b=b"2" * 50)])
        self.name = f"{self.registry.host}/app:1"
        self.command = ("pull", "-q", self.name)
        self.after = (("rmi", self.name),)

    def done(self) -> bool:
        return self.has_image(self.name)


class Load(Case):
    keeper = False
    after: Commands = (("rmi", "new:1"),)

    def begin(self) -> None:
        self.path = f"{self.house.root}/keep.tar"
        self.pyctr("tag", "image", "new:1")
        self.pyctr("save", "-o", self.path, "new:1")
        self.pyctr("rmi", "new:1")
        self.pyctr("rmi", "image")
        self.command = ("load", "-q", "-i", self.path)

    def done(self) -> bool:
        return self.has_image("new:1")


class Tag(Case):
    command = ("tag", "image", "new:1")
    after: Commands = (("rmi", "new:1"),)

    def done(self) -> bool:
        return self.has_image("new:1")


class ImageRemove(Case):
    keeper = False
    command = ("rmi", "image")

    def prepare(self) -> None:
        if not self.has_image("image:latest"):
            self.pyctr("import", "-", "image", stdin=image())

    def done(self) -> bool:
        return not self.has_image("image:latest")


DOCKERFILE = """\
FROM image AS one
RUN --mount=type=cache,target=/kept echo 1 > /one
FROM image
COPY file /file
RUN --mount=type=cache,target=/kept --mount=type=bind,from=one,target=/other cat /other/one > /two
COPY --from=one /one /one
"""


class Build(Case):
    """Two stages, a folder that is kept, layers of COPY and RUN."""

    after: Commands = (("rmi", "new:1"), ("builder", "prune", "-af"))

    def begin(self) -> None:
        folder = f"{self.house.root}/context"
        os.makedirs(folder)
        write(f"{folder}/Dockerfile", DOCKERFILE)
        write(f"{folder}/file", "content")
        self.command = ("build", "-q", "-t", "new:1", folder)

    def done(self) -> bool:
        return self.has_image("new:1")


class BuildPrune(Case):
    before: Commands = (("build", "-q", "-t", "new:1", "CONTEXT"), ("rmi", "new:1"))
    command = ("builder", "prune", "-af")

    def begin(self) -> None:
        Build.begin(self)  # type: ignore[arg-type]
        self.before = (self.command, ("rmi", "new:1"))
        self.command = ("builder", "prune", "-af")

    def done(self) -> bool:
        return not self.house.column("SELECT key FROM build_cache")


class First(Case):
    """The first command of all: database, tables, the image base."""

    empty = True

    command = ("create", "--name", "c", "base", "true")

    def prepare(self) -> None:
        for name in os.listdir(self.house.root):
            remove_tree(f"{self.house.root}/{name}")

    def done(self) -> bool:
        assert self.status() in ("", "created")
        return bool(self.status())


# -- networks ------------------------------------------------------------------------------


class Networked(Case):
    """Of a host of its own."""

    then: Commands = (("ps", "-aq"), ("network", "ls", "-q"))


class RunPublished(Networked):
    command = ("run", "-d", "--name", "c", "-p", "8080:80", "base", *SLEEP)
    after: Commands = (("rm", "-f", "c"),)

    def done(self) -> bool:
        assert self.status() in ("", "created", "running", "exited")
        if self.status() in ("created", "exited"):
            self.pyctr("rm", "c")
        return self.status() == "running"


class NetworkCreate(Networked):
    command = ("network", "create", "n")
    after: Commands = (("network", "rm", "n"),)

    def done(self) -> bool:
        return bool(self.house.column("SELECT id FROM networks WHERE name = 'n'"))


class NetworkRemove(Networked):
    before: Commands = (
        ("network", "create", "n"),
        ("run", "--rm", "--network", "n", "base", "true"),
    )
    command = ("network", "rm", "n")

    def done(self) -> bool:
        return not self.house.column("SELECT id FROM networks WHERE name = 'n'")


class NetworkConnect(Networked):
    before: Commands = (("run", "-d", "--name", "c", "base", *SLEEP),)
    command = ("network", "connect", "n", "c")
    after: Commands = (("rm", "-f", "c"),)

    def begin(self) -> None:
        self.pyctr("network", "create", "n")

    def done(self) -> bool:
        query = "SELECT count(*) FROM endpoints JOIN containers ON container_id = containers.id"
        (number,) = self.house.column(f"{query} WHERE containers.name = 'c'")
        links = self.pyctr.out("exec", "c", "ls", "/sys/class/net").split()
        assert links == ["eth0", *["eth1"] * (number == "2"), "lo"], links
        return number == "2"


class NetworkDisconnect(NetworkConnect):
    before: Commands = (
        ("run", "-d", "--name", "c", "base", *SLEEP),
        ("network", "connect", "n", "c"),
    )
    command = ("network", "disconnect", "n", "c")

    def done(self) -> bool:
        return not super().done()


CASES = (
    Run, RunTerminal, Create, Start, Join, Stop, Remove, RemoveVolumes, Pause, Unpause, Update,
    Rename, Exec, StopAll, StartAll, VolumeCreate, VolumeRemove, VolumeRestore, VolumePrune, Commit,
    Import, Pull, Load, Tag, ImageRemove, Build, BuildPrune, First,
)  # fmt: skip
NETWORKED = (RunPublished, NetworkCreate, NetworkRemove, NetworkConnect, NetworkDisconnect)


def image() -> bytes:
    """busybox with a folder /data, as an archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, text in CONTENT.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
        for name in ("sh", "cat", "sleep"):
            made.add(base.find_busybox(), f"bin/{name}")
    return out.getvalue()


def write(path: str, text: str) -> None:
    """A file of that content."""
    with open(path, "w") as file:
        file.write(text)
