"""`pyctr check`: it tries for real, says what is missing, and leaves the host as it was."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from engine.check import controllers
from engine.check.child import Refused, in_child
from engine.check.probe import Limited
from runtime import cgroups
from runtime.cgroups import Hierarchies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Pyctr


def checks(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["Area"], one["Name"]): one for one in json.loads(text)["Checks"]}


def mounts() -> str:
    with open("/proc/self/mountinfo") as file:
        return file.read()


def test_a_host_on_which_these_tests_run_is_fit(pyctr: Pyctr) -> None:
    found = checks(pyctr.out("check", "--format", "json"))
    for area in ("Host", "Namespaces", "Mounts", "Storage", "Control groups", "Rights"):
        assert any(key[0] == area for key in found)
    assert {one["Status"] for one in found.values() if one["Essential"]} == {"OK"}
    assert pyctr.out("check", "--format", "{{.Fit}}") == "true"
    for one in found.values():
        assert bool(one["Advice"]) == (one["Status"] != "OK")


def test_a_check_leaves_the_host_as_it_was(pyctr: Pyctr, home_dir: str) -> None:
    pyctr("create", "base")

    def files() -> list[str]:
        return sorted([*os.listdir(home_dir), *os.listdir(f"{home_dir}/skeletons")])

    before = mounts(), files()
    for flags in ((), ("--root", f"{home_dir}/not/there")):
        argv = pyctr.argv(*flags, "check")
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True) as running:
            assert running.wait(timeout=60) == 0
        with pytest.raises(ProcessLookupError):  # no child of it is left
            os.killpg(running.pid, 0)
        found = cgroups.hierarchies()
        for folder in (*found.v1.values(), *filter(None, (found.v2,))):
            assert not os.path.exists(f"{folder}/pyctr-check-{running.pid}")
    assert (mounts(), files()) == before


def test_what_a_killed_check_left_is_swept(pyctr: Pyctr, home_dir: str) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = [f"{home_dir}/.new-check-{dead.pid}", f"{home_dir}/skeletons/.new-check-{dead.pid}"]
    os.makedirs(os.path.join(left[0], "overlay", "work", "work"))
    found = cgroups.hierarchies()
    group = f"{found.v1.get('pids') or found.v2}/pyctr-check-{dead.pid}"
    os.mkdir(group)
    pyctr("check")
    assert not os.path.exists(left[0]) and not os.path.exists(group)
    pyctr("create", "base")
    os.makedirs(f"{left[1]}/overlay/upper")
    pyctr("ps")
    assert not os.path.exists(left[1])


def test_people_see_areas_and_advice_and_scripts_see_objects(pyctr: Pyctr) -> None:
    text = pyctr.out("check")
    assert text.splitlines()[0] == "Host:" and "\x1b" not in text
    assert text.endswith("Containers can run here.")
    assert pyctr.out("system", "check-host").splitlines()[0] == "Host:"
    for one in checks(pyctr.out("check", "--format", "json")).values():
        assert f"{one['Status']:<9}{one['Name']}" in text


def test_colours_are_for_terminals_without_no_color(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown() -> str:
        master, slave = pty.openpty()
        running = subprocess.Popen(pyctr.argv("check"), stdout=slave)
        os.close(slave)
        text = b""
        while chunk := _read(master):
            text += chunk
        os.close(master)
        assert running.wait(timeout=60) == 0
        return text.decode()

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mOK" in shown()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown()
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown()


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: the other side is closed
        return b""


def without(*calls: str) -> subprocess.CompletedProcess[str]:
    """`pyctr check` on a kernel that does not know some system calls, as seccomp can have it."""
    code = f"""
import sys
from kernel import process
from runtime.seccomp import compile_filter
profile = {{
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{{"names": {list(calls)!r}, "action": "SCMP_ACT_ERRNO", "errnoRet": 38}}],
}}
process.set_no_new_privs()
process.seccomp_load(compile_filter(profile))
from cli.main import main
sys.exit(main(["check", "--format", "json"]))
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_what_an_older_kernel_lacks_is_named_with_advice(pyctr: Pyctr) -> None:
    ran = without("keyctl", "openat2", "mount_setattr")
    assert ran.returncode == 1, ran.stderr
    found = checks(ran.stdout)
    assert not json.loads(ran.stdout)["Fit"]
    openat2 = found["Mounts", "openat2"]
    assert openat2["Status"] == "missing" and "ENOSYS" in openat2["Detail"]
    assert "Linux 5.6" in openat2["Advice"]
    assert found["Rights", "session keyring"]["Status"] == "limited", "pyctr has another way"
    assert found["Mounts", "mount_setattr"]["Status"] == "missing"
    assert found["Mounts", "fsopen"]["Status"] == "OK"


def test_without_namespaces_there_are_no_containers(pyctr: Pyctr) -> None:
    ran = without("unshare")
    assert ran.returncode == 1
    found = checks(ran.stdout)
    for name in ("mount", "pid", "uts", "ipc", "cgroup", "network"):
        assert found["Namespaces", name]["Status"] == "missing"
    assert found["Mounts", "overlay"]["Status"] == "missing"


def test_a_user_without_rights_is_told_so(pyctr: Pyctr, home_dir: str) -> None:
    os.chmod(home_dir, 0o755)
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *pyctr.argv("check")]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert "pyctr runs as user 65534" in ran.stdout and "use sudo" in ran.stdout
    assert "No containers here: " in ran.stdout


def test_controllers_of_version_1_are_judged_by_their_files(home_dir: str) -> None:
    found = Hierarchies({"memory": home_dir})
    with pytest.raises(Refused, match="cpu controller is not mounted"):
        controllers._in_v1(found, "cpu", "cpu.shares")
    with pytest.raises(Refused, match=r"has no memory\.limit_in_bytes"):
        controllers._in_v1(found, "memory", "memory.limit_in_bytes")
    assert os.listdir(home_dir) == []


def test_controllers_of_version_2_are_judged_by_the_list_and_by_groups(home_dir: str) -> None:
    found = Hierarchies({}, home_dir, ("memory", "io"))
    assert controllers._in_v2(found, "memory", "memory.swap.max") == "", "nobody has it yet"
    os.mkdir(f"{home_dir}/some.slice")
    with open(f"{home_dir}/some.slice/cgroup.controllers", "w") as file:
        file.write("memory\n")
    with pytest.raises(Refused, match=r"has no memory\.swap\.max"):
        controllers._in_v2(found, "memory", "memory.swap.max")
    with pytest.raises(Refused, match="cpuset controller is not there"):
        controllers._in_v2(found, "cpuset", "cpuset.cpus")
    with pytest.raises(Limited):
        controllers._in_v2(found, "", "")
    assert controllers._mode(found) == "version 2"
    with pytest.raises(Refused, match="nothing is mounted"):
        controllers._mode(Hierarchies({}))


def test_whatever_happens_in_a_child_is_an_answer() -> None:
    assert in_child(lambda: "said") == "said"
    with pytest.raises(Refused, match="ZeroDivisionError"):
        in_child(lambda: str(1 // 0))
    with pytest.raises(Refused, match="ENOENT"):
        in_child(lambda: os.readlink("/no/such"))
    with pytest.raises(Refused, match="was killed"):
        in_child(_killed)


def _killed() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return ""
