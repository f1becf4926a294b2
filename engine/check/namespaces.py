"""Namespaces of each kind: a child enters a new one, and looks at what is different in it.

Source: namespaces(7) and the page of each kind; setns(2).
"""

from __future__ import annotations

import os

from engine.check.child import Refused, in_child
from engine.check.probe import Place, Probe
from kernel import namespaces, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_KERNEL = "build the kernel with CONFIG_NAMESPACES and the option of this kind"


def probes(_place: Place) -> tuple[Probe, ...]:
    """Every kind, and joining one by pidfd."""
    return (
        Probe("mount", _entered("mnt", namespaces.CLONE_NEWNS), f"no containers: {_KERNEL}", True),
        Probe("pid", lambda _place: in_child(_first_process), f"no containers: {_KERNEL}", True),
        Probe("uts", _entered("uts", namespaces.CLONE_NEWUTS), f"no containers: {_KERNEL}", True),
        Probe("ipc", _entered("ipc", namespaces.CLONE_NEWIPC), f"no containers: {_KERNEL}", True),
        Probe("network", _entered("net", namespaces.CLONE_NEWNET),
              f"only --network host works: {_KERNEL}"),
        Probe("cgroup", _entered("cgroup", namespaces.CLONE_NEWCGROUP),
              f"no containers: {_KERNEL}", True),
        Probe("user", lambda _place: in_child(_root_inside),
              "not needed yet: containers share the host's users; allow them with"
              " sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone"),
        Probe("time", _entered("time_for_children", namespaces.CLONE_NEWTIME),
              "not needed: containers share the host's clocks"),
        Probe("join by pidfd", lambda _place: in_child(_joined),
              "no exec: setns(2) takes a pidfd since Linux 5.8", True),
    )  # fmt: skip


def _entered(name: str, flag: int) -> Callable[[Place], str]:
    """A probe that enters a new namespace and sees that it is another one."""

    def enter() -> str:
        link = f"/proc/self/ns/{name}"
        before = os.readlink(link)
        namespaces.unshare(flag)
        if os.readlink(link) == before:
            raise Refused("unshare(2) succeeds without effect")
        return ""

    return lambda _place: in_child(enter)


def _first_process() -> str:
    """The first child after unshare(2) is process 1."""
    namespaces.unshare(namespaces.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if os.getpid() == 1 else 1)
    if os.waitpid(pid, 0)[1]:
        raise Refused("the first process in it is not process 1")
    return ""


def _root_inside() -> str:
    outside = os.geteuid()
    namespaces.unshare(namespaces.CLONE_NEWUSER)
    with open("/proc/self/uid_map", "w") as file:
        file.write(f"0 {outside} 1")
    return f"at most {_first_line('/proc/sys/user/max_user_namespaces')}"


def _joined() -> str:
    """All the namespaces of a process at once, as exec does it."""
    flags = namespaces.CLONE_NEWUTS | namespaces.CLONE_NEWIPC
    namespaces.unshare(flags)
    pidfd = process.pidfd_open(os.getpid())
    namespaces.setns(pidfd, flags)
    return ""


def _first_line(path: str) -> str:
    with open(path) as file:
        return file.readline().strip()
