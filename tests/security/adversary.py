"""An adversary: another process that swaps two names of a folder as fast as the kernel can.

What it swaps for a folder, or a file, is a link to a :class:`Canary`, files of the host that
nothing of ours may read or change. Run as a program it does nothing else, and ends by itself:
renameat2(2) with RENAME_EXCHANGE, so that both names are there at any moment.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HOST = b"OF THE HOST"
_ROUNDS = 100_000_000  # some minutes, should nobody end it
_PATIENCE = 60.0
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


class Canary:
    """A folder of the host; :meth:`check` after an attack."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.makedirs(f"{folder}/sub", 0o750)
        for name in ("secret", "sub/secret"):
            with open(f"{folder}/{name}", "wb") as file:
                file.write(HOST)
                os.fchmod(file.fileno(), 0o604)
                os.fchown(file.fileno(), 4711, 4712)
        self._before = self._state()

    def check(self) -> None:
        """Nothing was added, removed, written, or given another owner, mode or time."""
        assert self._state() == self._before

    def _state(self) -> list[tuple[str, tuple[int, ...], bytes]]:
        found: list[tuple[str, tuple[int, ...], bytes]] = []
        for path in ("", "/secret", "/sub", "/sub/secret"):
            at = self.folder + path
            info = os.lstat(at)
            numbers = (info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_nlink)
            if os.path.isdir(at):
                content = " ".join(sorted(os.listdir(at))).encode()
            else:
                with open(at, "rb") as file:
                    content = file.read()
            found.append((path, numbers, content))
        return found


class Adversary:
    """Swaps each pair of names in turn, while the ``with`` block lasts."""

    def __init__(self, folder: str, *names: str) -> None:
        self._argv = [sys.executable, os.path.abspath(__file__), folder, *names]
        self._memory = os.memfd_create("swaps")
        os.ftruncate(self._memory, 8)
        self._count = mmap.mmap(self._memory, 8)

    @property
    def swaps(self) -> int:
        """How often names have changed places by now."""
        return int.from_bytes(self._count[:], sys.byteorder)

    def wait(self, more: int = 1) -> None:
        """Until so many more swaps have been made."""
        target, deadline = self.swaps + more, time.monotonic() + _PATIENCE
        while self.swaps < target:
            assert time.monotonic() < deadline, "the adversary is idle"
            time.sleep(0)

    def attack(self, attempt: Callable[[], object], rounds: int) -> None:
        """Makes attempts until names were swapped during so many of them, and some succeeded.

        OSError and the project's own errors are refusals, and fine.
        """
        from kernel.errors import PyctrError

        swapped = succeeded = 0
        deadline = time.monotonic() + _PATIENCE
        while swapped < rounds or not succeeded:
            assert time.monotonic() < deadline, f"{swapped} races, {succeeded} successes"
            before = self.swaps
            try:
                attempt()
                succeeded += 1
            except (OSError, PyctrError):
                pass
            swapped += self.swaps > before

    def __enter__(self) -> Adversary:
        self._process = subprocess.Popen([*self._argv, str(self._memory)], pass_fds=[self._memory])
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.wait()
        self._count.close()
        os.close(self._memory)


def _swap(folder: str, names: list[str], memory: int) -> None:
    counter = ctypes.c_uint64.from_buffer(mmap.mmap(memory, 8))
    exchange = ctypes.CDLL(None).renameat2
    exchange.argtypes = [
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    ]
    paths = [f"{folder}/{name}".encode() for name in names]
    pairs = list(zip(paths[::2], paths[1::2], strict=True))
    for _ in range(_ROUNDS):
        for one, other in pairs:
            if exchange(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE) == 0:
                counter.value += 1


if __name__ == "__main__":
    _swap(sys.argv[1], sys.argv[2:-1], int(sys.argv[-1]))
