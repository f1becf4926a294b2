"""What a person would expect of containers, volumes and images: a model to compare pyctr with.

It knows nothing of how pyctr works. Files are told by their places, as ``data/f``; three folders
are looked at (:data:`FOLDERS`), each at most one volume. A file has text, or None: it was removed
from what the image has. Each change of the world is a generator that yields where a ``kill -9`` may
have ended it for good: what was reached then is a possible world, and no other one is.

What has a name that pyctr chose (anonymous volumes, images) has none here until it was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = ("data", "vol", "layer")
KILLED = 137


class Refused(Exception):
    """pyctr is to refuse this with an exit code, and to change nothing."""

    def __init__(self, code: int = 1) -> None:
        super().__init__(code)
        self.code = code


@dataclass(eq=False)
class Volume:
    name: str  # "" until it was seen
    anonymous: bool
    files: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Image:
    id: str  # "" until it was seen
    files: dict[str, str]
    volumes: tuple[str, ...]  # folders
    tags: set[str]


class Mount(NamedTuple):
    volume: Volume
    readonly: bool


class Program(NamedTuple):
    """``sleep``: until it is killed; ``append``: a line to a file; ``list``: all files."""

    kind: str
    path: str = ""
    line: str = ""
    code: int = 0

    @property
    def argv(self) -> tuple[str, ...]:
        if self.kind == "sleep":
            return ("sleep", "1000")
        if self.kind == "list":
            return ("grep", "-r", "", *(f"/{folder}" for folder in FOLDERS))
        return ("sh", "-c", f"echo {self.line} >> /{self.path} && exit {self.code}")


@dataclass(eq=False)
class Container:
    name: str
    image: Image
    program: Program
    auto_remove: bool
    mounts: dict[str, Mount]  # by folder
    status: str = "created"
    doomed: bool = False  # it was started by a command with a trace point armed
    code: int | None = 0  # None: any
    layer: dict[str, str | None] = field(default_factory=dict)

    def files(self) -> dict[str, str]:
        """What it sees below the folders."""
        seen = {path: text for path, text in (self.image.files | self.layer).items()
                if text is not None and path.split("/")[0] not in self.mounts}  # fmt: skip
        for folder, mount in self.mounts.items():
            seen |= {f"{folder}/{name}": text for name, text in mount.volume.files.items()}
        return seen

    def listing(self) -> list[str]:
        """What the program ``list`` prints, sorted."""
        return sorted(f"/{path}:{line}" for path, text in self.files().items()
                      for line in text.splitlines())  # fmt: skip

    def is_writable(self, path: str) -> bool:
        mount = self.mounts.get(path.split("/")[0])
        return mount is None or not mount.readonly

    def put(self, path: str, text: str) -> None:
        """Writes a file past the union into a volume, or into the layer."""
        folder, _, name = path.partition("/")
        if folder in self.mounts:
            self.mounts[folder].volume.files[name] = text
        else:
            self.layer[path] = text

    def drop(self, path: str) -> None:
        """Removes a file; the union remembers that only over a file of the image."""
        folder, _, name = path.partition("/")
        if folder in self.mounts:
            self.mounts[folder].volume.files.pop(name, None)
        elif path in self.image.files:
            self.layer[path] = None
        else:
            self.layer.pop(path, None)

    def appending(self, program: Program) -> Iterator[None]:
        """The file is made, then written."""
        before = self.files().get(program.path)
        if before is None:
            self.put(program.path, "")
            yield
        self.put(program.path, f"{before or ''}{program.line}\n")
        yield


class Source(NamedTuple):
    """``-v``: ``name`` is "" for an anonymous volume."""

    folder: str
    name: str = ""
    readonly: bool = False
    copy: bool = True

    @property
    def flags(self) -> tuple[str, str]:
        words = ",".join(["ro"] * self.readonly + ["nocopy"] * (not self.copy))
        return ("-v", ":".join(filter(None, (self.name, f"/{self.folder}", words))))


class From(NamedTuple):
    """``--volumes-from``."""

    container: str
    readonly: bool = False

    @property
    def flags(self) -> tuple[str, str]:
        return ("--volumes-from", f"{self.container}{':ro' * self.readonly}")


class World:
    """Everything that there is."""

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.volumes: list[Volume] = []
        self.trash: list[Volume] = []
        self.images: list[Image] = []
        self.code = 0  # with which the last command left

    # -- finding -----------------------------------------------------------------------------

    def container(self, name: str) -> Container:
        try:
            return self.containers[name]
        except KeyError:
            raise Refused from None

    def running(self) -> list[str]:
        return [one.name for one in self.containers.values() if one.status == "running"]

    def tagged(self, tag: str, code: int = 1) -> Image:
        found = next((one for one in self.images if tag in one.tags), None)
        if found is None:
            raise Refused(code)
        return found

    def volume(self, name: str) -> Volume | None:
        return next((one for one in self.volumes if one.name == name), None)

    def users(self, volume: Volume) -> list[Container]:
        return [one for one in self.containers.values()
                if any(mount.volume is volume for mount in one.mounts.values())]  # fmt: skip

    def unused(self, *, named: bool) -> list[Volume]:
        """What `volume prune` removes."""
        return [one for one in self.volumes
                if (one.anonymous or named) and not self.users(one)]  # fmt: skip

    # -- seeing ------------------------------------------------------------------------------

    def adopt_names(
        self,
        mounts: dict[str, dict[str, tuple[str, bool]]],
        volumes: dict[str, dict[str, str]],
        images: dict[str, set[str]],
    ) -> None:
        """Takes over names that pyctr chose, by where they were seen."""
        for container in self.containers.values():
            for folder, mount in container.mounts.items():
                seen = mounts.get(container.name, {}).get(folder)
                if seen and not mount.volume.name:
                    mount.volume.name = seen[0]
        known = {one.name for one in (*self.volumes, *self.trash)}
        strangers = [name for name in volumes if name not in known]
        for volume in (one for one in self.volumes if not one.name):  # their container is gone
            fitting = [name for name in strangers if volumes[name] == volume.files]
            if fitting:
                volume.name = fitting[0]
                strangers.remove(fitting[0])
        known = {one.id for one in self.images}
        for image in self.images:
            if not image.id:
                fitting = [i for i, tags in images.items()
                           if i not in known and tags == image.tags]  # fmt: skip
                image.id = fitting[0] if fitting else ""

    def facts(self) -> dict[str, object]:
        """Everything as plain values, to compare."""
        return {
            "containers": {
                one.name: {
                    "status": one.status,
                    "code": one.code,
                    "image": one.image.id,
                    "remove": one.auto_remove,
                    "layer": one.layer,
                    "mounts": {
                        folder: (mount.volume.name, mount.readonly)
                        for folder, mount in one.mounts.items()
                    },
                }
                for one in self.containers.values()
            },
            "volumes": {one.name: one.files for one in self.volumes},
            "trash": {one.name: one.files for one in self.trash},
            "images": {one.id: (one.tags, one.volumes) for one in self.images},
        }
