"""Health checks: what is run, how it is judged, what is shown, and what it must not disturb."""

from __future__ import annotations

import io
import json
import os
import signal
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import health
from engine.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.conftest import Pyctr

FAST = ("--health-interval", "100ms")


@given(st.lists(st.tuples(st.integers(-1, 2), st.booleans()), max_size=20), st.integers(0, 4))
def test_a_record_follows_dockers_rules(results: list[tuple[int, bool]], retries: int) -> None:
    settings = Settings(("x",), health={"Test": ["CMD", "y"], "Retries": retries})
    record: dict[str, Any] = {"Status": "starting", "FailingStreak": 0, "Log": []}
    for code, in_start_period in results:
        before = record
        record = health.judged(record, {"ExitCode": code}, settings, starting=in_start_period)
        if code == 0:
            assert (record["Status"], record["FailingStreak"]) == ("healthy", 0)
        elif in_start_period and before["Status"] == "starting":
            assert record["Status"] == "starting"
            assert record["FailingStreak"] == before["FailingStreak"]
        else:
            assert record["FailingStreak"] == before["FailingStreak"] + 1
            failed = record["FailingStreak"] >= (retries or 3)
            assert record["Status"] == ("unhealthy" if failed else before["Status"])
    assert [one["ExitCode"] for one in record["Log"]] == [code for code, _ in results][-5:]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (0.0005, "500µs"), (0.001, "1ms"), (0.0015, "1.5ms"), (1, "1s"), (1.5, "1.5s"),
     (30, "30s"), (60, "1m0s"), (90.25, "1m30.25s"), (3600, "1h0m0s"), (90061, "25h1m1s")],
)  # fmt: skip
def test_durations_are_written_as_go_writes_them(seconds: float, shown: str) -> None:
    assert health.duration(seconds) == shown


def test_what_is_not_given_is_the_images_and_the_default_last() -> None:
    image = {"Test": ["CMD", "a"], "Interval": 5 * 10**9, "Retries": 7}
    assert health.merged({"Interval": 10**9}, image) == {**image, "Interval": 10**9}
    merged = Settings(("x",), health=health.merged({}, image))
    assert health.seconds(merged, "Interval") == 5
    assert [health.seconds(merged, name) for name in ("Timeout", "StartPeriod", "StartInterval")] \
        == [30, 0, 5]  # fmt: skip
    assert health.command(merged) == ("a",)
    shell = merged.replace(health={"Test": ["CMD-SHELL", "b c"]})
    assert health.command(shell) == ("/bin/sh", "-c", "b c")
    assert health.command(shell.replace(shell=("/bin/ash", "-ec"))) == ("/bin/ash", "-ec", "b c")
    assert health.command(merged.replace(health={"Test": ["NONE"]})) == ()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def record(pyctr: Pyctr, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pyctr.out("inspect", "-f", "{{json .State.Health}}", name))
    return found


def test_a_container_becomes_healthy_and_unhealthy_and_healthy_again(pyctr: Pyctr) -> None:
    probe = "echo looked at $HOSTNAME by $(id -u); test -e /tmp/ok"
    flags = ("--health-cmd", probe, "--health-retries", "2", "-u", "1000", "-h", "host")
    pyctr("run", "-d", "--name", "new", *flags, "base", "sleep", "1000")
    assert pyctr.out("ps", "--format", "{{.Status}}").endswith("(health: starting)")
    assert record(pyctr, "new") == {"Status": "starting", "FailingStreak": 0, "Log": []}
    pyctr("rm", "-f", "new")
    pyctr("run", "-d", "--name", "c", *FAST, *flags, "base", "sleep", "1000")
    until(lambda: record(pyctr, "c")["Status"] == "unhealthy")
    shown = record(pyctr, "c")
    assert shown["FailingStreak"] >= 2
    first = shown["Log"][0]
    assert (first["ExitCode"], first["Output"]) == (1, "looked at host by 1000\n")
    assert first["Start"] < first["End"]
    assert pyctr.out("ps", "--format", "{{.Status}}").endswith("(unhealthy)")
    pyctr("exec", "c", "touch", "/tmp/ok")
    until(lambda: record(pyctr, "c")["Status"] == "healthy")
    assert pyctr.out("ps", "--format", "{{.Status}}").endswith("(healthy)")
    until(lambda: all(one["ExitCode"] == 0 for one in record(pyctr, "c")["Log"]))
    shown = record(pyctr, "c")
    assert shown["FailingStreak"] == 0 and len(shown["Log"]) == 5
    pyctr("stop", "-t", "0", "c")
    assert record(pyctr, "c")["Status"] == "unhealthy", "as Docker has it"
    with open(f"{pyctr.root}/events.log") as file:
        actions = [json.loads(line)["Action"] for line in file]
    told = [action for action in actions if action.startswith("health_status")]
    assert told == ["health_status: unhealthy", "health_status: healthy"]


