"""A person at a terminal, for tests: a pty, and a small shell on it that runs one command."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import termios
import time

from kernel.paths import keep_only

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATIENCE = 60.0


class Terminal:
    """A command in the foreground of a terminal, as a person has it.

    The shell stays when the command has ended, so that the modes of the terminal can be looked at
    as the next command would find them; when the command is stopped, the shell takes the terminal
    back (job control, tcsetpgrp(3)). `pid` is the command's own.
    """

    def __init__(
        self, argv: list[str], size: tuple[int, int] = (80, 24), stdout: int | None = None
    ) -> None:
        self._control, theirs = socket.socketpair()
        begin, told = os.pipe()
        self._shell, self.fd = pty.fork()
        if self._shell == 0:
            try:
                os.read(begin, 1)
                _shell(argv, theirs, stdout)
            finally:
                os._exit(1)
        theirs.close()
        os.close(begin)
        self.resize(*size)
        self.modes: list[Any] = termios.tcgetattr(self.fd)
        os.set_blocking(self.fd, False)
        os.write(told, b"x")
        os.close(told)
        self.seen = b""
        self.pid = int(self._said())

    def expect(self, text: bytes) -> None:
        """Waits until the terminal shows a text; what came up to there is forgotten."""
        self.wait(lambda: text in self.seen, f"{text!r}")
        self.seen = self.seen.partition(text)[2]

    def wait(self, holds: Any, what: str) -> None:
        """Waits for a condition, while what is shown is taken in."""
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"waited for {what} in {self.seen!r}"
            select.select([self.fd], [], [], 0.05)
            self._take()

    def _take(self) -> None:
        while True:
            try:
                chunk = os.read(self.fd, 1 << 16)
            except OSError:  # nothing now
                return
            if not chunk:
                return
            self.seen += chunk

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def resize(self, columns: int, rows: int) -> None:
        """Another size, as if the window was pulled; the foreground gets SIGWINCH."""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.fd)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    @property
    def is_restored(self) -> bool:
        """Whether the terminal has the modes with which the command found it."""
        return bool(termios.tcgetattr(self.fd) == self.modes)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stopped(self) -> None:
        """Waits until the command is stopped and the shell has the terminal."""
        assert self._said() == b"stopped"

    def go_on(self) -> None:
        """`fg`: the command gets the terminal back and is continued."""
        self._control.send(b"fg")

    def code(self) -> int:
        """Waits until the command has ended: its exit code, negative for a signal."""
        said = self._said()
        assert said.lstrip(b"-").isdigit(), said
        self._take()
        return int(said)

    def end(self) -> int:
        """:meth:`code`, and the terminal is closed."""
        code = self.code()
        self.close()
        return code

    def close(self) -> None:
        """The window is closed: the foreground is hung up."""
        self._control.close()
        os.close(self.fd)
        os.waitpid(self._shell, 0)

    def _said(self) -> bytes:
        """The next word of the shell, while what is shown is taken in."""
        deadline = time.monotonic() + PATIENCE
        control = self._control.fileno()
        while control not in select.select([control, self.fd], [], [], 0.5)[0]:
            assert time.monotonic() < deadline, f"the command goes on: {self.seen!r}"
            self._take()
        return self._control.recv(64)


def _shell(argv: list[str], control: socket.socket, stdout: int | None) -> None:
    keep_only({0, 1, 2, control.fileno(), *([] if stdout is None else [stdout])})
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        for number in (signal.SIGTTOU, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if stdout is not None:
            os.dup2(stdout, 1)
        os.execvp(argv[0], argv)
    if stdout is not None:
        os.close(stdout)
    control.send(b"%d" % pid)
    while True:
        status = os.waitpid(pid, os.WUNTRACED)[1]
        os.tcsetpgrp(0, os.getpgrp())
        if not os.WIFSTOPPED(status):
            break
        control.send(b"stopped")
        if not control.recv(64):
            os._exit(0)
        os.tcsetpgrp(0, pid)
        os.killpg(pid, signal.SIGCONT)
    control.send(b"%d" % os.waitstatus_to_exitcode(status))
    control.recv(64)
    os._exit(0)
