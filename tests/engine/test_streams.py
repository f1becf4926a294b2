"""Frames give back exactly what was put in, however it was cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import attach, wire
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
