"""Frames and logs give back exactly what was put in, however it was cut."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import detach, logs, wire
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


@settings(max_examples=500)
@given(
    st.lists(st.text("ab\x10", max_size=4).map(str.encode), max_size=12),
    st.text("ab\x10", min_size=1, max_size=5).map(str.encode),
)
def test_detach_keys_hold_back_nothing_else(typed: list[bytes], keys: bytes) -> None:
    passed, held, left = b"", b"", False
    for chunk in typed:
        out, held, left = detach.split(keys, held, chunk)
        passed += out
        assert len(held) < len(keys) and keys.startswith(held)
        if left:
            break
    whole = b"".join(typed)
    at = whole.find(keys)
    assert left == (at >= 0)
    assert passed + held == (whole if at < 0 else whole[:at])


_PLAIN = [chr(code) for code in range(32, 127) if chr(code) != ","]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(_PLAIN).map(lambda char: (char, ord(char))),
            st.integers(1, 26).map(lambda n: (f"ctrl-{chr(96 + n)}", n)),
            st.sampled_from(
                [("ctrl-@", 0), ("ctrl-[", 27), ("ctrl-\\", 28), ("ctrl-]", 29), ("ctrl-^", 30),
                 ("ctrl-_", 31), ("DEL", 127)]
            ),
        ),
        min_size=1,
    )
)  # fmt: skip
def test_detach_keys_are_written_as_docker_writes_them(keys: list[tuple[str, int]]) -> None:
    assert detach.parse(",".join(word for word, _ in keys)) == bytes(code for _, code in keys)


@given(st.text(max_size=12))
def test_what_is_no_key_is_refused(text: str) -> None:
    words = text.split(",")
    if text and any(len(word) != 1 or not " " <= word <= "~" for word in words):
        with pytest.raises(ValueError, match="is no key"):
            detach.parse(text)
    elif text:
        assert detach.parse(text) == "".join(words).encode()


def test_odd_detach_keys() -> None:
    assert detach.parse("") == detach.parse("ctrl-p,ctrl-q") == b"\x10\x11"
    for word in ("ctrl-P", "ctrl-", "ctrl-1", "ctrl-pp", "a,", ",", "ab", "é", "ctrl-p ,q", "\n"):
        with pytest.raises(ValueError, match="is no key"):
            detach.parse(word)


def test_later_variables_win_and_a_bare_name_removes() -> None:
    assert merged_env(("A=1", "B=2"), ("A=3", "B")) == ("A=3",)
