"""Many commands at once: each outcome is one of the truthful ones, and nothing is left of any.

Most tests hold one command at a trace point while another runs, so that the race happens each
time. The last ones let chance do it.
"""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.interleave import Command, Held, at_once, processes, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Pyctr

IGNORES = "trap '' TERM; echo ready; while :; do sleep 0.1; done"  # until it is killed
UNTIL_TOLD = "trap 'exit 3' TERM; while :; do sleep 0.02; done"


@pytest.fixture
def base(pyctr: Pyctr) -> Iterator[Pyctr]:
    """The command; the image is there. Afterwards: nothing is left but containers and volumes."""
    pyctr("run", "--rm", "base", "true")
    yield pyctr
    assert_nothing_is_left(pyctr)


def assert_nothing_is_left(pyctr: Pyctr) -> None:
    """Folders, run folders and processes are those of the containers that `ps` shows.

    A monitor may be at work for a moment after its container's end is on record.
    """
    running = set(pyctr.out("ps", "-q", "--no-trunc").split())
    until(lambda: len(processes(pyctr)) <= len(running), "processes without a container to end")
    ids = set(pyctr.out("ps", "-aq", "--no-trunc").split())
    folder = f"{pyctr.root}/containers"
    assert set(os.listdir(folder) if os.path.isdir(folder) else ()) == ids
    run = os.environ["PYCTR_RUN"]
    assert set(os.listdir(run) if os.path.isdir(run) else ()) <= running
    for state in pyctr.out("ps", "-a", "--format", "{{.State}}").split():
        assert state in ("created", "running", "paused", "restarting", "exited")


