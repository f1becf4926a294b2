"""Another container's first process, known so that no stranger can be taken for it.

A pid may belong to somebody else a moment later. With the start time beside it, and a pidfd opened
before the two are compared, a namespace is only ever taken from the process that was meant:
setns(2) by pidfd fails when that process has ended, whoever has its number now.
"""

from __future__ import annotations

import os

from kernel import process
from kernel.record import Record
from runtime.errors import RuntimeFailure


class Peer(Record):
    """``pid`` as the caller sees it, and when that process started (proc_pid_stat(5), field 22).

    ``name`` is what messages call it.
    """

    pid: int
    start_time: int
    name: str = "the container"

    def open(self) -> int:
        """A pidfd; RuntimeFailure if the process has ended."""
        try:
            pidfd = process.pidfd_open(self.pid)
        except ProcessLookupError:
            raise self._ended() from None
        if process.is_alive(self.pid, self.start_time):
            return pidfd
        os.close(pidfd)
        raise self._ended()

    def _ended(self) -> RuntimeFailure:
        return RuntimeFailure(f"{self.name} has ended", f"its process {self.pid} is gone")
