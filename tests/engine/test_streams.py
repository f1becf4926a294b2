"""Frames and logs give back exactly what was put in, however it was cut."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import attach, logs, wire
from engine.create import merged_env


@given(
    st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=40)), max_size=8),
    st.lists(st.integers(1, 30), min_size=1, max_size=40),
)
def test_frames_survive_any_cutting(frames: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(wire.frame(kind, payload) for kind, payload in frames)
    reader, at = wire.Reader(), 0
    seen: list[tuple[int, bytes]] = []
    while at < len(stream):
        size = cuts[len(seen) % len(cuts)]
        seen += list(reader.feed(stream[at : at + size]))
        at += size
    assert seen == frames


def test_an_absurd_frame_is_refused() -> None:
    with pytest.raises(wire.ProtocolError, match="bytes"):
        list(wire.Reader().feed(b"\x01\xff\xff\xff\xff"))
    with pytest.raises(wire.ProtocolError):
        wire.value(b"{")
    with pytest.raises(wire.ProtocolError):
        wire.value(b"[" * 100_000)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=50)), max_size=12),
    st.integers(0, 6),
)
def test_logs_lose_no_byte_and_no_line(chunks: list[tuple[str, bytes]], tail: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/log.json"
        writer = logs.Writer(path)
        for stream, chunk in chunks:
            writer.write(stream, chunk)
        writer.flush()
        entries = list(logs.read(path))
        for name in ("stdout", "stderr"):
            said = b"".join(chunk for stream, chunk in chunks if stream == name)
            assert b"".join(e.content for e in entries if e.stream == name) == said
        last = [e.content for e in logs.read(path, tail=tail)]
        assert last == [e.content for e in entries][len(entries) - min(tail, len(entries)) :]


def test_a_line_that_a_crash_cut_off_is_passed_over(home_dir: str) -> None:
    path = f"{home_dir}/log.json"
    logs.Writer(path).write("stdout", b"whole\n")
    with open(path, "ab") as file:
        file.write(b'{"log":"cut of')
        file.write(b"\n")
    logs.Writer(path).write("stdout", b"next\n")
    assert [entry.content for entry in logs.read(path)] == [b"whole\n", b"next\n"]
    assert list(logs.read(f"{home_dir}/none")) == []


def test_a_full_disk_does_not_stop_the_container() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    logs.Writer("/dev/full").write("stdout", b"lost\n")


@given(st.lists(st.binary(max_size=4), max_size=10))
def test_detach_keys_hold_back_nothing_else(typed: list[bytes]) -> None:
    passed, held = b"", b""
    for chunk in typed:
        out, held, left = attach.detach_keys(held, chunk)
        passed += out
        if left:
            break
    whole = b"".join(typed)
    at = whole.find(b"\x10\x11")
    assert passed + held == (whole if at < 0 else whole[:at])


def test_later_variables_win_and_a_bare_name_removes() -> None:
    assert merged_env(("A=1", "B=2"), ("A=3", "B")) == ("A=3",)
