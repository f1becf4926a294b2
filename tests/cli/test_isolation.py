"""Flags about rights, namespaces and devices: each has the effect that Docker documents."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from kernel import process
from runtime import capabilities, cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Pyctr


def link(kind: str) -> tuple[str, str]:
    return "readlink", f"/proc/self/ns/{kind}"


def namespaces(pyctr: Pyctr, *command: str) -> dict[str, str]:
    """The namespaces of a process in a container, by name."""
    shown = pyctr.out(*command, "ls", "-l", "/proc/self/ns").splitlines()
    return dict(line.split()[-3::2] for line in shown if " -> " in line)


def started(pyctr: Pyctr, name: str, *flags: str) -> str:
    """A container that sleeps; its id."""
    return pyctr.out("run", "-d", "--name", name, *flags, "base", "sleep", "1000")


# -- the first process --------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_init_is_the_first_process_and_reaps_orphans(pyctr: Pyctr) -> None:
    zombies = ("sh", "-c", "cat /proc/[0-9]*/stat | grep -c ') Z ' || :")

    def left(name: str) -> str:
        pyctr("exec", name, "sh", "-c", "(sleep 0.1 &); sleep 0.3")
        return pyctr.out("exec", name, *zombies)

    started(pyctr, "bare")
    wait_for(lambda: left("bare") != "0")
    started(pyctr, "tini", "--init")
    left("tini")
    wait_for(lambda: pyctr.out("exec", "tini", *zombies) == "0")
    assert pyctr.out("exec", "tini", "cat", "/proc/1/cmdline").startswith("/dev/init\0--\0sleep")
    assert pyctr.out("diff", "tini") == "", "it stands on the container's own /dev"
    assert pyctr.out("inspect", "--format", "{{.Path}}", "tini") == "sleep"


def test_an_init_passes_signals_and_exit_codes_on(pyctr: Pyctr) -> None:
    pyctr("run", "--rm", "--init", "base", "sh", "-c", "exit 42", code=42)
    polite = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    pyctr("run", "-d", "--name", "c", "--init", "base", "sh", "-c", polite)
    wait_for(lambda: "ready" in pyctr.out("logs", "c"))
    pyctr("stop", "-t", "60", "c")
    assert pyctr.out("inspect", "--format", "{{.State.ExitCode}}", "c") == "9"
    pyctr("run", "--rm", "--init", "base", "nosuch", code=127)
    assert pyctr.out("run", "--rm", "--init", "-t", "base", "tty") == "/dev/pts/0\r"


def test_an_init_in_a_shared_pid_namespace_adopts_its_orphans(pyctr: Pyctr) -> None:
    started(pyctr, "x")
    script = (
        "sh -c 'sleep 1000 & echo $! > /child'; cut -d' ' -f4 /proc/$(cat /child)/stat; echo $PPID"
    )
    pyctr("run", "--name", "y", "--init", "--pid", "container:x", "base", "sh", "-c", script)
    parent, init = pyctr.out("logs", "y").split()
    assert parent == init != "1"


def test_without_a_static_init_it_says_what_to_install(
    pyctr: Pyctr, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"{home_dir}/bin"
    os.mkdir(folder)
    monkeypatch.setenv("PATH", folder)
    said = pyctr("create", "--init", "base", "true", code=125).stderr
    assert "no tini or catatonit" in said and "apt-get install tini" in said
    os.symlink("/bin/sh", f"{folder}/tini")
    said = pyctr("create", "--init", "base", "true", code=125).stderr
    assert f"{folder}/tini is not statically linked" in said
    with open(f"{folder}/catatonit", "w") as file:
        file.write("#!/bin/sh\n")
    os.chmod(f"{folder}/catatonit", 0o755)
    assert "apt-get install" in pyctr("create", "--init", "base", "true", code=125).stderr
    assert pyctr.out("ps", "-aq") == ""


# -- rights -------------------------------------------------------------------------------------


def bounding(pyctr: Pyctr, *flags: str) -> set[str]:
    """The capabilities of a container's process."""
    command = ("base", "grep", "-E", "Cap(Bnd|Eff|Prm)", "/proc/self/status")
    masks = {
        int(line.split()[1], 16) for line in pyctr.out("run", "--rm", *flags, *command).splitlines()
    }
    (mask,) = masks
    return {name.removeprefix("CAP_") for n, name in enumerate(capabilities.NAMES) if mask >> n & 1}


