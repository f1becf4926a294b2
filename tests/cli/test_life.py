"""rename, pause, unpause, top and prune."""

from __future__ import annotations

import json
import os
import time

from tests.interleave import processes, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def test_a_container_can_get_another_name(pyctr: Pyctr) -> None:
    identity = pyctr.out("create", "--name", "old", "base")
    pyctr("create", "--name", "other", "base")
    pyctr("rename", "old", "new")
    assert pyctr.out("inspect", "-f", "{{.Id}}", "new") == identity
    assert "already in use" in pyctr("rename", "new", "other", code=1).stderr
    assert "invalid container name" in pyctr("rename", "new", "a/b", code=1).stderr
    assert "no such container" in pyctr("rename", "old", "x", code=1).stderr


def test_a_paused_container_stands_still_and_can_go_on(pyctr: Pyctr) -> None:
    script = "while :; do echo x >> /ticks; sleep 0.02; done"
    pyctr("run", "-d", "--name", "c", "base", "sh", "-c", script)
    upper = pyctr.out("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "c")

    def ticks() -> int:
        with open(f"{upper}/ticks") as file:
            return len(file.read())

    time.sleep(0.3)
    assert pyctr.out("pause", "c") == "c"
    first = ticks()
    time.sleep(0.3)
    assert ticks() == first
    (state,) = json.loads(pyctr.out("inspect", "-f", "[{{json .State}}]", "c"))
    assert (state["Status"], state["Paused"], state["Running"]) == ("paused", True, True)
    assert pyctr.out("ps", "--format", "{{.Status}}").endswith("(Paused)")
    assert "is paused" in pyctr("exec", "c", "true", code=1).stderr
    assert "already paused" in pyctr("pause", "c", code=1).stderr
    pyctr("commit", "c", "still")
    assert ticks() == first, "a commit does not let it go on"
    pyctr("unpause", "c")
    deadline = time.monotonic() + 10
    while ticks() == first:
        assert time.monotonic() < deadline
    assert "not paused" in pyctr("unpause", "c", code=1).stderr


def test_a_paused_container_can_be_stopped_killed_and_removed(pyctr: Pyctr) -> None:
    for name, end in (("a", ("stop", "-t", "1")), ("b", ("kill",)), ("c", ("rm", "-f"))):
        pyctr("run", "-d", "--name", name, "base", "sleep", "1000")
        pyctr("pause", name)
        pyctr(*end, name)
    assert sorted(pyctr.out("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()) == [
        "a exited", "b exited",
    ]  # fmt: skip


def test_top_shows_the_processes_of_one_container(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sh", "-c", "sleep 1000 & sleep 2000")
    deadline = time.monotonic() + 10
    while len(lines := pyctr.out("top", "c").splitlines()) < 3:
        assert time.monotonic() < deadline
    assert "PID" in lines[0]
    assert sorted(line.split()[-2:] for line in lines[1:])[:2] == [
        ["sleep", "1000"], ["sleep", "2000"],
    ]  # fmt: skip
    assert pyctr.out("top", "c", "-o", "pid,comm").splitlines()[0].split() == ["PID", "COMMAND"]
    assert "no PID column" in pyctr("top", "c", "-o", "comm", code=125).stderr
    pyctr("stop", "-t", "0", "c")
    assert "not running" in pyctr("top", "c", code=1).stderr


def test_prune_removes_what_does_not_run(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "runs", "base", "sleep", "1000")
    pyctr("run", "--name", "done", "-l", "keep=1", "base", "true")
    fresh = pyctr.out("create", "--name", "fresh", "base")
    assert pyctr("container", "prune", stdin="n\n").stdout.endswith("[y/N] ")
    said = pyctr.out("container", "prune", "-f", "--filter", "label=keep").splitlines()
    assert said[0] == "Deleted Containers:" and said[-1].startswith("Total reclaimed space:")
    assert pyctr.out("container", "prune", "-f").splitlines()[1] == fresh
    assert pyctr.out("ps", "-a", "--format", "{{.Names}}") == "runs"


def test_an_ambiguous_prefix_lists_what_it_could_mean(pyctr: Pyctr) -> None:
    ids: list[str] = []
    while len({identity[0] for identity in ids}) == len(ids):
        ids.append(pyctr.out("create", "base"))
    both = sorted(identity for identity in ids if identity[0] == ids[-1][0])
    said = pyctr("inspect", "--type", "container", ids[-1][0], code=1).stderr
    assert "ambiguous" in said and all(identity[:7] in said for identity in both)


def test_the_log_of_the_database_is_emptied_when_nobody_waits(pyctr: Pyctr) -> None:
    """Its room stays: without a header there is nothing in it (sqlite.org, fileformat2, 4.1)."""
    log = f"{pyctr.root}/state.db-wal"

    def is_empty() -> bool:
        pyctr("run", "--rm", "base", "true")
        until(lambda: not processes(pyctr), "the monitor to leave")
        with open(log, "rb") as file:
            return file.read(32) == bytes(32)

    until(is_empty, "the log to be emptied")
    assert os.path.getsize(log) >= 1 << 20
    assert pyctr.out("image", "ls", "-q") != "", "nothing is lost"
