"""Which hierarchies there are is read from the mount table; limits become the right files."""

from __future__ import annotations

import contextlib
import mmap
import os
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kernel.clone import clone3
from runtime import cgroups, cgroups_v1, cgroups_v2, device_filter
from runtime.defaults import device_rules
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

V1 = """\
25 20 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
26 20 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
27 20 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 20 0:25 / /sys/fs/cgroup/mem\\040ory rw - cgroup cgroup rw,memory
"""
V2 = "30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
SYSTEMD_ONLY = V2 + "27 20 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"


def test_three_layouts_are_told_apart() -> None:
    hybrid = cgroups.parse_mountinfo(V1)
    assert hybrid.v1["cpu"] == hybrid.v1["cpuacct"] == "/sys/fs/cgroup/cpu,cpuacct"
    assert hybrid.v1["memory"] == "/sys/fs/cgroup/mem ory"
    assert hybrid.v2 == "/sys/fs/cgroup/unified" and not hybrid.pure_v2
    assert cgroups.parse_mountinfo(V2).pure_v2
    assert cgroups.parse_mountinfo(SYSTEMD_ONLY).pure_v2, "a named hierarchy controls nothing"
    with pytest.raises(RuntimeFailure, match="no control groups"):
        cgroups.of("/x", cgroups.parse_mountinfo(""))


RESOURCES: dict[str, Any] = {
    "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
    "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1", "mems": "0"},
    "pids": {"limit": 7},
    "blockIO": {
        "weight": 1000,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}],
        "throttleWriteBpsDevice": [{"major": 8, "minor": 16, "rate": 0}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 5}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 6}],
    },
}


def test_limits_of_version_2() -> None:
    made = [(file, value) for _, file, value in cgroups_v2.wanted(RESOURCES)]
    wanted = dict(made)
    assert wanted["memory.max"] == "1000"
    assert wanted["memory.swap.max"] == "2000", "without the memory in it"
    assert wanted["memory.low"] == "500"
    assert wanted["cpu.weight"] == "100", "the usual shares are the usual weight"
    assert wanted["cpu.max"] == "50000 100000"
    assert wanted["cpuset.cpus"] == "0-1" and wanted["cpuset.mems"] == "0"
    assert wanted["pids.max"] == "7"
    assert ("io.weight", "default 10000") in made and ("io.weight", "8:0 1") in made
    assert [value for file, value in made if file == "io.max"] == [
        "8:0 rbps=100", "8:16 wbps=max", "8:0 riops=5", "8:0 wiops=6",
    ]  # fmt: skip


def values_of_version_2(resources: dict[str, Any], **more: str) -> list[str]:
    return [value for _, _, value in cgroups_v2.wanted(resources, **more)]


def test_no_limit_of_version_2() -> None:
    assert values_of_version_2({"memory": {"limit": 9, "swap": -1}}) == ["9", "max"]
    assert values_of_version_2({"memory": {"limit": -1, "swap": -1}}) == ["max", "max"]
    assert values_of_version_2({"cpu": {"quota": -1}}) == ["max 100000"]
    assert values_of_version_2({"cpu": {"period": 5000}}) == ["max 5000"]
    assert values_of_version_2({"pids": {"limit": -1}}) == ["max"]
    with pytest.raises(RuntimeFailure, match="smaller memory limit"):
        cgroups_v2.wanted({"memory": {"swap": 5}})


def test_the_bfq_scheduler_takes_weights_as_they_are() -> None:
    block = {"weight": 300, "weightDevice": [{"major": 8, "minor": 0, "weight": 20}]}
    made = cgroups_v2.wanted({"blockIO": block}, "io.bfq.weight")
    assert [line[1:] for line in made] == [
        ("io.bfq.weight", "default 300"),
        ("io.bfq.weight", "8:0 20"),
    ]