def state(pyctr: Pyctr, name: str) -> str:
    return pyctr.out("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name)


def pid(pyctr: Pyctr, name: str) -> int:
    return int(pyctr.out("inspect", "--format", "{{.State.Pid}}", name))


# -- starting, and something else --------------------------------------------------------------


def test_rm_while_starting_waits_and_says_that_it_runs(base: Pyctr) -> None:
    base("create", "--name", "one", "base", "sleep", "1000")
    with Held(base, "engine.monitor.launched", "start", "one") as starting:
        removing = Command(base, "rm", "one")
        removing.waits()
        starting.go()
        assert "started just now" in removing.done(1).stderr
        starting.done()
    assert state(base, "one") == "running 0"


def test_rm_force_while_starting_removes_what_was_started(base: Pyctr) -> None:
    base("create", "--name", "one", "-v", "/data", "base", "sleep", "1000")
    with Held(base, "engine.monitor.launched", "start", "one") as starting:
        removing = Command(base, "rm", "-f", "-v", "one")
        removing.waits()
        starting.go()
        starting.done()
        removing.done()
    assert base.out("ps", "-aq") == base.out("volume", "ls", "-q") == ""


def test_a_start_that_comes_after_a_removal_finds_no_container(base: Pyctr) -> None:
    base("create", "--name", "one", "base", "true")
    with Held(base, "engine.start.found", "start", "one") as starting:
        base("rm", "one")
        starting.go()
        assert "no such container: one" in starting.done(1).stderr


def test_a_run_whose_container_is_removed_before_its_start_says_so(base: Pyctr) -> None:
    with Held(
        base, "engine.start.found", "run", "--name", "one", "-v", "/d", "base", "true"
    ) as held:
        base("rm", "-f", "-v", "one")
        held.go()
        assert "no such container: one" in held.done(None).stderr
        assert held.process.returncode != 0
    assert base.out("volume", "ls", "-q") == ""


def test_two_starts_at_once_are_one_start(base: Pyctr) -> None:
    base("create", "--name", "one", "base", "sleep", "1000")
    with Held(base, "engine.start.found", "start", "one") as second:
        base("start", "one")
        first = pid(base, "one")
        second.go()
        second.done()
    assert pid(base, "one") == first


def test_start_attach_joins_a_container_that_another_command_has_just_started(base: Pyctr) -> None:
    base("create", "--name", "one", "base", "sh", "-c", UNTIL_TOLD)
    with Held(base, "engine.start.found", "start", "-a", "one") as second:
        base("start", "one")
        second.go()
        base("stop", "-t", "60", "one")
        second.done(3)


def test_a_start_waits_for_the_creation(base: Pyctr) -> None:
    with Held(
        base, "engine.create.recorded", "create", "--name", "one", "base", "echo", "x"
    ) as made:
        assert base.out("ps", "-a", "--format", "{{.Names}} {{.State}}") == "one creating"
        starting = Command(base, "start", "-a", "one")
        starting.waits()
        made.go()
        made.done()
        assert starting.done().stdout == "x\n"


def test_rm_waits_for_the_creation(base: Pyctr) -> None:
    with Held(
        base, "engine.create.recorded", "create", "--name", "one", "-v", "/d", "base"
    ) as made:
        removing = Command(base, "rm", "-v", "one")
        removing.waits()
        made.go()
        made.done()
        removing.done()
    assert base.out("ps", "-aq") == base.out("volume", "ls", "-q") == ""


def test_a_container_that_was_completed_after_ps_had_read_it_is_not_lost(base: Pyctr) -> None:
    with (
        Held(base, "engine.create.populated", "create", "--name", "one", "base", "true") as made,
        Held(base, "engine.reconcile.listed", "ps", "-aq") as listing,
    ):
        made.go()
        made.done()
        listing.go()
        listing.done()
    assert state(base, "one") == "created 0"


def test_rename_while_starting(base: Pyctr) -> None:
    base("create", "--name", "one", "base", "sleep", "1000")
    with Held(base, "engine.monitor.launched", "start", "one") as starting:
        base("rename", "one", "two")
        starting.go()
        starting.done()
    assert state(base, "two") == "running 0"
    base("inspect", "one", code=1)


def test_a_rename_that_comes_after_a_removal_finds_no_container(base: Pyctr) -> None:
    base("create", "--name", "one", "base", "true")
    with Held(base, "engine.containers.renaming", "rename", "one", "two") as renaming:
        base("rm", "one")
        renaming.go()
        assert "no such container: one" in renaming.done(1).stderr


def test_the_name_that_rm_force_was_given_may_be_another_container_by_the_time(
    base: Pyctr,
) -> None:
    """rm waits for one; meanwhile one is renamed, and another container gets its name."""
    base("create", "--name", "one", "base", "sleep", "1000")
    with Held(base, "engine.monitor.launched", "start", "one") as starting:
        removing = Command(base, "rm", "-f", "one")
        removing.waits()
        base("rename", "one", "two")
        base("create", "--name", "one", "base", "true")
        starting.go()
        starting.done()
        removing.done()
    assert base.out("ps", "-a", "--format", "{{.Names}} {{.State}}") == "one created"


def test_prune_leaves_alone_what_is_started_meanwhile(base: Pyctr) -> None:
    base("create", "--name", "first", "base", "true")
    base("create", "--name", "second", "base", "sleep", "1000")
    with Held(base, "engine.remove.found", "container", "prune", "-f") as pruning:
        base("start", "second")  # the newest comes first: prune is about to remove it
        pruning.go()
        pruning.done()
    assert base.out("ps", "-a", "--format", "{{.Names}}") == "second"


# -- ending, and something else ----------------------------------------------------------------


def test_stop_while_exiting_keeps_the_exit_code(base: Pyctr) -> None:
    with Held(base, "engine.monitor.ended", "run", "-d", "--name", "one", "base", "sh", "-c",
              "exit 3") as running:  # fmt: skip
        stopping = Command(base, "stop", "one")
        removing = Command(base, "rm", "-f", "--volumes", "nobody", "one")
        running.go()
        stopping.done(None)
        removing.done(0)
        running.done()
    assert base.out("ps", "-aq") == ""


def test_what_has_ended_but_is_not_on_record_is_not_running(base: Pyctr) -> None:
    with Held(base, "engine.monitor.ended", "run", "-d", "--name", "one", "base", "sh", "-c",
              "exit 3") as running:  # fmt: skip
        for command in (("exec", "one", "true"), ("pause", "one"), ("kill", "-s", "TERM", "one")):
            assert "container one is not running" in base(*command, code=1).stderr
        waiting = Command(base, "wait", "one")
        stopping = Command(base, "stop", "one")
        starting = Command(base, "start", "one")
        running.go()
        assert waiting.done().stdout == "3\n"
        stopping.done()
        starting.done()
        running.done()


def test_wait_tells_the_code_of_a_container_that_is_removed_by_its_end(base: Pyctr) -> None:
    with Held(base, "engine.monitor.ended", "run", "-d", "--rm", "--name", "one", "base", "sh",
              "-c", "exit 3") as running:  # fmt: skip
        waiting = [Command(base, "wait", "one") for _ in range(3)]
        for one in waiting:
            until(one.is_connected, "a client at the door of the monitor")
        running.go()
        assert [one.done().stdout for one in waiting] == ["3\n"] * 3
        running.done()
    assert base.out("ps", "-aq") == ""


def test_attach_while_exiting_gets_the_code(base: Pyctr) -> None:
    with Held(base, "engine.monitor.ended", "run", "-d", "--rm", "--name", "one", "base", "sh",
              "-c", "exit 3") as running:  # fmt: skip
        attaching = Command(base, "attach", "one")
        until(attaching.is_connected, "a client at the door of the monitor")
        running.go()
        attaching.done(3)
        running.done()


@pytest.mark.parametrize("command", ["attach", "wait"])
def test_attach_and_wait_wait_for_a_start_that_is_not_complete(base: Pyctr, command: str) -> None:
    base("create", "--name", "one", "base", "sh", "-c", UNTIL_TOLD)
    with Held(base, "engine.monitor.recorded", "start", "one") as starting:
        attaching = Command(base, command, "one")
        attaching.waits()
        starting.go()
        until(attaching.is_connected, "a client at the door of the monitor")
        base("stop", "-t", "60", "one")
        said = attaching.done(3 if command == "attach" else 0)
        assert said.stdout == ("" if command == "attach" else "3\n")
        starting.done()


def test_after_stop_of_a_container_with_rm_its_name_is_free(base: Pyctr) -> None:
    base("run", "-d", "--rm", "--name", "one", "-v", "/data", "base", "sh", "-c", UNTIL_TOLD)
    base("stop", "-t", "60", "one")
    assert base.out("ps", "-aq") == ""
    base("create", "--name", "one", "base", "true")
    until(lambda: base.out("volume", "ls", "-q") == "", "its volume to be freed")


def test_exec_while_stopping_says_that_it_ended(base: Pyctr) -> None:
    base("run", "-d", "--name", "one", "base", "sleep", "1000")
    with Held(base, "engine.execute.found", "exec", "one", "true") as executing:
        base("kill", "one")
        executing.go()
        assert "container one is not running" in executing.done(1).stderr


def test_exec_that_is_entering_while_its_container_is_killed_says_that_it_ended(
    base: Pyctr,
) -> None:
    base("run", "-d", "--name", "one", "base", "sleep", "1000")
    with Held(base, "runtime.step.JoinCgroup.before", "exec", "one", "true") as executing:
        base("kill", "one")
        assert "container one is not running" in executing.done(1).stderr
    assert state(base, "one") == "exited 137"


def test_what_exec_runs_dies_with_the_container(base: Pyctr) -> None:
    base("run", "-d", "--name", "one", "base", "sleep", "1000")
    executing = Command(base, "exec", "one", "sh", "-c", "touch /there; sleep 1000")
    until(lambda: "A /there" in base.out("diff", "one"), "the program of exec")
    base("stop", "-t", "0", "one")
    executing.done(137)


def test_a_start_waits_for_the_end_before_it(base: Pyctr) -> None:
    """The old monitor clears up after it has recorded the end: not what the new one has made."""
    base("create", "--name", "one", "base", "sh", "-c", "[ -e /again ] || exit 0; sleep 1000")
    with Held(base, "engine.monitor.exit_recorded", "start", "one") as first:
        first.done()
        assert state(base, "one") == "exited 0"
        starting = Command(base, "start", "one")
        starting.waits()
        with open(f"{base.root}/containers/{_id(base, 'one')}/upper/again", "w"):
            pass
        first.go()
        starting.done()
    assert state(base, "one") == "running 0"
    assert "sleep 1000" in base.out("top", "one")
    attached = Command(base, "attach", "--no-stdin", "one")
    base("stop", "-t", "0", "one")
    attached.done(None)


def _id(pyctr: Pyctr, name: str) -> str:
    return pyctr.out("inspect", "--format", "{{.Id}}", name)


def test_restart_while_somebody_else_starts_it(base: Pyctr) -> None:
    base("run", "-d", "--name", "one", "base", "sleep", "1000")
    before = pid(base, "one")
    with Held(base, "engine.start.found", "restart", "-t", "0", "one") as restarting:
        base("start", "one")
        restarting.go()
        restarting.done()
    assert state(base, "one") == "running 0"
    assert pid(base, "one") != before


# -- pausing, and something else ---------------------------------------------------------------


@pytest.mark.parametrize("how", [("stop", "-t", "0"), ("kill",), ("rm", "-f"), ("restart", "-t0")])
def test_what_is_paused_while_it_is_ended_ends(base: Pyctr, how: tuple[str, ...]) -> None:
    base("run", "-d", "--name", "one", "base", "sh", "-c", IGNORES)
    before = pid(base, "one")
    with Held(base, "engine.pause.marked", "pause", "one") as pausing:
        ending = Command(base, *how, "one")
        pausing.go()
        pausing.done(None)
        ending.done()
    assert not os.path.exists(f"/proc/{before}")
    if how[0] == "restart":
        assert state(base, "one") == "running 0"
        assert base.out("exec", "one", "echo", "x") == "x"


def test_stop_kills_what_was_paused_after_it_was_asked_to_end(base: Pyctr) -> None:
    base("run", "-d", "--name", "one", "base", "sh", "-c", IGNORES)
    until(lambda: base.out("logs", "one") == "ready", "its trap")
    with Held(base, "engine.stop.asked", "stop", "-t", "1", "one") as stopping:
        base("pause", "one")
        stopping.go()
        stopping.done()
    assert state(base, "one") == "exited 137"


def test_pause_finds_that_the_container_was_stopped(base: Pyctr) -> None:
    base("run", "-d", "--name", "one", "base", "sleep", "1000")
    with Held(base, "engine.monitor.ended", "run", "-d", "--name", "two", "base", "true") as ended:
        pausing = Command(base, "pause", "two")
        ended.go()
        assert "is not running" in pausing.done(1).stderr
        ended.done()
    base("pause", "one")
    base("stop", "-t", "0", "one")
    assert state(base, "one") == "exited 137"
    assert "is not running" in base("unpause", "one", code=1).stderr


@pytest.mark.parametrize("point", ["marked", "frozen"])
def test_a_pause_that_is_killed_can_be_undone(base: Pyctr, point: str) -> None:
    base("run", "-d", "--name", "one", "base", "sleep", "1000")
    with Held(base, f"engine.pause.{point}", "pause", "one") as pausing:
        pausing.kill()
        pausing.done(-signal.SIGKILL)
    assert state(base, "one") == "paused 0"
    base("unpause", "one")
    assert base.out("exec", "one", "echo", "x") == "x"


def test_a_pause_outlasts_a_commit_that_began_before_it(base: Pyctr) -> None:
    base("run", "-d", "--name", "one", "base", "sleep", "1000")
    with Held(base, "engine.still.held", "commit", "one", "image") as committing:
        base("pause", "one")
        committing.go()
        committing.done()
    assert state(base, "one") == "paused 0"
    frozen = Command(base, "stop", "-t", "0", "one")  # it thaws it
    frozen.done()


def test_stop_does_not_wait_for_a_commit(base: Pyctr) -> None:
    base("run", "-d", "--name", "one", "base", "sleep", "1000")
    with Held(base, "engine.still.held", "commit", "one", "image") as committing:
        base("stop", "-t", "0", "one")
        assert state(base, "one") == "exited 137"
        committing.go()
        committing.done()


# -- removing, and something else --------------------------------------------------------------


@pytest.mark.parametrize("point", ["marked", "row_removed", "files_moved"])
def test_of_two_removals_one_does_it_and_the_other_finds_nothing(base: Pyctr, point: str) -> None:
    base("create", "--name", "one", "-v", "/data", "base", "true")
    identity = _id(base, "one")
    with Held(base, "engine.remove.found", "rm", identity) as second:
        with Held(base, f"engine.erase.{point}", "rm", "-v", "one") as first:
            second.go()
            if point != "files_moved":
                second.waits()
            first.go()
            first.done()
        assert "no such container" in second.done(1).stderr
    assert base.out("volume", "ls", "-q") == base.out("volume", "ls", "-q", "--trash") == ""


def test_a_removal_that_takes_long_does_not_hold_up_lists_nor_the_name(base: Pyctr) -> None:
    base("create", "--name", "one", "base", "true")
    with Held(base, "engine.erase.files_moved", "rm", "one") as removing:
        assert base.out("ps", "-aq") == ""
        base("create", "--name", "one", "base", "true")
        removing.go()
        removing.done()
    assert state(base, "one") == "created 0"


def test_a_removal_that_is_killed_while_it_deletes_is_finished_by_the_next_command(
    base: Pyctr,
) -> None:
    base("create", "--name", "one", "base", "true")
    with Held(base, "engine.erase.files_moved", "rm", "one") as removing:
        removing.kill()
        removing.done(-signal.SIGKILL)
    assert base.out("ps", "-aq") == ""
    assert os.listdir(f"{base.root}/containers") == []


@pytest.mark.parametrize(
    "command", [("commit", "one", "image"), ("export", "-o", "/dev/null", "one")]
)
def test_what_is_read_is_not_deleted_meanwhile(base: Pyctr, command: tuple[str, ...]) -> None:
    base("run", "--name", "one", "base", "sh", "-c", "for n in 1 2 3; do echo $n > /f$n; done")
    with Held(base, "engine.still.held", *command) as reading:
        removing = Command(base, "rm", "one")
        removing.waits()
        reading.go()
        reading.done()
        removing.done()
    if command[0] == "commit":
        assert base.out("run", "--rm", "image", "cat", "/f1", "/f2", "/f3") == "1\n2\n3"


def test_a_container_cannot_be_read_after_its_removal(base: Pyctr) -> None:
    base("run", "--name", "one", "base", "true")
    with Held(base, "engine.erase.row_removed", "rm", "one") as removing:
        for command in (("diff", "one"), ("commit", "one"), ("logs", "one"), ("inspect", "one")):
            assert "no such " in base(*command, code=1).stderr
        removing.go()
        removing.done()


# -- one name, one volume, one image -----------------------------------------------------------


def test_of_ten_creations_of_one_name_one_wins(base: Pyctr) -> None:
    command = ("create", "--name", "one", "-v", "/data", "-v", "named:/named", "base", "true")
    said = at_once(base, *[command] * 10)
    made = [one.stdout.strip() for one in said if one.returncode == 0]
    assert made == [_id(base, "one")]
    lost = [one for one in said if one.returncode != 0]
    assert [one.returncode for one in lost] == [125] * 9
    for one in lost:
        assert (
            f"the container name one is already in use: by container {made[0][:12]}" in one.stderr
        )
    volumes = base.out("volume", "ls", "-q").split()
    assert len(volumes) == 2, "of the nine others no volume is left"
    assert os.listdir(f"{base.root}/containers") == made


def test_a_name_and_a_volume_that_a_removal_left_by_a_crash_are_free(base: Pyctr) -> None:
    """The removal is finished before the volume is held: otherwise it would wait for itself."""
    base("create", "--name", "one", "-v", "/data", "base", "true")
    volume, _ = base.volume_of("one", "/data")
    with Held(base, "engine.erase.marked", "rm", "one") as removing:
        removing.kill()
        removing.done(-signal.SIGKILL)
    base("run", "--name", "one", "-v", f"{volume}:/data", "base", "true")
    assert base.out("volume", "ls", "-q") == volume


def test_a_creation_waits_a_moment_for_the_name_of_what_is_being_removed(base: Pyctr) -> None:
    """Its removal waits for the volume that the creation holds; the name is free before that."""
    base("run", "--name", "source", "-v", "/data", "base", "true")
    volume, _ = base.volume_of("source", "/data")
    command = ("create", "--name", "one", "-v", f"{volume}:/data", "base", "true")
    with Held(base, "engine.create.volume_folders_made", *command) as creating:
        base("rename", "source", "one")
        with Held(base, "engine.erase.marked", "rm", "-v", "one") as removing:
            creating.go()
            removing.go()
            creating.done()
            removing.done()
    assert base.out("ps", "-a", "--format", "{{.Names}} {{.State}}") == "one created"
    assert base.out("volume", "ls", "-q") == volume, "it was in use again in time"


def test_of_many_renames_to_one_name_one_wins(base: Pyctr) -> None:
    names = [f"c{n}" for n in range(4)]
    for name in names:
        base("create", "--name", name, "base", "true")
    said = at_once(base, *[("rename", name, "one") for name in names])
    assert sorted(one.returncode for one in said) == [0, 1, 1, 1]
    assert all("already in use" in one.stderr for one in said if one.returncode)
    assert len(base.out("ps", "-aq").split()) == 4


def test_a_creation_that_fails_leaves_a_volume_that_somebody_else_made_meanwhile(
    base: Pyctr,
) -> None:
    base("create", "--name", "other", "base", "true")
    with Held(base, "engine.create.volume_folders_made", "create", "--name", "one", "-v", "vol:/d",
              "-v", "/anonymous", "base", "true") as failing:  # fmt: skip
        base("rename", "other", "one")
        base("volume", "create", "vol")
        failing.go()
        failing.done(125)
    assert base.out("volume", "ls", "-q") == "vol"


def test_volume_rm_waits_for_a_run_that_has_begun_with_it(base: Pyctr) -> None:
    base("volume", "create", "vol")
    with Held(base, "engine.create.volume_folders_made", "run", "--name", "one", "-v", "vol:/data",
              "base", "true") as running:  # fmt: skip
        removing = Command(base, "volume", "rm", "vol")
        removing.waits()
        running.go()
        assert "it is in use by one" in removing.done(1).stderr
        running.done()


@pytest.mark.parametrize("point", ["marked", "row_removed", "moved"])
def test_a_run_waits_for_a_volume_rm_that_has_begun_and_makes_the_volume_anew(
    base: Pyctr, point: str
) -> None:
    base("run", "--rm", "-v", "vol:/data", "base", "touch", "/data/old")
    with Held(base, f"volumes.store.{point}", "volume", "rm", "vol") as removing:
        command = ("run", "--rm", "-v", "vol:/data", "base", "ls", "/data")
        running = Command(base, *command)
        if point != "moved":
            running.waits()
        removing.go()
        removing.done()
        assert running.done().stdout == ""
    assert base.out("volume", "ls", "-q") == "vol"


def test_volume_rm_finds_a_container_that_took_the_volume_meanwhile(base: Pyctr) -> None:
    base("volume", "create", "vol")
    with Held(base, "volumes.store.found", "volume", "rm", "vol") as removing:
        base("create", "--name", "one", "-v", "vol:/data", "base", "true")
        removing.go()
        assert "it is in use by one" in removing.done(1).stderr


def test_a_volume_that_was_created_while_another_removes_it_is_there(base: Pyctr) -> None:
    base("volume", "create", "vol")
    with Held(base, "volumes.store.there", "volume", "create", "vol") as creating:
        base("volume", "rm", "vol")
        creating.go()
        creating.done()
    assert base.out("volume", "ls", "-q") == "vol"
    assert os.path.isdir(f"{base.root}/volumes/vol/_data")


def test_of_many_removals_of_a_volume_one_does_it(base: Pyctr) -> None:
    base("volume", "create", "vol")
    said = at_once(base, *[("volume", "rm", "vol")] * 4)
    assert sorted(one.returncode for one in said) == [0, 1, 1, 1]
    assert all("no such volume" in one.stderr for one in said if one.returncode)
    assert base.out("volume", "ls", "-q") == ""


def test_volumes_from_a_container_that_is_removed_meanwhile_is_an_error(base: Pyctr) -> None:
    base("run", "--name", "source", "-v", "/data", "base", "touch", "/data/kept")
    with Held(base, "engine.create.planned", "run", "--rm", "--volumes-from", "source",
              "base", "ls", "/data") as running:  # fmt: skip
        base("rm", "-v", "source")
        running.go()
        assert "no such container: source" in running.done(125).stderr
    assert base.out("volume", "ls", "-q") == "", "no empty volume takes the place of the lost one"


def test_volumes_from_keeps_the_volumes_of_a_container_that_is_removed_after_that(
    base: Pyctr,
) -> None:
    base("run", "--name", "source", "-v", "/data", "base", "touch", "/data/kept")
    with Held(base, "engine.create.recorded", "run", "--volumes-from", "source", "--name", "one",
              "base", "ls", "/data") as running:  # fmt: skip
        base("rm", "-v", "source")
        running.go()
        assert running.done().stdout == "kept\n"


def test_image_rm_before_a_container_is_recorded_wins(base: Pyctr) -> None:
    base("run", "--name", "first", "base", "true")
    base("commit", "first", "image")
    with Held(base, "engine.create.volume_folders_made", "create", "-v", "/data", "-v", "vol:/vol",
              "image", "true") as creating:  # fmt: skip
        base("image", "rm", "image")
        creating.go()
        assert "image image was removed just now" in creating.done(125).stderr
    assert base.out("ps", "-a", "--format", "{{.Names}}") == "first"
    assert base.out("volume", "ls", "-q") == ""


def test_image_rm_after_a_container_is_recorded_is_refused_and_keeps_the_name(
    base: Pyctr,
) -> None:
    base("run", "--name", "first", "base", "true")
    base("commit", "first", "image")
    with Held(base, "images.store.asked", "image", "rm", "image") as removing:
        base("create", "--name", "one", "image", "true")
        removing.go()
        assert "container one uses it" in removing.done(1).stderr
    assert base.out("inspect", "--type", "image", "--format", "{{.RepoTags}}", "image")
    base("start", "-a", "one")


def test_a_damaged_database_is_told_in_a_sentence(base: Pyctr) -> None:
    import sqlite3

    def change(statement: str) -> None:
        db = sqlite3.connect(f"{base.root}/state.db")
        db.execute(statement)
        db.close()

    change("ALTER TABLE containers RENAME TO lost")
    for command in (("ps",), ("create", "base", "true"), ("rm", "one")):
        said = base(*command, code=125).stderr
        assert said.startswith("pyctr: cannot use the database: no such table"), said
    change("ALTER TABLE lost RENAME TO containers")


# -- chance ------------------------------------------------------------------------------------


def test_thirty_runs_at_once_on_a_new_root_folder(pyctr: Pyctr) -> None:
    script = "echo $HOSTNAME > /shared/$HOSTNAME; cat /shared/$HOSTNAME"
    command = ("run", "--rm", "-v", "shared:/shared", "-v", "/own", "base", "sh", "-c", script)
    said = at_once(pyctr, *[command] * 30)
    assert [(one.returncode, one.stderr) for one in said] == [(0, "")] * 30
    names = {one.stdout.strip() for one in said}
    assert len(names) == 30
    assert set(os.listdir(f"{pyctr.root}/volumes/shared/_data")) == names
    assert pyctr.out("volume", "ls", "-q") == "shared"
    assert_nothing_is_left(pyctr)


TRUTHFUL = (
    "no such container",
    "no such volume",
    "no such image",
    "cannot pull image",
    "is already in use",
    "is not running",
    "is already paused",
    "is not paused",
    "is paused",
    "is restarting",
    "cannot remove container",
    "cannot remove volume",
    "cannot remove image",
    "image image was removed just now",
    "cannot start container",
    "it was removed by its end (--rm)",
)


def random_command(chance: random.Random) -> tuple[str, ...]:
    name = chance.choice(("one", "two", "three"))
    volume = chance.choice(("vol", "other"))
    sleeping = ("-v", "/data", "-v", f"{volume}:/vol", "base", "sleep", "1000")
    return chance.choice(
        (
            ("create", "--name", name, *sleeping),
            ("create", "--name", name, *sleeping),
            ("run", "-d", "--name", name, *sleeping),
            ("run", "-d", "--rm", "--name", name, *sleeping),
            ("run", "--rm", "--name", name, "-v", f"{volume}:/vol", "base", "true"),
            ("run", "-d", "--restart", "always", "--name", name, "base", "sleep", "0.1"),
            ("update", "--restart", "no", name),
            ("cp", f"{name}:/etc/passwd", "-"),
            ("run", "--rm", "--volumes-from", name, "base", "true"),
            ("start", name),
            ("start", name),
            ("stop", "-t", "0", name),
            ("restart", "-t", "0", name),
            ("kill", name),
            ("pause", name),
            ("unpause", name),
            ("exec", name, "true"),
            ("rename", name, chance.choice(("one", "two", "three"))),
            ("rm", name),
            ("rm", "-f", "-v", name),
            ("commit", name, "image"),
            ("run", "--rm", "--pull", "never", "image", "true"),
            ("image", "rm", "image"),
            ("volume", "rm", volume),
            ("volume", "prune", "-f"),
            ("container", "prune", "-f"),
            ("ps", "-a"),
            ("diff", name),
            ("top", name),
        )
    )


@pytest.mark.parametrize("seed", range(3))
def test_whatever_runs_at_once_each_outcome_is_truthful(base: Pyctr, seed: int) -> None:
    chance = random.Random(seed)
    running: list[Command] = []
    for command in [random_command(chance) for _ in range(60)]:
        if len(running) == 6:
            check(running.pop(0).done(None))
        running.append(Command(base, *command))
    for one in running:
        check(one.done(None))
    ids = base.out("ps", "-aq").split()
    base("rm", "-f", "-v", *ids or ["none"])
    left = set(base.out("volume", "ls", "-q").split())
    assert left <= {"vol", "other"}, "anonymous volumes have gone with their containers"


def check(said: object) -> None:
    """Success, or a refusal that says what was in the way."""
    code, stderr = said.returncode, said.stderr  # type: ignore[attr-defined]
    told = [line for line in stderr.split("\n") if line.startswith("pyctr: ")]
    told = [line for line in told if not line.startswith("pyctr: warning: ")]
    assert code == 0 or told, said
    for line in told:
        assert any(word in line for word in TRUTHFUL), said
