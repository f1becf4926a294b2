"""cp while a hostile process swaps folders for links as fast as it can (CVE-2018-15664).

The links lead to a folder of the host. The same path exists in the container, with other content,
so that a copy can succeed at any moment; nothing of the host's folder may ever be seen or changed.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import time

import pytest

from engine import containers, copy, home
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.containers import Container
    from engine.home import Home
    from tests.conftest import Pyctr

ROUNDS = 40
SECONDS = 10  # on a slow machine fewer rounds will do
SWAP = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static void swap(const char *one, const char *other) {
    syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, 2 /* RENAME_EXCHANGE */);
}
int main(void) {
    chdir("/w");
    for (unsigned n = 0;; n++) {
        swap("folder", "to-folder");
        swap("file", "to-file");
        if (n % 7 == 0) swap("outer/folder", "outer/to-folder");
        if (n % 64 == 0) usleep(1);
    }
}
"""


@pytest.fixture
def victim(home_dir: str) -> str:
    """A folder of the host that no copy may see or touch."""
    folder = f"{home_dir}/victim"
    os.mkdir(folder, 0o710)
    for name in ("secret", "untouched"):
        write(f"{folder}/{name}", "OF THE HOST")
        os.chmod(f"{folder}/{name}", 0o604)
    return folder