def test_limits_of_version_1() -> None:
    resources = {**RESOURCES, "memory": {**RESOURCES["memory"], "swappiness": 0}}
    resources["memory"]["disableOOMKiller"] = True
    assert [line[1:] for line in cgroups_v1.wanted(resources)] == [
        ("memory.limit_in_bytes", "1000"),
        ("memory.memsw.limit_in_bytes", "3000"),
        ("memory.soft_limit_in_bytes", "500"),
        ("memory.swappiness", "0"),
        ("memory.oom_control", "1"),
        ("cpu.shares", "1024"),
        ("cpu.cfs_period_us", "100000"),
        ("cpu.cfs_quota_us", "50000"),
        ("cpuset.cpus", "0-1"),
        ("cpuset.mems", "0"),
        ("pids.max", "7"),
        ("blkio.bfq.weight", "1000"),
        ("blkio.bfq.weight_device", "8:0 10"),
        ("blkio.throttle.read_bps_device", "8:0 100"),
        ("blkio.throttle.write_bps_device", "8:16 0"),
        ("blkio.throttle.read_iops_device", "8:0 5"),
        ("blkio.throttle.write_iops_device", "8:0 6"),
    ]


LIMITS = st.integers(1, 100) | st.just(-1)


@given(LIMITS, LIMITS, LIMITS, LIMITS)
def test_memory_with_swap_is_never_below_memory(
    memory: int, swap: int, new_memory: int, new_swap: int
) -> None:
    """Version 1 refuses every write after which it would be, and so does this model of it."""

    def size(value: int) -> int:
        return 1 << 60 if value == -1 else value

    assume(size(memory) <= size(swap) and size(new_memory) <= size(new_swap))
    now = {"memory.limit_in_bytes": size(memory), "memory.memsw.limit_in_bytes": size(swap)}

    def write(lines: list[tuple[str, int]]) -> None:
        for file, value in lines:
            now[file] = value
            assert now["memory.limit_in_bytes"] <= now["memory.memsw.limit_in_bytes"]

    change = {"memory": {"limit": new_memory, "swap": new_swap}}
    in_force = 0 if swap == -1 else swap
    lines = [(file, size(int(value))) for _, file, value in cgroups_v1.wanted(change, in_force)]
    before = [(file, now[file]) for file, _ in reversed(lines)]
    write(lines)
    write(before)
    assert now == {"memory.limit_in_bytes": size(memory), "memory.memsw.limit_in_bytes": size(swap)}


@pytest.mark.parametrize(
    ("shares", "weight"), [(2, 1), (100, 17), (512, 59), (1024, 100), (2048, 174), (262144, 10000)]
)
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert cgroups_v2.weight_of_shares(shares) == weight


@given(st.integers(0, 1 << 20))
def test_more_shares_are_no_less_weight(shares: int) -> None:
    weight = cgroups_v2.weight_of_shares(shares)
    assert 1 <= weight <= cgroups_v2.weight_of_shares(shares + 1) <= 10000


def test_what_version_2_has_not_is_told_by_name() -> None:
    found = cgroups.Hierarchies({}, "/sys/fs/cgroup", ("cpu",))
    of = cgroups_v2.Cgroup("/pyctr/x", found)
    with pytest.raises(RuntimeFailure, match=r"memory\.swappiness.*no such limit"):
        of.writes({"memory": {"swappiness": 5}})
    with pytest.raises(RuntimeFailure, match=r"pids\.max.*not available in /sys/fs/cgroup"):
        of.writes({"pids": {"limit": 5}})


def test_a_controller_that_is_not_mounted_is_told_by_name() -> None:
    of = cgroups_v1.Cgroup("/pyctr/x", cgroups.Hierarchies({"pids": "/sys/fs/cgroup/pids"}))
    with pytest.raises(RuntimeFailure, match=r"cpu\.shares.*cpu controller is not mounted"):
        of.writes({"cpu": {"shares": 5}})


def test_device_rules_become_lines_of_version_1() -> None:
    lines = [cgroups_v1.device_rule(rule) for rule in device_rules()]
    assert lines[0] == "a" or lines[0].startswith("a ")
    assert "c 1:3 rwm" in lines and "c 136:* rwm" in lines and "b *:* m" in lines


def test_device_rules_become_a_program_that_the_kernel_accepts() -> None:
    """The verifier of this kernel reads the program of version 2, whatever layout the host has."""
    program = device_filter.assemble(device_rules())
    assert len(program) % 8 == 0
    fd = device_filter.load(program)
    os.close(fd)


