"""Events: many writers, a file that begins anew, readers that miss nothing."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events, history
from engine.home import Home
from kernel import quickjson, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from engine.history import Event


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path), str(tmp_path / "run"))


def emit(home: Home, action: str, identity: str = "x") -> None:
    events.emit(home, "container", action, identity, {"name": "c"})


def in_child(action: Callable[[], object]) -> int:
    """Does something in a process of its own; returns its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def past(home: Home) -> list[Event]:
    return [one for one in history.read(home, since=0, until=time.time_ns()) if one is not None]


def files(home: Home) -> list[str]:
    return sorted(name for name in os.listdir(home.root) if name.startswith("events"))


def test_what_is_told_is_read_again(home: Home) -> None:
    before = time.time_ns()
    events.emit(home, "volume", "create", "data", {"driver": "local", "é": '"\n'})
    (one,) = past(home)
    assert (one.kind, one.action, one.identity) == ("volume", "create", "data")
    assert one.attributes == {"driver": "local", "é": '"\n'}
    assert before <= one.moment <= time.time_ns()


def test_only_what_is_between_two_moments_is_read(home: Home) -> None:
    emit(home, "one")
    middle = time.time_ns()
    emit(home, "two")
    end = time.time_ns()
    emit(home, "three")
    found = [one for one in history.read(home, since=middle, until=end) if one is not None]
    assert [one.action for one in found] == ["two"]


def test_a_line_that_a_crash_cut_off_costs_only_itself(home: Home) -> None:
    emit(home, "one")
    with open(events.path(home), "a") as file:
        file.write('{"Type": "container", "Act')
    emit(home, "two")
    with open(events.path(home), "a") as file:
        file.write("\n{}\n[]\nnonsense\n")
    emit(home, "three")
    assert [one.action for one in past(home)] == ["one", "two", "three"]


@given(st.binary(max_size=60))
def test_any_line_is_an_event_or_none(line: bytes) -> None:
    history.parse(line)
    history.parse(b'{"Type": "x", "Action": ' + line + b"}")


def test_a_full_disk_stops_nothing(home: Home) -> None:
    os.mkdir(events.path(home))  # what cannot be opened for writing
    emit(home, "one")


def test_the_file_begins_anew_and_one_old_file_is_kept(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LARGEST", 2000)
    for number in range(200):
        emit(home, str(number))
    assert files(home) == ["events.log", "events.log.1"]
    assert all(os.path.getsize(f"{home.root}/{name}") < 2400 for name in files(home))
    kept = [int(one.action) for one in past(home)]
    assert len(kept) > 20 and kept == list(range(200))[-len(kept) :]


def test_many_writers_and_rotations_lose_nothing_for_a_reader(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LARGEST", 20_000)
    writers, each = 6, 150
    seen: list[str] = []
    lost: list[bool] = []
    begun = threading.Event()

    def follow() -> None:
        for one in history.read(home, on_loss=lambda: lost.append(True)):
            begun.set()
            if one is not None:
                seen.append(one.action)
                if len(seen) == writers * each:
                    return

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    assert begun.wait(10)

    def write(writer: int) -> None:
        for number in range(each):
            emit(home, f"{writer}-{number}")
            if number % 10 == 0:
                time.sleep(0.02)  # the reader shares this machine

    children = [in_child(lambda writer=writer: write(writer)) for writer in range(writers)]  # type: ignore[misc]
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
    reader.join(60)
    assert not reader.is_alive(), f"{len(seen)} of {writers * each} events came"
    assert not lost
    assert sorted(seen) == sorted(f"{w}-{n}" for w in range(writers) for n in range(each))
    for writer in range(writers):
        own = [one for one in seen if one.startswith(f"{writer}-")]
        assert own == [f"{writer}-{number}" for number in range(each)], "in order"


@pytest.mark.parametrize("point", ["begun", "kept"])
def test_a_kill_during_a_rotation_loses_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    monkeypatch.setattr(events, "LARGEST", 1000)
    count = 0
    while not os.path.exists(events.path(home)) or os.path.getsize(events.path(home)) < 1000:
        emit(home, str(count))
        count += 1

    def killed() -> None:
        trace.arm("kill", f"engine.rotation.{point}")
        emit(home, "never")

    assert os.waitpid(in_child(killed), 0)[1] == signal.SIGKILL
    assert [one.action for one in past(home)] == list(map(str, range(count)))
    emit(home, "after")
    assert [one.action for one in past(home)] == [*map(str, range(count)), "after"]
    assert files(home) == ["events.log", "events.log.1"]


def test_a_reader_that_stood_still_for_too_long_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "LARGEST", 1000)
    emit(home, "first")
    lost: list[bool] = []
    reader: Iterator[Event | None] = history.read(home, on_loss=lambda: lost.append(True))
    assert next(reader) is None
    emit(home, "seen")
    for number in range(100):
        emit(home, str(number))
    found = []
    for one in reader:
        if one is None:
            break
        found.append(one.action)
    assert found[0] == "seen" and found[-1] == "99"
    assert lost, "whole files went by"
    assert len(found) < 101


def test_a_reader_wakes_up_for_each_event_and_at_its_end(home: Home) -> None:
    until = time.time_ns() + 2 * 10**9
    timer = threading.Timer(0.2, lambda: emit(home, "later"))
    timer.start()
    found = [one.action for one in history.read(home, until=until) if one is not None]
    assert found == ["later"]
    assert time.time_ns() >= until


def test_a_host_without_inotify_is_looked_at_now_and_then(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left() -> None:
        raise OSError(24, "too many")

    monkeypatch.setattr("kernel.inotify.Watch", none_left)
    reader = history.read(home)
    assert next(reader) is None
    emit(home, "one")
    assert next(one for one in reader if one is not None).action == "one"


def test_the_first_line_of_a_later_file_is_no_event() -> None:
    assert history.parse(quickjson.dumps({"File": 3}).encode()) is None
