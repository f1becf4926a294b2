"""Looking into a stack of layers without mounting it anywhere on the host.

The descriptor of :func:`opened` is the root of a read-only union that stands in no mount table.
Kernels without ``lowerdir+`` make it in the mount namespace of a short-lived child, which hands
over the descriptor; the mount lives as long as somebody holds it.
"""

from __future__ import annotations

import errno
import os

from kernel import mounts, namespaces, sockets, trace
from kernel.errors import PyctrError
from overlay.errors import OverlayError
from overlay.union import Union, mount_at, mount_detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

_mounted = trace.point("overlay.view.mounted")
_changed = trace.point("overlay.view.changed")

_SAID_MAX = 4096  # bytes that a child may say


def opened(lower: tuple[str, ...], scratch: str, *, legacy: bool = False) -> int:
    """A descriptor of the root of the stack (topmost first); the caller closes it.

    ``scratch`` is an existing folder that the fallback mounts over, in a namespace of its own.
    """
    union = Union(lower)
    if not legacy:
        try:
            return mount_detached(union)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
    return _from_child(union, scratch)


def _from_child(union: Union, scratch: str) -> int:
    said, fd = _in_child(union, scratch, lambda root, ours: sockets.send_with_fd(ours, b"+", root))
    if fd < 0:
        raise OverlayError("cannot open the image's files", said)
    return fd


def change(union: Union, scratch: str, action: Callable[[int], None]) -> None:
    """Calls ``action(root)`` on a writable union, which exists in a short-lived child only.

    OverlayError with the reason if the child fails: that of the action's own error, if it is one
    of a room's.
    """

    def perform(root: int, ours: socket) -> None:
        try:
            action(root)
        except PyctrError as error:
            words = "\0".join((error.what, error.why, error.hint, error.path))
            ours.sendall(words.encode(errors="surrogateescape")[:_SAID_MAX])
        else:
            ours.sendall(b"+")

    said, _ = _in_child(union, scratch, perform)
    if "\0" in said:
        what, why, hint, path = said.split("\0")
        raise OverlayError(what, why, hint, path)
    if said != "+":
        raise OverlayError("cannot write into the union", said)


def _in_child(union: Union, scratch: str, action: Callable[[int, socket], None]) -> tuple[str, int]:
    """Mounts the union in a child's namespace and calls ``action(root, socket)`` there.

    Returns what the child said, and the descriptor that it sent, -1 if none.
    """
    ours, theirs = sockets.pair()
    pid = os.fork()
    if pid == 0:
        try:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            mount_at(union, scratch)
            _mounted()
            action(os.open(scratch, os.O_RDONLY | os.O_DIRECTORY), theirs)
            _changed()
        except OSError as error:
            theirs.sendall(str(error).encode(errors="surrogateescape"))
        finally:
            os._exit(0)
    theirs.close()
    said, fd = sockets.receive_with_fd(ours, _SAID_MAX)
    ours.close()
    os.waitpid(pid, 0)
    return said.decode(errors="surrogateescape") or "the child died", fd


def like_root_of(layer: str, folder: str) -> None:
    """Gives an upperdir the owner and mode of a layer: overlayfs shows them as the root's own."""
    root = os.stat(layer)
    os.chown(folder, root.st_uid, root.st_gid)
    os.chmod(folder, root.st_mode & 0o7777)
