"""The files of an image archive by name: small ones in memory, layers among the blobs.

A file is read where it is needed and as far as it is needed: its headers first, then what the
manifests ask for, and no layer that is here already. A pipe is read once, from front to back:
what is large goes under its digest at once, and the manifests say in the end what it was.
"""

from __future__ import annotations

import posixpath
import stat

from images import compression
from images.errors import ImageError
from overlay import tar
from overlay.tarfields import TarError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from images.adding import Adding

_JSON_MAX = 4 << 20
_SMALL = 64 << 10  # bytes of a file that is kept in memory
_MEMBERS_MAX = 4000


class Members:
    """What an archive holds; ImageError if it is damaged or refused."""

    def __init__(self, adding: Adding, stream: IO[bytes]) -> None:
        self._adding = adding
        self._small: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}  # offset and size of what is not read yet
        try:
            self._plain: Any = compression.opened(stream)
            self._in_file = not compression.is_compressed(self._plain) and self._plain.seekable()
            reader = tar.Reader(self._plain, seekable=self._in_file)
            for entry in reader:
                self._take(reader, entry)
        except TarError as error:
            raise ImageError("the image archive is damaged", error.why) from None
        except compression.Damaged as error:
            raise ImageError("the image archive is damaged", str(error)) from None

    def _take(self, reader: tar.Reader, entry: tar.Entry) -> None:
        name = posixpath.normpath(entry.name)
        there: tuple[dict[str, Any], ...] = (
            self._small,
            self._digests,
            self._links,
            self._places,
        )
        if sum(len(known) for known in there) > _MEMBERS_MAX:
            raise ImageError("the image archive is refused", f"more than {_MEMBERS_MAX} files")
        for known in there:
            known.pop(name, None)  # a later one takes its place
        if entry.kind in (stat.S_IFLNK, tar.HARD_LINK):  # older archives link to a layer
            base = posixpath.dirname(name) if entry.kind == stat.S_IFLNK else ""
            self._links[name] = posixpath.normpath(posixpath.join(base, entry.link))
        elif entry.kind != stat.S_IFREG:
            return
        elif entry.pieces is not None:
            raise ImageError("the image archive is refused", f"{name} is a sparse file")
        elif entry.size <= _SMALL:
            self._small[name] = b"".join(reader.content())
        elif self._in_file:
            self._places[name] = reader.tell(), entry.size
        else:
            self._digests[name] = self._kept(reader.content())

    def _resolved(self, name: str) -> str:
        name = posixpath.normpath(name)
        return self._links.get(name, name)

    def __contains__(self, name: str) -> bool:
        name = self._resolved(name)
        return name in self._small or name in self._digests or name in self._places

    def digest(self, name: str) -> str:
        """The digest under which a layer is kept; it is unpacked meanwhile."""
        name = self._resolved(name)
        if name in self._small:
            return self._adding.put(self._small[name])
        if name in self._places:
            self._digests[name] = self._kept(self._content(*self._places.pop(name)))
        if name in self._digests:
            return self._digests[name]
        raise ImageError("the image archive is damaged", f"{name} is not in it")

    def read(self, name: str) -> bytes:
        """The content of a file that is JSON."""
        name = self._resolved(name)
        if name in self._small:
            return self._small[name]
        if name in self._places and self._places[name][1] <= _JSON_MAX:
            return b"".join(self._content(*self._places[name]))
        if name in self._places or self._adding.blobs.size(self.digest(name)) > _JSON_MAX:
            raise ImageError(
                "the image archive is refused", f"{name} is larger than {_JSON_MAX} bytes"
            )
        return self._adding.blobs.read(self.digest(name))

    def _kept(self, pieces: Iterator[bytes]) -> str:
        """A large file among the blobs; what begins as a layer does is unpacked meanwhile."""
        first = next(pieces, b"")
        source: Any = _Source(first, pieces)
        return self._adding.keep(source, layer=compression.may_be_archive(first))

    def _content(self, offset: int, size: int) -> Iterator[bytes]:
        self._plain.seek(offset)
        while size:
            piece = self._plain.read(min(size, 1 << 20))
            if not piece:
                raise ImageError("the image archive is damaged", "it is cut off")
            size -= len(piece)
            yield piece


class _Source:
    """A reader of pieces."""

    def __init__(self, first: bytes, pieces: Iterator[bytes]) -> None:
        self._rest, self._pieces = first, pieces

    def read(self, size: int) -> bytes:
        piece = self._rest or next(self._pieces, b"")
        self._rest = piece[size:]
        return piece[:size]
