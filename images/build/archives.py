"""Archives among the sources of ADD: recognised by what is in them, and unpacked.

An archive wins over what was there, as tar has it, and is as hostile as one of a layer: its
entries stay in the image's root, links and all (:mod:`overlay.unpacking`).

Source: Docker's "Dockerfile reference", ADD, "Adding local tar archives".
"""

from __future__ import annotations

import os
import stat

from images import compression
from images.build.errors import BuildError
from images.errors import ImageError
from kernel.walk import reopen
from overlay import replacing, tar, unpacking
from overlay.errors import OverlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from images.build.modes import Mode
    from overlay.tar import Entry, Reader

_BLOCK = tar.BLOCK


def begins_one(head: bytes) -> bool:
    """Whether a stream that begins with ``head``, 512 bytes, is to be read as an archive: it is
    compressed, or a tar header is there.
    """
    return bool(compression.kind_at(head)) or tar.is_header(head[:_BLOCK])


def is_archive(fd: int) -> bool:
    """Whether a file, by a descriptor that may be O_PATH, is a tar archive, compressed or not."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return False
    with _opened(fd) as file:
        try:
            return tar.is_header(compression.opened(file).read(_BLOCK))
        except (compression.Damaged, ImageError):
            return False
        except OSError:
            return False


def unpack(
    fd: int,
    name: str,
    root_fd: int,
    folder: str,
    owner: tuple[int, int] | None,
    mode: Mode | None,
    latest: int | None,
) -> None:
    """Unpacks the archive ``name`` of a descriptor into a folder of a root.

    ``owner`` gets all of it, None keeps owners; ``mode`` changes modes; no time is later than
    ``latest``, in nanoseconds. BuildError; OSError of a system call.
    """
    writer = _Writer(root_fd, folder, owner=owner, limits=unpacking.Limits())
    writer.what, writer.mode, writer.latest = name, mode, latest
    with _opened(fd) as file:
        try:
            unpacking.unpack(compression.opened(file), writer)
        except (OverlayError, ImageError) as error:
            raise BuildError(f"cannot unpack {name}", f"{error.what}: {error.why}") from None
        except compression.Damaged as error:
            raise BuildError(f"cannot unpack {name}", f"it is damaged: {error}") from None


def _opened(fd: int) -> IO[bytes]:
    return os.fdopen(reopen(fd), "rb")


class _Writer(replacing.Replacing):
    mode: Mode | None = None
    latest: int | None = None

    def add(self, entry: Entry, archive: Reader) -> None:
        if self.mode is not None and entry.kind != stat.S_IFLNK:
            kind = stat.S_IFDIR if entry.kind == stat.S_IFDIR else stat.S_IFREG
            entry.mode = self.mode(kind | (entry.mode & 0o7777))
        if self.latest is not None:
            entry.mtime = min(entry.mtime, self.latest)
        super().add(entry, archive)
