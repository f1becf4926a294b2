"""Putting files into the root of an image: what COPY and ADD do once their sources are known.

    sources            destination              what happens
    one file           missing, no slash        the file becomes it
    one file           a file                   the file takes its place
    one file           a folder, or "x/"        the file comes into it
    several files      a folder, or "x/"        they come into it
    content of a       missing, or a folder     the content comes into it; it keeps its attributes
      folder             (the root: "/")          if it was there, and folders in it get new ones
    archive (ADD)      missing, or a folder     the archive is unpacked into it

A folder never takes the place of a file, nor a file that of a folder, unless an archive wants
so. Missing folders on the way are made, mode 0755, for root or whom the files are made for.
Links on the way to the destination are followed in the root, also those that lead to what is not
there; links among the sources are copied. The root may be hostile and so may an archive:
everything happens on descriptors (:mod:`kernel.paths`, :mod:`overlay.unpacking`).

Nothing is undone after an error: the caller throws the layer away.

Source: Docker's "Dockerfile reference", COPY and ADD.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import time

from images.build import archives, modes
from images.build.errors import BuildError, refused
from images.build.select import Item, Selection
from kernel.copying import Copy, Manner
from kernel.paths import (
    fchown_path,
    is_kernel_filesystem,
    make_in_root,
    open_real,
    real_in_root,
    utimens_path,
)
from kernel.record import Record
from overlay.xattrs import is_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Owner = tuple[int, int] | None

_ROOT = (0, 0)


class Loose(Record):
    """A file that is in no tree, by its descriptor, with its ``name``, mode and times."""

    fd: int
    name: str

    def open(self) -> int:
        """A descriptor of it."""
        return os.dup(self.fd)


class Place:
    """The destination of one instruction in a root, and how files get there.

    ``destination`` is relative to ``workdir``.
    ``owner`` (uid, gid) is that of --chown: it gets all that is made. With None files keep theirs
    where the tree says so and become root's otherwise, and archives keep theirs. ``mode`` is that
    of --chmod, as its text or a number. No time of what is copied or made is later than ``epoch``,
    in seconds. Whatever is put there, a failure is a BuildError.
    """

    def __init__(
        self,
        root_fd: int,
        destination: str,
        *,
        workdir: str = "/",
        owner: Owner = None,
        mode: str | int | None = None,
        epoch: int | None = None,
    ) -> None:
        self._root = root_fd
        self._shown = destination
        self._path = posixpath.join("/", workdir, destination)
        self._wants_folder = self._path.rpartition("/")[2] in ("", ".", "..")
        self._owner = owner
        self._mode = None if mode is None else modes.parse(mode)
        self._latest = None if epoch is None else epoch * 10**9

    def selection(self, found: Selection, *, unpack: bool = False) -> None:
        """Copies a selection; ``unpack`` says that archives are unpacked."""
        several = len(found.items) > 1
        self._all(found.items, found.shown, unpack, several=several, parents=found.parents)

    def file(self, fd: int, name: str, *, unpack: bool = False, several: bool = False) -> None:
        """Copies the file of a descriptor, which is in no tree, as ``name``.

        ``several`` says that it is one of several sources, which need a folder to go to.
        """
        self._all((Loose(fd, name),), name, unpack, several=several)

    def text(self, content: bytes, name: str, *, several: bool = False) -> None:
        """Makes a file, mode 0644, out of a here-document; see :meth:`file`."""
        fd = os.memfd_create("here-document")
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fchmod(fd, 0o644)
            self.file(fd, name, several=several)
        finally:
            os.close(fd)

    def _all(
        self,
        items: Sequence[Item | Loose],
        shown: str,
        unpack: bool,
        *,
        several: bool,
        parents: bool = False,
    ) -> None:
        try:
            self._put(items, unpack, several, parents)
        except OSError as error:
            raise refused(f"cannot copy {shown} to {self._shown}", error) from None

    def _put(
        self, items: Sequence[Item | Loose], unpack: bool, several: bool, parents: bool
    ) -> None:
        real = real_in_root(self._root, self._path)
        there = self._kind(real)
        wanted = parents or self._wants_folder or there == stat.S_IFDIR
        if several and not wanted:
            raise BuildError(
                f"cannot copy several files to {self._shown}",
                "there is no such folder",
                "write a slash at its end, and it is made",
            )
        above, _, own = real.rpartition("/")
        for item in items:
            if wanted and not item.name and isinstance(item, Loose):
                raise BuildError(
                    f"cannot copy to {self._shown}",
                    "the URL names no file",
                    "write the file's name in the destination",
                )
            fd = item.open()
            try:
                if isinstance(item, Item) and item.is_folder:
                    self._content(item, fd, real)
                elif unpack and archives.is_archive(fd):
                    self._unpack(item, fd, real)
                elif wanted:
                    self._file(item, fd, real, item.name)
                else:
                    self._file(item, fd, above, own)
            finally:
                os.close(fd)

    def _content(self, item: Item, fd: int, folder: str) -> None:
        target = self._folder(folder)
        try:
            Copy(target, self._manner(item)).below(item.walk(fd))
        finally:
            os.close(target)

    def _file(self, item: Item | Loose, fd: int, folder: str, name: str) -> None:
        target = self._folder(folder)
        try:
            Copy(target, self._manner(item)).entry(fd, name)
        finally:
            os.close(target)

    def _unpack(self, item: Item | Loose, fd: int, folder: str) -> None:
        os.close(self._folder(folder))
        archives.unpack(fd, item.name, self._root, folder, self._owner, self._mode, self._latest)

    def _manner(self, item: Item | Loose) -> Manner:
        owners = isinstance(item, Item) and item.tree.owners
        owner = self._owner or (None if owners else _ROOT)
        return Manner(owner, True, True, True, self._mode, is_kept, self._latest)

    def _kind(self, real: str) -> int:
        """S_IF* of what is there, 0 if nothing is."""
        try:
            fd = open_real(self._root, real)
        except FileNotFoundError:
            return 0
        try:
            return stat.S_IFMT(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def _folder(self, real: str) -> int:
        """A descriptor of a folder of the root, made where it is missing."""
        found = make_in_root(self._root, real, made=self._made)
        try:
            if not stat.S_ISDIR(os.fstat(found).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a folder", f"/{real}")
            if is_kernel_filesystem(found):
                raise OSError(errno.EPERM, "the kernel makes up the files there", f"/{real}")
        except BaseException:
            os.close(found)
            raise
        return found

    def _made(self, fd: int) -> None:
        """The attributes of a folder that had to be made."""
        fchown_path(fd, *(self._owner or _ROOT))
        os.chmod(f"/proc/self/fd/{fd}", 0o755)
        if self._latest is not None:
            now = min(self._latest, time.time_ns())
            utimens_path(fd, now, now)
