"""Crashes that are no kill at a trace point (those: tests/reliability), and many at once."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from kernel import process
from runtime import cgroups
from tests.reliability.commands import image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def below_cgroups(name: str) -> list[str]:
    found = []
    for hierarchy in os.listdir("/sys/fs/cgroup"):
        path = f"/sys/fs/cgroup/{hierarchy}/pyctr/{name}"
        found += [path] if os.path.isdir(path) else []
    return found


def test_what_outlives_a_killed_monitor_in_a_shared_pid_namespace_is_ended(pyctr: Pyctr) -> None:
    """The kernel kills only the first process here; the next command kills its control group."""
    pyctr("run", "-d", "--name", "x", "base", "sleep", "1000")
    script = "sleep 1000 & echo ready; exec sleep 1000"
    flags = ("-d", "--name", "y", "--pid", "container:x")
    identity = pyctr.out("run", *flags, "base", "sh", "-c", script)
    deadline = time.monotonic() + 60
    while pyctr.out("logs", "y") != "ready":
        assert time.monotonic() < deadline
    pids = {pid: process.start_time(pid) for pid in cgroups.of(f"/pyctr/{identity}").pids()}
    assert len(pids) == 2
    first = int(pyctr.out("inspect", "--format", "{{.State.Pid}}", "y"))
    with open(f"/proc/{first}/stat") as stat:
        os.kill(int(stat.read().rpartition(")")[2].split()[1]), signal.SIGKILL)
    assert pyctr.out("inspect", "--format", "{{.State.Status}}", "y") == "exited"
    assert not any(process.is_alive(pid, since) for pid, since in pids.items())
    assert below_cgroups(identity) == []
    assert pyctr.out("inspect", "--format", "{{.State.Running}}", "x") == "true"
    pyctr("start", "y")


@pytest.mark.parametrize("flags", [(), ("--init",)])
def test_a_container_dies_with_its_monitor_and_is_recorded(
    pyctr: Pyctr, flags: tuple[str, ...]
) -> None:
    script = ("base", "sh", "-c", "sleep 1000 & sleep 1000")
    pyctr("run", "-d", "--name", "c", "-v", "/data", *flags, *script)
    pid = int(pyctr.out("inspect", "--format", "{{.State.Pid}}", "c"))
    with open(f"/proc/{pid}/stat") as stat:
        monitor = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}"
    assert pyctr.out("inspect", "--format", state, "c").startswith("exited 137 its monitor was")
    identity = pyctr.out("inspect", "--format", "{{.Id}}", "c")
    assert below_cgroups(identity) == []
    pyctr("start", "c")
    assert pyctr.out("inspect", "--format", "{{.State.Running}}", "c") == "true"


def test_after_a_reboot_nothing_is_believed_to_run(pyctr: Pyctr) -> None:
    """What a reboot leaves: the rows, pids that belong to others now, and an empty /run."""
    import sqlite3

    pyctr("run", "--name", "c", "base", "true")
    db = sqlite3.connect(f"{pyctr.root}/state.db")
    with db:
        db.execute(
            "UPDATE containers SET status = 'running', pid = ?, start_time = ?, monitor_pid = ?,"
            " monitor_start = ?",
            (os.getpid(), process.start_time(os.getpid())) * 2,
        )
    db.close()
    assert pyctr.out("ps", "-q") == ""
    assert pyctr.out("inspect", "--format", "{{.State.Status}}", "c") == "exited"
    os.kill(os.getpid(), 0)
    pyctr("start", "-a", "c")


def test_many_at_once_do_not_disturb_each_other(pyctr: Pyctr) -> None:
    pyctr("run", "--rm", "base", "true")
    script = "echo $HOSTNAME > /shared/$HOSTNAME; cat /shared/$HOSTNAME"
    argv = pyctr.argv(
        "run", "--rm", "-v", "shared:/shared", "-v", "/own", "base", "sh", "-c", script
    )
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE) for _ in range(12)]
    said = {process.communicate(timeout=60)[0].decode().strip() for process in running}
    assert [process.returncode for process in running] == [0] * 12
    assert len(said) == 12
    assert set(os.listdir(f"{pyctr.root}/volumes/shared/_data")) == said
    assert pyctr.out("ps", "-aq") == ""
    assert pyctr.out("volume", "ls", "-q") == "shared"


def test_two_created_at_once_over_one_empty_volume_both_see_it_complete(pyctr: Pyctr) -> None:
    pyctr("import", "-", "image", stdin=image())
    for round_ in range(3):
        names = [f"r{round_}n{n}" for n in range(4)]
        running = [
            subprocess.Popen(
                pyctr.argv("run", "--name", name, "-v", f"vol{round_}:/data", "image", "sh", "-c",
                           "cat /data/one /data/two"),
                stdout=subprocess.PIPE,
            )
            for name in names
        ]  # fmt: skip
        assert [p.communicate(timeout=60)[0] for p in running] == [b"12"] * 4


def test_without_the_database_the_volumes_are_there_again(pyctr: Pyctr) -> None:
    pyctr("run", "--rm", "-v", "keep:/data", "base", "sh", "-c", "echo kept > /data/f")
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        if os.path.exists(f"{pyctr.root}/{name}"):
            os.unlink(f"{pyctr.root}/{name}")
    assert pyctr.out("volume", "ls", "-q") == "keep"
    assert pyctr.out("run", "--rm", "-v", "keep:/data", "base", "cat", "/data/f") == "kept"
    assert len(pyctr.out("image", "ls", "-q").split()) == 1