def own() -> set[str]:
    mask = capabilities.own_bounding()
    return {name.removeprefix("CAP_") for n, name in enumerate(capabilities.NAMES) if mask >> n & 1}


USUAL = {name.removeprefix("CAP_") for name in capabilities.DEFAULT}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--cap-add net_admin --cap-add CAP_SYS_PTRACE", USUAL | {"NET_ADMIN", "SYS_PTRACE"}),
        ("--cap-drop KILL --cap-drop cap_chown", USUAL - {"KILL", "CHOWN"}),
        ("--cap-drop ALL", set()),
        ("--cap-drop ALL --cap-add CHOWN", {"CHOWN"}),
        ("--cap-add CHOWN --cap-drop CHOWN", USUAL),
        ("--cap-add ALL", None),
        ("--cap-add all --cap-drop SYS_ADMIN", "-SYS_ADMIN"),
        ("--cap-add ALL --cap-drop ALL", None),
        ("--privileged", None),
        ("--privileged --cap-drop ALL", None),
    ],
)
def test_capabilities_are_put_together_as_docker_does(
    pyctr: Pyctr, flags: str, expected: set[str] | str | None
) -> None:
    if expected is None:
        expected = own()
    elif isinstance(expected, str):
        expected = own() - {expected.removeprefix("-")}
    assert bounding(pyctr, *flags.split()) == expected & own()


