"""The monitor's protocol: frames over a unix stream socket.

A frame is one byte of kind, four bytes of length (big endian), and the payload. Standard streams
are bytes as they come, so nothing is lost in binary data; everything else is one JSON value.

    to the monitor                        from the monitor
    0 stdin      bytes; empty: the end    0 stdin     empty: nobody reads it any more
    3 freeze     true or false            1 stdout    bytes
    4 resize     [columns, rows]          2 stderr    bytes
    5 attach     {"stdin": bool,          3 frozen    true or false
                  "output": ["stdout",    6 started   {"pid": int}
                             "stderr"]}   7 error     {what, why, hint, path, errno, exit_code}
                                          8 exit      exit code
                                          9 step      [index, nanoseconds]
"""

from __future__ import annotations

import struct

from kernel import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STDIN, STDOUT, STDERR, FREEZE, RESIZE, ATTACH, STARTED, ERROR, EXIT, STEP = range(10)
PAYLOAD_MAX = 1 << 20

_HEADER = struct.Struct(">BI")


class ProtocolError(Exception):
    """The peer does not speak this protocol."""


def frame(kind: int, payload: bytes) -> bytes:
    """One frame of bytes."""
    return _HEADER.pack(kind, len(payload)) + payload


def message(kind: int, value: Any) -> bytes:
    """One frame of JSON."""
    return frame(kind, quickjson.dumps(value).encode())


class Reader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """The frames that are complete with ``chunk``. ProtocolError for an absurd length."""
        self._buffer += chunk
        while len(self._buffer) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._buffer)
            if length > PAYLOAD_MAX:
                raise ProtocolError(f"a frame of {length} bytes")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            yield kind, payload


def value(payload: bytes) -> Any:
    """The JSON value of a payload. ProtocolError otherwise."""
    try:
        return quickjson.loads(payload)
    except (ValueError, RecursionError):
        raise ProtocolError("not JSON") from None
