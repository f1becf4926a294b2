"""update: row and control group change together, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

V2 = cgroups.hierarchies().pure_v2
M = 1 << 20
POINTS = [f"engine.update.{name}" for name in ("noted", "written", "recorded")]


def limits(pyctr: Pyctr, name: str = "c") -> tuple[dict[str, int], dict[str, str]]:
    """(what the row says, what the control files of a running container hold)."""
    (shown,) = json.loads(pyctr.out("inspect", name))
    keys = ("Memory", "MemorySwap", "NanoCpus", "CpuShares", "PidsLimit")
    row = {key: shown["HostConfig"][key] for key in keys}
    cgroup = cgroups.of(f"/pyctr/{shown['Id']}")
    resources = {
        "memory": {"limit": 64 * M, "swap": 64 * M},
        "cpu": {"quota": 1, "shares": 2},
        "pids": {"limit": 1},
    }
    files = {}
    for path, _ in cgroup.writes(resources):
        with open(path) as file:
            files[os.path.basename(path)] = file.read().strip()
    return row, files


def agree(row: dict[str, int], files: dict[str, str]) -> None:
    memory, swap = row["Memory"], row["MemorySwap"]
    assert files["pids.max"] == str(row["PidsLimit"] or "max")
    if V2:
        assert files["memory.max"] == str(memory)
        assert files["memory.swap.max"] == str(swap - memory)
        assert files["cpu.max"].split()[0] == str(row["NanoCpus"] // 10_000)
    else:
        assert files["memory.limit_in_bytes"] == str(memory)
        assert files["memory.memsw.limit_in_bytes"] == str(swap)
        assert files["cpu.cfs_quota_us"] == str(row["NanoCpus"] // 10_000)
        assert files["cpu.shares"] == str(row["CpuShares"])


def start(pyctr: Pyctr, name: str = "c") -> None:
    flags = "-m 64m --cpus 0.5 --cpu-shares 500 --pids-limit 50".split()
    pyctr("run", "-d", "--name", name, *flags, "base", "sleep", "1000")


CHANGE = "-m 200m --memory-swap 300m --cpus 0.7 --cpu-shares 700 --pids-limit 70".split()
CHANGED = {
    "Memory": 200 * M, "MemorySwap": 300 * M, "NanoCpus": 700_000_000, "CpuShares": 700,
    "PidsLimit": 70,
}  # fmt: skip


def test_a_running_container_has_its_new_limits_at_once(pyctr: Pyctr) -> None:
    start(pyctr)
    agree(*limits(pyctr))
    assert pyctr.out("update", *CHANGE, "c") == "c"
    row, files = limits(pyctr)
    assert row == CHANGED
    agree(row, files)
    pyctr("update", "-m", "32m", "--memory-swap", "40m", "c")
    row, files = limits(pyctr)
    assert (row["Memory"], row["MemorySwap"]) == (32 * M, 40 * M), "in the other direction as well"
    agree(row, files)
    pyctr("update", "--pids-limit", "-1", "c")
    row, files = limits(pyctr)
    assert not row["PidsLimit"]
    agree(row, files)
    assert not os.listdir(_run_folder(pyctr)) or os.listdir(_run_folder(pyctr)) == ["attach.sock"]


def _run_folder(pyctr: Pyctr) -> str:
    return f"{os.environ['PYCTR_RUN']}/{pyctr.out('inspect', '-f', '{{.Id}}', 'c')}"


def test_the_new_limits_hold(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    pyctr("update", "--pids-limit", "5", "c")
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 9 & done"
    assert "can't fork" in pyctr("exec", "c", "sh", "-c", script, code=None).stderr
    pyctr("update", "--pids-limit", "500", "c")
    assert pyctr("exec", "c", "sh", "-c", script, code=None).stderr == ""


def test_a_stopped_container_has_them_at_its_next_start(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base", "sleep", "1000")
    pyctr("update", *CHANGE, "c")
    pyctr("start", "c")
    row, files = limits(pyctr)
    assert row == CHANGED
    agree(row, files)


def test_a_paused_container_can_be_changed(pyctr: Pyctr) -> None:
    start(pyctr)
    pyctr("pause", "c")
    pyctr("update", *CHANGE, "c")
    agree(*limits(pyctr))
    assert pyctr.out("inspect", "-f", "{{.State.Status}}", "c") == "paused"
    pyctr("unpause", "c")


def test_many_at_once_each_for_itself(pyctr: Pyctr) -> None:
    start(pyctr, "one")
    pyctr("create", "--name", "two", "base", "true")
    ran = pyctr("update", "--cpu-shares", "900", "one", "nosuch", "two", code=1)
    assert ran.stdout.split() == ["one", "two"]
    assert "no such container: nosuch" in ran.stderr
    template = "{{.HostConfig.CpuShares}}"
    assert pyctr.out("inspect", "-f", template, "one", "two").split() == ["900", "900"]


@pytest.mark.parametrize("point", POINTS)
def test_a_failure_in_the_middle_changes_nothing(
    pyctr: Pyctr, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(pyctr)
    before = limits(pyctr)
    monkeypatch.setenv("PYCTR_TRACE", f"fail:{point}")
    said = pyctr("update", *CHANGE, "c", code=None)
    monkeypatch.delenv("PYCTR_TRACE")
    assert said.returncode != 0 and point in said.stderr
    after = limits(pyctr)
    agree(*after)
    if point.endswith("recorded"):
        assert after[0] == CHANGED, "what is on record is done"
    else:
        assert after == before


def test_what_the_kernel_refuses_changes_nothing(pyctr: Pyctr) -> None:
    """Less memory than is in use cannot be had, short of killing somebody."""
    script = "x=x; while [ ${#x} -lt 40000000 ]; do x=$x$x; done; echo ready; sleep 1000; true"
    flags = "-m 256m --memory-swap 300m --cpus 0.5 --pids-limit 50".split()
    pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
    deadline = time.monotonic() + 60
    while pyctr.out("logs", "c") != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = limits(pyctr)
    said = pyctr("update", "-m", "16m", "--memory-swap", "16m", "--pids-limit", "60", "c", code=1)
    assert "in use" in said.stderr and "memory" in said.stderr
    assert limits(pyctr) == before
    assert pyctr.out("inspect", "-f", "{{.State.Running}}", "c") == "true", "nobody was killed"


@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_next_command_mends_it(
    pyctr: Pyctr, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(pyctr)
    before = limits(pyctr)
    monkeypatch.setenv("PYCTR_TRACE", f"kill:{point}")
    assert pyctr("update", *CHANGE, "c", code=None).returncode == -signal.SIGKILL
    monkeypatch.delenv("PYCTR_TRACE")
    pyctr("exec", "c", "true")
    row, files = limits(pyctr)
    agree(row, files)
    assert (row == CHANGED) == point.endswith("recorded")
    assert point.endswith("recorded") or (row, files) == before
    pyctr("update", *CHANGE, "c")
    assert limits(pyctr)[0] == CHANGED


def test_an_update_under_way_is_not_taken_for_a_crash(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(pyctr)
    monkeypatch.setenv("PYCTR_TRACE", "pause:engine.update.written")
    under_way = subprocess.Popen(pyctr.argv("update", *CHANGE, "c"), stdout=subprocess.PIPE)
    monkeypatch.delenv("PYCTR_TRACE")
    _, status = os.waitpid(under_way.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    row, files = limits(pyctr)
    assert row["PidsLimit"] == 50 and files["pids.max"] == "70", "half-way, and left alone"
    under_way.send_signal(signal.SIGCONT)
    assert under_way.communicate(timeout=60)[0] == b"c\n" and under_way.returncode == 0
    row, files = limits(pyctr)
    assert row == CHANGED
    agree(row, files)


def test_a_container_that_ends_meanwhile_has_them_at_its_next_start(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyctr("run", "-d", "--name", "c", "-i", "-m", "64m", "base", "cat")
    monkeypatch.setenv("PYCTR_TRACE", "pause:engine.update.noted")
    under_way = subprocess.Popen(pyctr.argv("update", *CHANGE, "c"), stdout=subprocess.PIPE)
    monkeypatch.delenv("PYCTR_TRACE")
    os.waitpid(under_way.pid, os.WUNTRACED)
    pid = int(pyctr.out("inspect", "-f", "{{.State.Pid}}", "c"))
    folder = cgroups.of(f"/pyctr/{pyctr.out('inspect', '-f', '{{.Id}}', 'c')}").folders[0]
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{pid}") and os.path.exists(folder):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    under_way.send_signal(signal.SIGCONT)
    assert under_way.communicate(timeout=60)[0] == b"c\n" and under_way.returncode == 0
    pyctr("wait", "c")
    assert limits_of_row(pyctr) == CHANGED
    pyctr("start", "c")
    row, files = limits(pyctr)
    agree(row, files)


def limits_of_row(pyctr: Pyctr) -> dict[str, int]:
    (shown,) = json.loads(pyctr.out("inspect", "c"))
    return {key: shown["HostConfig"][key] for key in CHANGED}


def test_two_updates_at_once_do_not_mix(pyctr: Pyctr) -> None:
    start(pyctr)
    running = [
        subprocess.Popen(
            pyctr.argv(
                "update", "-m", f"{n}m", "--memory-swap", f"{2 * n}m", "--pids-limit", f"{n}", "c"
            )
        )
        for n in (100, 120, 140, 160)
    ]
    assert [one.wait(timeout=60) for one in running] == [0] * 4
    row, files = limits(pyctr)
    assert row["PidsLimit"] * M == row["Memory"] == row["MemorySwap"] // 2
    agree(row, files)


@pytest.mark.parametrize(
    ("before", "change", "why"),
    [
        ("-m 64m", "-m 200m", "--memory-swap"),
        ("-m 64m", "--memory-swap 32m", "below the memory limit"),
        ("", "--memory-swap 64m", "no memory limit"),
        ("-m 64m", "--memory-reservation 65m", "above the memory limit"),
        ("--cpus 1", "--cpu-quota 5000", "a number of CPUs"),
        ("--cpu-quota 5000", "--cpus 1", "a CPU quota"),
        ("--cpu-period 5000", "--cpus 1", "a CPU period"),
        ("", "--cpus 1 --cpu-quota 5000", "contradict"),
        ("", "--cpuset-cpus 5000", "requested 5000, available"),
        ("--rm", "--restart always", "removed when it ends"),
    ],
)
def test_what_does_not_fit_is_refused(pyctr: Pyctr, before: str, change: str, why: str) -> None:
    pyctr("create", "--name", "c", *before.split(), "base", "true")
    row = limits_of_row(pyctr)
    ran = pyctr("update", *change.split(), "c", code=1)
    assert why in ran.stderr and ran.stdout == ""
    assert limits_of_row(pyctr) == row


@pytest.mark.parametrize(
    ("before", "change", "memory", "swap"),
    [
        ("", "-m 64m", 64, 128),
        ("-m 64m", "-m 100m", 100, 128),
        ("-m 64m", "-m 100m --memory-swap -1", 100, None),
        ("-m 64m --memory-swap -1", "-m 100m", 100, None),
        ("-m 64m --memory-swap 64m", "--memory-swap 80m", 64, 80),
    ],
)
def test_memory_and_swap_stay_a_pair(
    pyctr: Pyctr, before: str, change: str, memory: int, swap: int | None
) -> None:
    pyctr("run", "-d", "--name", "c", *before.split(), "base", "sleep", "1000")
    pyctr("update", *change.split(), "c")
    row = limits_of_row(pyctr)
    assert (row["Memory"], row["MemorySwap"]) == (memory * M, -1 if swap is None else swap * M)
    _, files = limits(pyctr)
    assert files["memory.max" if V2 else "memory.limit_in_bytes"] == str(memory * M)


def test_no_cpu_limit_any_more(pyctr: Pyctr) -> None:
    start(pyctr)
    pyctr("update", "--cpu-quota", "-1", "c")
    row, files = limits(pyctr)
    assert row["NanoCpus"] == 0
    assert files["cpu.max" if V2 else "cpu.cfs_quota_us"].split()[0] == ("max" if V2 else "-1")
    pyctr("update", "--cpus", "0.3", "c")
    agree(*limits(pyctr))


def throttles(pyctr: Pyctr, device: str) -> dict[str, str]:
    """The limits of one block device that are in force, by the names of version 2."""
    number = os.stat(device).st_rdev
    device = f"{os.major(number)}:{os.minor(number)}"
    found = {}
    if V2:
        for line in pyctr.out("exec", "c", "cat", "/sys/fs/cgroup/io.max").splitlines():
            if line.startswith(f"{device} "):
                found = dict(word.split("=") for word in line.split()[1:] if "=max" not in word)
        return found
    for short, name in (("rbps", "read_bps"), ("wbps", "write_bps"), ("riops", "read_iops")):
        path = f"/sys/fs/cgroup/blkio/blkio.throttle.{name}_device"
        for line in pyctr.out("exec", "c", "cat", path).splitlines():
            if line.startswith(f"{device} "):
                found[short] = line.split()[1]
    return found


def test_limits_of_block_devices_are_changed_one_by_one(pyctr: Pyctr, loop_device: str) -> None:
    flags = (f"--device-read-bps={loop_device}:1m", f"--device-read-iops={loop_device}:100")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sleep", "1000")
    pyctr("update", f"--device-read-bps={loop_device}:2m", f"--device-write-bps={loop_device}:3m",
          "c")  # fmt: skip
    want = {"rbps": str(2 * M), "wbps": str(3 * M), "riops": "100"}
    assert throttles(pyctr, loop_device) == want
    rates = "{{range .HostConfig.BlkioDeviceReadBps}}{{.Path}} {{.Rate}}{{end}}"
    assert pyctr.out("inspect", "-f", rates, "c") == f"{loop_device} {2 * M}"
    pyctr("stop", "-t", "0", "c")
    pyctr("start", "c")
    assert throttles(pyctr, loop_device) == want
    pyctr("update", f"--device-read-bps={loop_device}:0", "c")
    assert throttles(pyctr, loop_device) == {"wbps": str(3 * M), "riops": "100"}
    said = pyctr("update", "--device-read-bps=/dev/null:1m", "--cpu-shares", "7", "c", code=1)
    assert "no block device" in said.stderr
    assert limits_of_row(pyctr)["CpuShares"] == 0
    assert throttles(pyctr, loop_device) == {"wbps": str(3 * M), "riops": "100"}


def test_a_limit_of_a_block_device_is_undone(
    pyctr: Pyctr, loop_device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag = f"--device-read-bps={loop_device}:1m"
    pyctr("run", "-d", "--name", "c", flag, "base", "sleep", "1000")
    monkeypatch.setenv("PYCTR_TRACE", "fail:engine.update.written")
    pyctr("update", f"--device-read-bps={loop_device}:2m", f"--device-write-bps={loop_device}:3m",
          "c", code=None)  # fmt: skip
    monkeypatch.delenv("PYCTR_TRACE")
    assert throttles(pyctr, loop_device) == {"rbps": str(M)}


def test_restart_policies_are_changed(pyctr: Pyctr) -> None:
    from engine import containers, home

    pyctr("create", "--name", "c", "base", "true")
    pyctr("update", "--restart", "on-failure:3", "c")
    here = home.find()
    settings = containers.search(here, "c").settings
    assert (settings.restart, settings.restart_max) == ("on-failure", 3)
    pyctr("update", "--restart", "no", "c")
    assert containers.search(here, "c").settings.restart == "no"
    here.close()
    for word in ("sometimes", "always:3", "on-failure:x"):
        assert f"'{word}'" in pyctr("update", "--restart", word, "c", code=125).stderr


def test_an_update_is_an_event(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base", "true")
    pyctr("update", "--cpu-shares", "5", "c")
    pyctr("update", "-m", "64m", "--memory-swap", "5g", "nosuch", code=1)
    with open(f"{pyctr.root}/events.log") as log:
        events = [json.loads(line) for line in log]
    updates = [one for one in events if one["Action"] == "update"]
    assert [one["Actor"]["Attributes"]["name"] for one in updates] == ["c"]


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ((), "one or more flags"),
        (("--cpus", "0"), "between 0.01"),
        (("--memory", "0"), "minimum is 6m"),
        (("--cpu-rt-runtime", "5"), "--cpu-rt-runtime is not supported"),
        (("--cpu-rt-period", "5"), "--cpu-rt-period is not supported"),
        (("--kernel-memory", "5m"), "--kernel-memory is not supported"),
        (("--memory-swappiness", "5"), "unknown flag: --memory-swappiness"),
    ],
)
def test_what_cannot_be_changed_is_refused_by_name(
    pyctr: Pyctr, flags: tuple[str, ...], why: str
) -> None:
    pyctr("create", "--name", "c", "base", "true")
    assert why in pyctr("update", *flags, "c", code=125).stderr
