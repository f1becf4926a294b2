"""Commands at the same time: held at a trace point while others run, or simply many at once.

A command that is held stops itself (SIGSTOP) where `PYCTR_TRACE=pause:POINT` says; what others do
meanwhile happens at that very moment, every time. Nothing here sleeps for luck: each wait is one
for a condition.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Pyctr

PATIENCE = 120.0  # seconds that a step may take on a machine that is busy with other things


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"in vain waited for: {what}"
        time.sleep(0.005)


class Command:
    """A command in the background; :meth:`done` waits for its end and returns what it said."""

    def __init__(self, pyctr: Pyctr, *args: str, trace: str = "") -> None:
        environment = {**os.environ, **({"PYCTR_TRACE": trace} if trace else {})}
        self.args = args
        self.process = subprocess.Popen(
            pyctr.argv(*args),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )

    def done(self, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        said = subprocess.CompletedProcess(
            self.args, self.process.returncode, out.decode(), err.decode()
        )
        assert "Traceback" not in said.stderr, said.stderr
        assert "is locked" not in said.stderr, said.stderr
        if code is not None:
            assert said.returncode == code, f"pyctr {' '.join(self.args)}: {said}"
        return said

    def waits(self) -> None:
        """Waits until the command waits for a lock (or has ended: then it did not)."""
        until(lambda: self.process.poll() is not None or is_blocked(self.process.pid), "a lock")
        assert self.process.poll() is None, f"it did not wait: {self.done(None)}"

    def is_connected(self) -> bool:
        """Whether it has a connected unix socket (the state 03 of /proc/net/unix)."""
        folder = f"/proc/{self.process.pid}/fd"
        try:
            targets = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder)]
        except FileNotFoundError:
            return False
        own = {target[8:-1] for target in targets if target.startswith("socket:[")}
        with open("/proc/net/unix") as table:
            return any(words[5] == "03" and words[6] in own for words in map(str.split, table))


class Held(Command):
    """A command of which one process stands at a trace point until :meth:`go`.

    That may be the monitor that it leaves behind. After a ``with`` block nothing of it stands.
    """

    def __init__(self, pyctr: Pyctr, point: str, *args: str) -> None:
        super().__init__(pyctr, *args, trace=f"pause:{point}")
        self._marks = (f"PYCTR_TRACE=pause:{point}".encode(), f"PYCTR_ROOT={pyctr.root}".encode())
        self._pid = 0
        try:
            until(self._find, f"{' '.join(args)} to stand at {point}")
        except BaseException:
            self.__exit__()
            raise

    def _find(self) -> bool:
        ended = self.process.poll() is not None
        own = [pid for pid, words in environments() if all(m in words for m in self._marks)]
        assert own or not ended, f"it never came there: {self.done(None)}"
        self._pid = next((pid for pid in own if _state(pid) == "T"), 0)
        return self._pid > 0

    def go(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        """As kill -9 at the trace point."""
        os.kill(self._pid, signal.SIGKILL)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._pid and _state(self._pid) == "T":
            os.kill(self._pid, signal.SIGCONT)
        if self.process.poll() is None:
            try:
                self.process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()


def at_once(pyctr: Pyctr, *commands: tuple[str, ...]) -> list[subprocess.CompletedProcess[str]]:
    """Runs commands in parallel; what each said, in order."""
    running = [Command(pyctr, *command) for command in commands]
    return [command.done(None) for command in running]


def is_blocked(pid: int) -> bool:
    """Whether a process waits for a lock (proc_locks(5): such a line has an arrow)."""
    with open("/proc/locks") as table:
        lines = [line.split() for line in table]
    return any(words[1] == "->" and words[5] == str(pid) for words in lines)


def processes(pyctr: Pyctr) -> list[int]:
    """Whatever runs with this root folder: commands, monitors, what they forked."""
    mark = f"PYCTR_ROOT={pyctr.root}".encode()
    own = os.getpid()
    return [pid for pid, variables in environments() if mark in variables and pid != own]


def environments() -> Iterator[tuple[int, list[bytes]]]:
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                yield int(name), file.read().split(b"\0")
        except OSError:
            continue


def _state(pid: int) -> str:
    """R, S, D, T, Z, ... (proc_pid_stat(5)); "" if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2][:1]
    except OSError:
        return ""
