"""kill -9 at every trace point of a container's life: the next command mends what is left."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import tarfile
import time

import pytest

from kernel import process, trace
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

FILES = {"data/one": "1", "data/two": "2", "etc/passwd": "root:x:0:0:root:/:/bin/sh\n"}
FLAGS = (
    "--read-only --ulimit nofile=100 --sysctl net.core.somaxconn=99 --oom-score-adj 10"
    " --security-opt no-new-privileges"
)
SHARING = ("JoinNamespaces", "BindFromPeer")
COMMAND = (
    "run",
    "--rm",
    "--name",
    "c",
    "-v",
    "vol:/data",
    "-v",
    "/data/below",
    *FLAGS.split(),
    "image",
)
SCRIPT = ("sh", "-c", "cat /data/one /data/two; echo x > /data/three; echo y > /data/below/f")


def points() -> list[str]:
    """The points that one `run --rm` can pass: those of the plan's steps and of the engine."""
    import runtime.filesystem  # noqa: F401

    for module in ("engine.create", "engine.remove", "engine.monitor", "engine.start",
                   "runtime.filesystem", "volumes.populate"):  # fmt: skip
        importlib.import_module(module)
    rooms = ("engine.", "runtime.", "volumes.")
    elsewhere = ["EnterNamespace", "AllocateConsole", "Execute.after", "renaming", "attaching"]
    elsewhere += [
        "engine.pause.",
        "engine.mending.",
        "engine.reconcile.",
        "engine.remove.",
        "engine.stop.",
    ]
    elsewhere += ["engine.update.", "engine.monitor.waited", "engine.logs.", "engine.probe."]
    elsewhere += ["engine.erase.locked", "volumes.store.found", "engine.network", "engine.linked."]
    elsewhere += ["FindPeer", *SHARING, "engine.rotation.", "engine.boot.", "runtime.rootfs."]
    elsewhere += ["engine.resting."]
    elsewhere += ["MountCgroups1"] if cgroups.hierarchies().pure_v2 else []
    return [
        name
        for name in trace.names()
        if name.startswith(rooms) and not any(word in name for word in elsewhere)
    ]


def image() -> bytes:
    """busybox with a folder /data, as an archive."""
    from images.base import find_busybox

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, text in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
        made.add(find_busybox(), "bin/sh")
        made.add(find_busybox(), "bin/cat")
    return out.getvalue()


def below_cgroups(name: str) -> list[str]:
    found = []
    for hierarchy in os.listdir("/sys/fs/cgroup"):
        path = f"/sys/fs/cgroup/{hierarchy}/pyctr/{name}"
        found += [path] if os.path.isdir(path) else []
    return found


def settled(pyctr: Pyctr, identities: list[str]) -> bool:
    """Whether nothing of these containers is left but their rows' history."""
    return not any(below_cgroups(name) for name in identities)


@pytest.mark.parametrize("point", points())
def test_after_a_kill_at_any_point_nothing_is_lost_and_nothing_is_left(
    pyctr: Pyctr, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyctr("import", "-", "image", stdin=image())
    monkeypatch.setenv("PYCTR_TRACE", f"kill:{point}")
    ran = pyctr(*COMMAND, *SCRIPT, code=None)
    monkeypatch.delenv("PYCTR_TRACE")
    folder = f"{pyctr.root}/containers"
    identities = os.listdir(folder) if os.path.isdir(folder) else []

    listed = pyctr.out("ps", "-a", "--format", "{{.Names}} {{.State}}").split("\n")
    assert set(listed) <= {"", "c exited", "c created", "c running"}, listed
    data = f"{pyctr.root}/volumes/vol/_data"
    if os.path.isdir(data):
        seen = set(os.listdir(data)) - {"below", "three"}
        assert seen in (set(), {"one", "two"}), "the first content is absent or complete"
    recorded = point == "engine.monitor.exit_recorded"  # the exit code was known by then
    assert recorded or ran.returncode != 0, "the point was passed"
    if recorded:
        assert listed == [""], "--rm holds all the same"

    pyctr("rm", "-f", "c")
    again = pyctr(*COMMAND, *SCRIPT)
    assert again.stdout == "12", "the same command works afterwards"
    assert pyctr.out("run", "--rm", "-v", "vol:/data", "image", "cat", "/data/three") == "x"
    assert pyctr.out("ps", "-aq") == ""
    assert os.listdir(folder) == []
    deadline = time.monotonic() + 10
    while not settled(pyctr, identities):
        assert time.monotonic() < deadline, "control groups are left"
        pyctr("ps", "-aq")
    pyctr("volume", "prune", "-f")
    assert pyctr.out("volume", "ls", "-q") == "vol", "no anonymous volume is left"
    run = os.environ["PYCTR_RUN"]
    assert not os.path.isdir(run) or os.listdir(run) == []


@pytest.mark.parametrize(
    "point",
    [
        f"{step}.{moment}"
        for step in ("FindPeer", "Fork", *SHARING, "MakeDevice", "SwitchRoot")
        for moment in ("before", "after")
    ],
)
def test_a_kill_while_another_container_is_joined_hurts_only_the_one_that_joins(
    pyctr: Pyctr, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyctr("run", "-d", "--name", "x", "--ipc", "shareable", "base", "sleep", "1000")
    flags = "--pid container:x --ipc container:x --network container:x --init --device /dev/loop0"
    command = ("run", "--rm", "--name", "y", *flags.split(), "base", "echo", "fine")
    monkeypatch.setenv("PYCTR_TRACE", f"kill:runtime.step.{point}")
    assert pyctr(*command, code=None).returncode != 0
    monkeypatch.delenv("PYCTR_TRACE")
    assert pyctr.out("exec", "x", "ls", "/dev/shm") == ""
    pyctr("rm", "-f", "y")
    assert pyctr.out(*command) == "fine"
    assert pyctr.out("ps", "-a", "--format", "{{.Names}}") == "x"


def test_what_a_start_that_was_killed_has_made_is_gone_with_the_next_command(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is on record: the container is as it was before."""
    identity = pyctr.out("create", "--name", "c", "base", "sleep", "1000")
    monkeypatch.setenv("PYCTR_TRACE", "kill:runtime.step.MakeCgroup.after")
    assert pyctr("start", "c", code=None).returncode != 0
    monkeypatch.delenv("PYCTR_TRACE")
    assert pyctr.out("ps", "-a", "--format", "{{.State}}") == "created"
    assert below_cgroups(identity) == []
    assert os.listdir(os.environ["PYCTR_RUN"]) == []
    pyctr("start", "c")


def test_who_runs_a_container_learns_that_its_monitor_was_killed(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCTR_TRACE", "kill:engine.monitor.recorded")
    ran = pyctr("run", "--rm", "--name", "c", "base", "true", code=None)
    monkeypatch.delenv("PYCTR_TRACE")
    assert ran.stderr.startswith("pyctr: the monitor of container c died"), ran.stderr
    assert pyctr.out("ps", "-aq") == ""  # the monitor may have been dying still, before
    assert os.listdir(f"{pyctr.root}/containers") == []


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
                pyctr.argv("run", "--name", name, "-v", f"vol{round_}:/data", "image", *SCRIPT[:2],
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
