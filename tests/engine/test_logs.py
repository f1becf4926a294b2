"""Logs give back exactly what was put in, however it was cut, set aside and compressed."""

from __future__ import annotations

import os
import tempfile
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import logopts, logread, logs
from engine.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

CHUNKS = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=50)), max_size=12
)


def wait_for_children(writer: logs.Writer) -> None:
    while writer.descriptors:
        writer.reap(set(writer.descriptors))


@settings(max_examples=50)
@given(CHUNKS, st.integers(0, 6))
def test_logs_lose_no_byte_and_no_line(chunks: list[tuple[str, bytes]], tail: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/log.json"
        writer = logs.Writer(path)
        for stream, chunk in chunks:
            writer.write(stream, chunk)
        writer.flush()
        entries = list(logread.read(path))
        for name in ("stdout", "stderr"):
            said = b"".join(chunk for stream, chunk in chunks if stream == name)
            assert b"".join(e.content for e in entries if e.stream == name) == said
        last = [e.content for e in logread.read(path, tail=tail)]
        assert last == [e.content for e in entries][len(entries) - min(tail, len(entries)) :]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.binary(max_size=40), max_size=30),
    st.integers(1, 600),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 20),
)
def test_what_is_kept_of_a_rotated_log_is_its_end_in_order(
    lines: list[bytes], size: int, files: int, compress: bool, tail: int
) -> None:
    said = [line.replace(b"\n", b" ") + b"\n" for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/log.json"
        writer = logs.Writer(path, logopts.Limits(size, files, compress and files > 1))
        for line in said:
            writer.write("stdout", line)
            wait_for_children(writer)
        kept = [e.content for e in logread.read(path)]
        assert kept == said[len(said) - len(kept) :], "the end of it, no line lost or doubled"
        assert len(kept) >= min(1, len(said))
        there = os.listdir(folder)
        assert len(there) <= files and "log.json" in there
        assert [e.content for e in logread.read(path, tail=tail)] == kept[
            len(kept) - min(tail, len(kept)) :
        ]
        largest = max((len(line) for line in said), default=0) * 6 + 100
        assert all(os.path.getsize(f"{folder}/{name}") <= size + largest for name in there)
        again = logs.Writer(path, logopts.Limits(size, files))
        again.write("stdout", b"after\n")
        assert [e.content for e in logread.read(path)][-1] == b"after\n"


@pytest.mark.parametrize("limits", [(3000, 4, False), (3000, 4, True), (20000, 1, False)])
def test_a_follower_misses_no_line_and_sees_none_twice(
    home_dir: str, limits: tuple[int, int, bool]
) -> None:
    path, count = f"{home_dir}/log.json", 600
    writer = logs.Writer(path, logopts.Limits(*limits))
    done = threading.Event()
    seen: list[bytes] = []

    def write() -> None:
        # The writer is ahead by less than one file, so nothing may be thrown away unread.
        for number in range(count):
            while number - len(seen) > 15:
                time.sleep(0.001)
            writer.write("stdout", b"%d\n" % number)
            writer.reap(set(writer.descriptors)) if number % 20 == 0 else None
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    for entry in logread.read(path, follow=lambda: not done.is_set()):
        seen.append(entry.content)
    thread.join()
    wait_for_children(writer)
    assert seen == [b"%d\n" % number for number in range(count)]


def test_a_line_that_a_crash_cut_off_spoils_no_other(home_dir: str) -> None:
    path = f"{home_dir}/log.json"
    logs.Writer(path).write("stdout", b"whole\n")
    with open(path, "ab") as file:
        file.write(b'{"log":"cut of')
    logs.Writer(path).write("stdout", b"next\n")
    assert [entry.content for entry in logread.read(path)] == [b"whole\n", b"next\n"]
    assert list(logread.read(f"{home_dir}/none")) == []
    assert list(logread.read(f"{home_dir}/no/folder")) == []


def test_a_full_disk_does_not_stop_the_container() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    logs.Writer("/dev/full").write("stdout", b"lost\n")


@pytest.mark.parametrize("point", ["made", "set_aside", "rotated", "compressed"])
def test_after_a_kill_while_a_log_is_set_aside_nothing_is_lost(home_dir: str, point: str) -> None:
    """The writer, or the child that compresses, is killed; the next writer mends the folder."""
    from kernel import trace

    path, limits = f"{home_dir}/log.json", logopts.Limits(500, 9, True)
    child = os.fork()
    if child == 0:
        trace.arm("kill", f"engine.logs.{point}")
        writer = logs.Writer(path, limits)
        for number in range(20):
            writer.write("stdout", b"%d\n" % number)
            wait_for_children(writer)
        os._exit(0)
    os.waitpid(child, 0)
    before = [int(e.content) for e in logread.read(path)]
    assert before == list(range(len(before))) and len(before) > 3
    writer = logs.Writer(path, limits)
    wait_for_children(writer)
    left = sorted(os.listdir(home_dir))
    assert not [name for name in left if name.endswith((".part", ".new"))]
    assert "log.json" in left
    numbers = [number for number, _ in logs.set_aside(path)]
    assert len(numbers) == len(set(numbers))
    writer.write("stdout", b"99\n")
    assert [int(e.content) for e in logread.read(path)] == [*before, 99]


def test_a_log_with_limits_is_read_across_its_files(pyctr: Pyctr) -> None:
    script = "for i in $(seq 200); do echo line $i; done; echo end >&2"
    flags = "--log-opt max-size=2k --log-opt max-file=3".split()
    pyctr("run", "--name", "c", *flags, "base", "sh", "-c", script)
    folder = os.path.dirname(pyctr.out("inspect", "-f", "{{.LogPath}}", "c"))
    assert len([name for name in os.listdir(folder) if name.startswith("log.json")]) == 3
    lines = pyctr.out("logs", "c").splitlines()
    assert 30 < len(lines) < 200
    assert lines == [f"line {n}" for n in range(201 - len(lines), 201)]
    assert pyctr.out("logs", "--tail", "31", "c").splitlines() == lines[-30:]
    config = pyctr.out("inspect", "-f", "{{json .HostConfig.LogConfig}}", "c")
    assert config == '{"Type":"json-file","Config":{"max-file":"3","max-size":"2k"}}'


def test_followed_and_set_aside_at_once_no_line_is_lost_or_doubled(pyctr: Pyctr) -> None:
    script = "for i in $(seq 2000); do echo $i; [ $((i % 20)) = 0 ] && sleep 0.02; done; sleep 0.2"
    flags = "--log-opt max-size=8k --log-opt max-file=20 --log-opt compress=true".split()
    pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
    assert pyctr.out("logs", "-f", "c").split() == [str(n) for n in range(1, 2001)]
    folder = os.path.dirname(pyctr.out("inspect", "-f", "{{.LogPath}}", "c"))
    assert [name for name in os.listdir(folder) if name.endswith(".gz")]
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]


