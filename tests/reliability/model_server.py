"""pyctr's commands at the price of a fork: children of a process that has imported their modules.

A child does what scripts/pyctr does, ``cli.main.run()`` with the command line in ``sys.argv``, so
the path through the code is that of the console script without the start of an interpreter. The
process has one thread, and is a subreaper (PR_SET_CHILD_SUBREAPER): monitors, and whatever a
command that was killed leaves running, become its children. Its descendants are therefore all
processes of its root folder, and nobody can hide from a look at them.

    request   one line of JSON: [argv, "kill:POINT" or ""], or null: settle and read
    answer    one line of JSON: [exit code, output, errors], or what was read
"""

from __future__ import annotations

import gc
import io
import json
import os
import pkgutil
import signal
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

PATIENCE = 120.0  # seconds that anything may take on a machine that is busy with other things
_ROOMS = ("kernel", "overlay", "volumes", "runtime", "images", "engine", "cli")
_EXITING = 0x4  # PF_EXITING, of the flags of a process
_KILLED = 1 << (signal.SIGKILL - 1)
_LATE = ("build", "check", "completion", "pull", "push", "registry", "transfer", "trust", "web")


class Said:
    """What a command said; ``code`` is negative for the signal that ended it."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Server:
    """The client's side: a process with the environment of now. Not for several at once."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.model_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.points: list[str] = self._read()  # all trace points

    def __call__(self, *argv: str, trace: str = "") -> Said:
        """Does one command line, with a trace point armed."""
        return Said(*self._ask([argv, trace]))

    def settled(self) -> dict[str, Any]:
        """What the commands that list and inspect say (:func:`read_store`), once nothing is under
        way: containers sleep, and each has its monitor.
        """
        return dict(self._ask(None))

    def close(self) -> None:
        """Ends it; what it still has for children becomes those of init."""
        self._process.communicate()

    def _ask(self, what: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server of commands has ended"
        return json.loads(line)


# -- the server ------------------------------------------------------------------------------


def main() -> None:
    """Answers requests until there are no more."""
    from kernel import process, trace

    for room in _ROOMS:
        for module in pkgutil.walk_packages([room], f"{room}."):
            if not set(_LATE) & set(module.name.split(".")):  # every page costs a fork
                __import__(module.name)
    process.set_child_subreaper(True)
    gc.set_threshold(50_000)  # as scripts/pyctr
    gc.freeze()  # a child does not copy the pages of what is never freed
    sys.stdout.write(json.dumps(trace.names()) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        request = json.loads(line)
        if request is None:
            _settle()
            answer = _in_child(read_store)
        else:
            answer = _do(*request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def read_store() -> dict[str, Any]:
    """What ``ps -a``, ``volume ls``, ``images -a`` and ``inspect`` of all containers say."""
    listed = _objects("ps", "-a", "--no-trunc")
    names = [one["ID"] for one in listed]
    return {
        "listed": listed,
        "containers": json.loads(_said("container", "inspect", *names)) if names else [],
        "volumes": _said("volume", "ls", "-q").split(),
        "trash": _said("volume", "ls", "--trash", "-q").split(),
        "images": _objects("images", "-a", "--no-trunc"),
    }


def _objects(*argv: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _said(*argv, "--format", "json").splitlines()]


def _said(*argv: str) -> str:
    """The output of a command that must succeed, done here."""
    from cli.main import main

    sys.stdout = io.StringIO()
    code = main([*argv])
    assert code == 0, f"pyctr {' '.join(argv)}: exit {code}"
    return sys.stdout.getvalue()


def _in_child(read: Callable[[], Any]) -> Any:
    fd = os.memfd_create("answer")
    pid = os.fork()
    if pid == 0:
        try:
            os.write(fd, json.dumps(read()).encode())
            os._exit(0)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0, "reading the store failed"
    answer = json.loads(os.pread(fd, 1 << 24, 0))
    os.close(fd)
    return answer


def _do(argv: list[str], trace: str) -> tuple[int, str, str]:
    files = [os.open(os.devnull, os.O_RDONLY), os.memfd_create("out"), os.memfd_create("err")]
    pid = os.fork()
    if pid == 0:
        _become(argv, files, trace)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    out, err = (os.pread(fd, 1 << 24, 0).decode() for fd in files[1:])
    for fd in files:
        os.close(fd)
    return code, out, err


def _become(argv: list[str], files: list[int], armed: str) -> None:
    """The child's whole life."""
    from cli.main import run
    from kernel import trace

    try:
        for number, fd in enumerate(files):
            os.dup2(fd, number)
        for fd in files:
            os.close(fd)
        sys.stdin, sys.stdout, sys.stderr = (
            open(n, "w" if n else "r", closefd=False) for n in range(3)
        )
        sys.argv = ["pyctr", *argv]
        action, _, point = armed.partition(":")
        trace.arm(action, point)
        os.environ["PYCTR_TRACE"] = armed  # for monitors, which execute the interpreter anew
        run()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(1)


def _settle() -> None:
    deadline = time.monotonic() + PATIENCE
    while not _is_settled():
        assert time.monotonic() < deadline, f"in vain waited for {children(os.getpid())}"
        time.sleep(0.001)


def _is_settled() -> bool:
    """Whether all that is left are monitors which wait for a program that sleeps."""
    while children(os.getpid()) and os.waitpid(-1, os.WNOHANG)[0]:
        pass
    for monitor in children(os.getpid()):
        programs = children(monitor)
        if len(programs) != 1 or not is_asleep(programs[0]) or children(programs[0]):
            return False
    return not _is_locked(f"{os.environ['PYCTR_ROOT']}/containers")


def _is_locked(folder: str) -> bool:
    """Whether somebody is at work on a container."""
    from kernel import locks

    for container in os.listdir(folder) if os.path.isdir(folder) else []:
        try:
            locks.hold(f"{folder}/{container}/lock", exclusive=True, blocking=False).release()
        except BlockingIOError:
            return True
        except FileNotFoundError:
            continue
    return False


def children(pid: int) -> list[int]:
    """The children of a process with one thread, zombies too; none if it is gone."""
    return list(map(int, _read(f"/proc/{pid}/task/{pid}/children").split()))


def name(pid: int) -> str:
    """What the process calls itself, "" if it is gone."""
    return _read(f"/proc/{pid}/comm").rstrip("\n")


def is_asleep(pid: int) -> bool:
    """Whether it is the program `sleep`, and nothing has ended it, or is about to.

    Who has been killed has SIGKILL pending, then the flag PF_EXITING, and then is a zombie
    (proc_pid_status(5), proc_pid_stat(5)).
    """
    words = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    status = dict(line.split(":\t") for line in _read(f"/proc/{pid}/status").splitlines())
    if name(pid) != "sleep" or not words or not status:
        return False
    pending = int(status["SigPnd"], 16) | int(status["ShdPnd"], 16)
    return words[0] not in "ZX" and not int(words[6]) & _EXITING and not pending & _KILLED


def _read(path: str) -> str:
    file: IO[str]
    try:
        with open(path) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


if __name__ == "__main__":
    main()