def test_a_capability_that_the_host_lacks_is_left_out_with_a_warning(pyctr: Pyctr) -> None:
    """Also where this host has all: pyctr itself is run with one less."""
    argv = ["setpriv", "--bounding-set=-sys_boot", "--inh-caps=-sys_boot"]
    for flags in (["--privileged"], ["--cap-add", "ALL"], ["--cap-add", "SYS_BOOT"]):
        ran = subprocess.run(
            [*argv, *pyctr.argv("run", "--rm", *flags, "base", "echo", "runs")],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert ran.stdout == "runs\n", ran.stderr
        assert "warning: the container is without" in ran.stderr and "CAP_SYS_BOOT" in ran.stderr
    assert "warning" not in pyctr("run", "--rm", "--cap-add", "NET_ADMIN", "base", "true").stderr


def test_a_privileged_container_has_devices_and_nothing_is_hidden(pyctr: Pyctr) -> None:
    script = """
    grep Seccomp: /proc/self/status
    mkdir /m && mount -t tmpfs none /m && echo mounted
    (: > /proc/sys/kernel/domainname) && echo sysctl
    dd if=/proc/keys bs=1 count=1 2>/dev/null | wc -c
    grep -c ' /sys sysfs rw' /proc/mounts
    for top in "" /pids; do mkdir /sys/fs/cgroup$top/sub 2>/dev/null && echo cgroup; done
    ls -l /dev/ptmx
    """
    shown = pyctr.out("run", "--rm", "--privileged", "base", "sh", "-c", script).splitlines()
    words = [line.split() for line in shown]
    assert words[0] == ["Seccomp:", "0"]
    assert words[1:3] == [["mounted"], ["sysctl"]]
    assert words[4] == ["1"]
    assert ["cgroup"] in words
    assert words[-1][-2:] == ["->", "pts/ptmx"], "its own terminals"
    listed = pyctr.out("run", "--rm", "--privileged", "base", "find", "/dev", "-type", "b").split()
    host = subprocess.run(["find", "/dev", "-type", "b"], capture_output=True, text=True).stdout
    assert set(host.split()) <= set(listed)
    assert pyctr.out("run", "--rm", "base", "find", "/dev", "-type", "b") == ""


def test_a_privileged_container_may_still_have_a_filter_that_was_asked_for(pyctr: Pyctr) -> None:
    flags = ("--privileged", "--security-opt", "seccomp=builtin")
    shown = pyctr.out("run", "--rm", *flags, "base", "grep", "Seccomp:", "/proc/self/status")
    assert shown.split() == ["Seccomp:", "2"]


def test_no_new_privileges_can_be_switched_on_and_off(pyctr: Pyctr) -> None:
    for words, expected in (
        (["no-new-privileges"], "1"),
        (["no-new-privileges:true"], "1"),
        (["no-new-privileges=false"], "0"),
        (["no-new-privileges", "no-new-privileges:false"], "0"),
    ):
        flags = [flag for word in words for flag in ("--security-opt", word)]
        shown = pyctr.out("run", "--rm", *flags, "base", "grep", "NoNewPrivs", "/proc/self/status")
        assert shown.split()[1] == expected, words


def test_system_paths_can_be_shown(pyctr: Pyctr) -> None:
    count = ("base", "sh", "-c", "grep -c ' /proc/' /proc/mounts || :")
    assert int(pyctr.out("run", "--rm", *count)) > 5
    flags = ("--security-opt", "systempaths=unconfined")
    assert pyctr.out("run", "--rm", *flags, *count) == "0"
    written = "echo here > /proc/sys/kernel/domainname && cat /proc/sys/kernel/domainname"
    assert pyctr.out("run", "--rm", *flags, "base", "sh", "-c", written) == "here"


# -- namespaces ---------------------------------------------------------------------------------


def test_namespaces_can_be_those_of_the_host(pyctr: Pyctr) -> None:
    host = {
        kind: os.readlink(f"/proc/self/ns/{kind}")
        for kind in ("pid", "ipc", "uts", "cgroup", "net")
    }
    usual = namespaces(pyctr, "run", "--rm", "base")
    assert all(usual[kind] != host[kind] for kind in host)
    flags = (
        "--pid",
        "host",
        "--ipc",
        "host",
        "--uts",
        "host",
        "--cgroupns",
        "host",
        "--network",
        "host",
    )
    shared = namespaces(pyctr, "run", "--rm", "--userns", "host", *flags, "base")
    assert all(shared[kind] == host[kind] for kind in host)
    assert shared["mnt"] != os.readlink("/proc/self/ns/mnt")
    private = namespaces(pyctr, "run", "--rm", "--ipc", "private", "--cgroupns", "private", "base")
    assert all(private[kind] != host[kind] for kind in host)


def test_what_is_seen_goes_with_the_namespace(pyctr: Pyctr, home_dir: str) -> None:
    with open("/proc/1/comm") as file:
        first = file.read().strip()
    assert pyctr.out("run", "--rm", "--pid", "host", "base", "cat", "/proc/1/comm") == first
    assert pyctr.out("run", "--rm", "--uts", "host", "base", "hostname") == os.uname().nodename
    assert (
        pyctr.out("run", "--rm", "--uts", "host", "base", "cat", "/etc/hostname")
        == os.uname().nodename
    )
    cgroup = pyctr.out("run", "--rm", "--cgroupns", "host", "base", "cat", "/proc/self/cgroup")
    assert "/pyctr/" in cgroup
    mark = f"/dev/shm/{os.path.basename(home_dir)}"
    with open(mark, "w"):
        pass
    try:
        assert pyctr.out("run", "--rm", "--ipc", "host", "base", "ls", mark) == mark
        pyctr("run", "--rm", "base", "ls", mark, code=1)
    finally:
        os.unlink(mark)
    pyctr("run", "--rm", "--ipc", "none", "base", "ls", "/dev/shm", code=1)


def test_a_container_joins_the_namespaces_of_another(pyctr: Pyctr) -> None:
    identity = started(pyctr, "x", "--ipc", "shareable", "-h", "xhost", "--domainname", "xdomain")
    pyctr("exec", "x", "sh", "-c", "echo shared > /dev/shm/f; echo '9.9.9.9 more' >> /etc/hosts")
    flags = (
        "--pid",
        "container:x",
        "--ipc",
        f"container:{identity[:12]}",
        "--network",
        "container:x",
    )
    theirs = namespaces(pyctr, "exec", "x")
    pyctr("run", "-d", "--name", "y", *flags, "base", "sleep", "1000")
    for mine in (namespaces(pyctr, "exec", "y"), namespaces(pyctr, "run", "--rm", *flags, "base")):
        assert [mine[kind] == theirs[kind] for kind in ("pid", "ipc", "net")] == [True] * 3
        assert [mine[kind] == theirs[kind] for kind in ("mnt", "uts", "cgroup")] == [False] * 3
    script = "cat /dev/shm/f; hostname; cat /proc/sys/kernel/domainname; tail -n 1 /etc/hosts; ps"
    shown = pyctr.out("exec", "y", "sh", "-c", script).splitlines()
    assert shown[:4] == ["shared", "xhost", "xdomain", "9.9.9.9 more"]
    assert sum("sleep 1000" in line for line in shown) == 2
    pyctr("exec", "y", "touch", "/dev/shm/from-y")
    pyctr("exec", "x", "ls", "/dev/shm/from-y")
    modes = "{{.HostConfig.NetworkMode}}"
    assert pyctr.out("inspect", "--format", modes, "y") == f"container:{identity}"
    pyctr("rename", "x", "other")
    assert namespaces(pyctr, "exec", "y")["pid"] == theirs["pid"]
    pyctr("restart", "-t", "0", "y")
    assert namespaces(pyctr, "exec", "y")["pid"] == theirs["pid"], "known by its id"


def test_when_the_owner_of_a_pid_namespace_ends_so_does_who_shares_it(pyctr: Pyctr) -> None:
    started(pyctr, "x")
    started(pyctr, "y", "--pid", "container:x")
    started(pyctr, "z", "--network", "container:x")
    pyctr("kill", "x")
    assert pyctr.out("wait", "y") == "137"
    assert pyctr.out("inspect", "--format", "{{.State.Running}}", "z") == "true"


@pytest.mark.parametrize("mode", ["container:x", "host"])
def test_ending_a_container_in_a_shared_pid_namespace_ends_all_of_it_and_nobody_else(
    pyctr: Pyctr, mode: str
) -> None:
    started(pyctr, "x")
    script = "for i in 1 2 3; do sleep 4321 & done; echo ready; exec sleep 4321"
    identity = pyctr.out("run", "-d", "--name", "y", "--pid", mode, "base", "sh", "-c", script)
    wait_for(lambda: pyctr.out("logs", "y") == "ready")
    pids = {pid: process.start_time(pid) for pid in cgroups.of(f"/pyctr/{identity}").pids()}
    assert len(pids) == 4
    pyctr("stop", "-t", "30", "y")
    assert pyctr.out("inspect", "--format", "{{.State.ExitCode}}", "y") == "143"
    assert not any(process.is_alive(pid, since) for pid, since in pids.items())
    assert pyctr.out("inspect", "--format", "{{.State.Running}}", "x") == "true"


def test_a_noisy_child_that_outlives_its_container_does_not_keep_the_monitor(pyctr: Pyctr) -> None:
    ran = pyctr(
        "run", "--name", "c", "--pid", "host", "base", "sh", "-c", "yes & sleep 0.2; exit 5", code=5
    )
    assert ran.stdout.startswith("y\n")
    assert pyctr.out("inspect", "--format", "{{.State.Status}}", "c") == "exited"


def test_joining_needs_a_running_container_that_allows_it(pyctr: Pyctr) -> None:
    started(pyctr, "x")
    pyctr("create", "--name", "stopped", "base", "sleep", "1000")
    said = pyctr("run", "--rm", "--ipc", "container:x", "base", "true", code=125).stderr
    assert "non-shareable IPC" in said and "--ipc shareable" in said
    for flag in ("--pid", "--network"):
        said = pyctr("run", "--rm", flag, "container:nobody", "base", "true", code=125).stderr
        assert "no such container: nobody" in said
        said = pyctr("run", "--rm", flag, "container:stopped", "base", "true", code=125).stderr
        assert "stopped" in said and "not running" in said
    pyctr("create", "--name", "y", "--pid", "container:stopped", "base", "true")
    assert "not running" in pyctr("start", "y", code=1).stderr
    pyctr("start", "stopped")
    pyctr("start", "-a", "y")
    pyctr("rm", "-f", "stopped")
    assert "no such container any more" in pyctr("start", "y", code=1).stderr
    left = pyctr.out("ps", "-a", "--format", "{{.Names}}").split()
    assert left == ["y", "x"], "what could not start with --rm is gone"


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--network container:x -h name", "hostname and the network mode"),
        ("--uts host -h name", "hostname and the UTS mode"),
        ("--uts host --domainname name", "domainname and the UTS mode"),
        ("--network host --sysctl net.core.somaxconn=9", "the host's network namespace"),
        ("--network container:h --sysctl net.core.somaxconn=9", "the host's network namespace"),
        ("--ipc host --sysctl kernel.msgmax=9", "the host's ipc namespace"),
        ("--uts host --sysctl kernel.domainname=a", "the host's uts namespace"),
        ("--sysctl kernel.hostname=a", "--hostname"),
        ("--sysctl kernel.panic=1", "not in a separate kernel namespace"),
        ("--sysctl vm.swappiness=1", "not in a separate kernel namespace"),
        ("--sysctl net.//.//.sysrq-trigger=c", "not the name of a kernel parameter"),
        ("--sysctl net/../kernel/panic=1", "not the name of a kernel parameter"),
    ],
)
def test_what_would_change_somebody_else_is_refused(pyctr: Pyctr, flags: str, why: str) -> None:
    started(pyctr, "x")
    started(pyctr, "h", "--network", "host")
    assert why in pyctr("run", "--rm", *flags.split(), "base", "true", code=125).stderr
    assert len(pyctr.out("ps", "-aq").split()) == 2


