"""What there is, by pyctr's own words, by the files below the root folder, and by the kernel.

:meth:`Seen.facts` has the form of those of the model's world. :func:`check` holds the three
together: what only the store says, or only the kernel, is a failure whatever the model thinks.
"""

from __future__ import annotations

import json
import os
import stat

from tests.reliability.model_server import Server, children
from tests.reliability.model_world import FOLDERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

CGROUPS = "/sys/fs/cgroup"
_IN_VOLUME = {"_data", "_data.new", "volume.json", "lock", "leaving"}
_BELOW = ("upper", "work", "rootfs")


class Seen:
    """The answer of a server that has settled, and the folders of its root."""

    inspected: ClassVar[dict[str, dict[str, Any]]] = {}  # by image; ids are digests

    def __init__(self, server: Server, root: str, run: str) -> None:
        self.server, self.root, self.run = server, root, run
        self.store = server.settled()
        self.containers = {one["Name"].removeprefix("/"): one for one in self.store["containers"]}

    @property
    def running(self) -> dict[str, Any]:
        return {one["Id"]: one for one in self.store["containers"] if one["State"]["Running"]}

    def mounts(self) -> dict[str, dict[str, tuple[str, bool]]]:
        """(volume, read-only) by container and folder."""
        return {
            name: {m["Destination"].removeprefix("/"): (m["Name"], not m["RW"])
                   for m in one["Mounts"]}
            for name, one in self.containers.items()
        }  # fmt: skip

    def volumes(self) -> list[str]:
        return list(self.store["volumes"])

    def images(self) -> dict[str, set[str]]:
        """Tags by id."""
        tags: dict[str, set[str]] = {}
        for one in self.store["images"]:
            tags.setdefault(one["ID"], set()).update({one["Repository"]} - {"<none>"})
        return tags

    def described(self, image: str) -> dict[str, Any]:
        """Folders that are volumes, and layers, of an image: they never change."""
        if image not in self.inspected:
            said = self.server("image", "inspect", image)
            (one,) = json.loads(said.out)
            self.inspected[image] = {
                "volumes": tuple(path.removeprefix("/") for path in one["Config"]["Volumes"] or ()),
                "layers": {digest.removeprefix("sha256:") for digest in one["RootFS"]["Layers"]},
            }
        return self.inspected[image]

    def facts(self) -> dict[str, Any]:
        """See model_world.World.facts."""
        mounts = self.mounts()
        return {
            "containers": {
                name: {
                    "status": one["State"]["Status"],
                    "code": one["State"]["ExitCode"],
                    "image": one["Image"],
                    "remove": one["HostConfig"]["AutoRemove"],
                    "layer": files(f"{self.root}/containers/{one['Id']}/upper", FOLDERS),
                    "mounts": mounts[name],
                }
                for name, one in self.containers.items()
            },
            "volumes": {one: files(f"{self.root}/volumes/{one}/_data") for one in self.volumes()},
            "trash": {one: files(f"{self.root}/volumes/.trash/{one}/_data")
                      for one in self.store["trash"]},
            "images": {image: (tags, self.described(image)["volumes"])
                       for image, tags in self.images().items()},
        }  # fmt: skip


def files(folder: str, below: tuple[str, ...] = ("",)) -> dict[str, str | None]:
    """Texts by path; None for a whiteout (a character device with the numbers 0, 0)."""
    found: dict[str, str | None] = {}
    for start in below:
        for parent, _, names in os.walk(f"{folder}/{start}"):
            for path in (f"{parent}/{one}" for one in names):
                if stat.S_ISCHR(os.lstat(path).st_mode):
                    found[os.path.relpath(path, folder)] = None
                else:
                    with open(path) as file:
                        found[os.path.relpath(path, folder)] = file.read()
    return found


def check(seen: Seen, ever: set[str]) -> None:
    """The store, the folders and the kernel agree; ``ever`` are ids of all containers ever seen."""
    ids = {one["Id"] for one in seen.store["containers"]}
    assert {one["ID"] for one in seen.store["listed"]} == ids
    states = {one["ID"]: one["State"] for one in seen.store["listed"]}
    assert states == {one["Id"]: one["State"]["Status"] for one in seen.store["containers"]}
    ever |= ids
    _check_folders(seen, ids)
    _check_processes(seen)
    for hierarchy in os.listdir(CGROUPS):
        there = ever & _entries(f"{CGROUPS}/{hierarchy}/pyctr")
        assert there <= set(seen.running), f"control groups in {hierarchy}: {there}"
    with open("/proc/self/mountinfo") as table:
        own = [line for line in table if seen.root in line or seen.run in line]
    assert not own, f"mounts on the host: {own}"


def _check_folders(seen: Seen, ids: set[str]) -> None:
    assert _entries(f"{seen.root}/containers") == ids, "folders of containers"
    assert _entries(seen.run) - {"network"} == set(seen.running), "the run folder"
    for one in ids:
        assert _entries(f"{seen.root}/containers/{one}") >= set(_BELOW), one
    there = _entries(f"{seen.root}/volumes") - {".trash"}
    assert there == set(seen.volumes()), "folders of volumes"
    assert _entries(f"{seen.root}/volumes/.trash") == set(seen.store["trash"]), "the trash"
    for volume in there:
        assert _entries(f"{seen.root}/volumes/{volume}") <= _IN_VOLUME, volume
    layers = _entries(f"{seen.root}/layers")
    for image in seen.images():
        assert seen.described(image)["layers"] <= layers, image


def _check_processes(seen: Seen) -> None:
    """Each running container is the child of a monitor of its own, and there is nothing else."""
    programs = {children(monitor)[0] for monitor in children(seen.server.pid)}
    assert programs == {one["State"]["Pid"] for one in seen.running.values()}, "processes"
    for one in seen.running.values():
        pid = one["State"]["Pid"]
        for path, (volume, readonly) in seen.mounts()[one["Name"].removeprefix("/")].items():
            found = _mounted(pid, f"/{path}")
            assert found[0].endswith(f"/volumes/{volume}/_data"), found
            assert ("ro" in found[1]) == readonly, found


def _mounted(pid: int, destination: str) -> tuple[str, list[str]]:
    """(folder in its file system, options) of a process's mount (proc_pid_mountinfo(5))."""
    with open(f"/proc/{pid}/mountinfo") as table:
        for words in map(str.split, table):
            if words[4] == destination:
                return words[3], words[5].split(",")
    raise AssertionError(f"nothing is mounted on {destination}")


def monitor_of(pid: int) -> int:
    """The parent of a container's first process."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def _entries(folder: str) -> set[str]:
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()
