"""One digest of many files, for the key of a cached build step.

Each file is framed so that no two different sets of files give the same bytes: a line with its
kind, mode, owner and name, its attributes, its content and how long that was.
"""

from __future__ import annotations

import os
import stat

from kernel import digest
from overlay.xattrs import is_kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.walk import Visit

_CHUNK = 1 << 20


class Digest:
    """A running digest; names and hard links are those of one item at a time."""

    def __init__(self) -> None:
        self._state = digest.running()
        self._links: dict[tuple[int, int], str] = {}

    def hexdigest(self) -> str:
        """The digest of all that was added."""
        return self._state.hexdigest()

    def item(self, name: str, is_folder: bool) -> None:
        """What follows is one file, or the content of one folder."""
        self._links.clear()
        self._state.update(b"\0item %d " % is_folder + os.fsencode(name) + b"\0")

    def add(self, visits: Iterator[Visit], owners: bool) -> None:
        """Files, opened for reading, and folders of a walk; owners count or they do not."""
        for one in visits:
            if not one.leaving:
                self._add(one, owners)

    def _add(self, one: Visit, owners: bool) -> None:
        info = one.info
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFSOCK:
            return
        owner = (info.st_uid, info.st_gid) if owners else (0, 0)
        name = os.fsencode(one.path)
        self._state.update(b"%o %d %d " % (info.st_mode, *owner) + name + b"\0")
        if info.st_nlink > 1 and not one.is_folder:
            key = (info.st_dev, info.st_ino)
            first = self._links.setdefault(key, one.path)
            if first != one.path:
                self._state.update(b"link " + os.fsencode(first) + b"\0")
                return
        if kind == stat.S_IFLNK:
            self._state.update(os.fsencode(os.readlink("", dir_fd=one.fd)) + b"\0")
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            self._state.update(b"%d\0" % info.st_rdev)
        elif kind == stat.S_IFREG:
            self._attributes(one.fd)
            self._content(one.fd, info.st_size)
        elif kind == stat.S_IFDIR:
            self._attributes(one.fd)

    def _attributes(self, fd: int) -> None:
        try:
            names = os.listxattr(fd)
        except OSError:
            return  # a file system without
        for name in sorted(names):
            if is_kept(name):
                value = os.getxattr(fd, name)
                self._state.update(b"%s %d " % (os.fsencode(name), len(value)) + value)

    def _content(self, fd: int, size: int) -> None:
        read = 0
        while read < size and (chunk := os.read(fd, min(_CHUNK, size - read))):
            self._state.update(chunk)
            read += len(chunk)
        self._state.update(b"\0%d\0" % read)