def test_a_probe_that_takes_too_long_is_killed_with_all_that_it_started(pyctr: Pyctr) -> None:
    probe = "echo begun; sleep 4343 & sleep 4343; true"
    flags = (*FAST, "--health-cmd", probe, "--health-timeout", "300ms", "--health-retries", "1")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sleep", "1000")
    until(lambda: record(pyctr, "c")["Status"] == "unhealthy")
    (one, *_) = record(pyctr, "c")["Log"]
    assert one["ExitCode"] == -1
    assert one["Output"] == "Health check exceeded timeout (300ms): begun\n"
    until(lambda: len(record(pyctr, "c")["Log"]) == 5)
    shown = pyctr.out("top", "c", "-o", "pid,comm").split()
    assert shown.count("sleep") <= 3, "the program, and two of one probe at most"


def test_a_probe_that_cannot_be_run_says_why(pyctr: Pyctr) -> None:
    flags = (*FAST, "--health-cmd", "true", "--health-retries", "1")
    pyctr("run", "--name", "make", "base", "rm", "/bin/sh")
    pyctr("commit", "make", "shellless")
    pyctr("run", "-d", "--name", "c", *flags, "shellless", "sleep", "1000")
    until(lambda: record(pyctr, "c")["Status"] == "unhealthy")
    (one, *_) = record(pyctr, "c")["Log"]
    assert one["ExitCode"] == -1 and "no such file" in one["Output"].lower()


def test_output_is_cut_at_4096_bytes_and_any_bytes_are_shown(pyctr: Pyctr) -> None:
    probe = "printf '\\377'; head -c 100000 /dev/zero | tr '\\0' x; sleep 4344 & exit 0"
    pyctr("run", "-d", "--name", "c", *FAST, "--health-cmd", probe, "base", "sleep", "1000")
    until(lambda: record(pyctr, "c")["Log"])
    (one, *_) = record(pyctr, "c")["Log"]
    assert one["ExitCode"] == 0, "what it left running is not waited for"
    assert one["Output"] == "\N{REPLACEMENT CHARACTER}" + "x" * 4095 + "..."


def test_in_the_start_period_failures_do_not_count_and_a_success_ends_it(pyctr: Pyctr) -> None:
    flags = (
        "--health-interval", "1h", "--health-start-period", "1h", "--health-start-interval",
        "100ms", "--health-retries", "1",
    )  # fmt: skip
    script = "test -e /ok"
    pyctr("run", "-d", "--name", "c", *flags, "--health-cmd", script, "base", "sleep", "1000")
    until(lambda: len(record(pyctr, "c")["Log"]) >= 3)
    shown = record(pyctr, "c")
    assert (shown["Status"], shown["FailingStreak"]) == ("starting", 0)
    pyctr("exec", "c", "touch", "/ok")
    until(lambda: record(pyctr, "c")["Status"] == "healthy")
    last = record(pyctr, "c")["Log"][-1]
    time.sleep(0.4)
    assert record(pyctr, "c")["Log"][-1] == last, "from now on the long interval counts"


