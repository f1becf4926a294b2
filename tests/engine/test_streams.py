"""Frames give back exactly what was put in, however it was cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import detach, wire
from engine.environment import merged


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
    assert merged(("A=1", "B=2"), ("A=3", "B")) == ("A=3",)
