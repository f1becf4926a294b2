"""--explain tells what happens; --explain=sh does the same without pyctr."""

from __future__ import annotations

import os
import subprocess

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def test_explain_tells_each_step_with_call_reason_page_and_time(pyctr: Pyctr) -> None:
    ran = pyctr("run", "--rm", "--explain", "-v", "/data", "base", "echo", "out")
    assert ran.stdout == "out\n", "the story is told on stderr"
    lines = ran.stderr.splitlines()
    steps, reasons = lines[::2], lines[1::2]
    total = len(steps)
    assert [line.split("/")[0].strip() for line in steps] == [str(n + 1) for n in range(total)]
    assert all("[" in reason and "]" in reason for reason in reasons)
    story = "\n".join(steps)
    for call in ("unshare(CLONE_NEWPID)", "open_tree(", "pivot_root(", "execve('echo'"):
        assert call in story
    assert sum(" ms " in line for line in steps) >= total - 1


def test_create_start_and_exec_explain_as_well(pyctr: Pyctr) -> None:
    assert "pivot_root" in pyctr("create", "--name", "c", "--explain", "base", "sleep", "99").stderr
    assert "pivot_root" in pyctr("start", "--explain", "c").stderr
    told = pyctr("exec", "--explain", "c", "true").stderr
    assert "setns(pidfd_open(" in told and "execve('true'" in told


def test_the_script_builds_the_same_container_by_hand(pyctr: Pyctr, home_dir: str) -> None:
    script = "cat /data/file; id -u; hostname; cat /proc/1/comm; touch /kept"
    flags = ("-v", "vol:/data", "-h", "by-hand", "-m", "64m", "--name", "c")
    pyctr("run", "--rm", "-v", "vol:/data", "base", "sh", "-c", "echo volume > /data/file")
    text = pyctr("create", *flags, "--explain=sh", "base", "sh", "-c", script).stdout
    assert not any("pyctr" in line.split()[:2] for line in text.splitlines() if line[:1] != "#")
    ran = subprocess.run(["sh", "-c", text], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["volume", "0", "by-hand", "sh"], ran.stderr
    upper = pyctr.out("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", "c")
    assert os.path.exists(f"{upper}/kept"), "it writes into the same layer"
    again = subprocess.run(["sh", "-n", "-c", text], capture_output=True, check=True)
    assert again.stderr == b""
    identity = pyctr.out("inspect", "--format", "{{.Id}}", "c")
    with open("/proc/self/mountinfo") as table:
        assert home_dir not in table.read(), "nothing is left mounted"
    from runtime import cgroups

    cgroups.of(f"/pyctr/{identity}").remove()
