"""The files of a container as a descriptor of its root, with everything that is mounted in it.

Of a running container it is the root of its own mount namespace: a short-lived child enters the
namespace and hands the descriptor over, so that a chroot(2) of the container's processes does not
count. For a container that does not run, the child mounts what a start would mount in a namespace
of its own. The caller stays in its namespace, and never makes the container's root its own: what
it loads, executes or resolves is the host's (CVE-2019-14271). No mount is ever made in a namespace
where somebody of the container could see or redirect it (CVE-2026-41568, CVE-2026-42306).

Nothing of this stands in the host's mount table. The mounts live as long as the descriptors, so
whoever is killed takes them along.

Source: setns(2), mount_namespaces(7), proc_pid_ns(5); Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os

from kernel import mounts, namespaces, process, sockets, trace
from overlay.union import Union
from overlay.view import like_root_of
from runtime import filesystem
from runtime.errors import RuntimeFailure
from runtime.plan import mount_step
from runtime.steps import Site, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

_assembled = trace.point("runtime.rootfs.assembled")

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Root:
    """``fd`` is an O_PATH descriptor of a container's root; :meth:`close` lets its mounts go."""

    def __init__(self, fd: int, namespace: int) -> None:
        self.fd = fd
        self._namespace = namespace  # without it the mounts below the root would be gone

    def close(self) -> None:
        """Closes the root and its mount namespace."""
        os.close(self.fd)
        os.close(self._namespace)


def of_process(pid: int, start_time: int) -> Root:
    """The root of the mount namespace of a process. ProcessLookupError if it has ended."""
    try:
        namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended") from None

    def enter() -> tuple[int, ...]:
        namespaces.setns(namespace, namespaces.CLONE_NEWNS)  # root and cwd move along
        return (os.open("/", _FOLDER),)

    try:
        if not process.is_alive(pid, start_time):  # if so, it was this process all the time
            raise ProcessLookupError(errno.ESRCH, f"process {pid} has ended")
        (root,) = _from_child(enter)
    except BaseException:
        os.close(namespace)
        raise
    return Root(root, namespace)


def assembled(spec: dict[str, Any], union: Union, at: str, *, throwaway: bool) -> Root:
    """The root of a container that does not run: the union, and the mounts of ``spec``.

    ``spec`` has ``root`` and ``mounts`` of the specification; ``at`` is an empty folder of the
    host that is mounted over in the private namespace. With ``throwaway`` the upperdir is only
    read, so that somebody may start the container meanwhile: what is made, mount points too,
    lands in memory and is forgotten. Otherwise the caller sees to it that nobody starts it.
    RuntimeFailure.
    """

    def assemble() -> tuple[int, ...]:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        filesystem.IsolateMounts().perform(Site(at))
        site, stack = (
            (Site(f"{at}/root"), _in_memory(union, at)) if throwaway else (Site(at), union)
        )
        filesystem.MountRoot(stack).perform(site)
        for mount in spec["mounts"]:
            mount_step(mount).perform(site)
        if spec["root"].get("readonly"):
            filesystem.ReadonlyRoot().perform(site)
        _assembled()
        return (site.root_fd, namespace)

    root, namespace = _from_child(assemble)
    return Root(root, namespace)


def _in_memory(union: Union, at: str) -> Union:
    """The union below an upperdir on a new tmpfs, which is mounted on ``at``."""
    memory = filesystem.new_filesystem("tmpfs", "tmpfs", filesystem.parse_options(("mode=700",)))
    mounts.move_mount_at(memory, at)
    os.close(memory)
    for name in ("upper", "work", "root"):
        os.mkdir(f"{at}/{name}", 0o755)
    like_root_of(union.upper, f"{at}/upper")
    return Union((union.upper, *union.lower), f"{at}/upper", f"{at}/work")


def _from_child(action: Callable[[], tuple[int, ...]]) -> list[int]:
    """The descriptors that ``action`` returns in a short-lived child. RuntimeFailure."""
    ours, theirs = sockets.pair()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            process.set_dumpable(False)
            for fd in action():
                sockets.send_with_fd(theirs, b"+", fd)
        except RuntimeFailure as failure:
            _tell(theirs, failure.what, failure.why, failure.hint, failure.path)
        except OSError as error:
            why, path, _code = os_error(error)
            _tell(theirs, _CANNOT, why, "", path)
        except BaseException as error:
            _tell(theirs, _CANNOT, repr(error))
        finally:
            os._exit(0)
    theirs.close()
    received: list[int] = []
    said = b""
    try:
        while True:
            content, fd = sockets.receive_with_fd(ours, 4096)
            if not content:
                break
            if fd >= 0:
                received.append(fd)
            else:
                said += content
    finally:
        ours.close()
        os.waitpid(pid, 0)
    if said or not received:
        for fd in received:
            os.close(fd)
        words = said.decode(errors="surrogateescape").split("\0") if said else [_CANNOT]
        what, why, hint, path = [*words, "", "", ""][:4]
        raise RuntimeFailure(what, why or "the process that does it was killed", hint, path)
    return received


_CANNOT = "cannot open the container's files"


def _tell(report: socket, *words: str) -> None:
    report.sendall("\0".join(words).encode(errors="surrogateescape"))
