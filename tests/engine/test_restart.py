"""Restart policies: what is started again, how soon, and what ends it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import containers, restart
from engine.containers import Container
from engine.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Pyctr


def container(policy: str, most: int = 0, **columns: object) -> Container:
    made = Settings(("true",), restart=policy, restart_max=most)
    return Container("i", "n", "image", "image", 1.0, made, "running", **columns)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from([0.0, 1.0, 9.9, 10.0, 3600.0]), max_size=30))
def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_run_of_ten_seconds(
    runs: list[float],
) -> None:
    before = 0.0
    for ran in runs:
        pause = restart.pause(before, ran)
        if ran >= 10 or not before:
            assert pause == 0.1
        else:
            assert pause == min(2 * before, 60)
        assert 0.1 <= pause <= 60
        before = pause


@given(
    st.sampled_from(["no", "on-failure", "always", "unless-stopped"]),
    st.integers(0, 3), st.integers(0, 255), st.integers(0, 4), st.sampled_from([0, 1, 2]),
)  # fmt: skip
def test_a_policy_means_what_docker_says(
    policy: str, most: int, code: int, restarts: int, stopped: int
) -> None:
    one = container(policy, most, restarts=restarts, stopped=stopped, started=1.0)
    expected = {
        "no": False,
        "on-failure": code != 0 and (most == 0 or restarts < most),
        "always": True,
        "unless-stopped": True,
    }[policy]
    assert restart.is_due(one, code) == (expected and not stopped)
    assert restart.is_due_at_boot(one) == (
        policy == "always" or (policy == "unless-stopped" and stopped != containers.BY_PERSON)
    )
    assert not restart.is_due_at_boot(one.replace(started=0.0)), "it never ran"


def until(condition: Callable[[], object], what: str = "it never came") -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def state(pyctr: Pyctr, name: str) -> dict[str, object]:
    shown = pyctr.out("inspect", "-f", "[{{json .State}},{{.RestartCount}}]", name)
    found, count = json.loads(shown)
    return {**found, "RestartCount": count}


def runs(pyctr: Pyctr, name: str) -> int:
    return pyctr.out("logs", name).split().count("begun")


BRIEF = ("base", "sh", "-c", "echo begun; sleep 0.05; exit 7")
# The first pause is short, so each run adds to a file, and from the fourth on it stays.
SETTLES = ("base", "sh", "-c", "echo begun; echo x >> /runs; [ $(wc -l < /runs) -ge 4 ] && exec"
           " sleep 1000; exit 5")  # fmt: skip


def test_always_starts_it_again_with_a_growing_pause(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "--restart", "always", *SETTLES)
    until(lambda: runs(pyctr, "c") == 4 and state(pyctr, "c")["Status"] == "running")
    assert state(pyctr, "c")["RestartCount"] == 3
    stamps = [line.split()[0] for line in pyctr.out("logs", "-t", "c").splitlines()]
    seconds = [float(stamp[17:29]) for stamp in stamps]
    gaps = [(after - before) % 60 for before, after in itertools.pairwise(seconds)]
    assert all(gap >= pause for gap, pause in zip(gaps, (0.1, 0.2, 0.4), strict=True)), gaps
    assert "Up " in pyctr.out("ps", "--format", "{{.Status}}")
    pyctr("stop", "-t", "0", "c")
    shown = state(pyctr, "c")
    assert (shown["Status"], shown["ExitCode"], shown["RestartCount"]) == ("exited", 137, 3)


def test_on_failure_gives_up_after_so_many_times_and_keeps_the_last_code(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "--restart", "on-failure:2", *BRIEF)
    until(lambda: state(pyctr, "c")["Status"] == "exited")
    shown = state(pyctr, "c")
    assert (shown["ExitCode"], shown["RestartCount"]) == (7, 2)
    assert runs(pyctr, "c") == 3
    policy = pyctr.out("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", "c")
    assert json.loads(policy) == {"Name": "on-failure", "MaximumRetryCount": 2}
    pyctr("start", "c")
    until(lambda: runs(pyctr, "c") == 6)
    until(lambda: state(pyctr, "c")["Status"] == "exited")
    assert state(pyctr, "c")["RestartCount"] == 2, "a start by hand counts anew"


def test_on_failure_leaves_a_success_alone(pyctr: Pyctr) -> None:
    assert pyctr.out("run", "--name", "c", "--restart", "on-failure", "base", "echo", "x") == "x"
    shown = state(pyctr, "c")
    assert (shown["Status"], shown["RestartCount"]) == ("exited", 0)


def test_a_first_start_that_fails_is_not_repeated(pyctr: Pyctr) -> None:
    said = pyctr("run", "-d", "--name", "c", "--restart", "always", "base", "nosuch", code=127)
    assert "not found" in said.stderr
    assert state(pyctr, "c")["Status"] == "created"


def test_a_start_by_the_policy_that_fails_ends_it_and_says_why(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "make", "base", "sh", "-c", "cp /bin/busybox /sleep")
    pyctr("commit", "make", "own")
    pyctr("run", "-d", "--name", "c", "--restart", "always", "own", "/sleep", "0.3")
    upper = pyctr.out("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "c")
    with open(f"{upper}/sleep", "w") as file:  # not executable any more
        file.write("no program")
    until(lambda: state(pyctr, "c")["Status"] == "exited")
    shown = state(pyctr, "c")
    assert shown["ExitCode"] == 126 and "execute" in str(shown["Error"])


def waits(pyctr: Pyctr, name: str) -> bool:
    """Whether its monitor waits, with at least three seconds to go."""
    shown = state(pyctr, name)
    return shown["Status"] == "restarting" and int(str(shown["RestartCount"])) >= 6


@pytest.fixture
def waiting(pyctr: Pyctr) -> str:
    """A container whose monitor waits for several seconds before it starts it again."""
    pyctr("run", "-d", "--name", "w", "--restart", "always", "base", "sh", "-c",
          "echo begun; exit 3")  # fmt: skip
    until(lambda: waits(pyctr, "w"))
    return "w"


def test_between_two_runs_it_is_restarting_and_says_so(pyctr: Pyctr, waiting: str) -> None:
    shown = state(pyctr, waiting)
    assert shown["Restarting"] is True and shown["Running"] is True
    assert (shown["Pid"], shown["ExitCode"]) == (0, 3)
    assert pyctr.out("ps", "--format", "{{.State}} {{.Status}}").startswith(
        "restarting Restarting (3) "
    )
    assert pyctr.out("ps", "-q", "--filter", "status=restarting") != ""
    for words in (("exec", waiting, "true"), ("attach", waiting), ("pause", waiting),
                  ("top", waiting)):  # fmt: skip
        said = pyctr(*words, code=1).stderr
        assert "is restarting" in said and "wait until it is running" in said
    said = pyctr("rm", waiting, code=1).stderr
    assert "it is restarting" in said and "stop it first" in said
    assert pyctr.out("start", waiting) == waiting, "it is up already"
    assert pyctr.out("logs", "-f", waiting).split()[-1] == "begun", "and ends at once"
    assert state(pyctr, waiting)["Status"] == "restarting"


def test_stop_ends_a_wait_for_the_next_start_at_once(pyctr: Pyctr, waiting: str) -> None:
    watched = subprocess.Popen(pyctr.argv("wait", waiting), stdout=subprocess.PIPE)
    time.sleep(0.2)
    assert pyctr.out("stop", waiting) == waiting
    shown = state(pyctr, waiting)
    assert (shown["Status"], shown["ExitCode"]) == ("exited", 3)
    assert watched.communicate(timeout=30)[0] == b"3\n"
    run = f"{os.environ['PYCTR_RUN']}/{pyctr.out('inspect', '-f', '{{.Id}}', waiting)}"
    assert not os.path.exists(run)


def test_kill_ends_it_as_well_but_not_with_any_signal(pyctr: Pyctr, waiting: str) -> None:
    pyctr("kill", "-s", "HUP", waiting)
    assert state(pyctr, waiting)["Status"] == "restarting"
    pyctr("kill", waiting)
    assert state(pyctr, waiting)["Status"] == "exited"


def test_rm_force_takes_it_away(pyctr: Pyctr, waiting: str) -> None:
    pyctr("rm", "-f", waiting)
    assert pyctr.out("ps", "-aq") == ""


def test_restart_by_hand_does_not_wait_and_counts_anew(pyctr: Pyctr, waiting: str) -> None:
    begun = runs(pyctr, waiting)
    pyctr("restart", waiting)
    until(lambda: runs(pyctr, waiting) > begun)
    assert int(str(state(pyctr, waiting)["RestartCount"])) < 6


def monitor_of(pyctr: Pyctr, name: str) -> int:
    import sqlite3

    db = sqlite3.connect(f"{pyctr.root}/state.db")
    (pid,) = db.execute("SELECT monitor_pid FROM containers WHERE name = ?", (name,)).fetchone()
    db.close()
    return int(pid)


def test_a_monitor_killed_while_it_waits_leaves_a_container_that_can_be_used(
    pyctr: Pyctr, waiting: str
) -> None:
    os.kill(monitor_of(pyctr, waiting), signal.SIGKILL)
    until(lambda: state(pyctr, waiting)["Status"] == "exited")
    shown = state(pyctr, waiting)
    assert shown["ExitCode"] == 3 and "its monitor was killed" in str(shown["Error"])
    begun = runs(pyctr, waiting)
    pyctr("start", waiting)
    until(lambda: runs(pyctr, waiting) > begun)
    pyctr("stop", waiting)
    pyctr("rm", waiting)


@pytest.mark.parametrize("point", ["waited@2", "launched@2", "recorded@2", "exit_recorded@2"])
def test_after_a_kill_of_the_monitor_at_any_point_of_a_restart_it_can_be_used(
    pyctr: Pyctr, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCTR_TRACE", f"kill:engine.monitor.{point}")
    pyctr("run", "-d", "--name", "c", "--restart", "always", "-v", "vol:/v", *BRIEF)
    monkeypatch.delenv("PYCTR_TRACE")
    until(lambda: state(pyctr, "c")["Status"] == "exited")
    assert "its monitor was killed" in str(state(pyctr, "c")["Error"])
    begun = runs(pyctr, "c")
    pyctr("start", "c")
    until(lambda: runs(pyctr, "c") > begun)
    pyctr("rm", "-f", "c")
    assert pyctr.out("volume", "ls", "-q") == "vol"


def test_a_running_one_whose_monitor_is_killed_is_shown_truthfully_and_not_restarted(
    pyctr: Pyctr,
) -> None:
    pyctr("run", "-d", "--name", "c", "--restart", "always", "base", "sleep", "1000")
    os.kill(monitor_of(pyctr, "c"), signal.SIGKILL)
    until(lambda: state(pyctr, "c")["Status"] == "exited")
    assert state(pyctr, "c")["ExitCode"] == 137
    assert pyctr.out("stop", "c") == "c", "there is nothing to stop"
    pyctr("start", "c")
    pyctr("stop", "-t", "0", "c")
    pyctr("rm", "c")


@pytest.mark.parametrize("end", [("stop", "-t", "0"), ("kill",), ("kill", "-s", "TERM")])
def test_what_a_person_ends_stays_ended(pyctr: Pyctr, end: tuple[str, ...]) -> None:
    script = "trap 'exit 9' TERM; echo begun; while :; do sleep 0.05; done"
    flags = ("--restart", "unless-stopped")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
    until(lambda: runs(pyctr, "c") == 1)
    pyctr(*end, "c")
    until(lambda: state(pyctr, "c")["Status"] == "exited")
    time.sleep(0.5)
    assert state(pyctr, "c")["Status"] == "exited" and runs(pyctr, "c") == 1


def test_a_signal_that_asks_for_something_else_does_not_end_the_policy(pyctr: Pyctr) -> None:
    script = "trap 'exit 4' HUP; echo begun; while :; do sleep 0.05; done"
    flags = ("--restart", "unless-stopped")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
    until(lambda: runs(pyctr, "c") == 1)
    pyctr("kill", "-s", "HUP", "c")
    until(lambda: runs(pyctr, "c") == 2)


def test_wait_and_run_return_at_the_first_end_with_its_code(pyctr: Pyctr) -> None:
    ran = pyctr("run", "--name", "c", "--restart", "always", *SETTLES, code=5)
    assert ran.stdout == "begun\n", "what it says later goes to the log alone"
    until(lambda: runs(pyctr, "c") == 4)
    watched = subprocess.Popen(pyctr.argv("wait", "c"), stdout=subprocess.PIPE)
    time.sleep(0.3)
    pid = int(str(state(pyctr, "c")["Pid"]))
    os.kill(pid, signal.SIGKILL)
    assert watched.communicate(timeout=30)[0] == b"137\n"
    until(lambda: runs(pyctr, "c") == 5)


def test_each_start_is_made_anew(pyctr: Pyctr, home_dir: str) -> None:
    """The plan is that of the moment: volumes are held and mounted, files are written."""
    script = "cat /etc/hostname > /v/name; date +%s%N > /v/at; echo lost > /etc/hostname; exit 1"
    flags = ("--restart", "on-failure:1", "-v", "vol:/v", "-h", "host-one")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
    until(lambda: state(pyctr, "c")["Status"] == "exited")
    assert state(pyctr, "c")["RestartCount"] == 1
    with open(f"{home_dir}/volumes/vol/_data/name") as file:
        assert file.read() == "host-one\n"


def test_input_of_an_interactive_one_goes_to_each_run(pyctr: Pyctr) -> None:
    """The first client's end is the end of the first run's input, not of later ones."""
    script = "echo begun; read line; echo got $line; sleep 0.1"
    argv = pyctr.argv("run", "-i", "--name", "c", "--restart", "always", "base", "sh", "-c", script)
    ran = subprocess.run(argv, input=b"one\n", capture_output=True, timeout=60)
    assert ran.stdout == b"begun\ngot one\n"
    until(lambda: runs(pyctr, "c") == 2)
    again = subprocess.run(pyctr.argv("attach", "c"), input=b"two\n", capture_output=True,
                           timeout=60)  # fmt: skip
    assert b"got two" in again.stdout


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--restart", "sometimes"], "it is no, on-failure[:max-retries], always or unless"),
        (["--restart", "always:3"], "maximum retry count can only be used with on-failure"),
        (["--restart", "on-failure:-1"], "maximum retry count must be a whole number"),
        (["--restart", "always", "--rm"], "cannot specify both --restart and --rm"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(pyctr: Pyctr, flags: list[str], why: str) -> None:
    assert why in pyctr("create", *flags, "base", code=125).stderr


def test_background_processes_end_with_the_first_process(pyctr: Pyctr) -> None:
    script = "sleep 4242 & sleep 4242 & echo begun; sleep 0.2"
    pyctr("run", "--name", "c", "--restart", "on-failure", "base", "sh", "-c", script)
    assert state(pyctr, "c")["Status"] == "exited"
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    assert b"\x004242\0" not in file.read()
            except (FileNotFoundError, ProcessLookupError):
                continue
