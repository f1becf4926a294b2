"""Another process in a running container: what `exec` does.

The caller enters the pid namespace for its children, forks, and the child enters the other
namespaces that the container does not share with the host, all at once, through the pidfd of its
first process, which cannot mean another one (setns(2), "pidfd"). Nothing is looked up by a path of
the container before that, and nothing is imported after it.
"""

from __future__ import annotations

import os

from kernel import namespaces, process, sockets
from kernel.clone import clone3
from kernel.paths import DEVPTS_SUPER_MAGIC, fs_magic, open_in_root
from runtime import becoming, cgroups, launch
from runtime.errors import RuntimeFailure
from runtime.peers import Peer
from runtime.steps import (
    JoinCgroup,
    JoinKeyring,
    SetOomScore,
    Site,
    Step,
    namespace_flags,
    open_peer,
    use_terminal,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Any

KINDS = ("mount", "uts", "ipc", "network", "cgroup", "pid")


class EnterContainer(Step):
    """Namespaces of the container's first process, but for pid, which the parent entered."""

    pid: int
    pidfd: int
    kinds: tuple[str, ...]
    why = "one call, by pidfd: the pid cannot have been given to another process meanwhile"
    man = "setns(2), pidfd_open(2)"

    @property
    def title(self) -> str:
        return "enter the container"

    def call(self) -> str:
        return f"setns(pidfd_open({self.pid}), {namespace_flags(self.kinds)[1]})"

    def perform(self, site: Site) -> None:
        import sys

        namespaces.setns(self.pidfd, namespace_flags(self.kinds)[0])
        # setns(2) with a mount namespace also moves root and working folder to its root.
        site.root_fd = os.open("/", os.O_PATH | os.O_DIRECTORY)
        sys.path.clear()
        sys.meta_path.clear()

    def shell(self) -> list[str]:
        return [f"# nsenter --target {self.pid} {' '.join(namespace_flags(self.kinds)[2])}"]


class OpenTerminal(Step):
    """A pseudo terminal of the container; its master goes to the caller."""

    columns: int
    rows: int
    why = "the new process gets a terminal of the container, never the caller's own"
    man = "pty(7), ioctl_tty(2)"

    @property
    def title(self) -> str:
        return "open a terminal"

    def call(self) -> str:
        return 'open("/dev/pts/ptmx"), ioctl(TIOCGPTPEER)'

    def perform(self, site: Site) -> None:
        master = open_in_root(site.root_fd, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
        if fs_magic(master) != DEVPTS_SUPER_MAGIC:
            raise RuntimeFailure("cannot open a terminal", "/dev/pts/ptmx is no pty multiplexer")
        peer = open_peer(master, self.columns, self.rows)
        assert site.report is not None
        sockets.send_with_fd(site.report, b"C\n", master)
        os.close(master)
        use_terminal(peer)

    def shell(self) -> list[str]:
        return []


def make(
    pid: int,
    pidfd: int,
    cgroup: str,
    process_spec: dict[str, Any],
    profile: dict[str, Any] | None,
    cache: str,
    kinds: tuple[str, ...] = KINDS,
    *,
    monitored: bool = False,
) -> tuple[Step, ...]:
    """The plan of an exec: ``process_spec`` is ``process`` of the specification."""
    made: list[Step] = [JoinCgroup(cgroup), JoinKeyring(becoming.keyring(cgroup))]
    if process_spec.get("oomScoreAdj") is not None:
        made.append(SetOomScore(process_spec["oomScoreAdj"]))
    made.append(EnterContainer(pid, pidfd, tuple(kind for kind in kinds if kind != "pid")))
    if process_spec.get("terminal"):
        size = process_spec.get("consoleSize") or {}
        made.append(OpenTerminal(size.get("width") or 0, size.get("height") or 0))
    made.append(becoming.find_user(process_spec))
    made += becoming.last_steps(process_spec, profile, cache, monitored=monitored)
    return tuple(made)


def join(
    pid: int,
    start_time: int,
    cgroup: str,
    process_spec: dict[str, Any],
    stdio: tuple[int, int, int] | None,
    *,
    kinds: tuple[str, ...] = KINDS,
    profile: dict[str, Any] | None = None,
    cache: str = "",
    on_plan: Callable[[tuple[Step, ...]], Callable[[int, int], None]] | None = None,
) -> launch.Started:
    """Runs a process in the container of ``pid``; returns when its program runs.

    ``kinds`` are the namespaces that the container does not share with the host. ``on_plan`` gets
    the plan first and answers with what is told of each step. RuntimeFailure if the container has
    ended, and as :func:`runtime.launch.launch`.
    """
    on_step: Callable[[int, int], None] | None = None

    def told(steps: tuple[Step, ...]) -> None:
        nonlocal on_step
        on_step = on_plan(steps) if on_plan else None

    child, report = begin(
        pid, start_time, cgroup, process_spec, stdio, kinds=kinds, profile=profile, cache=cache,
        on_plan=told if on_plan else None,
    )  # fmt: skip
    try:
        started = process.start_time(child)
        return launch.Started(child, started, launch.listen(report, on_step))
    except BaseException:
        launch.abandon(child)
        raise
    finally:
        report.close()


def begin(
    pid: int,
    start_time: int,
    cgroup: str,
    process_spec: dict[str, Any],
    stdio: tuple[int, int, int] | None,
    *,
    kinds: tuple[str, ...] = KINDS,
    profile: dict[str, Any] | None = None,
    cache: str = "",
    on_plan: Callable[[tuple[Step, ...]], None] | None = None,
    monitored: bool = False,
) -> tuple[int, socket]:
    """The same without waiting: (the child, what :class:`runtime.launch.Reports` reads).

    With ``monitored`` the process dies with its parent. Steps are timed if ``on_plan`` is given.
    """
    launch.preload()
    pidfd = Peer(pid, start_time).open()
    ours, theirs = sockets.pair()
    site = Site("/", theirs)
    site.cgroup = cgroups.of(cgroup)
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    child = -1
    try:
        steps = make(pid, pidfd, cgroup, process_spec, profile, cache, kinds, monitored=monitored)
        if on_plan is not None:
            on_plan(steps)
        process.set_dumpable(False)  # the child inherits it: see runtime.steps.Fork
        if "pid" in kinds:
            namespaces.setns(pidfd, namespaces.CLONE_NEWPID)
        child = clone3(0, site.cgroup.unified)
        if child == 0:
            ours.close()
            launch.inside(steps, 0, len(steps), site, stdio, on_plan is not None)
        namespaces.setns(own, namespaces.CLONE_NEWPID)
        return child, ours
    except BaseException:
        if child > 0:
            launch.abandon(child)
        ours.close()
        raise
    finally:
        for fd in (own, pidfd):
            os.close(fd)
        theirs.close()
