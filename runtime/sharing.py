"""The steps that take something from a running container: namespaces, and its /dev/shm.

Both go through the pidfd of its first process, opened by :class:`runtime.steps.FindPeer`, never
through a path that might mean another process by then.
"""

from __future__ import annotations

import os
import stat

from kernel import mounts, namespaces
from kernel.paths import (
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    TMPFS_MAGIC,
    fs_magic,
    openat2,
)
from runtime.errors import RuntimeFailure
from runtime.filesystem import bind_onto
from runtime.peers import Peer
from runtime.steps import Site, Step, namespace_flags, quote


class JoinNamespaces(Step):
    """Namespaces of another container instead of new ones."""

    peer: Peer
    kinds: tuple[str, ...]
    why = "shared with that container; by pidfd, so that no other process can be meant"
    man = "setns(2), pidfd_open(2)"

    @property
    def title(self) -> str:
        return f"join the {', '.join(self.kinds)} namespace{'s' if len(self.kinds) > 1 else ''}"

    def call(self) -> str:
        return f"setns(pidfd_open({self.peer.pid}), {namespace_flags(self.kinds)[1]})"

    def perform(self, site: Site) -> None:
        namespaces.setns(site.pidfds[self.peer], namespace_flags(self.kinds)[0])

    def shell(self) -> list[str]:
        return []  # the script is run by nsenter(1)


class BindFromPeer(Step):
    """A tmpfs that another container has mounted, at the same place here."""

    peer: Peer
    destination: str
    why = "programs that share an IPC namespace expect to share POSIX shared memory as well"
    man = "setns(2), open_tree(2), move_mount(2), shm_overview(7)"

    @property
    def title(self) -> str:
        return f"share {self.destination}"

    def call(self) -> str:
        return (
            f"setns(pidfd_open({self.peer.pid}), CLONE_NEWNS), "
            f'open_tree("{self.destination}", OPEN_TREE_CLONE), setns(back), move_mount'
        )

    def perform(self, site: Site) -> None:
        detached = self._clone(site.pidfds[self.peer])
        bind_onto(site.root_fd, detached, self.destination, directory=True)

    def _clone(self, pidfd: int) -> int:
        """The mount, detached. A clone can be made only from inside its mount namespace."""
        own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespaces.setns(pidfd, namespaces.CLONE_NEWNS)
            try:  # no import and no other path in here: these are the other container's files
                return _clone_tmpfs(self.destination)
            finally:
                namespaces.setns(own, namespaces.CLONE_NEWNS)
        finally:
            os.close(own)

    def shell(self) -> list[str]:
        target = f'"$ROOT"{quote(self.destination)}'
        return [
            "# no command can clone a mount of another mount namespace: an empty one stands here",
            f"mkdir -p {target}",
            f"mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 shm {target}",
        ]


def _clone_tmpfs(path: str) -> int:
    """A detached clone of the tmpfs at ``path``, which may be no link."""
    resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
    there = openat2(mounts.AT_FDCWD, path, os.O_PATH | os.O_NOFOLLOW, 0, resolve)
    try:
        if not stat.S_ISDIR(os.fstat(there).st_mode) or fs_magic(there) != TMPFS_MAGIC:
            raise RuntimeFailure(f"cannot share {path}", "the other container has no tmpfs there")
        return mounts.open_tree(there, "", mounts.OPEN_TREE_CLONE | mounts.AT_EMPTY_PATH)
    finally:
        os.close(there)