def test_parameters_of_the_containers_own_namespaces_are_set(pyctr: Pyctr) -> None:
    flags = {
        "net.ipv4.ip_forward": "1",
        "kernel.msgmax": "4321",
        "kernel.shm_rmid_forced": "1",
        "fs.mqueue.msg_max": "12",
        "kernel.domainname": "here",
        "net/ipv4/conf/lo/forwarding": "1",
    }
    words = [word for name, value in flags.items() for word in ("--sysctl", f"{name}={value}")]
    paths = [f"/proc/sys/{name.replace('.', '/')}" for name in flags]
    shown = pyctr.out("run", "--rm", *words, "base", "cat", *paths)
    assert shown.split() == list(flags.values())


# -- devices ------------------------------------------------------------------------------------


def test_a_device_is_there_and_only_as_it_was_given(pyctr: Pyctr) -> None:
    script = (
        "ls -l /dev/loop0 /dev/x/lp /lp | awk '{print $1, $5 $6}';"
        "head -c 1 /dev/loop0 2>/dev/null; echo $?;"
        "(: >> /dev/loop0) 2>/dev/null; echo $?; (: >> /dev/x/lp) 2>/dev/null; echo $?;"
        "mknod /tmp/l0 b 7 1; head -c 1 /tmp/l0 2>/dev/null; echo $?"
    )
    devices = ("/dev/loop0:r", "/dev/loop2:/dev/x/lp:rw", "/dev/loop2:/lp")
    flags = [word for device in devices for word in ("--device", device)]
    shown = pyctr.out("run", "--rm", *flags, "base", "sh", "-c", script).split("\n")
    assert [line.split()[1] for line in shown[:3]] == ["7,0", "7,2", "7,2"]
    assert shown[0].startswith("b")
    assert shown[3:] == ["0", "1", "0", "1"], "read only; read and write; another number not at all"
    pyctr("run", "--rm", "base", "ls", "/dev/loop0", code=1)


