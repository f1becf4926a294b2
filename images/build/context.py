"""What a build may copy from: its context, or the root of another stage or image.

A context is a folder of the person who builds, or an archive from standard input. Files that
.dockerignore names are not there for COPY and ADD; the Dockerfile itself can be read all the
same. Paths are resolved in the tree's own root: a link never leads out of it.

Source: Docker's "Build context".
"""

from __future__ import annotations

import errno
import os
import stat

from images.build import ignore
from images.build.errors import BuildError, refused
from images.build.ignore import NOTHING, Ignore
from kernel.paths import open_in_root
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

_IGNORE_FILE = ".dockerignore"
_TEXT_MAX = 16 << 20  # of a Dockerfile or a .dockerignore


class Tree(Record):
    """A folder by its descriptor, which the tree's owner closes.

    ``ignored`` says which paths are not there. ``owners`` whether files belong to who they say:
    in a stage they do, while those of a context become root's.
    """

    fd: int
    ignored: Ignore = NOTHING
    owners: bool = False

    def close(self) -> None:
        """Closes the descriptor."""
        os.close(self.fd)


def root(fd: int) -> Tree:
    """The root folder of a stage or an image; the descriptor belongs to the tree from now on."""
    return Tree(fd, NOTHING, True)


def folder(path: str, dockerfile: str = "") -> Tree:
    """A folder of the host as context.

    ``dockerfile`` is the path of the Dockerfile on the host, "" if it comes from elsewhere: a
    <Dockerfile>.dockerignore beside it goes before the context's own. BuildError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise refused(f"cannot read the build context {path}", error) from None
    try:
        beside = f"{dockerfile}{_IGNORE_FILE}"
        if dockerfile and os.path.isfile(beside):
            with open(beside, "rb") as file:
                return Tree(fd, _parsed(_limited(file, beside), beside))
        return Tree(fd, _own_ignore(fd, ""))
    except BaseException:
        os.close(fd)
        raise


def archive(stream: IO[bytes], folder: str, dockerfile: str = "Dockerfile") -> Tree:
    """An archive, compressed or not, as context: unpacked into the empty ``folder``.

    ``dockerfile`` is the name of the Dockerfile in it. BuildError, ImageError if it is damaged,
    unsafe or too large; what was unpacked until then stays.
    """
    from images import compression
    from overlay import unpacking
    from overlay.errors import OverlayError

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            plain = compression.opened(stream)
            unpacking.unpack(plain, unpacking.Writer(fd, limits=unpacking.Limits()))
            while plain.read(1 << 18):  # or its writer would be told of a broken pipe
                pass
        except OverlayError as error:
            raise BuildError(f"the build context: {error.what}", error.why, error.hint) from None
        except compression.Damaged as error:
            raise BuildError("cannot read the build context", str(error)) from None
        except OSError as error:
            raise refused("cannot read the build context", error) from None
        return Tree(fd, _own_ignore(fd, dockerfile))
    except BaseException:
        os.close(fd)
        raise


def read(tree: Tree, name: str) -> bytes:
    """The content of a file of the tree, ignored or not; links stay in the tree. BuildError."""
    try:
        return _content(tree.fd, name)
    except OSError as error:
        raise refused(f"cannot read {name} of the build context", error) from None


def _content(fd: int, name: str) -> bytes:
    opened = open_in_root(fd, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", name)
        return _limited(file, name)


def _limited(file: IO[bytes], name: str) -> bytes:
    content = file.read(_TEXT_MAX + 1)
    if len(content) > _TEXT_MAX:
        raise OSError(errno.EFBIG, f"it is larger than {_TEXT_MAX} bytes", name)
    return content


def _own_ignore(fd: int, dockerfile: str) -> Ignore:
    """What the .dockerignore in a context says, one for this Dockerfile first."""
    names = [f"{dockerfile}{_IGNORE_FILE}"] if dockerfile else []
    for name in (*names, _IGNORE_FILE):
        try:
            return _parsed(_content(fd, name), name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise refused(f"cannot read {name}", error) from None
    return NOTHING


def _parsed(content: bytes, where: str) -> Ignore:
    try:
        return ignore.parse(content.decode(), where)
    except UnicodeDecodeError:
        raise BuildError(f"cannot read {where}", "it is not UTF-8 text") from None
