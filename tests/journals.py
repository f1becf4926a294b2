"""A journal to write to: that of this host, or where there is none, one of the test's own.

systemd's journald runs by itself as well. It is given mount namespace, /run/systemd and /run/log
of its own, which the commands of the test share, so it meets nothing of the host.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from engine.logopts import JOURNAL
from tests.watch import until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DAEMON = "/lib/systemd/systemd-journald"
_PREPARE = """
set -e
mount -t tmpfs tmpfs /run/systemd
mount -t tmpfs tmpfs /run/log
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRuntimeMaxUse=64M\n' \
    > /run/systemd/journald.conf.d/own.conf
echo ready
exec cat
"""


class Journal:
    """``prefix`` goes before a command that is to write to the journal, or to read it."""

    prefix: tuple[str, ...] = ()

    def restart(self) -> None:
        """Ends the daemon and starts it again."""
        subprocess.run(["systemctl", "restart", "systemd-journald"], check=True, timeout=60)

    def close(self) -> None:
        """Ends what was started."""


class _Own(Journal):
    def __init__(self) -> None:
        for folder in ("/run/systemd", "/run/log"):
            os.makedirs(folder, exist_ok=True)  # they stay, as another test may use them by then
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _PREPARE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == b"ready\n"
        enter = shutil.which("nsenter")
        assert enter is not None
        self.prefix = (enter, f"--mount=/proc/{self._keeper.pid}/ns/mnt")
        self._start()

    def _start(self) -> None:
        # What an earlier one has left must not look like the socket of the next.
        own = f"/proc/{self._keeper.pid}/root{JOURNAL}"
        if os.path.exists(own):
            os.unlink(own)
        self._daemon = subprocess.Popen([*self.prefix, _DAEMON], stderr=subprocess.DEVNULL)
        until(lambda: self._daemon.poll() is not None or os.path.exists(own), "a journal")
        assert self._daemon.poll() is None, "journald ended"

    def restart(self) -> None:
        self._daemon.terminate()
        self._daemon.wait(60)
        self._start()

    def close(self) -> None:
        self._daemon.terminate()
        self._daemon.wait(60)
        self._keeper.communicate(timeout=60)


@pytest.fixture
def journal() -> Iterator[Journal]:
    """A journal that takes entries; without systemd's daemon the test is skipped."""
    if os.path.exists(JOURNAL):
        yield Journal()
        return
    if not (os.path.exists(_DAEMON) and os.path.exists("/etc/machine-id")):
        pytest.skip("systemd's journald is not here: apt-get install systemd")
    made = _Own()
    yield made
    made.close()