def test_a_folder_of_devices_and_a_pattern(pyctr: Pyctr) -> None:
    host = sorted(
        name for name in os.listdir("/dev") if name.startswith("loop") and name[4:].isdigit()
    )
    listed = pyctr.out("run", "--rm", "--device", "/dev/loop*", "base", "sh", "-c", "ls /dev/loop*")
    assert listed.split() == [
        f"/dev/{name}" for name in sorted(os.listdir("/dev")) if name.startswith("loop")
    ]
    assert host
    folder = pyctr.out(
        "run", "--rm", "--device", "/dev/net:/dev/nets", "base", "find", "/dev/nets", "-type", "c"
    )
    assert folder.split() == ["/dev/nets/tun"]


def test_a_device_outside_of_dev_is_there_again_at_the_next_start(pyctr: Pyctr) -> None:
    pyctr(
        "run", "--name", "c", "--device", "/dev/zero:/made/z", "base", "head", "-c", "1", "/made/z"
    )
    pyctr("start", "-a", "c")
    said = pyctr(
        "run", "--rm", "--device", "/dev/zero:/etc/passwd", "base", "true", code=125
    ).stderr
    assert "something else is there" in said
    said = pyctr("run", "--rm", "--device", "/dev/zero:/etc", "base", "true", code=125).stderr
    assert "something else is there" in said
    swapped = pyctr.out(
        "run",
        "--rm",
        "--device",
        "/dev/zero:/dev/random",
        "base",
        "sh",
        "-c",
        "head -c 4 /dev/random | od -An -tx4",
    )
    assert swapped.strip() == "00000000", "on /dev it takes the place of the usual one"


