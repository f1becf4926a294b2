"""Containers that come back with the host, and all of them ended when it shuts down."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import service
from engine.errors import EngineError
from engine.home import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def states(pyctr: Pyctr) -> dict[str, str]:
    lines = pyctr.out("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
    return dict(line.split(" ") for line in lines)


def crash(pyctr: Pyctr) -> None:
    """What is left of a host that lost its power: rows, but no process and an empty /run."""
    from kernel.tree import remove_tree

    db = sqlite3.connect(f"{pyctr.root}/state.db")
    for pid, identity in db.execute("SELECT monitor_pid, id FROM containers").fetchall():
        if pid:
            os.kill(pid, signal.SIGKILL)
        run = f"{os.environ['PYCTR_RUN']}/{identity}"
        if os.path.isdir(run):
            remove_tree(run)
    db.close()


def test_after_a_crash_of_the_host_those_come_back_whose_policy_says_so(pyctr: Pyctr) -> None:
    for policy in ("no", "on-failure", "always", "unless-stopped"):
        for name in (f"{policy}-ran", f"{policy}-stopped"):
            pyctr("run", "-d", "--name", name, "--restart", policy, "base", "sleep", "1000")
        pyctr("create", "--name", f"{policy}-new", "--restart", policy, "base", "sleep", "1000")
        pyctr("stop", "-t", "0", f"{policy}-stopped")
    crash(pyctr)
    assert pyctr.out("system", "start-all").split() == [
        "always-ran", "always-stopped", "unless-stopped-ran",
    ]  # fmt: skip
    running = {name for name, state in states(pyctr).items() if state == "running"}
    assert running == {"always-ran", "always-stopped", "unless-stopped-ran"}
    assert pyctr.out("system", "start-all") == "", "nothing is left to do"
    pyctr("stop", "-t", "0", "unless-stopped-ran")
    assert pyctr.out("system", "start-all") == "", "now a person has stopped it"


def test_a_shutdown_ends_all_at_once_and_the_next_boot_brings_them_back(pyctr: Pyctr) -> None:
    """Each gets its stop signal and its patience; policies do not start them in between."""
    polite = "trap 'sleep 1; echo bye; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    pyctr("run", "-d", "--name", "a", "--restart", "always", "base", "sh", "-c", polite)
    pyctr("run", "-d", "--name", "u", "--restart", "unless-stopped", "base", "sh", "-c", polite)
    pyctr("run", "-d", "--name", "n", "base", "sh", "-c", polite)
    deaf = "trap '' TERM; echo begun; while :; do sleep 0.05; done"
    pyctr("run", "-d", "--name", "d", "--stop-timeout", "1", "base", "sh", "-c", deaf)
    pyctr("run", "-d", "--name", "p", "base", "sh", "-c", polite)
    for name in "aundp":
        while "begun" not in pyctr.out("logs", name):
            time.sleep(0.02)
    pyctr("pause", "p")
    assert sorted(pyctr.out("system", "stop-all").split()) == ["a", "d", "n", "p", "u"]
    assert set(states(pyctr).values()) == {"exited"}
    codes = pyctr.out("inspect", "-f", "{{.State.ExitCode}}", "a", "u", "n", "p", "d").split()
    assert codes == ["0", "0", "0", "0", "137"]
    for name in "aunp":
        assert pyctr.out("logs", name).split() == ["begun", "bye"]
    assert pyctr.out("system", "stop-all") == ""
    assert sorted(pyctr.out("system", "start-all").split()) == ["a", "u"]


def test_a_shutdown_ends_a_container_that_waits_for_its_restart(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "--restart", "unless-stopped", "base", "false")
    deadline = time.monotonic() + 60
    while int(pyctr.out("inspect", "-f", "{{.RestartCount}}", "c")) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert pyctr.out("system", "stop-all", "-t", "0") == "c"
    assert states(pyctr) == {"c": "exited"}
    assert pyctr.out("system", "start-all") == "c"


def monitor_of(pyctr: Pyctr, name: str) -> int:
    db = sqlite3.connect(f"{pyctr.root}/state.db")
    (pid,) = db.execute("SELECT monitor_pid FROM containers WHERE name = ?", (name,)).fetchone()
    db.close()
    return int(pid)


@pytest.mark.parametrize("state", ["running", "paused", "restarting"])
def test_without_the_service_a_shutdown_ends_containers_as_well(pyctr: Pyctr, state: str) -> None:
    """systemd sends SIGTERM to all processes that are left, so also to the monitor."""
    script = "trap 'echo bye; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    if state == "restarting":
        script = "echo begun; exit 1"
    flags = ("--restart", "unless-stopped")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
    deadline = time.monotonic() + 60
    while pyctr.out("logs", "c").split().count("begun") < (5 if state == "restarting" else 1):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if state == "paused":
        pyctr("pause", "c")
    os.kill(monitor_of(pyctr, "c"), signal.SIGTERM)
    while states(pyctr) != {"c": "exited"}:
        assert time.monotonic() < deadline + 60
        time.sleep(0.02)
    assert ("bye" in pyctr.out("logs", "c")) == (state != "restarting")
    time.sleep(0.3)
    assert states(pyctr) == {"c": "exited"}, "the policy does not start it again"
    assert pyctr.out("system", "start-all") == "c"


def test_whoever_was_stopped_by_a_person_before_the_shutdown_stays_so(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "--restart", "unless-stopped", "base", "sleep", "1000")
    pyctr("stop", "-t", "0", "c")
    pyctr("system", "stop-all")
    assert pyctr.out("system", "start-all") == ""
    pyctr("start", "c")
    pyctr("system", "stop-all", "-t", "0")
    assert pyctr.out("system", "start-all") == "c"


def test_one_that_cannot_be_started_does_not_keep_the_others_from_it(pyctr: Pyctr) -> None:
    for name in ("a", "b"):
        pyctr("run", "-d", "--name", name, "--restart", "always", "-v", f"/tmp/{name}-{os.getpid()}"
              ":/v", "base", "sleep", "1000")  # fmt: skip
    os.rmdir(f"/tmp/a-{os.getpid()}")
    crash(pyctr)
    ran = pyctr("system", "start-all", code=1)
    assert ran.stdout == "b\n" and f"/tmp/a-{os.getpid()}" in ran.stderr
    os.rmdir(f"/tmp/b-{os.getpid()}")


def test_who_shares_a_namespace_is_started_after_whose_it_is(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "first", "base")
    flags = ("--restart", "always")
    pyctr("run", "-d", "--name", "owner", *flags, "--ipc", "shareable", "base", "sleep", "1000")
    pyctr("run", "-d", "--name", "guest", *flags, "--ipc", "container:owner", "--pid",
          "container:owner", "base", "sleep", "1000")  # fmt: skip
    db = sqlite3.connect(f"{pyctr.root}/state.db")
    with db:  # as if the guest were the older one
        db.execute("UPDATE containers SET created = 1 WHERE name = 'guest'")
    db.close()
    crash(pyctr)
    assert pyctr.out("system", "start-all").split() == ["owner", "guest"]


@pytest.fixture
def command(home_dir: str, pyctr: Pyctr) -> str:
    """The command as it is installed: one executable file."""
    path = f"{home_dir}/pyctr 100% here"
    with open(path, "w") as file:
        file.write(
            "#!/usr/bin/python3\nimport sys\n"
            f"sys.path.insert(0, {os.environ['PYTHONPATH']!r})\n"
            "from cli.main import run\nrun()\n"
        )
    os.chmod(path, 0o755)
    return path


def ran(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_unit_calls_the_installed_command_with_this_root_folder(
    pyctr: Pyctr, command: str, home_dir: str
) -> None:
    text = ran(command, "system", "install-service", "--dry-run")
    escaped = command.replace("%", "%%")
    assert f'\nExecStart=-"{escaped}" system start-all\n' in text
    assert f'\nExecStop="{escaped}" system stop-all\n' in text
    assert f'\nEnvironment="PYCTR_ROOT={home_dir}"\n' in text
    assert f'\nRequiresMountsFor="{home_dir}"\n' in text
    ran(command, "system", "install-service", "-o", f"{home_dir}/pyctr-x.service")
    with open(f"{home_dir}/pyctr-x.service") as file:
        assert file.read() == text
    verified = subprocess.run(
        ["systemd-analyze", "verify", f"{home_dir}/pyctr-x.service"], capture_output=True, text=True
    )
    complaints = [line for line in verified.stderr.splitlines() if "pyctr-x.service:" in line]
    assert complaints == []


@pytest.mark.skipif(service.is_booted(), reason="it would enable a unit on this host")
def test_a_service_is_written_and_removed_where_systemd_does_not_run(
    pyctr: Pyctr, command: str, home_dir: str
) -> None:
    path = f"{service.UNITS}/{service.name(Home(home_dir, ''))}"
    try:
        said = ran(command, "system", "install-service")
        assert path in said and "systemctl enable --now" in said
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
        ran(command, "system", "install-service")
        assert path in ran(command, "system", "uninstall-service")
        assert not os.path.exists(path)
        assert "no service to uninstall" in pyctr("system", "uninstall-service", code=1).stderr
    finally:
        if os.path.exists(path):
            os.unlink(path)


def test_systemd_is_told_of_it_where_it_runs(
    home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(f"{home_dir}/bin")
    with open(f"{home_dir}/bin/systemctl", "w") as file:
        file.write(f'#!/bin/sh\necho "$@" >> {home_dir}/told\n[ "$1" != fail ]\n')
    os.chmod(f"{home_dir}/bin/systemctl", 0o755)
    monkeypatch.setenv("PATH", f"{home_dir}/bin", prepend=":")
    monkeypatch.setattr(service, "_BOOTED", home_dir)
    home = Home("/var/lib/pyctr", "/run/pyctr")
    service.install(home, "/usr/bin/pyctr", home_dir)
    assert os.path.exists(f"{home_dir}/pyctr.service")
    service.uninstall(home, home_dir)
    assert not os.path.exists(f"{home_dir}/pyctr.service")
    with open(f"{home_dir}/told") as file:
        assert file.read().splitlines() == [
            "daemon-reload", "enable --now pyctr.service", "disable pyctr.service", "daemon-reload",
        ]  # fmt: skip


def test_a_command_that_is_no_file_to_call_is_refused(pyctr: Pyctr) -> None:
    said = pyctr("system", "install-service", "--dry-run", code=125).stderr
    assert "is not executable" in said


@given(st.text(max_size=30).filter(lambda word: "\0" not in word))
def test_any_path_is_one_line_of_a_unit(word: str) -> None:
    home = Home(f"/{word}", "/run/x")
    lines = service.unit(home, "/usr/bin/pyctr").splitlines()
    keys = [line.partition("=")[0] for line in lines if "=" in line and line[0] != "#"]
    assert keys.count("ExecStart") == keys.count("ExecStop") == 1
    assert len(lines) == len(service.unit(Home("/x", "/run/x"), "/x").splitlines())
    assert json.dumps(service.name(home)).isascii()
    if not word.isprintable() or set(word) & set("\"'\\$"):
        with pytest.raises(EngineError, match="systemd cannot call"):
            service.unit(home, f"/{word}")
    else:
        assert f'-"/{word.replace("%", "%%")}" system' in service.unit(home, f"/{word}")