def test_a_paused_container_is_not_probed_and_keeps_its_state(pyctr: Pyctr) -> None:
    probe = "date +%N; sleep 0.1"
    flags = (*FAST, "--health-timeout", "400ms", "--health-retries", "1", "--health-cmd", probe)
    pyctr("run", "-d", "--name", "c", *flags, "base", "sleep", "1000")
    until(lambda: record(pyctr, "c")["Status"] == "healthy")
    pyctr("pause", "c")
    time.sleep(0.2)  # for a result that was on its way
    before = record(pyctr, "c")
    time.sleep(1)
    assert record(pyctr, "c") == before
    pyctr("unpause", "c")
    until(lambda: record(pyctr, "c")["Log"][-1] != before["Log"][-1])
    assert record(pyctr, "c")["Status"] == "healthy"


def test_a_probe_that_ends_with_its_container_is_no_failure(pyctr: Pyctr) -> None:
    flags = ("--health-interval", "1ms", "--health-cmd", "sleep 1000", "--health-retries", "1")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", "sleep 0.7; exit 3")
    assert pyctr.out("wait", "c") == "3"
    shown = record(pyctr, "c")
    assert (shown["FailingStreak"], shown["Log"]) == (0, [])


def test_each_start_begins_anew_but_keeps_what_was_found(pyctr: Pyctr) -> None:
    script = "[ -e /ran ] && exec sleep 1000; touch /ran; sleep 1; exit 1"
    flags = ("--health-cmd", "exit 9", "--health-retries", "1", "--restart", "on-failure:1")
    pyctr("run", "-d", "--name", "c", *FAST, *flags, "base", "sh", "-c", script)
    until(lambda: pyctr.out("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "c")
          == "1 running")  # fmt: skip
    pyctr("stop", "-t", "0", "c")
    before = record(pyctr, "c")["Log"]
    assert before, "results of the first run"
    pyctr("update", "--restart", "no", "c")
    pyctr("start", "c")
    until(lambda: record(pyctr, "c")["Log"][-1] not in before)
    assert record(pyctr, "c")["Log"][0] in before


def test_a_monitor_killed_during_a_probe_takes_the_probe_along(pyctr: Pyctr) -> None:
    flags = (*FAST, "--health-cmd", "sleep 4345", "--pids-limit", "50")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sleep", "1000")
    until(lambda: "4345" in pyctr.out("top", "c", "-o", "pid,args"))
    probe = next(line.split()[0] for line in pyctr.out("top", "c", "-o", "pid,args").splitlines()
                 if "4345" in line)  # fmt: skip
    pid = pyctr.out("inspect", "-f", "{{.State.Pid}}", "c")
    with open(f"/proc/{pid}/stat") as stat:
        monitor = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    until(lambda: pyctr.out("inspect", "-f", "{{.State.Status}}", "c") == "exited")

    def is_gone() -> bool:
        try:
            with open(f"/proc/{probe}/stat") as file:
                return file.read().rpartition(") ")[2][0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    until(is_gone)
    assert record(pyctr, "c")["Status"] == "unhealthy"
    pyctr("start", "c")
    assert record(pyctr, "c")["Status"] == "starting"


@pytest.mark.parametrize("point", ["begun", "recorded"])
def test_after_a_kill_of_the_monitor_around_a_probe_the_container_can_be_used(
    pyctr: Pyctr, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCTR_TRACE", f"kill:engine.probe.{point}")
    flags = (*FAST, "--health-cmd", "true")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sleep", "1000")
    monkeypatch.delenv("PYCTR_TRACE")
    state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Health.Status}}"
    until(lambda: pyctr.out("inspect", "-f", state, "c") == "exited 137 unhealthy")
    pyctr("start", "c")
    until(lambda: record(pyctr, "c")["Status"] == "healthy")


def test_no_zombie_is_left_to_the_monitor(pyctr: Pyctr) -> None:
    flags = ("--health-interval", "20ms", "--health-cmd", "true")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sleep", "1000")
    until(lambda: len(record(pyctr, "c")["Log"]) == 5)
    pid = pyctr.out("inspect", "-f", "{{.State.Pid}}", "c")
    with open(f"/proc/{pid}/stat") as stat:
        monitor = stat.read().rpartition(")")[2].split()[1]

    def held() -> int:
        """Descriptors of the monitor between two probes."""
        found = []
        for _ in range(30):
            with open(f"/proc/{monitor}/task/{monitor}/children") as file:
                assert len(file.read().split()) <= 2, "the program, and one probe at most"
            found.append(len(os.listdir(f"/proc/{monitor}/fd")))
            time.sleep(0.01)
        return min(found)

    before, seen = held(), record(pyctr, "c")["Log"]
    until(lambda: record(pyctr, "c")["Log"][0]["Start"] > seen[-1]["End"])
    assert held() <= before


def image_with(healthcheck: object, shell: list[str] | None = None) -> bytes:
    """What `docker save` writes: busybox with a health check in its configuration."""
    import hashlib

    from images.base import find_busybox

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as made:
        for name in ("sh", "sleep", "test"):
            made.add(find_busybox(), f"bin/{name}")
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sleep", "1000"], "Healthcheck": healthcheck, "Shell": shell},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": ["checked:latest"], "Layers": ["layer.tar"]}]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in (
            ("layer.tar", layer.getvalue()),
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def test_an_image_brings_its_own_check_which_flags_change_or_leave_out(pyctr: Pyctr) -> None:
    check = {"Test": ["CMD", "/bin/test", "-e", "/ok"], "Interval": 10**8, "Retries": 1}
    pyctr("load", stdin=image_with(check))
    pyctr("run", "-d", "--name", "own", "checked")
    until(lambda: record(pyctr, "own")["Status"] == "unhealthy")
    assert json.loads(pyctr.out("inspect", "-f", "{{json .Config.Healthcheck}}", "own")) == check
    pyctr("create", "--name", "changed", "--health-retries", "9", "--health-cmd", "true", "checked")
    shown = json.loads(pyctr.out("inspect", "-f", "{{json .Config.Healthcheck}}", "changed"))
    assert shown == {**check, "Test": ["CMD-SHELL", "true"], "Retries": 9}
    pyctr("run", "-d", "--name", "none", "--no-healthcheck", "checked")
    assert json.loads(pyctr.out("inspect", "-f", "{{json .State}}", "none"))["Health"] is None
    shown = json.loads(pyctr.out("inspect", "-f", "{{json .Config.Healthcheck}}", "none"))
    assert shown["Test"] == ["NONE"]
    pyctr("commit", "changed", "derived")
    assert "CMD-SHELL" in pyctr.out("image", "inspect", "-f", "{{json .Config}}", "derived")


def test_the_images_shell_runs_the_check(pyctr: Pyctr) -> None:
    check = {"Test": ["CMD-SHELL", "exit 3"], "Interval": 10**8, "Retries": 1}
    pyctr("load", stdin=image_with(check, ["/bin/sh", "-xc"]))
    pyctr("run", "-d", "--name", "c", "checked")
    until(lambda: record(pyctr, "c")["Log"])
    assert record(pyctr, "c")["Log"][0]["Output"] == "+ exit 3\n"


@pytest.mark.parametrize(
    "check",
    [{"Test": ["RUN", "x"]}, {"Test": ["CMD"]}, {"Test": "CMD"}, {"Test": [3]}, {"Interval": "30s"},
     {"Retries": -1}, {"Retries": 1.5}, {"Timeout": 1 << 64}, [], {"Retries": True}],
)  # fmt: skip
def test_a_check_that_makes_no_sense_is_refused_with_its_image(pyctr: Pyctr, check: object) -> None:
    if check == []:
        check = ["CMD", "true"]
    assert "configuration is refused" in pyctr("load", stdin=image_with(check), code=1).stderr


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--no-healthcheck", "--health-cmd", "x"], "conflicts with --health-* options"),
        (["--health-interval", "30"], "a unit is missing"),
        (["--health-interval", "-1s"], "invalid argument '-1s'"),
        (["--health-timeout", "0.1ms"], "cannot be less than 1ms"),
        (["--health-retries", "-1"], "not a whole number"),
    ],
)
def test_flags_that_make_no_sense_are_refused(pyctr: Pyctr, flags: list[str], why: str) -> None:
    assert why in pyctr("create", *flags, "base", code=125).stderr
