"""The pieces of sparse files in tar archives: four ways to say where the data lies.

A piece is (offset, length); what is between pieces is a hole. The oldest form has them in the
header itself and in blocks after it, pax 0.0 and 0.1 in records, pax 1.0 as text before the data.

Source: GNU tar manual, "Storing Sparse Files", "Old GNU Format" and "PAX Format".
"""

from __future__ import annotations

from overlay.tarfields import TarError, decimal, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Pieces = list[tuple[int, int]]

_BLOCK = 512
_PIECES_MAX = 1 << 18  # some megabytes of memory


def in_headers(block: bytes, more: Callable[[], bytes]) -> tuple[Pieces, int]:
    """The old form: (pieces, real size) of a header and the blocks after it."""
    pieces: Pieces = []
    size = number(block[483:495])
    at, count, extended = 386, 4, block[482]
    while True:
        for start in range(at, at + 24 * count, 24):
            if block[start] == 0:
                break
            offset, length = block[start : start + 12], block[start + 12 : start + 24]
            pieces.append((number(offset), number(length)))
        if not extended:
            return pieces, size
        if len(pieces) > _PIECES_MAX:
            raise TarError("a sparse file of too many pieces")
        block = more()
        at, count, extended = 0, 21, block[504]


def in_records(pax: dict[str, bytes]) -> tuple[Pieces, int]:
    """Versions 0.0 and 0.1: numbers with commas between."""
    text = pax.get("GNU.sparse.map", b"")
    numbers = [decimal(word) for word in text.split(b",")] if text else []
    if len(numbers) % 2 or len(numbers) > 2 * _PIECES_MAX:
        raise TarError("a sparse file's map makes no sense")
    return list(zip(numbers[::2], numbers[1::2], strict=True)), decimal(
        pax.get("GNU.sparse.size", b"")
    )


def before_data(
    pax: dict[str, bytes], more: Callable[[], bytes], stored: int
) -> tuple[Pieces, int, int]:
    """Version 1.0: (pieces, real size, bytes of ``stored`` that the map took)."""
    size = decimal(pax.get("GNU.sparse.realsize", b""))
    numbers: list[int] = []
    wanted, used, rest = 1, 0, b""
    while len(numbers) < wanted:
        used += _BLOCK
        if used > stored:
            raise TarError("a sparse file's map is cut off")
        *lines, rest = (rest + more()).split(b"\n")
        for line in lines:
            if len(numbers) < wanted:  # what follows is padding
                numbers.append(decimal(line))
                wanted = 1 + 2 * numbers[0]
        if wanted > 2 * _PIECES_MAX:
            raise TarError("a sparse file of too many pieces")
        if len(rest) > _BLOCK:
            raise TarError("a sparse file's map makes no sense")
    return list(zip(numbers[1::2], numbers[2::2], strict=True)), size, used


def check(pieces: Pieces, size: int, stored: int) -> None:
    """Pieces in order, within the file, and as much data as there is."""
    at = 0
    for offset, length in pieces:
        if offset < at or length < 0:
            raise TarError("a sparse file's pieces overlap")
        at = offset + length
    if not at <= size < 1 << 62 or sum(length for _, length in pieces) != stored:
        raise TarError("a sparse file's pieces are not its data")
