"""A monitor at rest is the same process with little memory, and wakes for all that it has to do."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial

import pytest

from tests.watch import fields, is_gone, is_resting, monitor_of, rested, state, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

_AT_REST = 6 * 1024  # kB, the promise of docs/performance.md


def memory(pid: int) -> int:
    """Pss in kB, proc_pid_smaps(5)."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        (line,) = [line for line in file if line.startswith("Pss:")]
    return int(line.split()[1])


def test_an_idle_monitor_needs_little_memory(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    pid = monitor_of(pyctr, "c")
    before = fields(pid)[19]  # when it began
    assert rested(pyctr, "c") == pid and fields(pid)[19] == before
    with open(f"/proc/{pid}/comm") as file:
        assert file.read().startswith("pyctr:")
    assert memory(pid) <= _AT_REST
    pyctr("rm", "-f", "c")
    until(lambda: is_gone(pid), "the monitor has left")


def test_nothing_of_what_is_said_gets_lost(pyctr: Pyctr) -> None:
    """The line that is not complete when it goes to rest neither."""
    script = (
        "printf 'half '; until [ -e /go ]; do sleep 0.05; done; echo line; echo err >&2; exit 3"
    )
    pyctr("run", "-d", "--name", "c", "base", "sh", "-c", script)
    rested(pyctr, "c")
    pyctr("exec", "c", "touch", "/go", code=None)  # the end of the container may end it, too
    assert pyctr.out("wait", "c") == "3" and state(pyctr, "c") == "exited 3"
    ran = pyctr("logs", "c")
    assert (ran.stdout, ran.stderr) == ("half line\n", "err\n")


def test_who_attaches_reads_and_writes(pyctr: Pyctr) -> None:
    pyctr(
        "run", "-d", "-i", "--name", "c", "--rm", "base", "sh", "-c", "read x; echo got $x; exit 4"
    )
    pid = rested(pyctr, "c")
    assert pyctr("attach", "c", stdin="this\n", code=4).stdout == "got this\n"
    until(lambda: is_gone(pid), "the monitor has left")
    assert pyctr.out("ps", "-aq") == ""


def test_a_terminal_gets_its_size(pyctr: Pyctr) -> None:
    pyctr("run", "-dt", "-i", "--name", "c", "base", "sh", "-c", "read x; stty size")
    rested(pyctr, "c")
    script = f"stty cols 91 rows 17; {' '.join(pyctr.argv('attach', 'c'))}"
    ran = subprocess.run(
        ["script", "-qec", script, "/dev/null"], input=b"\n", capture_output=True, check=True
    )
    assert b"17 91" in ran.stdout and "17 91" in pyctr.out("logs", "c")
    assert "resize" in pyctr.out("events", "--until", "0s", "--format", "{{.Action}}")


def _shows(pyctr: Pyctr, template: str, text: str) -> bool:
    return pyctr.out("inspect", "-f", template, "c") == text


def test_its_restart_policy_holds_and_it_rests_again(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "--restart", "on-failure:2", "base", "sleep", "1000")
    pid = rested(pyctr, "c")
    template = "{{.RestartCount}} {{.State.Status}}"
    for expected in ("1 running", "2 running"):
        os.kill(int(pyctr.out("inspect", "-f", "{{.State.Pid}}", "c")), signal.SIGKILL)
        until(partial(_shows, pyctr, template, expected), "it runs again")
        assert rested(pyctr, "c") == pid
    os.kill(int(pyctr.out("inspect", "-f", "{{.State.Pid}}", "c")), signal.SIGKILL)
    until(lambda: state(pyctr, "c") == "exited 137", "it has ended for good")


def test_commit_freezes_through_it_and_sigterm_ends_the_container(pyctr: Pyctr) -> None:
    script = "trap 'echo bye; exit 5' TERM; while :; do sleep 0.05; done"
    pyctr("run", "-d", "--name", "c", "base", "sh", "-c", script)
    pid = rested(pyctr, "c")
    pyctr("commit", "c", "frozen")
    rested(pyctr, "c")
    os.kill(pid, signal.SIGTERM)
    until(lambda: state(pyctr, "c") == "exited 5", "it has ended")
    assert pyctr.out("logs", "c") == "bye"


def test_a_full_log_is_set_aside_and_compressed(pyctr: Pyctr) -> None:
    script = "until [ -e /go ]; do sleep 0.05; done; for i in $(seq 400); do echo $i; done"
    options = ("--log-opt", "max-size=4k", "--log-opt", "max-file=20", "--log-opt", "compress=true")
    pyctr("run", "-d", "--name", "c", *options, "base", "sh", "-c", script)
    rested(pyctr, "c")
    pyctr("exec", "c", "touch", "/go")
    assert pyctr.out("wait", "c") == "0"
    assert pyctr.out("logs", "c").split() == [str(i) for i in range(1, 401)]


def test_health_checks_keep_it_awake(pyctr: Pyctr) -> None:
    """They come every other second, and what they need would be loaded anew each time."""
    health = ("--health-cmd", "true", "--health-interval", "1s")
    pyctr("run", "-d", "--name", "c", *health, "base", "sleep", "1000")
    pid = monitor_of(pyctr, "c")
    template = "{{len .State.Health.Log}}"
    until(lambda: int(pyctr.out("inspect", "-f", template, "c")) >= 3, "it was checked thrice")
    assert not is_resting(pid)


@pytest.mark.parametrize("point", ["engine.resting.executing", "engine.resting.executed"])
def test_killed_on_the_way_it_takes_the_container_with_it(
    pyctr: Pyctr, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCTR_TRACE", f"kill:{point}")
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    monkeypatch.delenv("PYCTR_TRACE")
    until(lambda: state(pyctr, "c") == "exited 137", "its end is on record")
    pyctr("start", "c")
    assert state(pyctr, "c") == "running 0"
