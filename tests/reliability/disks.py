"""Small file systems on loop devices: what is full or read-only there harms nobody."""

from __future__ import annotations

import contextlib
import os
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = 4096  # bytes: one block


class Disk:
    """A file system with the root folder ``root`` on it; :meth:`fill` leaves little room."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.root = f"{folder}/root"
        self._ballast = f"{folder}/ballast"

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_bsize

    def fill(self, left: int = 0) -> None:
        """Takes all room but about ``left`` bytes, a multiple of a block."""
        fd = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            chunk = 1 << 20
            while chunk >= _STEP:
                try:
                    os.posix_fallocate(fd, os.fstat(fd).st_size, chunk)
                except OSError:
                    chunk //= 2
            if left:
                os.ftruncate(fd, os.fstat(fd).st_size - left)
        finally:
            os.close(fd)

    def take_inodes(self) -> None:
        """Makes empty files until there can be no more."""
        os.makedirs(f"{self.folder}/many", exist_ok=True)
        with contextlib.suppress(OSError):
            for number in range(1 << 20):
                os.close(os.open(f"{self.folder}/many/{number}", os.O_CREAT))

    def free_up(self) -> None:
        """Gives back what :meth:`fill` and :meth:`take_inodes` have taken."""
        if os.path.exists(self._ballast):
            os.unlink(self._ballast)
        subprocess.run(["rm", "-rf", f"{self.folder}/many"], check=True)

    def make_read_only(self, *, yes: bool) -> None:
        """Mounts it anew, read-only or read-write."""
        how = "remount,ro" if yes else "remount,rw"
        subprocess.run(["mount", "-o", how, self.folder], check=True, timeout=60)


@contextlib.contextmanager
def mounted(folder: str, size: int, inodes: int = 4096) -> Iterator[Disk]:
    """An ext4 of that many bytes, mounted at ``folder`` meanwhile."""
    image = f"{folder}.img"
    with open(image, "wb") as file:
        file.truncate(size)
    options = ["-q", "-m", "0", "-b", str(_STEP), "-N", str(inodes), "-O", "^has_journal"]
    subprocess.run(["mkfs.ext4", *options, image], check=True, timeout=60)
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, folder], check=True, timeout=60)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", folder], check=True, timeout=60)
