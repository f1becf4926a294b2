"""Compressed archives: every kind comes out as it went in; damage and bombs are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images import compression
from images.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

zstd = compression._zstd()
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: zstd.compress(content, options={201: 1}),  # with a checksum
}
CONTENT = b"".join(struct.pack("<I", n * n % 65521) for n in range(100_000))
SKIPPABLE = struct.pack("<II", 0x184D2A5F, 5) + b"hello"

each_kind = pytest.mark.parametrize("kind", KINDS)


def plain(packed: bytes) -> bytes:
    reader, parts = compression.opened(io.BytesIO(packed)), list[bytes]()
    while part := reader.read(70_000):
        parts.append(part)
    return b"".join(parts)


@each_kind
def test_what_was_compressed_comes_out(kind: str) -> None:
    packed = KINDS[kind](CONTENT)
    assert plain(packed) == CONTENT
    assert plain(packed + packed) == CONTENT * 2, "streams may follow each other"
    assert plain(KINDS[kind](b"")) == b""


def test_frames_that_say_nothing_are_left_out() -> None:
    assert plain(SKIPPABLE + KINDS["zstd"](CONTENT) + SKIPPABLE) == CONTENT
    assert (
        plain(lzma.compress(CONTENT) + bytes(4) + lzma.compress(b"x") + bytes(8)) == CONTENT + b"x"
    )


def test_what_is_not_compressed_is_as_it_was() -> None:
    assert plain(CONTENT) == CONTENT
    assert plain(b"") == b""


@each_kind
def test_what_is_cut_off_is_damaged(kind: str) -> None:
    packed = KINDS[kind](CONTENT)
    for size in (8, 20, len(packed) // 2, len(packed) - 1):
        with pytest.raises(compression.Damaged):
            plain(packed[:size])


@settings(max_examples=150)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_changed_bytes_are_noticed_or_do_not_matter(kind: str, data: st.DataObject) -> None:
    packed = bytearray(KINDS[kind](CONTENT[:5000]))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(6, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert plain(bytes(packed)) == CONTENT[:5000]
    except compression.Damaged:
        pass


def test_a_window_that_would_fill_the_memory_is_refused() -> None:
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(compression.Damaged, match=r"zstd.*memory"):
        plain(frame)


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_ALWAYS_FINE", 1 << 20)
    assert len(plain(gzip.compress(bytes(2 << 20)))) == 2 << 20, "as small as gzip can be"
    with pytest.raises(ImageError, match="refused"):
        plain(KINDS["zstd"](bytes(16 << 20)))


@each_kind
def test_gzip_of_any_kind_is_the_same_every_time(kind: str, home_dir: str) -> None:
    digests = set()
    for number, packed in enumerate((KINDS[kind](CONTENT), CONTENT)):
        with open(f"{home_dir}/{number}", "wb") as file:
            file.write(packed)
        with open(f"{home_dir}/out", "w+b") as out:
            digests.add(compression.recompress(f"{home_dir}/{number}", out))
            out.seek(0)
            assert gzip.decompress(out.read()) == CONTENT
    assert len(digests) == 1
    assert compression.kind_of(f"{home_dir}/0") == kind
    assert compression.kind_of(f"{home_dir}/out") == "gzip"
    os.unlink(f"{home_dir}/out")
