"""What is done to a container, and what happens to it, is told in order with Docker's words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from tests.terminals import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Pyctr


def told(pyctr: Pyctr, name: str) -> list[tuple[str, dict[str, Any]]]:
    """(action, attributes without the usual ones) of each event of a container."""
    found = []
    with open(f"{pyctr.root}/events.log") as file:
        for line in file:
            event = json.loads(line)
            if event["Type"] != "container":
                continue
            assert len(event["Actor"]["ID"]) == 64
            attributes = event["Actor"]["Attributes"]
            if attributes.pop("name") == name:
                assert attributes.pop("image")
                found.append((event["Action"], attributes))
    return found


def actions(pyctr: Pyctr, name: str) -> list[str]:
    return [action for action, _ in told(pyctr, name)]


def test_a_whole_life_is_told_in_order(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "old", "-l", "role=db", "base", "sleep", "1000")
    pyctr("rename", "old", "c")
    pyctr("start", "c")
    pyctr("exec", "c", "sh", "-c", "exit 5", code=5)
    pyctr("pause", "c")
    pyctr("unpause", "c")
    pyctr("top", "c")
    pyctr("commit", "-m", "as it is", "c", "image")
    subprocess.run(pyctr.argv("export", "c"), stdout=subprocess.DEVNULL, check=True)
    pyctr("stop", "-t", "0", "c")
    pyctr("restart", "c")
    pyctr("kill", "c")
    pyctr("rm", "c")
    assert actions(pyctr, "old") == ["create"]
    assert actions(pyctr, "c") == [
        "rename", "start", "exec_create: sh -c exit 5", "exec_start: sh -c exit 5", "exec_die",
        "pause", "unpause", "top", "commit", "export", "kill", "kill", "die", "stop", "start",
        "restart", "kill", "die", "destroy",
    ]  # fmt: skip
    events = dict(told(pyctr, "c"))
    assert all(attributes["role"] == "db" for attributes in events.values())
    assert events["rename"]["oldName"] == "/old"
    assert events["exec_die"]["exitCode"] == "5"
    assert events["exec_die"]["execID"] == events["exec_start: sh -c exit 5"]["execID"]
    assert events["commit"]["comment"] == "as it is"
    signals = [own["signal"] for action, own in told(pyctr, "c") if action == "kill"]
    assert signals == ["15", "9", "9"]
    assert events["die"]["exitCode"] == "137"


def test_run_attaches_and_rm_removes(pyctr: Pyctr) -> None:
    pyctr("run", "--rm", "--name", "c", "base", "sh", "-c", "exit 3", code=3)
    assert actions(pyctr, "c") == ["create", "attach", "start", "die", "destroy"]
    assert dict(told(pyctr, "c"))["die"] == {"exitCode": "3"}


def test_a_policys_start_is_no_restart_by_a_person(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "--restart", "on-failure:1", "base", "false")
    deadline = time.monotonic() + 60
    while actions(pyctr, "c").count("die") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert actions(pyctr, "c") == ["create", "start", "die", "start", "die"]


def test_too_much_memory_is_told_before_the_end(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "-m", "16m", "base", "tail", "/dev/zero")
    pyctr("wait", "c")
    assert actions(pyctr, "c")[-2:] == ["oom", "die"]


def test_the_end_of_a_container_whose_monitor_was_killed_is_told(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    pid = pyctr.out("inspect", "-f", "{{.State.Pid}}", "c")
    with open(f"/proc/{pid}/stat") as stat:
        os.kill(int(stat.read().rpartition(")")[2].split()[1]), signal.SIGKILL)
    pyctr("wait", "c")
    assert told(pyctr, "c")[-1] == ("die", {"exitCode": "137"})


def test_a_full_disk_stops_nothing(pyctr: Pyctr) -> None:
    os.symlink("/dev/full", f"{pyctr.root}/events.log")
    assert pyctr.out("run", "--rm", "base", "echo", "x") == "x"
    os.unlink(f"{pyctr.root}/events.log")


def test_who_comes_to_a_terminal_resizes_it_and_leaves_is_told(pyctr: Pyctr) -> None:
    terminal = Terminal(pyctr.argv("run", "-it", "--name", "c", "-e", "PS1=> ", "base", "sh"))
    terminal.expect(b"> ")
    terminal.resize(91, 19)
    deadline = time.monotonic() + 60
    while {"height": "19", "width": "91"} not in [own for _, own in told(pyctr, "c")]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    terminal.type(b"\x10\x11")
    assert terminal.end() == 0
    kinds = actions(pyctr, "c")
    assert kinds[:3] == ["create", "attach", "start"] and kinds[-1] == "detach"
    assert set(kinds[3:-1]) == {"resize"}
