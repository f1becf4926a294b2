"""Which hierarchies there are is read from the mount table; limits become the right files."""

from __future__ import annotations

import os

import pytest

from runtime import cgroups, cgroups_v1, cgroups_v2, device_filter
from runtime.defaults import device_rules
from runtime.errors import RuntimeFailure

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


def test_limits_of_version_2() -> None:
    resources = {
        "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0-1"},
        "pids": {"limit": 7},
    }
    wanted = dict(cgroups_v2.wanted(resources))
    assert wanted["memory.max"] == "1000"
    assert wanted["memory.swap.max"] == "2000", "without the memory in it"
    assert wanted["memory.low"] == "500"
    assert wanted["cpu.max"] == "50000 100000"
    assert wanted["cpuset.cpus"] == "0-1"
    assert wanted["pids.max"] == "7"
    assert dict(cgroups_v2.wanted({"memory": {"limit": 9, "swap": -1}}))["memory.swap.max"] == "max"


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (262144, 10000)])
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert cgroups_v2.weight_of_shares(shares) == weight


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


def test_a_cgroup_of_this_host_limits_counts_and_goes(home_dir: str) -> None:
    path = f"/pyctr/test-{os.path.basename(home_dir)}"
    cgroup = cgroups.of(path)
    cgroup.create({"pids": {"limit": 5}, "devices": device_rules()})
    try:
        pid = os.fork()
        if pid == 0:
            os.execv("/bin/sleep", ["sleep", "100"])
        cgroup.add(pid)
        assert cgroup.pids() == [pid]
        assert cgroup.oom_kills() == 0
        cgroup.freeze(True)
        cgroup.freeze(False)
        cgroup.kill()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    finally:
        cgroup.remove()
    assert not any(os.path.isdir(folder) for folder in cgroup.folders)