def test_devices_can_be_allowed_by_number(pyctr: Pyctr) -> None:
    script = "mknod /tmp/l b 7 1; head -c 1 /tmp/l && : >> /tmp/l"
    pyctr("run", "--rm", "--device-cgroup-rule", "b 7:* rw", "base", "sh", "-c", script)
    pyctr("run", "--rm", "--device-cgroup-rule", "b 7:1 r", "base", "sh", "-c", script, code=1)
    pyctr("run", "--rm", "--device-cgroup-rule", "a 7:1 rwm", "base", "sh", "-c", script)
    pyctr("run", "--rm", "--device-cgroup-rule", "a 8:1 rwm", "base", "sh", "-c", script, code=1)


# -- limits, groups, the rest --------------------------------------------------------------------


def test_every_limit_can_be_set(pyctr: Pyctr) -> None:
    wanted = {
        "as": 4 << 30, "core": 0, "cpu": 77, "data": 3 << 30, "fsize": 1 << 20, "locks": 99,
        "memlock": 65536, "msgqueue": 8192, "nice": 0, "nofile": 100, "nproc": 500, "rss": 1 << 30,
        "rtprio": 0, "rttime": 5000, "sigpending": 100, "stack": 1 << 20,
    }  # fmt: skip
    rows = (
        "cpu time", "file size", "data size", "stack size", "core file size", "resident set",
        "processes", "open files", "locked memory", "address space", "file locks",
        "pending signals", "msgqueue size", "nice priority", "realtime priority",
        "realtime timeout",
    )  # fmt: skip
    names = (
        "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice"
        " rtprio rttime"
    )
    flags = [word for name, value in wanted.items() for word in ("--ulimit", f"{name}={value}")]
    shown = pyctr.out("run", "--rm", *flags, "base", "cat", "/proc/self/limits").lower()
    for row, name in zip(rows, names.split(), strict=True):
        (line,) = [line for line in shown.splitlines() if line.startswith(f"max {row} ")]
        assert line.removeprefix(f"max {row} ").split()[:2] == [str(wanted[name])] * 2, line


