"""The person's own terminal: its size, and raw while it is shared with a container."""

from __future__ import annotations

import os

from kernel import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_ENDING = (
    signals.SIGHUP,
    signals.SIGINT,
    signals.SIGQUIT,
    signals.SIGALRM,
    signals.SIGTERM,
    signals.SIGUSR1,
    signals.SIGUSR2,
)


def size(fd: int = 1) -> tuple[int, int]:
    """(columns, rows) of a terminal, (0, 0) if it is none."""
    for candidate in (fd, 0, 2):
        try:
            found = os.get_terminal_size(candidate)
        except OSError:
            continue
        return found.columns, found.lines
    return 0, 0


class Raw:
    """The terminal at ``fd`` passes every key on, and is itself again afterwards (termios(3)).

    It is restored whatever ends the block, signals included, and while the command is stopped
    (SIGTSTP); whoever is in the background leaves it alone (tcgetpgrp(3)). Nothing happens if
    ``fd`` is -1 or no terminal.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pid = 0
        self._before: list[Any] = []
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Raw:
        if self._fd < 0 or not os.isatty(self._fd):
            return self
        import termios

        self._pid = os.getpid()
        self._before = termios.tcgetattr(self._fd)
        caught = dict.fromkeys(_ENDING, self._end)
        caught |= {signals.SIGTSTP: self._stop, signals.SIGCONT: self._go_on}
        for number, handler in caught.items():
            before = signals.signal(number, handler)
            if before == signals.SIG_IGN:  # whoever started us does not want it to count
                signals.signal(number, before)
            else:
                self._handlers[number] = before
        self._share()
        return self

    def __exit__(self, *_exc: object) -> None:
        if not self._before:
            return
        self._restore()
        for number, handler in self._handlers.items():
            signals.signal(number, handler)

    def _share(self) -> None:
        import termios as t

        mode = [*self._before]
        mode[0] &= ~(
            t.IGNBRK | t.BRKINT | t.PARMRK | t.ISTRIP | t.INLCR | t.IGNCR | t.ICRNL | t.IXON
        )
        mode[1] &= ~t.OPOST
        mode[2] = mode[2] & ~(t.CSIZE | t.PARENB) | t.CS8
        mode[3] &= ~(t.ECHO | t.ECHONL | t.ICANON | t.ISIG | t.IEXTEN)
        mode[6] = [*mode[6]]
        mode[6][t.VMIN], mode[6][t.VTIME] = 1, 0
        self._set(mode)

    def _restore(self) -> None:
        self._set(self._before)

    def _set(self, mode: list[Any]) -> None:
        """At once: output that nobody takes must not keep the terminal from being restored."""
        import termios

        if os.getpid() != self._pid or not self._is_ours():
            return
        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, mode)
        except termios.error:  # it is gone
            return

    def _is_ours(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # no terminal of this session: no jobs, so nobody else has it
            return True

    # -- signals ---------------------------------------------------------------------------

    def _end(self, number: int, _frame: FrameType | None) -> None:
        self._restore()
        self._as_usual(number)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._restore()
        self._as_usual(number)  # here the process stands still, until it is continued
        signals.signal(number, self._stop)
        self._share()

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        self._share()
        os.kill(os.getpid(), signals.SIGWINCH)  # it may have been resized meanwhile

    def _as_usual(self, number: int) -> None:
        """What the signal would have done without us."""
        signals.signal(number, signals.SIG_DFL)
        os.kill(os.getpid(), number)
