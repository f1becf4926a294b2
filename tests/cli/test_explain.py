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
    for call in ("clone3(CLONE_NEWPID|", "open_tree(", "pivot_root(", "execve('echo'"):
        assert call in story
    assert sum(" ms " in line for line in steps) >= total - 1


def test_create_start_and_exec_explain_as_well(pyctr: Pyctr) -> None:
    assert "pivot_root" in pyctr("create", "--name", "c", "--explain", "base", "sleep", "99").stderr
    assert "pivot_root" in pyctr("start", "--explain", "c").stderr
    told = pyctr("exec", "--explain", "c", "true").stderr
    assert "setns(pidfd_open(" in told and "execve('true'" in told


def by_hand(pyctr: Pyctr, *words: str) -> tuple[str, str]:
    """What a container says when its script is run, and when pyctr starts it; it is named "c"."""
    text = pyctr(
        "create", "--name", "c", *words[:-1], "--explain=sh", "base", "sh", "-c", words[-1]
    )
    ran = subprocess.run(["sh", "-c", text.stdout], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    try:
        return ran.stdout, pyctr("start", "-a", "c").stdout
    finally:
        identity = pyctr.out("inspect", "--format", "{{.Id}}", "c")
        from runtime import cgroups

        cgroups.of(f"/pyctr/{identity}").remove()
        pyctr("rm", "c")


def test_the_script_shares_the_namespaces_of_another_container(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "x", "--ipc", "shareable", "-h", "xhost", "base", "sleep", "1000")
    flags = ("--pid", "container:x", "--ipc", "container:x", "--network", "container:x")
    links = "for n in pid ipc net; do readlink /proc/self/ns/$n; done; hostname; cat /proc/1/comm"
    script, own = by_hand(pyctr, *flags, links)
    assert script == own == pyctr("exec", "x", "sh", "-c", links).stdout
    text = pyctr("create", *flags, "--explain=sh", "base", "true").stdout
    assert "# no command can clone a mount" in text, "what a shell cannot do is said"


def test_the_script_shares_what_the_host_has(pyctr: Pyctr) -> None:
    flags = ("--pid", "host", "--ipc", "host", "--uts", "host", "--cgroupns", "host")
    links = "for n in pid ipc uts cgroup; do readlink /proc/self/ns/$n; done; cat /proc/1/comm"
    script, own = by_hand(pyctr, *flags, "--network", "host", links)
    assert script == own and os.readlink("/proc/self/ns/pid") in own


def test_the_script_gives_devices_rights_and_an_init(pyctr: Pyctr) -> None:
    flags = ("--device", "/dev/loop0:/dev/l:r", "--init", "--cap-drop", "KILL", "--read-only")
    shown = (
        "tr '\\0' ' ' < /proc/1/cmdline | cut -c 1-12; head -c 1 /dev/l; touch /x;"
        "(: > /dev/l) || echo held by the control group; grep CapBnd /proc/self/status"
    )
    script, own = by_hand(pyctr, *flags, f"({shown}) 2>/dev/null")
    assert script == own
    assert own.startswith("/dev/init --") and "held by" in own
    assert own.split()[-1] == "00000000a80425db"


def test_the_script_says_which_capability_it_keeps_longer(pyctr: Pyctr) -> None:
    flags = ("--cap-drop", "ALL", "-u", "1000:5")
    script, own = by_hand(pyctr, *flags, "id -u; id -g")
    assert script == own == "1000\n5\n"
    text = pyctr("create", *flags, "--explain=sh", "base", "true").stdout
    assert "# CAP_SYS_CHROOT, CAP_SETUID, CAP_SETGID: kept only because" in text


def test_the_script_of_a_privileged_container(pyctr: Pyctr) -> None:
    script, own = by_hand(
        pyctr, "--privileged", "find /dev -type b | sort; grep CapBnd /proc/self/status;"
        "grep -c ' /proc/' /proc/mounts; grep -c 'cgroup rw' /proc/mounts; mkdir /sys/fs/cgroup/x"
    )  # fmt: skip
    assert script == own and "/dev/loop0" in own


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
