"""Performing a plan: fork, control group, the steps, exec; errors come back over a socket.

Three parties. The caller (the monitor) makes the control group and forks. The child performs the
rest of the plan on itself. The program is the child after execve(2): the report socket closes with
it, and the end of file says that all went well. Any failure comes as one JSON object before that.

The child never returns from here, and imports nothing once the container's files are in sight.
"""

from __future__ import annotations

import os
import time

from kernel import process, sockets
from kernel.record import Record
from runtime.errors import RuntimeFailure
from runtime.steps import Site, os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from runtime.plan import Plan
    from runtime.steps import Step

_HINTS = {  # nothing can be imported any more where these are needed
    1: "the host forbids it: pyctr needs real root privileges",  # EPERM
    11: "too many processes: end some, or raise the limit (ulimit -u, pids.max)",  # EAGAIN
    12: "raise the limit of memory of the control group that pyctr runs in",  # ENOMEM
    24: "raise the limit of open files (ulimit -n)",  # EMFILE
    28: "the disk, or a kernel limit (see /proc/sys/user), is full",  # ENOSPC
    30: "overlayfs is mounted read-only where the disk is full, or is read-only itself",  # EROFS
    38: "this kernel is too old or was built without it",  # ENOSYS
}


class Started(Record):
    """The first process of a container: a pid counts only with its start time.

    ``console`` is the pty master, -1 without a terminal.
    """

    pid: int
    start_time: int
    console: int = -1


def launch(
    plan: Plan,
    root: str,
    stdio: tuple[int, int, int] | None,
    on_step: Callable[[int, int], None] | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Started:
    """Performs the plan and returns when the program runs.

    ``root`` is an empty folder on the host over which the root filesystem is mounted, in the
    child's mount namespace. ``stdio`` become 0, 1 and 2 of the program, None for a terminal.
    ``on_step`` gets (index in ``plan.steps``, nanoseconds) of each step. ``meanwhile`` is done
    while the child is at work. RuntimeFailure tells which step failed; nothing is left over then.
    """
    preload()
    ours, theirs = sockets.pair()
    site = Site(root, theirs)
    try:
        for index, step in enumerate(plan.outside):
            _timed(index, step, site, len(plan.steps), on_step)
            if site.child == 0:
                ours.close()
                first = len(plan.outside)
                inside(plan.inside, first, len(plan.steps), site, stdio, on_step is not None)
        theirs.close()
        started = process.start_time(site.child)
        meanwhile()
        return Started(site.child, started, listen(ours, on_step))
    except BaseException:
        if site.child > 0:
            abandon(site.child)
        if site.cgroup is not None:
            site.cgroup.remove()
        raise
    finally:
        for fd in site.pidfds.values():
            os.close(fd)
        ours.close()
        theirs.close()


def abandon(pid: int) -> None:
    """Kills and reaps a child that did not become a program."""
    try:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def listen(report: socket, on_step: Callable[[int, int], None] | None) -> int:
    """Reads a child's reports until it has become the program; the console or -1."""
    reports = Reports(report, on_step)
    while reports.read():
        pass
    return reports.console


class Reports:
    """What a child says on its way to becoming the program; ``console`` is -1 without one."""

    def __init__(self, report: socket, on_step: Callable[[int, int], None] | None = None) -> None:
        self.console = -1
        self._report = report
        self._on_step = on_step
        self._content = b""
        self._executing = False

    def read(self) -> bool:
        """Takes what comes next; False once the program runs. RuntimeFailure if it never will."""
        chunk, fd = sockets.receive_with_fd(self._report, 65536)
        self.console = fd if fd >= 0 else self.console
        if not chunk:
            if not self._executing:
                raise RuntimeFailure(
                    "the container could not be set up", "its first process was killed meanwhile"
                )
            return False
        *lines, self._content = (self._content + chunk).split(b"\n")
        for line in lines:
            self._said(line)
        return True

    def _said(self, line: bytes) -> None:
        if line.startswith(b"S") and self._on_step is not None:
            index, duration = line[1:].split()
            self._on_step(int(index), int(duration))
        elif line == b"X":
            self._executing = True
        elif line.startswith(b"{"):
            if self.console >= 0:
                os.close(self.console)
            raise _failure(line)


def _failure(line: bytes) -> RuntimeFailure:
    import json

    said = json.loads(line)
    return RuntimeFailure(
        said["what"], said["why"], said["hint"], said["path"], said["errno"], said["exit_code"]
    )


def preload() -> None:
    """Imports everything that the steps need, before any file of a container is in sight."""
    import _json  # noqa: F401
    import _socket  # noqa: F401
    import resource  # noqa: F401
    import struct  # noqa: F401

    import _prctl  # noqa: F401

    from runtime import limits  # noqa: F401


def inside(
    steps: tuple[Step, ...],
    first: int,
    total: int,
    site: Site,
    stdio: tuple[int, int, int] | None,
    timed: bool,
) -> None:
    """The child's side: performs the steps, or reports and ends. Never returns."""
    report = site.report
    assert report is not None

    def told(index: int, duration: int) -> None:
        report.send(b"S%d %d\n" % (index, duration))

    try:
        process.set_dumpable(False)
        os.setsid()
        if stdio is not None:
            for target, fd in enumerate(stdio):
                os.dup2(fd, target)
        for index, step in enumerate(steps, first):
            _timed(index, step, site, total, told if timed else None)
    except BaseException as error:
        try:
            report.sendall(_as_json(error) + b"\n")
        except OSError:
            pass
    finally:
        os._exit(125)


def _timed(
    index: int,
    step: Step,
    site: Site,
    total: int,
    on_step: Callable[[int, int], None] | None,
) -> None:
    """Performs one step between its two trace points; a failure names the step."""
    name = type(step).__name__
    type(step).before_point()
    before = time.monotonic_ns()
    try:
        if name == "Execute" and on_step is not None:
            on_step(index, 0)  # afterwards there is nobody left to tell
        step.perform(site)
    except RuntimeFailure:
        raise
    except OSError as error:
        why, path, code = os_error(error)
        raise RuntimeFailure(
            f"step {index + 1} of {total}, {step.title}",
            why,
            _HINTS.get(code, ""),
            path,
            code,
        ) from None
    if on_step is not None and not (name == "Fork" and site.child == 0):
        on_step(index, time.monotonic_ns() - before)
    type(step).after_point()


def _as_json(error: BaseException) -> bytes:
    """One JSON object, made without importing :mod:`json` where imports are forbidden."""
    from _json import encode_basestring_ascii as text

    if isinstance(error, RuntimeFailure):
        words = (error.what, error.why, error.hint, error.path)
        numbers = (error.errno, error.exit_code)
    else:
        words = ("an unexpected error in the container's set-up", repr(error), "", "")
        numbers = (0, 125)
    pairs = [f'"{key}": {text(word)}' for key, word in zip(_WORDS, words, strict=True)]
    pairs += [f'"{key}": {n}' for key, n in zip(("errno", "exit_code"), numbers, strict=True)]
    return ("{" + ", ".join(pairs) + "}").encode()


_WORDS = ("what", "why", "hint", "path")
