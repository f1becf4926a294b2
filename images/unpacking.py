"""Layers on disk: an archive among the blobs becomes a folder that overlayfs stacks.

    layers/<diff-id>/          complete and synced; never changed, shared by all images
    layers/.new-<diff-id>/     one being unpacked, or left by a crash: emptied and done again

Whoever unpacks a layer holds an exclusive flock(2) on its ``.new-`` folder, and a second one
waits and takes the result; whoever uses it holds a shared one (see images.blobs). Several layers
of an image are unpacked at once, each by a child (images.unpackers), and one of an archive that
arrives just now while it arrives.
"""

from __future__ import annotations

import os

from images.errors import ImageError
from kernel import paths, trace, tree
from kernel.locks import Held, hold
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from images.unpackers import Child

AT_ONCE = os.cpu_count() or 1

_written = trace.point("images.unpacking.written")
_renamed = trace.point("images.unpacking.renamed")


class Unpacked(Record):
    """A layer that is there: ``diff_id`` of the plain archive, ``size`` of its files in bytes.

    ``diff_id`` is "" where the archive is not compressed: it is the archive's own digest then.
    """

    diff_id: str
    size: int


class Job(Record):
    """One layer to unpack: the archive's path, whose last part is its digest, and the diff id that
    it must have ("" any)."""

    blob: str
    diff_id: str = ""


class _Made:
    """A layer under another name than its own: where it is, and an exclusive lock on it."""

    path: str
    held: Held


class _Complete(_Made):
    """A folder somewhere else on the same file system."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.held = hold(path, exclusive=True)


class _Staged(_Made):
    """A layer's place while it is made: an emptied ``.new-`` folder, locked."""

    def __init__(self, folder: str, name: str) -> None:
        self.path = f"{folder}/.new-{name}"
        while True:
            try:
                os.mkdir(self.path, 0o755)
            except FileExistsError:
                pass
            try:
                self.held = hold(self.path, exclusive=True)
                break
            except FileNotFoundError:  # another one gave it its name meanwhile
                continue
        for own in os.listdir(self.held.fd):
            tree.remove_tree(own, dir_fd=self.held.fd)

    def drop(self) -> None:
        """Removes it, unless it has got its name."""
        if self.held.fd >= 0:
            tree.remove_tree(self.path)
            self.held.release()


class Begun:
    """A layer that is unpacked while its archive arrives.

    Whoever writes the archive calls :meth:`start` with its path when the file is there,
    :meth:`grew` when it has more, and :meth:`complete`.
    """

    def __init__(self, folder: str) -> None:
        self.place = _Staged(folder, f"any-{os.urandom(8).hex()}")
        self.child: Child | None = None

    def start(self, path: str) -> None:
        from images.unpackers import Child

        self.child = Child(path, self.place.path, growing=True)

    def grew(self) -> None:
        if self.child is not None:
            self.child.grew()

    def complete(self) -> None:
        if self.child is not None:
            self.child.complete()

    def drop(self) -> None:
        """Ends it; nothing of it is left."""
        if self.child is not None:
            self.child.abandon()
        self.place.drop()


class Layers:
    """The unpacked layers below one folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path(self, diff_id: str) -> str:
        """Where a layer is."""
        return f"{self.folder}/{diff_id}"

    def hold(self, diff_id: str) -> Held | None:
        """Keeps a layer from being removed as long as the result is held; None if not there."""
        try:
            return hold(self.path(diff_id))
        except FileNotFoundError:
            return None

    def begin(self) -> Begun:
        """A layer whose archive is only going to be written."""
        return Begun(self.folder)

    def unpack(
        self,
        jobs: list[Job],
        keep: Callable[[Held], object],
        told: Callable[[Job], None],
        begun: Mapping[str, Begun] | None = None,
    ) -> list[Unpacked]:
        """Unpacks what is not there yet; ``keep`` gets a lock on each layer.

        ``begun`` are those that arrived just now, by the path of their archive. ``told`` is called
        when a job is done. ImageError if an archive is damaged, refused, or has another diff id
        than it should; nothing of that layer is left then.
        """
        results: dict[Job, Unpacked] = {}
        staged: dict[Job, _Staged] = {}
        children: dict[Job, Child] = {}
        try:
            for job in sorted(set(jobs), key=lambda job: job.diff_id):  # one order: no deadlock
                held = self.hold(job.diff_id) if job.diff_id else None
                place = None
                early = begun.get(job.blob) if begun else None
                if held is None and early is not None and early.child is not None:
                    children[job], place = early.child, early.place
                elif held is None:
                    place = _Staged(self.folder, job.diff_id or f"any-{os.urandom(8).hex()}")
                    held = self.hold(job.diff_id) if job.diff_id else None
                if held is not None:
                    keep(held)
                    results[job] = Unpacked(job.diff_id, -1)
                    told(job)
                    if place is not None:
                        place.drop()
                elif place is not None:
                    staged[job] = place
            rest = [(job, place.path) for job, place in staged.items() if job not in children]
            made = _in_children(rest, told)
            for job, child in children.items():
                made[job] = _checked(job, child.result())
                told(job)
            _sync(self.folder)
            _written()
            for job, unpacked in made.items():
                self._name(staged[job], unpacked, keep)
                results[job] = unpacked
            tree.fsync_path(self.folder)
            _renamed()
        finally:
            for job, place in staged.items():
                if job in children:
                    children[job].abandon()
                place.drop()
        return [results[job] for job in jobs]

    def adopt(self, folder: str, diff_id: str) -> Held:
        """Makes a complete layer of a folder of the same file system that nobody uses.

        If the layer is there already, the folder stays where it is, for the caller to remove.
        """
        kept: list[Held] = []
        _sync(self.folder)
        _written()
        place = _Complete(folder)
        try:
            self._name(place, Unpacked(diff_id, -1), kept.append)
        finally:
            place.held.release()
        tree.fsync_path(self.folder)
        _renamed()
        return kept[0]

    def _name(self, place: _Made, unpacked: Unpacked, keep: Callable[[Held], object]) -> None:
        """Gives a layer its name; one that is there already is as good."""
        final = self.path(unpacked.diff_id)
        while True:
            try:
                os.rename(place.path, final)
            except OSError:
                if not os.path.isdir(final):
                    raise
                held = self.hold(unpacked.diff_id)
                if held is None:
                    continue
                keep(held)
                return
            place.held.share()
            keep(place.held.another())
            place.held.release()
            return


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        paths.syncfs(fd)
    finally:
        os.close(fd)


def _in_children(jobs: list[tuple[Job, str]], told: Callable[[Job], None]) -> dict[Job, Unpacked]:
    """Unpacks each job into its folder, as many at once as there are processors."""
    from images.unpackers import Child

    waiting, running = list(jobs), dict[Job, Child]()
    results: dict[Job, Unpacked] = {}
    try:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                job, folder = waiting.pop(0)
                running[job] = Child(job.blob, folder)
            job = next(iter(running))
            results[job] = _checked(job, running.pop(job).result())
            told(job)
    finally:
        for child in running.values():
            child.abandon()
    return results


def _checked(job: Job, made: Unpacked) -> Unpacked:
    """What was made, with its diff id, which must be the one that was promised."""
    diff_id = made.diff_id or os.path.basename(job.blob)
    if job.diff_id and diff_id != job.diff_id:
        raise ImageError(
            "a layer is not what the image's configuration says",
            f"its diff id is sha256:{diff_id}, not sha256:{job.diff_id}",
            "the archive is damaged: fetch it again",
        )
    return Unpacked(diff_id, made.size)