def test_the_local_driver_compresses_and_the_driver_none_keeps_nothing(pyctr: Pyctr) -> None:
    script = "seq 300; seq 300 >&2"
    flags = ("--log-driver", "local", "--log-opt", "max-size=4k", "--log-opt", "max-file=50")
    pyctr("run", "--name", "l", *flags, "base", "sh", "-c", script)
    assert pyctr.out("logs", "l").split() == [str(n) for n in range(1, 301)]
    assert pyctr.out("inspect", "-f", "[{{.LogPath}}]", "l") == "[]"
    assert pyctr.out("run", "--name", "n", "--log-driver", "none", "base", "echo", "x") == "x"
    said = pyctr("logs", "n", code=1).stderr
    assert "configured logging driver does not support reading" in said


def test_labels_environment_and_a_tag_are_kept_with_each_line(pyctr: Pyctr) -> None:
    flags = (
        "-l a=1 -l b=2 -e X=y -e XX=z --log-opt labels=b,c --log-opt env-regex=^X$"
        " --log-opt tag={{.Name}}/{{.ImageName}}"
    )
    pyctr("run", "--name", "c", *flags.split(), "base", "echo", "said")
    assert pyctr.out("logs", "--details", "c") == "X=y,b=2,tag=c%2Fbase said"
    pyctr("run", "--name", "d", "base", "echo", "said")
    assert pyctr("logs", "--details", "d").stdout == " said\n", "as docker logs does"


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--log-driver syslog", "log driver 'syslog' is not supported"),
        ("--log-opt max-sizes=1", "unknown log opt 'max-sizes' for json-file log driver"),
        ("--log-opt max-size=many", "invalid log opt max-size=many"),
        ("--log-opt max-size=0", "it must be a positive number"),
        ("--log-opt max-file=0", "at least 1"),
        ("--log-opt compress=true", "max-file is less than 2 or max-size is not set"),
        ("--log-opt mode=non-blocking", "log opt mode is not supported"),
        ("--log-opt max-buffer-size=1m", "log opt max-buffer-size is not supported"),
        ("--log-opt tag={{.Nope}}", "log opt tag is not supported"),
        ("--log-opt labels-regex=(", "invalid log opt labels-regex=("),
        ("--log-driver none --log-opt max-size=1m", "unknown log opt 'max-size'"),
    ],
)
def test_a_log_that_cannot_be_kept_so_is_refused_by_name(
    pyctr: Pyctr, flags: str, why: str
) -> None:
    assert why in pyctr("create", *flags.split(), "base", code=125).stderr
    assert pyctr.out("ps", "-aq") == ""


@given(st.dictionaries(st.sampled_from(["max-size", "max-file", "compress", "mode"]), st.text()))
def test_no_option_of_a_log_fails_without_a_reason(options: dict[str, str]) -> None:
    for driver in logopts.DRIVERS:
        try:
            logopts.check(driver, options)
        except EngineError:
            continue
