"""Layer archives: a tar stream becomes a folder that overlayfs can stack, and back.

What an archive of a layer says besides its files are whiteouts (``.wh.name``, ``.wh..wh..opq``);
they become what overlayfs reads, a character device 0/0 and the attribute
``trusted.overlay.opaque``, and these become whiteouts again. The rest is
:mod:`overlay.unpacking` and :mod:`overlay.packing`.

Source: OCI image specification, layer.md; Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import os
import stat

from overlay import packing, unpacking
from overlay.replacing import Replacing, is_folder
from overlay.unpacking import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from kernel.walk import Visit
    from overlay.tar import Entry, Reader

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FOLDERS_OPEN = 128  # far below any limit of descriptors


def unpack(stream: IO[bytes], folder: str, limits: Limits = Limits()) -> int:  # noqa: B008
    """Writes an uncompressed layer archive into the empty ``folder``; returns bytes of files.

    OverlayError if the archive is damaged, escapes, or exceeds ``limits``. A failure leaves
    a part of the layer: the caller removes the folder.
    """
    root = os.open(folder, _FOLDER)
    try:
        return unpacking.unpack(stream, _LayerWriter(root, limits=limits))
    finally:
        os.close(root)


class _LayerWriter(Replacing):
    """Entries of a layer, and its whiteouts.

    The folder is new and nobody else's, which saves half of the system calls: what was made is
    there, and folders stay open until something is removed.
    """

    what, where = "the layer archive", "the layer"

    def __init__(self, root: int, limits: Limits) -> None:
        super().__init__(root, limits=limits)
        self._folders: dict[str, int] = {}

    def close(self) -> None:
        """Closes the descriptors."""
        self._forget_folders()
        super().close()

    def _forget_folders(self) -> None:
        for fd in self._folders.values():
            os.close(fd)
        self._folders.clear()

    def _folder(self, path: str) -> int:
        known = self._folders.get(path)
        if known is not None:
            return known
        parent, _, own = path.rpartition("/")
        fd = -1
        if path and parent in self._folders:
            try:
                fd = os.open(own, _FOLDER, dir_fd=self._folders[parent])
            except OSError:  # a link, a file, or nothing
                pass
        return self._remember(path, self._opened(path) if fd < 0 else fd)

    def _remember(self, path: str, fd: int) -> int:
        if len(self._folders) == _FOLDERS_OPEN:
            self._forget_folders()
        self._folders[path] = fd
        return fd

    def _add(self, at: int, own: str, name: str, entry: Entry, archive: Reader) -> None:
        if own == OPAQUE:
            os.setxattr(at, OPAQUE_XATTR, b"y")
        elif own.startswith(WHITEOUT):
            self._whiteout(at, own[len(WHITEOUT) :])
        else:
            try:
                self._make(at, own, name, entry, archive)
            except FileExistsError:  # what goes may have been on the way to an open folder
                self._forget_folders()
                at = self._folder(name.rpartition("/")[0])
                super()._add(at, own, name, entry, archive)
                self._forget_folders()

    def _make(self, at: int, own: str, name: str, entry: Entry, archive: Reader) -> None:
        if entry.kind == stat.S_IFDIR:
            os.mkdir(own, 0o700, dir_fd=at)
            fd = self._remember(name, os.open(own, _FOLDER, dir_fd=at))
            self._attributes(fd, entry)
            self._times[name] = entry.mtime
        elif entry.kind == stat.S_IFLNK:
            os.symlink(entry.link, own, dir_fd=at)
            os.chown(own, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
            times = (entry.mtime, entry.mtime)
            os.utime(own, ns=times, dir_fd=at, follow_symlinks=False)
        else:
            super()._make(at, own, name, entry, archive)

    def _replaced(self, at: int, own: str, entry: Entry, before: os.stat_result) -> None:
        if is_whiteout(before) and entry.kind == stat.S_IFDIR:
            _set_opaque(at, own)

    def _whiteout(self, at: int, own: str) -> None:
        """Hides ``own`` of the layers below; what this layer itself brings stays."""
        if own.startswith(WHITEOUT):  # bookkeeping of aufs
            return
        if own in ("", ".", ".."):
            raise self._refused(f"whiteout of {own!r}")
        try:
            os.mknod(own, stat.S_IFCHR, 0, dir_fd=at)
        except FileExistsError:
            if is_folder(at, own):
                _set_opaque(at, own)


def _set_opaque(at: int, own: str) -> None:
    fd = os.open(own, _FOLDER, dir_fd=at)
    os.setxattr(fd, OPAQUE_XATTR, b"y")
    os.close(fd)


def pack(folder_fd: int, out: IO[bytes], newest: int | None = None) -> None:
    """Writes everything below an upperdir as a layer archive.

    The order is that of names and ids are numeric: the same files give the same archive. What is
    younger than ``newest`` (a unix time) gets that time.
    """
    packer = _LayerPacker(out, newest)
    if is_opaque(folder_fd):
        packer.marker(OPAQUE)
    packer.below(folder_fd)
    packer.close()


class _LayerPacker(packing.Packer):
    """Whiteouts and opaque folders as the layer format has them."""

    def visit(self, one: Visit, name: str) -> None:
        if is_whiteout(one.info):
            self.marker(name[: len(name) - len(one.name)] + WHITEOUT + one.name)
            return
        super().visit(one, name)
        if one.is_folder and is_opaque(one.fd):
            self.marker(f"{name}/{OPAQUE}")

    def marker(self, name: str) -> None:
        """An empty file of that name."""
        import tarfile

        entry = tarfile.TarInfo(name)
        entry.mode = 0
        self.add(entry)


def is_whiteout(info: os.stat_result) -> bool:
    """Whether overlayfs hides a name with this file: a character device 0/0."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(folder_fd: int) -> bool:
    """Whether overlayfs shows nothing of the layers below in this folder."""
    try:
        return os.getxattr(folder_fd, OPAQUE_XATTR) == b"y"
    except OSError:
        return False