def write(path: str, content: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(content)


def state(folder: str) -> list[tuple[str, int, int, int, str]]:
    found = []
    for name in sorted(os.listdir(folder)):
        info = os.stat(f"{folder}/{name}")
        with open(f"{folder}/{name}") as file:
            found.append((name, info.st_mode, info.st_uid, info.st_mtime_ns, file.read()))
    info = os.stat(folder)
    return [*found, (".", info.st_mode, info.st_uid, info.st_mtime_ns, "")]


@pytest.fixture
def swapper(pyctr: Pyctr, home_dir: str, victim: str) -> str:
    """A running container whose volume /w is never the same; returns what makes it so."""
    program = f"{home_dir}/swap"
    subprocess.run(
        ["gcc", "-static", "-O1", "-x", "c", "-", "-o", program], input=SWAP, text=True, check=True
    )
    script = f"""
    mkdir -p {victim} /w/folder /w/outer/folder; cd /w
    for f in {victim}/secret folder/secret outer/folder/secret file; do echo inside > $f; done
    ln -s {victim} to-folder; ln -s {victim}/secret to-file; ln -s {victim} outer/to-folder
    touch /w/ready; exec /swap
    """
    pyctr(
        "run", "-d", "--name", "hostile", "-v", "shared:/w", "-v", f"{program}:/swap:ro", "base",
        "sh", "-c", script,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not os.path.exists(f"{home_dir}/volumes/shared/_data/ready"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return "hostile"


def test_the_race_is_one(pyctr: Pyctr, swapper: str) -> None:
    """What this file tries would succeed against a program that walks paths."""
    pid = pyctr.out("inspect", "-f", "{{.State.Pid}}", swapper)
    seen: set[str] = set()
    deadline = time.monotonic() + 60
    while {"OF THE HOST", "inside\n"} - seen:
        assert time.monotonic() < deadline, seen
        with open(f"/proc/{pid}/root/w/folder/secret") as file:
            seen.add(file.read())


@pytest.mark.parametrize("target", ["hostile", "peer"])
def test_nothing_of_the_host_is_read_or_written(
    pyctr: Pyctr, home_dir: str, victim: str, swapper: str, target: str
) -> None:
    """``peer`` does not run and shares the volume: it is mounted anew for each copy, and another
    volume is mounted on a folder that is being swapped (CVE-2026-41568, CVE-2026-42306)."""
    pyctr(
        "create", "--name", "peer", "--volumes-from", swapper, "-v", "other:/w/folder/place", "base"
    )
    write(f"{home_dir}/decoy{victim}/secret", "inside\n")
    deadline = time.monotonic() + 60
    while pyctr("cp", f"{home_dir}/decoy/.", "peer:/", code=None).returncode:
        assert time.monotonic() < deadline  # no luck with the mounts so far
    before = state(victim)
    here = home.find()
    one = containers.search(here, target)
    os.mkdir(f"{home_dir}/out")
    work = Work(here, one, f"{home_dir}/out")
    end = time.monotonic() + SECONDS
    for turn in range(1000):
        enough = turn >= ROUNDS or (turn > 4 and time.monotonic() > end)
        if (enough and work.seen and work.written) or time.monotonic() > end + 60:
            break
        for attempt in (work.out, work.out_archive, work.into, work.into_archive):
            attempt(turn)
        assert state(victim) == before
    here.close()
    assert "inside\n" in work.seen, "copies succeed in between"
    assert not any("HOST" in content for content in work.seen)
    assert work.written, "and so do writes"
    with open("/proc/self/mountinfo") as table:
        assert home_dir not in table.read()


class Work:
    """Attempts to copy; errors are fine, what is seen is kept."""

    def __init__(self, here: Home, one: Container, folder: str) -> None:
        self.here = here
        self.one = one
        self.folder = folder
        self.seen: set[str] = set()
        self.written = 0
        for name in ("new", "tree/secret", "tree/new", "tree/sub/new"):
            write(f"{folder}/{name}", "written")

    def _try(self, action: Callable[..., object], *more: object) -> bool:
        try:
            action(self.here, self.one, *more)
        except (PyctrError, FileExistsError):
            return False
        return True

    def out(self, turn: int) -> None:
        for number, path in enumerate(("w/folder/secret", "w/file", "w/outer", "w/folder/.", "w")):
            target = f"{self.folder}/out-{turn}-{number}"
            options = copy.Options(archive=turn % 2 == 0, follow=turn % 3 == 0)
            self._try(copy.out, path, target, options, ignored)
            self._look(target)

    def _look(self, top: str) -> None:
        if os.path.isfile(top) and not os.path.islink(top):
            self._read(top)
        for folder, _, files in os.walk(top):
            for name in files:
                if not os.path.islink(f"{folder}/{name}"):
                    self._read(f"{folder}/{name}")

    def _read(self, path: str) -> None:
        with open(path) as file:
            self.seen.add(file.read())

    def out_archive(self, turn: int) -> None:
        for path in ("w/folder/secret", "w/outer", "w/folder/"):
            stream = io.BytesIO()
            options = copy.Options(follow=turn % 2 == 0)
            if self._try(copy.out_archive, path, stream, options):
                stream.seek(0)
                with tarfile.open(fileobj=stream) as archive:
                    files = [archive.extractfile(m) for m in archive if m.isreg()]
                    self.seen |= {file.read().decode() for file in files if file is not None}

    def into(self, turn: int) -> None:
        options = copy.Options(archive=turn % 2 == 0)
        for name, path in (
            ("new", f"w/folder/new-{turn}"),
            ("new", "w/folder"),
            ("tree/.", "w/folder"),
            ("tree", "w/outer/folder"),
            ("tree/.", "w/outer/folder/sub"),
        ):
            source = f"{self.folder}/{name}"
            self.written += self._try(copy.into, source, path, options, ignored)

    def into_archive(self, turn: int) -> None:
        options = copy.Options(archive=turn % 2 == 0)
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(f"{self.folder}/tree", "outer/folder")
            archive.add(f"{self.folder}/tree", "folder")
            link = tarfile.TarInfo("folder/hard")
            link.type, link.linkname = tarfile.LNKTYPE, "folder/secret"
            archive.addfile(link)
        spool = f"{self.folder}/archive"
        with open(spool, "wb") as file:
            file.write(content.getvalue())
        for path in ("w", "w/folder", "w/outer/"):
            with open(spool, "rb") as stream:
                self.written += self._try(copy.into_archive, stream, path, options, ignored)


def ignored(_size: int) -> None:
    return
