"""Unpacking as tar does it: a later entry takes the place of an earlier one, whatever they are.

Only a folder that meets a folder is entered instead. So the archive wins, over itself and over
what was there.
"""

from __future__ import annotations

import os
import stat

from kernel import tree
from overlay.unpacking import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from overlay.tar import Entry, Reader


class Replacing(Writer):
    """A writer that makes way for every entry."""

    def _add(self, at: int, own: str, name: str, entry: Entry, archive: Reader) -> None:
        if entry.kind == stat.S_IFDIR and is_folder(at, own):
            fd = os.open(own, os.O_PATH | os.O_NOFOLLOW, dir_fd=at)
            try:
                self._old_folder(name, fd, entry)
            finally:
                os.close(fd)
            return
        before = _clear(at, own)
        self._make(at, own, name, entry, archive)
        if before is not None:
            self._replaced(at, own, entry, before)

    def _replaced(self, at: int, own: str, entry: Entry, before: os.stat_result) -> None:
        """Called when an entry has taken the place of something."""


def is_folder(at: int, own: str) -> bool:
    """Whether a name of a folder is one, and no link to one."""
    try:
        return stat.S_ISDIR(os.stat(own, dir_fd=at, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _clear(at: int, own: str) -> os.stat_result | None:
    """Removes what is at a name, and says what that was."""
    try:
        there = os.stat(own, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None
    tree.remove_tree(own, dir_fd=at)
    return there
