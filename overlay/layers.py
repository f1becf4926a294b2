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
    import tarfile
    from typing import IO

    from kernel.walk import Visit

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
OPAQUE_XATTR = "trusted.overlay.opaque"

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


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
    """Entries of a layer, and its whiteouts."""

    what, where = "the layer archive", "the layer"

    def _add(
        self, at: int, own: str, name: str, entry: tarfile.TarInfo, archive: tarfile.TarFile
    ) -> None:
        if own == OPAQUE:
            os.setxattr(at, OPAQUE_XATTR, b"y")
        elif own.startswith(WHITEOUT):
            self._whiteout(at, own[len(WHITEOUT) :])
        else:
            super()._add(at, own, name, entry, archive)

    def _replaced(self, at: int, own: str, entry: tarfile.TarInfo, before: os.stat_result) -> None:
        if is_whiteout(before) and entry.isdir():
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
