"""What `cp` does with two paths: Docker's rules, which are those of cp -a. Pure.

    SRC is          DEST is              what happens
    a file          missing              DEST becomes the file; its folder must be there
    a file          missing, ends in /   refused: no such folder
    a file          a file               DEST is replaced
    a file          a folder             the file comes into it
    a folder        missing              DEST is made and gets what is in SRC
    a folder        a file               refused
    a folder        a folder             the folder comes into it
    a folder/.      a folder             DEST gets what is in SRC

A link at the end of DEST is followed, one at the end of SRC only with -L or a slash after it.

Source: Docker's documentation, "docker container cp"; cp(1).
"""

from __future__ import annotations

import posixpath

from engine.errors import EngineError
from kernel.record import Record

MISSING, FILE, FOLDER, LINK, SPECIAL = "missing", "file", "folder", "link", "special"

INSIDE = "inside"  # SRC comes into the folder DEST, under its own name
CONTENT = "content"  # what is in the folder SRC comes into the folder DEST
AS = "as"  # SRC becomes what is called DEST


class CopyError(EngineError):
    """Nothing was copied, or not all."""

    exit_code = 1


class Spelling(Record):
    """A path as a person wrote it.

    ``path`` is absolute, without ``.`` and ``..``, ``name`` its last part ("" for the root),
    ``shown`` what to call it in messages. ``folder`` says that it must be one, by a slash at the
    end; ``content`` that only what is in it is meant, by ``/.``.
    """

    path: str
    name: str
    shown: str
    folder: bool = False
    content: bool = False


def spell(text: str, shown: str, folder: str = "/") -> Spelling:
    """Reads a path, relative to ``folder``; as with Docker ``..`` is taken off by the letter."""
    joined = f"{folder}/{text}" if not text.startswith("/") else text
    path = "/" + posixpath.normpath(joined).lstrip("/")
    last = joined.rpartition("/")[2]
    content = last == "." or path == "/"
    return Spelling(path, path.rpartition("/")[2], shown, content or last in ("", ".."), content)


def decide(
    source: Spelling, kind: str, destination: Spelling, there: str, *, parent: bool = True
) -> str:
    """INSIDE, CONTENT or AS; CopyError for what is refused.

    ``kind`` is that of SRC, ``there`` that of DEST (links followed), ``parent`` whether the folder
    in which DEST would be is there.
    """
    if kind == MISSING:
        raise CopyError(f"cannot copy {source.shown}", "no such file or folder")
    if source.folder and kind != FOLDER:
        raise CopyError(f"cannot copy {source.shown}", "it is not a folder")
    what = f"cannot copy to {destination.shown}"
    if there == FOLDER:
        return CONTENT if source.content else INSIDE
    if there == SPECIAL:
        raise CopyError(what, "it is a device, a pipe or a socket")
    if there == FILE:
        if kind == FOLDER:
            raise CopyError(what, f"{source.shown} is a folder, and this is a file")
        if destination.folder:
            raise CopyError(what, "it is not a folder")
        return AS
    if not parent:
        raise CopyError(what, "the folder that it would be in does not exist")
    if destination.folder and kind != FOLDER:
        raise CopyError(what, "no such folder", "make it first, or leave out the slash at the end")
    return AS
