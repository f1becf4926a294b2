"""`build`: what :mod:`images.build` needs of containers, done by our own runtime.

A workspace is the folder of a container that has no row, so what a crash leaves of it goes with
what a crash leaves of any other (engine.reconcile). RUN is a container too, with the usual rights
and the usual filter, but without a monitor: the build is its parent, and it dies with it.
"""

from __future__ import annotations

import os

from engine import locks, reconcile, registries
from engine.errors import EngineError
from images import platforms
from images.build import building, context
from images.build.errors import BuildError
from images.build.runner import Runner
from kernel import trace
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from engine.home import Home
    from images.build.context import Tree
    from images.build.runner import Command
    from images.build.site import Request, Told
    from images.pull import Told as PullTold
    from images.store import Image, Store

_made = trace.point("engine.build.workspace_made")

_USUAL, _ALSO = "Dockerfile", "dockerfile"
_HEAD = 512  # bytes of standard input that tell an archive from a Dockerfile


class BuildRequest(Record):
    """What is built from, and ``wanted``, what it is to become.

    ``context`` is a folder, or - for an archive or a Dockerfile on ``stdin``; ``dockerfile`` is a
    path, "" for the usual one, - for ``stdin``. ``pull`` is missing or always.
    """

    context: str
    stdin: IO[bytes]
    wanted: Request
    dockerfile: str = ""
    pull: str = "missing"


def build(
    home: Home,
    request: BuildRequest,
    told: Told,
    tell: Callable[[str], None],
    pulled: PullTold,
) -> str:
    """Builds an image; returns its id. ``told`` hears of steps, the others of what is pulled."""
    reconcile.sweep(home)
    runner = _Runner(home, request, tell, pulled)
    if request.context != "-":
        return _build(runner, request, told, *_opened(request))
    if request.dockerfile == "-":
        raise BuildError("cannot read the build context", "standard input is the Dockerfile")
    with runner.workspace() as scratch:
        return _build(runner, request, told, *_from_stdin(request, scratch))


def _build(
    runner: Runner, request: BuildRequest, told: Told, content: str, file: str, tree: Tree
) -> str:
    try:
        return building.build(runner, request.wanted, content, file, tree, told)
    finally:
        tree.close()


def _opened(request: BuildRequest) -> tuple[str, str, Tree]:
    """(the Dockerfile, its name for messages, the context)."""
    given = request.dockerfile
    if "://" in request.context or request.context.startswith("git@"):
        raise BuildError(
            f"cannot build from {request.context}",
            "contexts of git repositories and URLs are not supported",
            "clone or fetch it, and give the folder",
        )
    if given == "-":
        tree = context.folder(request.context)
        return _decoded(request.stdin.read(), _USUAL), _USUAL, tree
    path = given or f"{request.context}/{_USUAL}"
    also = f"{request.context}/{_ALSO}"
    if not given and not os.path.exists(path) and os.path.exists(also):
        path = also
    tree = context.folder(request.context, path)
    try:
        with open(path, "rb") as file:
            return _decoded(file.read(), path), given or _USUAL, tree
    except OSError as error:
        tree.close()
        hint = "" if given else "name it with -f"
        raise BuildError(f"cannot read {path}", (error.strerror or "").lower(), hint) from None


def _from_stdin(request: BuildRequest, scratch: str) -> tuple[str, str, Tree]:
    """An archive that holds the Dockerfile, or the Dockerfile itself and an empty context."""
    from images.build import archives

    folder = f"{scratch}/context"
    os.mkdir(folder, 0o755)
    head = request.stdin.read(_HEAD)
    stream = _again(head, request.stdin)
    if not archives.begins_one(head):
        if request.dockerfile:
            raise BuildError(
                f"cannot read {request.dockerfile}", "standard input is no archive, and so empty"
            )
        return _decoded(stream.read(), _USUAL), _USUAL, context.folder(folder)
    name = request.dockerfile or _USUAL
    tree = context.archive(stream, folder, name)
    try:
        return _decoded(context.read(tree, name), name), name, tree
    except BaseException:
        tree.close()
        raise


def _again(head: bytes, rest: IO[bytes]) -> IO[bytes]:
    """A stream of which ``head`` was read already."""
    import io

    class Again(io.RawIOBase):
        left = head

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            if self.left:
                chunk, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
            else:
                chunk = rest.read(len(buffer))
            buffer[: len(chunk)] = chunk
            return len(chunk)

    return io.BufferedReader(Again(), 1 << 18)  # type: ignore[type-var]


def _decoded(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BuildError(f"cannot read {name}", "it is not UTF-8 text") from None


class _Runner(Runner):
    def __init__(
        self, home: Home, request: BuildRequest, tell: Callable[[str], None], pulled: PullTold
    ) -> None:
        self._home = home
        self._pull = request.pull
        self._tell = tell
        self._pulled = pulled
        self._images: dict[tuple[str, str], Image] = {}

    @property
    def store(self) -> Store:
        return self._home.images

    def idle(self) -> None:
        self._home.close()

    def image(self, name: str, platform: str) -> Image:
        known = self._images.get((name, platform))
        if known is not None:
            return known
        found = registries.image_for(
            self._home, name, self._pull, platform, self._tell, self._pulled
        )
        if platform and platforms.of(found.config) != platforms.parse(platform):
            raise EngineError(
                f"cannot use image {name}",
                f"it is for {platforms.of(found.config)}, not for {platforms.parse(platform)}",
            )
        self._images[name, platform] = found
        return found

    def workspace(self) -> Workspace:
        return Workspace(self._home)

    def owner(self, root: int, text: str) -> tuple[int, int]:
        from runtime import users

        found = users.lookup(root, text)
        return found.uid, found.gid if ":" in text else found.uid

    def run(
        self, folder: str, lower: tuple[str, ...], command: Command, output: Callable[[bytes], None]
    ) -> int:
        from engine import build_run

        return build_run.run(self._home, folder, lower, command, output)


class Workspace:
    """The folder of a container that has no row, and its control group; both go at the end."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._id = os.urandom(32).hex()
        self._lock = locks.new_folder(home, self._id)

    def __enter__(self) -> str:
        self._lock.take()
        try:
            _made()
        except BaseException:
            self.__exit__()
            raise
        return self._home.folder(self._id)

    def __exit__(self, *_exc: object) -> None:
        from engine.erase import erase_files
        from runtime import cgroups

        cgroup = f"/pyctr/{self._id}"
        try:
            cgroups.of(cgroup).kill()
            erase_files(self._home, self._id, cgroup)
        finally:
            self._lock.release()
