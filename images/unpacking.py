"""Layers on disk: an archive among the blobs becomes a folder that overlayfs stacks.

    layers/<diff-id>/          complete and synced; never changed, shared by all images
    layers/.new-<diff-id>/     one being unpacked, or left by a crash: emptied and done again

Whoever unpacks a layer holds an exclusive flock(2) on its ``.new-`` folder, and a second one
waits and takes the result; whoever uses it holds a shared one (see images.blobs). Several layers
of an image are unpacked at once, each by a child: unpacking is half Python, half kernel.
"""

from __future__ import annotations

import os

from images.errors import ImageError
from kernel import paths, trace, tree
from kernel.errors import PyctrError
from kernel.locks import Held, hold
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

_CHUNK = 1 << 20

_written = trace.point("images.unpacking.written")
_renamed = trace.point("images.unpacking.renamed")


class Unpacked(Record):
    """A layer that is there: ``diff_id`` of the plain archive, ``size`` of its files in bytes."""

    diff_id: str
    size: int


class Job(Record):
    """One layer to unpack: the archive's digest, and the diff id that it must have ("" any)."""

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

    def unpack(
        self, jobs: list[Job], keep: Callable[[Held], object], told: Callable[[Job], None]
    ) -> list[Unpacked]:
        """Unpacks what is not there yet; ``keep`` gets a lock on each layer.

        ``told`` is called when a job is done. ImageError if an archive is damaged, refused, or
        has another diff id than it should; nothing of that layer is left then.
        """
        results: dict[Job, Unpacked] = {}
        staged: dict[Job, _Staged] = {}
        try:
            for job in sorted(set(jobs), key=lambda job: job.diff_id):  # one order: no deadlock
                held = self.hold(job.diff_id) if job.diff_id else None
                place = None
                if held is None:
                    place = _Staged(self.folder, job.diff_id or f"any-{os.urandom(8).hex()}")
                    held = self.hold(job.diff_id) if job.diff_id else None
                if held is not None:
                    keep(held)
                    results[job] = Unpacked(job.diff_id, -1)
                    told(job)
                    if place is not None:
                        os.rmdir(place.path)
                        place.held.release()
                elif place is not None:
                    staged[job] = place
            made = _in_children([(job, staged[job].path) for job in staged], told)
            _sync(self.folder)
            _written()
            for job, unpacked in made.items():
                self._name(staged[job], unpacked, keep)
                results[job] = unpacked
            tree.fsync_path(self.folder)
            _renamed()
        finally:
            for place in staged.values():
                if place.held.fd >= 0:
                    tree.remove_tree(place.path)
                place.held.release()
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


# -- children ------------------------------------------------------------------------------


def _in_children(jobs: list[tuple[Job, str]], told: Callable[[Job], None]) -> dict[Job, Unpacked]:
    """Unpacks each job into its folder, as many at once as there are processors."""
    if len(jobs) == 1:
        job, folder = jobs[0]
        made = {job: _checked(job, unpack_one(job.blob, folder))}
        told(job)
        return made
    waiting, running = list(jobs), dict[int, Job]()
    answers: dict[int, int] = {}
    results: dict[Job, Unpacked] = {}
    failure: PyctrError | None = None
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1) and failure is None:
            job, folder = waiting.pop(0)
            pid, answer = _start(job, folder)
            running[pid], answers[pid] = job, answer
        if failure is not None:
            waiting.clear()
        if not running:
            break
        pid, _ = os.waitpid(next(iter(running)), 0)
        job = running.pop(pid)
        try:
            results[job] = _checked(job, _answer(answers.pop(pid)))
            told(job)
        except PyctrError as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return results


def _start(job: Job, folder: str) -> tuple[int, int]:
    """A child that unpacks one layer and says so in one line of JSON."""
    import json

    answer, said = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                made = unpack_one(job.blob, folder)
                line = {"diff_id": made.diff_id, "size": made.size}
            except PyctrError as error:
                line = {"what": error.what, "why": error.why, "hint": error.hint}
            except OSError as error:
                line = {"what": "a layer cannot be unpacked", "why": str(error), "hint": ""}
            os.write(said, json.dumps(line)[:4000].encode())
        finally:
            os._exit(0)
    os.close(said)
    return pid, answer


def _answer(fd: int) -> Unpacked:
    import json

    try:
        line = json.loads(os.read(fd, 4096) or b"{}")
    except ValueError:
        line = {}
    finally:
        os.close(fd)
    if "diff_id" in line:
        return Unpacked(line["diff_id"], line["size"])
    raise ImageError(
        line.get("what", "a layer cannot be unpacked"),
        line.get("why", "the process that did it was killed"),
        line.get("hint", ""),
    )


def _checked(job: Job, made: Unpacked) -> Unpacked:
    if job.diff_id and made.diff_id != job.diff_id:
        raise ImageError(
            "a layer is not what the image's configuration says",
            f"its diff id is sha256:{made.diff_id}, not sha256:{job.diff_id}",
            "the archive is damaged: fetch it again",
        )
    return made


def unpack_one(blob: str, folder: str) -> Unpacked:
    """Unpacks the archive at a path into an empty folder."""
    from images import compression
    from overlay import layers

    with open(blob, "rb") as file:
        plain = compression.opened(file)
        hashing = _Hashing(plain)
        try:
            size = layers.unpack(hashing, folder)  # type: ignore[arg-type]
            while hashing.read(_CHUNK):  # padding after the end of the archive counts as well
                pass
        except compression.damaged() as error:
            raise ImageError("the layer archive is damaged", str(error)) from None
    return Unpacked(hashing.hexdigest(), size)


class _Hashing:
    """A reader that knows the sha256 of what went through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        import hashlib

        self._stream = stream
        self._seen = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._stream.read(size)
        self._seen.update(chunk)
        return chunk

    def hexdigest(self) -> str:
        return self._seen.hexdigest()
