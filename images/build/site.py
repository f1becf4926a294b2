"""What the instructions of one build share, and how a step's files become a layer.

A step that is not in the cache is done in a workspace: the layers so far and an empty upperdir
are mounted, the files change, and the upperdir becomes a layer as it is (images.adding). The
workspace goes when the step is over, and after a crash with the next command that looks.
"""

from __future__ import annotations

import os
import time

from images.build.cache import key_of
from kernel import trace
from kernel.paths import utimens_path
from kernel.record import Record
from kernel.walk import walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from images.build.cache import Entry
    from images.build.context import Tree
    from images.build.runner import Runner
    from images.build.state import State
    from images.config import Layer
    from images.references import Reference
    from kernel.locks import Held

    # What happens: ("begin" | "cached" | "failed", number), ("done", number, seconds),
    # ("output", number, text), ("warn", text), and once ("steps", {number: title}).
    # Numbers are those of `images.build.stage.titles`.
    Told = Callable[[tuple[Any, ...]], None]

_changed = trace.point("images.build.site.changed")
_adopted = trace.point("images.build.site.adopted")


class Request(Record):
    """What a person asked for, besides the Dockerfile and the context.

    ``secrets`` are by id. ``epoch`` (seconds since 1970) is SOURCE_DATE_EPOCH, after which
    nothing was made; None if there is none. ``target`` and ``platform`` are "" for the last stage
    and this machine.
    """

    names: tuple[Reference, ...] = ()
    build_args: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    labels: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    secrets: dict[str, bytes] = {}  # noqa: RUF012 - a frozen record's default
    target: str = ""
    platform: str = ""
    network: str = "bridge"
    no_cache: bool = False
    epoch: int | None = None


class Site:
    """The state of one build that its instructions share.

    ``context`` is what COPY copies from. ``states`` are the stages that are done, by index.
    ``held`` are locks on layers and archives, by diff id: they stay on the disk until the build
    has ended.
    """

    def __init__(
        self, runner: Runner, request: Request, context: Tree, escape: str, told: Told
    ) -> None:
        self.runner = runner
        self.request = request
        self.context = context
        self.escape = escape
        self.told = told
        self.outer: dict[str, str] = {}
        self.states: dict[int, State] = {}
        self.held: dict[str, tuple[Held, Held]] = {}

    def hold(self, layer: Layer) -> bool:
        """Keeps a layer until the build has ended; False if it is not there any more."""
        if layer.diff_id in self.held:
            return True
        store = self.runner.store
        folder, archive = store.unpacked.hold(layer.diff_id), store.blobs.hold(layer.digest)
        if folder is None or archive is None:
            for held in (folder, archive):
                if held is not None:
                    held.release()
            return False
        self.held[layer.diff_id] = (folder, archive)
        return True

    def release(self) -> None:
        """Lets go of all layers."""
        for both in self.held.values():
            for held in both:
                held.release()

    def lower(self, state: State) -> tuple[str, ...]:
        """The lowerdirs of a state, the topmost first."""
        return self.runner.store.stack(state.chain)

    def found(self, key: str) -> Entry | None:
        """What the cache has for a key, if its layer is there."""
        if self.request.no_cache:
            return None
        entry = self.runner.store.build_cache.get(key)
        if entry is None or (entry.layer is not None and not self.hold(entry.layer)):
            return None
        return entry

    def key(self, *parts: Any) -> str:
        """The key of a step. The time that limits all others is a part of it."""
        return key_of(self.request.epoch, *parts)

    def now(self) -> float:
        """Unix time, as far as the image may know."""
        now = time.time()
        return now if self.request.epoch is None else min(now, float(self.request.epoch))

    def keep(self, folder: str, key: str, description: str) -> tuple[Layer | None, float]:
        """Makes a layer of the upperdir of a workspace, and puts it into the cache.

        (The layer, None if nothing was changed; when it was made.)
        """
        upper, created = f"{folder}/upper", self.now()
        _changed()
        store = self.runner.store
        if not os.listdir(upper):
            store.build_cache.add(key, None, created, description)
            return None, created
        if self.request.epoch is not None:
            _clamp(upper, self.request.epoch)
        with store.adding() as adding:
            layer = adding.adopt(upper)
            _adopted()
            store.build_cache.add(key, layer, created, description)
            if not self.hold(layer):
                raise FileNotFoundError(2, "it was removed meanwhile", upper)
        return layer, created


def prepare(folder: str, lower: tuple[str, ...]) -> None:
    """Makes the folders of a union in a workspace."""
    from overlay import view

    for name in ("upper", "work", "rootfs"):
        os.mkdir(f"{folder}/{name}", 0o755)
    view.like_root_of(lower[0], f"{folder}/upper")


def change(folder: str, lower: tuple[str, ...], action: Callable[[int], None]) -> None:
    """Calls ``action(root)`` on the union of a workspace, in a child. OverlayError."""
    from overlay import view
    from overlay.union import Union

    prepare(folder, lower)
    union = Union(lower, f"{folder}/upper", f"{folder}/work")
    view.change(union, f"{folder}/rootfs", action)


def _clamp(upper: str, epoch: int) -> None:
    """Nothing in a layer is younger than ``epoch``."""
    limit = epoch * 10**9
    fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for one in walk(fd):
            if not one.leaving and one.info.st_mtime_ns > limit:
                utimens_path(one.fd, limit, limit)
    finally:
        os.close(fd)
