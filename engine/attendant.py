"""The middle of a monitor's life: beside a program that runs, until it has ended.

Bytes are moved by the hub, SIGTERM is heeded, what the log's child leaves is taken up. Most
monitors spend most of their time here, so this needs little; what is rare is asked of whoever
made the :class:`Attendant` (see :mod:`engine.resting`).
"""

from __future__ import annotations

import os
import time

from kernel import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from engine.hub import Hub
    from engine.probe import Watch

_NEVER = float("inf")
_QUIET = 1.0  # seconds without anybody attached after which it is time to rest


class Attendant:
    """Serves ``hub``; ``on_sigterm()`` is called after that signal, from here."""

    def __init__(self, hub: Hub, on_sigterm: Callable[[], None]) -> None:
        self.hub = hub
        self._on_sigterm = on_sigterm
        self._signalled = -1  # readable after SIGTERM

    def heed_sigterm(self) -> None:
        """From now on the signal is dealt with in :meth:`turn`."""
        self._signalled, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signals.set_wakeup_fd(write, warn_on_full_buffer=False)
        signals.signal(signals.SIGTERM, lambda _number, _frame: None)

    def turn(self, *watched: int, timeout: float | None = None) -> set[int]:
        """One turn of the hub; which of ``watched`` are ready."""
        log = self.hub.log
        children = log.descriptors if log is not None else ()
        ready = self.hub.turn((*watched, *children, self._signalled), timeout)
        if self._signalled in ready:
            os.read(self._signalled, 64)
            self._on_sigterm()
        if log is not None and children:
            log.reap(ready)
        return ready

    def ends_within(self, seconds: float, pid: int) -> bool:
        """Serves for a moment; whether the child ``pid`` has ended by then."""
        pidfd = os.pidfd_open(pid)
        until = time.monotonic() + seconds
        ready: set[int] = set()
        while pidfd not in ready and (left := until - time.monotonic()) > 0:
            ready = self.turn(pidfd, timeout=left)
        os.close(pidfd)
        return pidfd in ready

    def serve(self, pid: int, watch: Watch | None, on_quiet: Callable[[], None]) -> int:
        """Moves bytes until the child ``pid`` has ended; returns its wait status.

        ``watch`` are its health checks. Without any, ``on_quiet()`` is called once in each time
        in which nobody is attached, when that has lasted for a second.
        """
        pidfd = os.pidfd_open(pid)
        ready: set[int] = set()
        due = time.monotonic() + _QUIET
        while pidfd not in ready:
            if watch is not None:
                ready = self.turn(pidfd, *watch.descriptors, timeout=watch.patience)
                watch.turn(ready)
                continue
            if not self.hub.is_quiet:
                due = time.monotonic() + _QUIET
            elif due <= time.monotonic():
                due = _NEVER
                on_quiet()
            waits = self.hub.is_quiet and due < _NEVER
            ready = self.turn(pidfd, timeout=due - time.monotonic() if waits else None)
        os.close(pidfd)
        return os.waitpid(pid, 0)[1]


def run(life: Callable[[], None], folder: str) -> NoReturn:
    """Lives, and ends this process. An unexpected end leaves its traceback in ``folder``."""
    code = 1
    try:
        life()
        code = 0
    except BaseException:
        _leave_note(folder)
    finally:
        os._exit(code)


def _leave_note(folder: str) -> None:
    import traceback

    try:
        with open(f"{folder}/monitor-error", "w") as file:
            traceback.print_exc(file=file)
    except OSError:
        return
