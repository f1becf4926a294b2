"""The first content of a volume: what the image has at its destination. All of it or nothing.

Under the volume's lock the content is copied beside ``_data``, synced, and put in its place by one
rename(2), which the kernel only does over an *empty* folder: after a crash or on a full disk the
volume is untouched or complete, and content that somebody wrote meanwhile is never covered.
A volume that a running container has mounted is left alone: its folder may not be replaced.

Source: rename(2), ENOTEMPTY; Docker's documentation, "Populate a volume using a container".
"""

from __future__ import annotations

import errno
import os
import stat

from kernel import copying, paths, trace, tree
from kernel.locks import Lock
from volumes.errors import VolumeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

STAGING = "_data.new"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY

_staged = trace.point("volumes.populate.staged")
_synced = trace.point("volumes.populate.synced")
_renamed = trace.point("volumes.populate.renamed")


def populate(folder: str, root_fd: int, destination: str, busy: Callable[[], str]) -> str:
    """Gives the volume at ``folder`` the content that the root ``root_fd`` has at a destination.

    Nothing happens if the volume holds anything, or the image has no folder there. ``busy()``
    names a running container that has the volume mounted, "" if none; it is asked under the lock.
    Returns a sentence to tell the user when content was left out for that reason, else "".
    VolumeError if the copy fails; the volume is untouched then.
    """
    source = _source(root_fd, destination)
    if source < 0:
        return ""
    try:
        with Lock(f"{folder}/lock"):
            tree.remove_tree(f"{folder}/{STAGING}")  # of a crash
            if os.listdir(f"{folder}/_data") or _same(source, f"{folder}/_data"):
                return ""
            user = busy()
            if user:
                return (
                    f"volume {os.path.basename(folder)} is empty but mounted by running container"
                    f" {user}: the image's content of {destination} was not copied into it"
                )
            _replace(folder, source, destination)
    finally:
        os.close(source)
    return ""


def unstage(folder: str) -> None:
    """Removes what a population left that was killed; not while there is another one."""
    if os.path.exists(f"{folder}/{STAGING}"):
        try:
            with Lock(f"{folder}/lock", blocking=False):
                tree.remove_tree(f"{folder}/{STAGING}")
        except (FileNotFoundError, BlockingIOError):
            return


def _source(root_fd: int, destination: str) -> int:
    """The image's folder, resolved as a process of the container would; -1 if there is none."""
    try:
        return paths.open_in_root(root_fd, destination, _FOLDER)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return -1
        raise


def _same(source: int, data: str) -> bool:
    """Whether there is nothing to copy: no entry, and the folder's own attributes are the same."""
    if os.listdir(source):
        return False
    ours, theirs = os.stat(data), os.fstat(source)
    return (ours.st_uid, ours.st_gid, stat.S_IMODE(ours.st_mode)) == (
        theirs.st_uid,
        theirs.st_gid,
        stat.S_IMODE(theirs.st_mode),
    )


def _replace(folder: str, source: int, destination: str) -> None:
    staging = f"{folder}/{STAGING}"
    try:
        os.mkdir(staging, 0o700)
        target = os.open(staging, _FOLDER)
        try:
            copying.copy_tree(source, target)
            _staged()
            if os.listdir(source):
                paths.syncfs(target)
            _synced()
        finally:
            os.close(target)
        os.rename(staging, f"{folder}/_data")
        _renamed()
        tree.fsync_path(folder)
    except OSError as error:
        tree.remove_tree(staging)
        if error.errno == errno.ENOTEMPTY:
            return  # somebody wrote into the volume meanwhile: theirs stays
        raise VolumeError(
            f"cannot copy the image's content of {destination} into volume"
            f" {os.path.basename(folder)}",
            (error.strerror or str(error)).lower(),
            "the volume is as it was before",
            folder,
            error.errno or 0,
        ) from None