def test_a_limit_above_the_hosts_says_who_may_raise_it(pyctr: Pyctr) -> None:
    argv = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]
    argv = ["prlimit", "--nofile=500:500", *argv]
    command = pyctr.argv("run", "--rm", "--ulimit", "nofile=900", "base", "true")
    ran = subprocess.run([*argv, *command], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 125 and "CAP_SYS_RESOURCE" in ran.stderr


def test_the_oom_score_holds_for_the_program_and_for_exec(pyctr: Pyctr) -> None:
    started(pyctr, "c", "--oom-score-adj", "321")
    for pid in ("1", "self"):
        assert pyctr.out("exec", "c", "cat", f"/proc/{pid}/oom_score_adj") == "321"


def test_further_groups_names_and_memory(pyctr: Pyctr) -> None:
    flags = (
        "--group-add",
        "users",
        "--group-add",
        "4321",
        "--domainname",
        "dom",
        "--shm-size",
        "3m",
    )
    script = "id -G; cat /proc/sys/kernel/domainname; df -k /dev/shm | tail -n 1"
    groups, domain, memory = pyctr.out(
        "run", "--rm", *flags, "base", "sh", "-c", script
    ).splitlines()
    started(pyctr, "c", *flags)
    assert pyctr.out("exec", "c", "id", "-G") == groups, "for exec as well"
    assert "4321" in groups.split() and domain == "dom" and memory.split()[1] == "3072"
    script = "touch /x /etc/x 2>/dev/null; touch /dev/x /dev/shm/x && echo dev"
    assert pyctr.out("run", "--rm", "--read-only", "base", "sh", "-c", script) == "dev"


def test_a_control_group_of_ones_own_choice(pyctr: Pyctr, home_dir: str) -> None:
    parent = f"/pyctr-{os.path.basename(home_dir)}/deep/er"
    try:
        identity = started(pyctr, "c", "--cgroup-parent", parent, "-m", "64m")
        place = next(folder for folder in cgroups.of(f"{parent}/{identity}").folders)
        assert cgroups.pids_below(place)
        assert pyctr.out("exec", "c", "echo", "joined") == "joined"
        pyctr("pause", "c")
        pyctr("unpause", "c")
        pyctr("rm", "-f", "c")
        assert not os.path.exists(place)
    finally:
        while parent:
            cgroups.of(parent).remove()
            parent = parent.rpartition("/")[0]
    for wrong in ("../x", "/a/../b", "a//b", "/"):
        assert "'" in pyctr("create", "--cgroup-parent", wrong, "base", "true", code=125).stderr


def test_annotations_are_kept(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "--annotation", "a.b=c", "--annotation", "d=", "base", "true")
    import engine.compose
    import engine.home
    from engine import reconcile

    here = engine.home.find()
    spec = engine.compose.specification(here, reconcile.find(here, "c"), ())
    assert spec["annotations"] == {"a.b": "c", "d": ""}
    json.dumps(spec)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("--pid private", "'private'"),
        ("--pid container:", "'container:'"),
        ("--ipc container:", "'container:'"),
        ("--ipc shared", "'shared'"),
        ("--uts private", "'private'"),
        ("--uts container:x", "'container:x'"),
        ("--cgroupns shared", "'shared'"),
        ("--userns private", "'private'"),
        ("--network container:", "'container:'"),
        ("--device relative", "'relative'"),
        ("--device /dev/null:relative", "relative"),
        ("--device /dev/null:/x:rwx", "'rwx'"),
        ("--device /dev/null:/x:rw:m", "HOST"),
        ("--device /dev/nosuch", "/dev/nosuch"),
        ("--device /dev/nosuch*", "/dev/nosuch*"),
        ("--device /dev/l*:/x", "'/dev/l*:/x'"),
        ("--device /etc/passwd", "not a device node"),
        ("--device-cgroup-rule c", "'c'"),
        ("--cap-add NOPE", "'NOPE'"),
        ("--cap-drop NOPE", "'NOPE'"),
        ("--security-opt nope", "'nope'"),
        ("--security-opt apparmor=docker-default", "AppArmor"),
        ("--security-opt label=type:x", "SELinux"),
        ("--security-opt no-new-privileges=maybe", "no-new-privileges=maybe"),
        ("--security-opt seccomp=/no/such.json", "/no/such.json"),
        ("--annotation =x", "'=x'"),
        ("--gpus all", "--gpus"),
        ("--runtime runc", "--runtime"),
        ("--isolation process", "--isolation"),
        ("--storage-opt size=1g", "--storage-opt"),
        ("--volume-driver nfs", "--volume-driver"),
    ],
)
def test_what_is_wrong_or_not_supported_is_refused_by_name(
    pyctr: Pyctr, flags: str, name: str
) -> None:
    assert name in pyctr("run", "--rm", *flags.split(), "base", "true", code=125).stderr
    assert pyctr.out("ps", "-aq") == ""


def test_words_that_say_what_is_so_anyway_are_accepted(pyctr: Pyctr) -> None:
    for word in ("label=disable", "label:disable", "apparmor=unconfined", "seccomp=builtin"):
        shown = pyctr.out(
            "run", "--rm", "--security-opt", word, "base", "grep", "Seccomp:", "/proc/self/status"
        )
        assert shown.split()[1] == "2"