@pytest.mark.parametrize(
    ("rule", "reads", "writes"),
    [
        (None, False, False),
        ({"allow": True, "type": "b", "major": 7, "minor": 0, "access": "r"}, True, False),
        ({"allow": True, "type": "b", "major": 7, "minor": -1, "access": "rw"}, True, True),
        ({"allow": True, "type": "c", "major": 7, "minor": 0, "access": "rwm"}, False, False),
        ({"allow": True, "type": "b", "major": 7, "minor": 1, "access": "rwm"}, False, False),
        ({"allow": True, "access": "rwm"}, True, True),
    ],
)
def test_the_program_of_version_2_decides_who_opens_what(
    home_dir: str, rule: dict[str, object] | None, reads: bool, writes: bool
) -> None:
    """On hybrid hosts as well: a program can be attached to any control group of version 2."""
    top = cgroups.hierarchies().v2
    if not top or not os.path.exists("/dev/loop0"):
        pytest.skip("no cgroup2 hierarchy, or no /dev/loop0")
    folder = f"{top}/test-{os.path.basename(home_dir)}"
    os.mkdir(folder)
    try:
        device_filter.attach(folder, [*device_rules(), *([rule] if rule else [])])
        pid = os.fork()
        if pid == 0:
            cgroups.write(folder, "cgroup.procs", str(os.getpid()))
            os._exit(
                sum(1 << n for n, flag in enumerate((os.O_RDONLY, os.O_WRONLY)) if opens(flag))
            )
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert (bool(code & 1), bool(code & 2)) == (reads, writes)
    finally:
        cgroups.remove_below(folder)


def opens(flags: int) -> bool:
    try:
        os.close(os.open("/dev/loop0", flags))
    except PermissionError:
        return False
    return True


@pytest.fixture
def path(home_dir: str) -> str:
    """A place for a control group that no other test has."""
    return f"/pyctr/test-{os.path.basename(home_dir)}"


@contextlib.contextmanager
def made(path: str, resources: dict[str, Any]) -> Iterator[cgroups.Cgroup]:
    """A control group, removed afterwards with what is in it."""
    cgroup = cgroups.of(path)
    try:
        cgroup.create(resources)
        yield cgroup
    finally:
        cgroup.kill()
        cgroup.remove()
    assert not any(os.path.isdir(folder) for folder in cgroup.folders)


def run_in(cgroup: cgroups.Cgroup, work: Callable[[], None]) -> int:
    """A child that does some work inside the control group; its pid."""
    entered, entering = os.pipe()
    pid = clone3(0, cgroup.unified)
    if pid == 0:
        code = 1
        try:
            cgroups.enter(cgroup)
            os.close(entering)
            work()
            code = 0
        finally:
            os._exit(code)
    os.close(entering)
    os.read(entered, 1)
    os.close(entered)
    return pid


def content(cgroup: cgroups.Cgroup, resources: dict[str, Any]) -> list[str]:
    """What the files of these limits hold."""
    found = []
    for path, _ in cgroup.writes(resources):
        with open(path) as file:
            found.append(file.read().strip())
    return found


def test_a_cgroup_of_this_host_limits_counts_and_goes(path: str) -> None:
    with made(path, {"pids": {"limit": 5}, "devices": device_rules()}) as cgroup:
        pid = run_in(cgroup, lambda: time.sleep(100))
        assert cgroup.pids() == [pid]
        assert cgroup.oom_kills() == 0
        cgroup.freeze(True)
        cgroup.freeze(False)
        cgroup.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def test_a_process_that_entered_is_in_the_cgroup_of_every_hierarchy(path: str) -> None:
    with made(path, {}) as cgroup:
        pid = run_in(cgroup, lambda: time.sleep(100))
        for folder in cgroup.folders:
            assert cgroups.read(folder, "cgroup.procs") == str(pid), folder
        cgroup.kill()
        os.waitpid(pid, 0)


def test_usage_is_counted(path: str) -> None:
    def work() -> None:
        kept = bytearray(os.urandom(1 << 20) * 32)
        until = time.process_time() + 0.2
        while time.process_time() < until:
            kept[0] += 1
            kept[0] = 0
        time.sleep(100)

    with made(path, {"memory": {"limit": 256 << 20}, "pids": {"limit": 9}}) as cgroup:
        assert cgroup.usage().cpu == 0 and cgroup.usage().pids == 0
        pid = run_in(cgroup, work)
        deadline = time.monotonic() + 60
        while (found := cgroup.usage()).cpu < 200_000_000 or found.memory < 32 << 20:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found.memory_limit == 256 << 20
        assert found.memory <= 256 << 20
        assert found.pids == 1
        cgroup.kill()
        os.waitpid(pid, 0)


