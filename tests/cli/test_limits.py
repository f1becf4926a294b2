"""The flags that limit a container: what they set, what they do, and what is refused."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.creation import amounts
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.conftest import Pyctr

V2 = cgroups.hierarchies().pure_v2
M = 1 << 20

# What a limit is called in version 1 and in version 2, below /sys/fs/cgroup of a container.
FILES = {
    "memory": ("memory/memory.limit_in_bytes", "memory.max"),
    "swap": ("memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
    "reservation": ("memory/memory.soft_limit_in_bytes", "memory.low"),
    "quota": ("cpu/cpu.cfs_quota_us", "cpu.max"),
    "period": ("cpu/cpu.cfs_period_us", "cpu.max"),
    "shares": ("cpu/cpu.shares", "cpu.weight"),
    "cpus": ("cpuset/cpuset.cpus", "cpuset.cpus"),
    "mems": ("cpuset/cpuset.mems", "cpuset.mems"),
    "pids": ("pids/pids.max", "pids.max"),
    "read_bps": ("blkio/blkio.throttle.read_bps_device", "io.max"),
    "write_bps": ("blkio/blkio.throttle.write_bps_device", "io.max"),
    "read_iops": ("blkio/blkio.throttle.read_iops_device", "io.max"),
    "write_iops": ("blkio/blkio.throttle.write_iops_device", "io.max"),
}


def in_force(pyctr: Pyctr, container: str, *names: str) -> list[str]:
    """What the control files hold, as the container itself sees them."""
    paths = [f"/sys/fs/cgroup/{FILES[name][V2]}" for name in names]
    return [pyctr.out("exec", container, "cat", path) for path in paths]


def needs(resources: dict[str, Any]) -> None:
    if missing := cgroups.of("/pyctr").lacking(resources):
        pytest.skip(f"this kernel lacks {missing}")


def test_memory_and_swap(pyctr: Pyctr) -> None:
    needs({"memory": {"limit": 64 * M, "swap": 65 * M}})
    for name, flags, memory, swap in (
        ("twice", (), 64 * M, 128 * M),
        ("zero", ("--memory-swap", "0"), 64 * M, 128 * M),
        ("equal", ("--memory-swap", "64m"), 64 * M, 64 * M),
        ("given", ("--memory-swap", "100m", "--memory-reservation", "50m"), 64 * M, 100 * M),
    ):
        pyctr("run", "-d", "--name", name, "-m", "64m", *flags, "base", "sleep", "1000")
        want = [str(memory), str(swap - memory if V2 else swap)]
        assert in_force(pyctr, name, "memory", "swap") == want, name
        shown = pyctr.out(
            "inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}", name
        )
        assert shown == f"{memory} {swap}"
    assert in_force(pyctr, "given", "reservation") == [str(50 * M)]
    pyctr("run", "-d", "--name", "free", "-m", "64m", "--memory-swap", "-1", "base", "sleep", "99")
    (swap_now,) = in_force(pyctr, "free", "swap")
    assert swap_now == "max" if V2 else int(swap_now) > 1 << 60


def test_a_container_that_uses_too_much_memory_is_killed(pyctr: Pyctr) -> None:
    flags = ("--name", "c", "-m", "16m", "--memory-swap", "16m")
    pyctr("run", *flags, "base", "tail", "/dev/zero", code=137)
    state = "{{.State.OOMKilled}} {{.State.ExitCode}}"
    assert pyctr.out("inspect", "--format", state, "c") == "true 137"
    pyctr("run", "--name", "d", "-m", "16m", "base", "sh", "-c", "exit 137", code=137)
    assert pyctr.out("inspect", "--format", state, "d") == "false 137"


@pytest.mark.skipif(V2, reason="version 2 has no such switches")
def test_what_only_version_1_has(pyctr: Pyctr) -> None:
    flags = ("--memory-swappiness", "0", "--oom-kill-disable", "-m", "16m")
    script = "x=x; while :; do x=$x$x; done"
    ran = pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
    assert ran.stderr == ""
    folder = f"{cgroups.hierarchies().v1['memory']}/pyctr/{ran.stdout.strip()}"
    assert _content(f"{folder}/memory.swappiness").strip() == "0"
    deadline = time.monotonic() + 60
    while "under_oom 1" not in _content(f"{folder}/memory.oom_control"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # It waits at its limit instead of being killed.
    assert _content(f"{folder}/memory.oom_control").startswith("oom_kill_disable 1\n")
    assert pyctr.out("inspect", "-f", "{{.State.Status}}", "c") == "running"
    said = pyctr("create", "--oom-kill-disable", "base", "true").stderr
    assert "warning" in said and "no memory limit" in said


def _content(path: str) -> str:
    with open(path) as file:
        return file.read()


@pytest.mark.skipif(not V2, reason="version 1 has them")
def test_what_version_2_has_not(pyctr: Pyctr) -> None:
    said = pyctr("create", "--memory-swappiness", "5", "base", "true", code=125).stderr
    assert "swappiness" in said and "version 2" in said and "--memory-swappiness" in said
    assert pyctr.out("ps", "-aq") == ""
    ran = pyctr("create", "--oom-kill-disable", "-m", "64m", "base", "true")
    assert "warning" in ran.stderr and "OOM killer" in ran.stderr
    pyctr("start", ran.stdout.strip())


def test_cpu_time(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "a", "--cpus", "0.5", "--cpu-shares", "512", "base", "sleep", "99")
    flags = "--cpu-period 50000 --cpu-quota 20000 --cpuset-cpus 0 --cpuset-mems 0"
    pyctr("run", "-d", "--name", "b", *flags.split(), "base", "sleep", "99")
    if V2:
        assert in_force(pyctr, "a", "quota", "shares") == ["50000 100000", "59"]
        assert in_force(pyctr, "b", "quota") == ["20000 50000"]
    else:
        assert in_force(pyctr, "a", "quota", "period", "shares") == ["50000", "100000", "512"]
        assert in_force(pyctr, "b", "quota", "period") == ["20000", "50000"]
    assert in_force(pyctr, "b", "cpus", "mems") == ["0", "0"]
    allowed = pyctr.out("exec", "b", "grep", "Cpus_allowed_list", "/proc/self/status")
    assert allowed.split()[-1] == "0", "what is executed later is limited as well"


def test_a_quota_holds_back(pyctr: Pyctr) -> None:
    """A busy loop with a tenth of a CPU gets that much, however many it could use."""
    identity = pyctr.out(
        "run",
        "-d",
        "--cpus",
        "0.1",
        "base",
        "sh",
        "-c",
        "while :; do :; done & while :; do :; done",
    )
    cgroup = cgroups.of(f"/pyctr/{identity}")
    began, before = time.monotonic(), cgroup.usage().cpu
    time.sleep(3)
    passed = time.monotonic() - began
    share = (cgroup.usage().cpu - before) / passed / 1e9
    assert share < 0.2, "more than twice of what it may have"


def test_processes(pyctr: Pyctr) -> None:
    script = "while true; do sleep 5 & done"
    ran = pyctr("run", "--rm", "--pids-limit", "10", "base", "sh", "-c", script, code=None)
    assert "can't fork" in ran.stderr
    for word in ("-1", "0"):
        pyctr("run", "-d", "--name", f"c{word}", "--pids-limit", word, "base", "sleep", "99")
        assert in_force(pyctr, f"c{word}", "pids") == ["max"]


def test_the_oom_score_is_that_of_every_process_inside(pyctr: Pyctr) -> None:
    show = ("cat", "/proc/self/oom_score_adj")
    pyctr("run", "-d", "--name", "c", "--oom-score-adj", "321", "base", "sleep", "1000")
    assert pyctr.out("exec", "c", *show) == "321"
    assert pyctr.out("exec", "c", "cat", "/proc/1/oom_score_adj") == "321"
    own = int(_content("/proc/self/oom_score_adj"))
    ran = pyctr("run", "--rm", "--oom-score-adj", "-1000", "base", *show, code=None)
    if ran.returncode:  # without CAP_SYS_RESOURCE nobody may lower it
        assert ran.returncode == 125 and "CAP_SYS_RESOURCE" in ran.stderr
    else:
        assert ran.stdout == "-1000\n" and own > -1000


def test_block_devices_are_limited_by_path(pyctr: Pyctr, loop_device: str) -> None:
    number = os.stat(loop_device).st_rdev
    device = f"{os.major(number)}:{os.minor(number)}"
    rates = {"read_bps": "1mb", "write_bps": "2mb", "read_iops": "300", "write_iops": "400"}
    flags = [f"--device-{n.replace('_', '-')}={loop_device}:{rate}" for n, rate in rates.items()]
    pyctr("run", "-d", "--name", "c", *flags, "base", "sleep", "1000")
    found = in_force(pyctr, "c", *rates)
    if V2:
        assert found[0] == f"{device} rbps={M} wbps={2 * M} riops=300 wiops=400"
    else:
        assert found == [f"{device} {n}" for n in (M, 2 * M, 300, 400)]


def test_a_path_is_looked_up_at_each_start(pyctr: Pyctr, loop_device: str, home_dir: str) -> None:
    link = f"/dev/pyctr-{os.path.basename(home_dir)}"
    os.symlink("/dev/null", link)
    try:
        pyctr("create", "--name", "c", "--device-read-bps", f"{link}:1m", "base", "true")
        said = pyctr("start", "c", code=1).stderr
        assert link in said and "no block device" in said
        os.unlink(link)
        assert "no such file" in pyctr("start", "c", code=1).stderr
        os.symlink(loop_device, link)
        pyctr("start", "c")
    finally:
        os.unlink(link)


def test_reading_through_a_limit_takes_its_time(pyctr: Pyctr, loop_device: str) -> None:
    """Three megabytes of a file system at one a second; the page cache is of no use at first."""
    subprocess.run(["mkfs.ext4", "-q", loop_device], check=True, capture_output=True, timeout=60)
    folder = f"{pyctr.root}/mounted"
    os.mkdir(folder)
    subprocess.run(["mount", loop_device, folder], check=True, timeout=60)
    try:
        with open(f"{folder}/file", "wb") as file:
            file.write(os.urandom(3 * M))
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        limit = ("--device-read-bps", f"{loop_device}:1m")
        began = time.monotonic()
        read = ("base", "wc", "-c", "/in/file")
        shown = pyctr.out("run", "--rm", *limit, "-v", f"{folder}:/in:ro", *read)
        assert shown == f"{3 * M} /in/file"
        assert time.monotonic() - began > 1.5
    finally:
        subprocess.run(["umount", folder], check=True, timeout=60)


def test_weights(pyctr: Pyctr, loop_device: str) -> None:
    needs({"blockIO": {"weight": 300}})
    identity = pyctr.out("run", "-d", "--blkio-weight", "300", "base", "sleep", "1000")
    ((path, value),) = cgroups.of(f"/pyctr/{identity}").writes({"blockIO": {"weight": 300}})
    assert _content(path).split()[-1] == value.split()[-1]
    assert value.split()[-1] == "300" or path.endswith("io.weight")
    if "bfq" not in path:
        pytest.skip("weights of one device need BFQ here")
    scheduler = f"/sys/block/{os.path.basename(loop_device)}/queue/scheduler"
    flags = ("--blkio-weight-device", f"{loop_device}:200")
    said = pyctr("run", "--rm", *flags, "base", "true", code=125).stderr
    assert "weight" in said and "queue/scheduler" in said
    with open(scheduler, "w") as file:
        file.write("bfq")
    try:
        pyctr("run", "--rm", *flags, "base", "true")
    finally:
        with open(scheduler, "w") as file:
            file.write("none")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--memory 5m", "minimum is 6m"),
        ("--memory-reservation 5m", "minimum is 6m"),
        ("--memory 64m --memory-reservation 65m", "--memory-reservation"),
        ("--memory 64m --memory-swap 63m", "--memory-swap"),
        ("--memory-swap 64m", "--memory"),
        ("--memory-swappiness 101", "between 0 and 100"),
        ("--memory-swappiness -2", "between 0 and 100"),
        ("--oom-score-adj 1001", "between -1000 and 1000"),
        ("--cpus 1 --cpu-quota 5000", "--cpu-quota"),
        ("--cpus 1 --cpu-period 5000", "--cpu-period"),
        ("--cpus 1000", "CPUs of this host"),
        ("--cpu-quota 999", "1000 microseconds"),
        ("--cpu-period 999", "between 1000 and 1000000"),
        ("--cpu-shares 1", "between 2 and"),
        ("--cpuset-cpus 5000", "requested 5000, available"),
        ("--cpuset-mems 60", "requested 60, available"),
        ("--cpuset-cpus 1-0", "list such as"),
        ("--blkio-weight 9", "between 10 and 1000"),
        ("--blkio-weight-device /dev/vda:1001", "between 10 and 1000"),
        ("--blkio-weight-device vda:100", "/dev/NAME:WEIGHT"),
        ("--device-read-bps /dev/vda", "/dev/NAME:RATE"),
        ("--device-read-bps /dev/vda:fast", "'fast' is not a number"),
        ("--device-write-iops /dev/vda:1m", "not a whole number"),
        ("--cpu-rt-period 5", "--cpu-rt-period is not supported: control groups of version 2"),
        ("--cpu-rt-runtime=5", "--cpu-rt-runtime is not supported"),
        ("--kernel-memory 5", "--kernel-memory is not supported: the kernel has dropped"),
        ("--cpu-count 5", "--cpu-count is not supported: it is for Windows"),
        ("--cpu-percent 5", "--cpu-percent is not supported: it is for Windows"),
        ("--io-maxbandwidth 5", "--io-maxbandwidth is not supported: it is for Windows"),
        ("--io-maxiops 5", "--io-maxiops is not supported: it is for Windows"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    pyctr: Pyctr, flags: str, why: str
) -> None:
    said = pyctr("create", *flags.split(), "-v", "/data", "base", "true", code=125).stderr
    assert why in said
    assert pyctr.out("ps", "-aq") == pyctr.out("volume", "ls", "-q") == ""


def test_zero_means_no_limit(pyctr: Pyctr) -> None:
    flags = (
        "--memory 0 --memory-swap 0 --memory-reservation 0 --cpus 0 --cpu-period 0 --cpu-quota 0"
        " --cpu-shares 0 --blkio-weight 0 --pids-limit 0 --memory-swappiness -1"
    )
    assert pyctr.out("run", "--rm", *flags.split(), "base", "echo", "x") == "x"
    pyctr("run", "-d", "--name", "c", "--cpuset-cpus", "0", "base", "sleep", "99")
    assert in_force(pyctr, "c", "cpus") == ["0"], "of the CPUs, 0 is the first one"


READERS = [
    amounts.memory, amounts.swap, amounts.swappiness, amounts.cpus, amounts.period, amounts.quota,
    amounts.shares, amounts.cpu_list, amounts.pids, amounts.weight, amounts.device_weight,
    amounts.device_bytes, amounts.device_operations, amounts.oom_score,
]  # fmt: skip


@pytest.mark.parametrize("read", READERS)
@given(text=st.text("-0123456789.,:/dev²mkb", max_size=12) | st.text(max_size=5))
def test_any_word_is_a_quantity_or_refused(read: Callable[[str], Any], text: str) -> None:
    try:
        found = read(text)
    except ValueError:
        return
    assert isinstance(found, int | str | tuple)


@given(st.integers(0, 10**15))
def test_a_device_may_have_colons_in_its_path(rate: int) -> None:
    path = "/dev/disk/by-path/pci-0000:00:1f.2-ata-1"
    assert amounts.device_operations(f"{path}:{rate}") == (path, rate)
    assert amounts.device_bytes(f"{path}:{rate}") == (path, rate)
