"""A backlog gives back what was put in, in order, wherever it waited meanwhile."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backlog import Backlog

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.binary(max_size=40)),
        st.tuples(st.just("take"), st.integers(0, 50)),
        st.tuples(st.just("disk"), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(_steps, st.integers(1, 24), st.integers(1, 64))
def test_it_is_a_queue_of_bytes_whatever_the_disk_does(
    steps: list[tuple[str, object]], memory: int, limit: int
) -> None:
    expected = bytearray()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        waiting = Backlog(folder, memory, limit)
        for step, value in steps:
            if step == "append":
                assert isinstance(value, bytes)
                waiting.append(value)
                expected += value
            elif step == "take":
                assert isinstance(value, int)
                first = waiting.first(value)
                assert first == expected[: len(first)]
                assert first or not value or not expected, "something waits, so there is a first"
                waiting.take(len(first))
                del expected[: len(first)]
            elif value:
                patch.setattr(os, "pwrite", _full)
            else:
                patch.undo()
                waiting.settle()
            assert len(waiting) == len(expected)
            assert os.listdir(folder) == [], "its file has no name"
        patch.undo()
        while first := waiting.first(7):
            assert first == expected[: len(first)]
            waiting.take(len(first))
            del expected[: len(first)]
        assert not expected and not waiting and not waiting.is_full
        waiting.close()


def _full(_fd: int, content: bytes, _at: int) -> int:
    """A disk that takes a few bytes more, and then none (ENOSPC)."""
    raise OSError(28, os.strerror(28))


def test_it_is_full_when_the_file_is_and_not_before(tmp_path: object) -> None:
    waiting = Backlog(str(tmp_path), memory=10, limit=100)
    waiting.append(b"a" * 10)
    waiting.append(b"b" * 100)
    assert not waiting.is_full
    waiting.append(b"c")
    assert waiting.is_full
    waiting.take(len(waiting.first(10)))
    assert not waiting.is_full, "whoever reads makes room"


def test_the_file_never_grows_beyond_its_limit_and_is_given_back(tmp_path: object) -> None:
    waiting = Backlog(str(tmp_path), memory=1 << 10, limit=1 << 16)
    for _ in range(50):  # always some way behind: the file is used as a ring
        waiting.append(b"x" * 4096)
        if len(waiting) > 1 << 15:
            for _ in range(4):
                waiting.take(len(waiting.first(1 << 20)))
    assert 0 < os.fstat(waiting._fd).st_size <= 1 << 16
    while first := waiting.first(1 << 20):
        waiting.take(len(first))
    assert os.fstat(waiting._fd).st_size == 0
    waiting.append(b"y" * (1 << 14))
    fd = waiting._fd
    waiting.close()
    assert len(waiting) == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_without_a_place_for_a_file_it_is_full_and_loses_nothing() -> None:
    waiting = Backlog("/proc/self", memory=10)
    waiting.append(b"0123456789")
    waiting.append(b"abcdef")
    assert waiting.is_full
    assert waiting.first(100) == b"0123456789"
    waiting.take(10)
    assert waiting.first(100) == b"abcdef" and not waiting.is_full
