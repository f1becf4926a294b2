"""Resources run out: an error that says what to do, nothing lost, nothing half-made, then on."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import tarfile
import threading
import time

import pytest

from runtime import cgroups
from tests.reliability import disks
from tests.watch import state, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Pyctr
    from tests.registries import Served
    from tests.reliability.disks import Disk

    Start = Callable[..., Served]

SOUND = "Everything is as it should be."
MB = 1 << 20


def refused(pyctr: Pyctr, *command: str, because: str, then: str) -> str:
    """A command fails: it says why and what to do, and shows no stack. Returns what it said."""
    ran = pyctr(*command, code=None)
    assert ran.returncode in (1, 125), ran
    assert because in ran.stderr.lower() and then in ran.stderr.lower(), ran.stderr
    assert "Traceback" not in ran.stderr and "[Errno" not in ran.stderr, ran.stderr
    return ran.stderr


def is_sound(pyctr: Pyctr) -> None:
    """Nothing is half-made: the store fits itself and the kernel after a command that looks."""
    pyctr("ps", "-aq")
    pyctr("volume", "ls")
    assert pyctr.out("system", "check", "--all") == SOUND


def kept(pyctr: Pyctr) -> str:
    """What the volume of :func:`use` holds, read by a new container."""
    return pyctr.out("run", "--rm", "-v", "keep:/data", "base", "cat", "/data/f")


def use(pyctr: Pyctr) -> None:
    """An image with content for a volume, a volume with a file, and a container that has ended."""
    pyctr("run", "--name", "one", "-v", "keep:/data", "base", "sh", "-c", "echo kept > /data/f")


@pytest.fixture
def disk(home_dir: str, pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """The root folder is on a small disk of its own."""
    with disks.mounted(f"{home_dir}/disk", 48 * MB) as small:
        monkeypatch.setenv("PYCTR_ROOT", small.root)
        pyctr.root = small.root
        yield small
        small.free_up()
        ids = pyctr("ps", "-aq").stdout.split()
        if ids:
            pyctr("rm", "-f", "-v", *ids)
        monkeypatch.setenv("PYCTR_ROOT", home_dir)
        pyctr.root = home_dir


def archive(path: str, size: int) -> str:
    """A root file system whose folder /data has a file of so many bytes that nothing shrinks."""
    from images.base import find_busybox

    content = f"{path}.content"
    with open(content, "wb") as file:
        file.write(os.urandom(size))
    with tarfile.open(path, "w") as made:
        made.add(content, "data/big")
        made.add(find_busybox(), "bin/true")
    return path


# -- the disk is full ------------------------------------------------------------------------


ROOM = "make room"
FULL = "no space left"


def test_on_a_full_disk_everything_says_so_and_what_is_there_can_go(
    pyctr: Pyctr, disk: Disk
) -> None:
    use(pyctr)
    pyctr("create", "--name", "two", "-v", "/anonymous", "base")
    pyctr("volume", "create", "unused")
    disk.fill()
    for command in (
        ("create", "base"),
        ("run", "--rm", "base", "true"),
        ("create", "-v", "new:/data", "base"),
        ("volume", "create", "another"),
        ("commit", "one", "copy"),
    ):
        refused(pyctr, *command, because=FULL, then=ROOM)
    assert len(pyctr.out("ps", "-aq").split()) == 2, "who looks is answered"
    assert pyctr.out("system", "df").startswith("TYPE")
    pyctr("rm", "-v", "two")
    pyctr("volume", "rm", "unused")
    disk.free_up()
    assert kept(pyctr) == "kept"
    assert pyctr.out("volume", "ls", "-q") == "keep"
    is_sound(pyctr)


def test_wherever_a_creation_meets_the_end_of_the_disk_nothing_is_half_made(
    pyctr: Pyctr, disk: Disk
) -> None:
    """So many blocks are free: for folders, for the volume, for the layer, for the content."""
    use(pyctr)
    pyctr("import", archive(f"{disk.folder}.tar", 4 * MB), "big")
    command = ("create", "--name", "two", "-v", "/data", "big", "/bin/true")
    for left in (1, 2, 4, 8, 32):
        disk.fill(left * 4096)
        refused(pyctr, *command, because=FULL, then="")
        disk.free_up()
        assert pyctr.out("ps", "-a", "--format", "{{.Names}}") == "one"
        assert pyctr.out("volume", "ls", "-q") == "keep"
    is_sound(pyctr)
    pyctr(*command)
    _, folder = pyctr.volume_of("two", "/data")
    assert os.path.getsize(f"{folder}/big") == 4 * MB


def test_content_that_does_not_fit_leaves_the_volume_as_it_was(pyctr: Pyctr, disk: Disk) -> None:
    use(pyctr)
    pyctr("import", archive(f"{disk.folder}.tar", 4 * MB), "big")
    pyctr("volume", "create", "data")
    disk.fill(2 * MB)
    command = ("create", "--name", "two", "-v", "data:/data", "big", "/bin/true")
    said = refused(pyctr, *command, because=FULL, then="the volume is as it was before")
    assert "volume data" in said
    assert os.listdir(f"{pyctr.root}/volumes/data/_data") == []
    assert disk.free > MB, "what did not fit takes no room"
    disk.free_up()
    is_sound(pyctr)
    pyctr(*command)
    assert os.listdir(f"{pyctr.root}/volumes/data/_data") == ["big"]


def test_images_that_do_not_fit_are_not_there(pyctr: Pyctr, disk: Disk, serve: Start) -> None:
    use(pyctr)
    pulled = f"{serve().host}/big:1"
    path = archive(f"{disk.folder}.tar", 4 * MB)
    pyctr("import", path, pulled)
    pyctr("push", pulled)
    pyctr("rmi", pulled)
    before = pyctr.out("images", "-aq")
    for left in (2 * MB, 6 * MB):  # for neither, and for the archive but not for the layer
        disk.fill(left)
        refused(pyctr, "import", path, "big", because=FULL, then=ROOM)
        refused(pyctr, "pull", pulled, because=FULL, then=ROOM)
        disk.free_up()
    pyctr("run", "--name", "writer", "base", "sh", "-c", "head -c 4194304 /dev/urandom > /big")
    disk.fill(2 * MB)
    refused(pyctr, "commit", "writer", "copy", because=FULL, then=ROOM)
    disk.free_up()
    assert pyctr.out("images", "-aq") == before
    is_sound(pyctr)
    for command in (("import", path, "big"), ("pull", pulled), ("commit", "writer", "copy")):
        pyctr(*command)


def test_a_container_outlives_a_full_disk_and_its_end_is_recorded(pyctr: Pyctr, disk: Disk) -> None:
    use(pyctr)
    script = "while [ ! -L /data/go ]; do echo line; done; echo end; exit 7"
    pyctr("run", "-d", "--name", "up", "-v", "keep:/data", "base", "sh", "-c", script)
    until(lambda: "line" in pyctr.out("logs", "-n", "1", "up"), "it has said something")
    disk.fill()
    log = f"{pyctr.root}/containers/{pyctr.out('inspect', '-f', '{{.Id}}', 'up')}/log.json"
    before = os.stat(log).st_mtime_ns

    def is_settled() -> bool:
        """No line has fitted for a while: the last block of the log is full as well."""
        size = os.path.getsize(log)
        time.sleep(0.2)
        return os.path.getsize(log) == size

    until(is_settled, "the log cannot grow")
    assert os.stat(log).st_mtime_ns >= before
    assert state(pyctr, "up") == "running 0"
    os.symlink("x", f"{pyctr.root}/volumes/keep/_data/go")  # a short link takes no block
    until(lambda: state(pyctr, "up") == "exited 7", "its end is recorded, the disk full or not")
    disk.free_up()
    with open(log) as file:
        assert {json.loads(line)["log"] for line in file} <= {"line\n", "end\n"}, "whole lines only"
    os.unlink(f"{pyctr.root}/volumes/keep/_data/go")
    pyctr("rm", "up")
    is_sound(pyctr)


def test_without_inodes_everything_says_so_and_what_is_there_can_go(
    pyctr: Pyctr, disk: Disk
) -> None:
    use(pyctr)
    pyctr("create", "--name", "two", "-v", "/anonymous", "base")
    disk.take_inodes()
    for command in (
        ("create", "-v", "new:/data", "base"),
        ("volume", "create", "another"),
        ("import", archive(f"{disk.folder}.tar", MB), "big"),
    ):
        refused(pyctr, *command, because=FULL, then="df -i")
    assert len(pyctr.out("ps", "-aq").split()) == 2
    pyctr("rm", "two")
    disk.free_up()
    assert kept(pyctr) == "kept"
    is_sound(pyctr)


# -- processes, descriptors, memory ----------------------------------------------------------


@contextlib.contextmanager
def limited(controller: str, file: str, value: int) -> Iterator[list[str]]:
    """A control group with one limit, and what a command line must begin with to run in it."""
    found = cgroups.hierarchies()
    parent = found.v1.get(controller)
    if parent is None:
        pytest.skip(f"the {controller} controller of cgroup v1 is not here")
    folder = f"{parent}/pyctr-test-{os.getpid()}"
    os.mkdir(folder)
    try:
        with open(f"{folder}/{file}", "w") as control:
            control.write(str(value))
        yield ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh"]
    finally:
        until(lambda: not _members(folder), "all that ran in it has ended")
        os.rmdir(folder)


def _members(folder: str) -> str:
    with open(f"{folder}/cgroup.procs") as file:
        return file.read()


def ran(argv: list[str], limit: tuple[int, int] | None = None) -> tuple[int, str]:
    """Exit code and what was said on standard error; ``limit`` is that of open files."""

    def before() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)

    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, preexec_fn=before)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def test_where_no_further_process_may_be_a_start_says_so(pyctr: Pyctr) -> None:
    """One is the command itself; then its monitor, and the first process, are one too many."""
    use(pyctr)
    for most in (1, 2):
        with limited("pids", "pids.max", most) as begin:
            argv = [*begin, *pyctr.argv("run", "--rm", "-v", "keep:/data", "base", "true")]
            code, said = ran(argv)
        assert code == 125, (most, said)
        assert "temporarily unavailable" in said and "too many processes" in said
    assert kept(pyctr) == "kept"
    is_sound(pyctr)


def test_where_no_further_file_may_be_open_a_run_says_so(pyctr: Pyctr) -> None:
    """At each number another step is the one too many."""
    use(pyctr)
    argv = pyctr.argv("run", "--rm", "-v", "keep:/data", "base", "cat", "/data/f")
    codes = []
    for most in (*range(8, 26, 2), 64):
        code, said = ran(argv, (most, most))
        codes.append(code)
        if code:
            assert code == 125, (most, said)
            assert "many" in said and "open" in said and "hint: " in said, (most, said)
    assert codes[0] == 125 and codes[-1] == 0
    assert kept(pyctr) == "kept"
    is_sound(pyctr)


def test_what_the_kernel_kills_for_want_of_memory_leaves_nothing(pyctr: Pyctr) -> None:
    """A command, and with a little more memory its monitor: they get no error, and cannot tell."""
    use(pyctr)
    codes = []
    for size in range(4 * MB, 18 * MB, 2 * MB):
        with limited("memory", "memory.limit_in_bytes", size) as begin:
            argv = [*begin, *pyctr.argv("run", "--rm", "-v", "keep:/data", "base", "true")]
            codes.append(ran(argv)[0])
    assert codes[0] != 0
    for name in pyctr.out("ps", "-a", "--format", "{{.Names}}").split():
        if name != "one":  # it was killed in the middle of its start
            pyctr("rm", "-f", name)
    assert kept(pyctr) == "kept"
    is_sound(pyctr)


# -- the database ----------------------------------------------------------------------------


def test_a_root_folder_that_is_read_only_is_an_error_and_then_goes_on(
    pyctr: Pyctr, disk: Disk
) -> None:
    use(pyctr)
    disk.make_read_only(yes=True)
    try:
        for command in (("ps", "-a"), ("run", "--rm", "base", "true"), ("rm", "one"),
                        ("volume", "ls"), ("system", "check", "--repair")):  # fmt: skip
            refused(pyctr, *command, because="read-only file system", then="read-write")
    finally:
        disk.make_read_only(yes=False)
    assert kept(pyctr) == "kept"
    is_sound(pyctr)


def test_who_keeps_the_database_locked_is_waited_for_half_a_minute(pyctr: Pyctr) -> None:
    """And a container that ends meanwhile has its exit code all the same."""
    use(pyctr)
    pyctr("run", "-d", "--name", "up", "-v", "keep:/data", "base",
          "sh", "-c", "while [ ! -e /data/go ]; do sleep 0.05; done; exit 7")  # fmt: skip
    locked = sqlite3.connect(f"{pyctr.root}/state.db", isolation_level=None)
    locked.execute("PRAGMA locking_mode = EXCLUSIVE")
    locked.execute("BEGIN EXCLUSIVE")
    try:
        with open(f"{pyctr.root}/volumes/keep/_data/go", "w"):
            pass
        said: list[str] = []

        def remove() -> None:
            said.append(refused(pyctr, "rm", "one", because="locked", then="end that"))

        other = threading.Thread(target=remove)
        other.start()
        refused(pyctr, "create", "base", because="locked", then="end that")
        other.join()
    finally:
        locked.close()
    assert said
    until(lambda: state(pyctr, "up") == "exited 7", "the monitor has recorded the end")
    os.unlink(f"{pyctr.root}/volumes/keep/_data/go")
    assert sorted(pyctr.out("ps", "-a", "--format", "{{.Names}}").split()) == ["one", "up"]
    pyctr("rm", "up")
    is_sound(pyctr)


def test_times_in_the_future_are_shown_and_harm_nothing(pyctr: Pyctr) -> None:
    """The clock has jumped back: what was made before it is younger than now."""
    use(pyctr)
    pyctr("run", "-d", "--name", "up", "--health-cmd", "true", "base", "sleep", "3600")
    pyctr("volume", "create", "--label", "x=y", "young")
    pyctr("create", "--name", "two", "-v", "/anonymous", "base")
    anonymous = pyctr.volume_of("two", "/anonymous")[0]
    pyctr("rm", "two")
    ahead = time.time() + 3 * 86400
    db = sqlite3.connect(f"{pyctr.root}/state.db", isolation_level=None)
    db.execute("UPDATE containers SET created = ?, started = ?, finished = ? WHERE finished",
               (ahead, ahead, ahead))  # fmt: skip
    db.execute("UPDATE containers SET created = ?, started = ?", (ahead, ahead))
    db.execute("UPDATE volumes SET created = '2999-01-01T00:00:00Z'")
    db.execute("UPDATE images SET created = '2999-01-01T00:00:00Z'")
    db.close()
    os.utime(f"{pyctr.root}/volumes/.trash/{anonymous}", (ahead, ahead))
    shown = pyctr.out(
        "ps", "-a", "--format", "{{.Names}}: {{.CreatedAt}} {{.RunningFor}} {{.Status}}"
    )
    assert "-" not in shown.split("up: ")[1].split()[-2] and "Up" in shown and "Exited (0)" in shown
    for command in (("images",), ("volume", "ls"), ("system", "df", "-v"), ("inspect", "one", "up"),
                    ("events", "--since", "1m", "--until", "0s"), ("stats", "--no-stream"),
                    ("container", "prune", "-f", "--filter", "until=1h"),
                    ("volume", "ls", "--trash")):  # fmt: skip
        pyctr(*command)
    assert state(pyctr, "one") == "exited 0", "it is too young to be pruned"
    pyctr("stop", "-t", "0", "up")
    pyctr("start", "up")
    assert state(pyctr, "up") == "running 0"
    pyctr("rm", "-f", "up")
    pyctr("volume", "restore", anonymous)
    assert kept(pyctr) == "kept"


# -- by hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["gone", "file", "link", "dangling"])
def test_a_volume_whose_data_was_replaced_by_hand_is_not_used(pyctr: Pyctr, how: str) -> None:
    use(pyctr)
    data = f"{pyctr.root}/volumes/keep/_data"
    os.rename(data, f"{pyctr.root}/safe")
    if how == "file":
        with open(data, "w") as file:
            file.write("in the way")
    elif how != "gone":
        os.symlink("/etc" if how == "link" else "/not/there", data)
    hosts = os.listdir("/etc")
    why = "its data is gone" if how == "gone" else "its data is not a folder"
    for command in (
        ("start", "one"),
        ("run", "--rm", "-v", "keep:/data", "base", "touch", "/data/x"),
        ("create", "-v", "keep:/data", "base"),
        ("volume", "create", "keep"),
    ):
        said = refused(pyctr, *command, because=why, then="system check --repair")
        assert "volume keep" in said and data in said
    assert os.listdir("/etc") == hosts
    if how != "gone":
        os.unlink(data)
    os.rename(f"{pyctr.root}/safe", data)
    assert kept(pyctr) == "kept", "it was put back"
    pyctr("start", "one")
    is_sound(pyctr)


def test_a_volume_whose_folder_was_removed_by_hand_can_be_removed(pyctr: Pyctr) -> None:
    use(pyctr)
    shutil.rmtree(f"{pyctr.root}/volumes/keep")
    pyctr("rm", "one")
    pyctr("volume", "rm", "keep")
    assert pyctr.out("volume", "ls", "-q") == ""
    is_sound(pyctr)