def test_what_can_be_undone_is_undone(path: str) -> None:
    before = {"memory": {"limit": 64 << 20, "swap": 80 << 20}, "pids": {"limit": 7}}
    with made(path, before) as cgroup:
        if cgroup.lacking({"memory": before["memory"]}):
            before["memory"].pop("swap")
        held = content(cgroup, before)
        change = {
            "memory": {"limit": 128 << 20, "swap": 256 << 20},
            "cpu": {"quota": 20000, "period": 50000, "shares": 100},
            "pids": {"limit": -1},
        }
        writes = cgroup.writes(change)
        undoing = cgroups.undoing(writes)
        cgroups.write_all(writes)
        assert content(cgroup, before) != held
        cgroups.write_all(undoing)
        assert content(cgroup, before) == held


def test_nothing_is_made_below_a_frozen_cgroup(path: str) -> None:
    with made(path, {}) as parent:
        parent.freeze(True)
        child = cgroups.of(f"{path}/child")
        with pytest.raises(RuntimeFailure, match="parent control group is frozen"):
            child.create({})
        parent.freeze(False)
        child.create({})
        child.remove()


def test_a_new_cpuset_is_filled_before_anything_joins(path: str) -> None:
    """Version 1 makes it empty, and refuses every process until it is not."""
    found = cgroups.hierarchies()
    with made(f"{path}/deep/down", {}) as cgroup:
        pid = run_in(cgroup, lambda: time.sleep(100))
        assert pid in cgroup.pids()
        assert found.pure_v2 or cgroup.available()[0] != ""
        cgroup.kill()
        os.waitpid(pid, 0)
    cgroups.of(f"{path}/deep").remove()
    cgroups.of(path).remove()


def test_a_kernel_without_a_file_is_noticed(path: str) -> None:
    with made(path, {}) as cgroup:
        resources = {"pids": {"limit": 5}, "memory": {"swappiness": 10}}
        lacking = cgroup.lacking(resources)
        assert "pids.limit" not in lacking
        assert ("memory.swappiness" in lacking) == cgroups.hierarchies().pure_v2
        assert cgroup.available()[0], "the CPUs are told"


def test_reading_a_block_device_is_throttled(path: str, loop_device: str) -> None:
    """Two megabytes at one a second take two seconds; without the limit they take none."""
    number = os.stat(loop_device).st_rdev
    device = {"major": os.major(number), "minor": os.minor(number)}
    size = 2 << 20

    def work() -> None:
        fd = os.open(loop_device, os.O_RDONLY | os.O_DIRECT)
        buffer = mmap.mmap(-1, 1 << 16)
        done = 0
        while done < size:
            done += os.readv(fd, [buffer])

    resources = {"blockIO": {"throttleReadBpsDevice": [{**device, "rate": 1 << 20}]}}
    with made(path, resources) as cgroup:
        began = time.monotonic()
        pid = run_in(cgroup, work)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert time.monotonic() - began > 1.5
        assert cgroup.usage().read >= size and cgroup.usage().written == 0
        limit = f"{device['major']}:{device['minor']}"
        assert content(cgroup, resources)[0].startswith(limit)


def schedule(device: str, scheduler: str) -> None:
    """Chooses the scheduler of a block device."""
    with open(f"/sys/block/{os.path.basename(device)}/queue/scheduler", "w") as file:
        file.write(scheduler)


def test_weights_need_the_scheduler_of_the_device(path: str, loop_device: str) -> None:
    number = os.stat(loop_device).st_rdev
    device = {"major": os.major(number), "minor": os.minor(number), "weight": 300}
    resources = {"blockIO": {"weight": 200, "weightDevice": [device]}}
    with made(path, {}) as cgroup:
        if cgroup.lacking(resources):
            pytest.skip("this kernel has no weights of block devices")
        if "bfq" not in cgroup.writes(resources)[0][0]:
            pytest.skip("this kernel has no BFQ scheduler")
        schedule(loop_device, "none")
        with pytest.raises(RuntimeFailure, match="not supported") as caught:
            cgroups.write_all(cgroup.writes(resources))
        assert "queue/scheduler" in caught.value.hint
        schedule(loop_device, "bfq")
        try:
            cgroups.write_all(cgroup.writes(resources))
            weight, of_device = content(cgroup, resources)
        finally:
            schedule(loop_device, "none")
        assert "200" in weight.split() and f"{device['major']}:{device['minor']} 300" in of_device
