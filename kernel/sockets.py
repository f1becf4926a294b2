"""Unix sockets without the weight of :mod:`socket` (which imports selectors and enum).

Between processes of this host: stream sockets (pairs, listening, connecting, who the peer is:
SO_PEERCRED), datagrams, and descriptors as passengers of both (unix(7), SCM_RIGHTS).
"""

from __future__ import annotations

import _socket
import os
import struct

_CLOEXEC = 0o2000000
_STREAM = _socket.SOCK_STREAM | _CLOEXEC


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Two connected stream sockets, close-on-exec."""
    return _socket.socketpair(_socket.AF_UNIX, _STREAM)


def adopt(fd: int) -> _socket.socket:
    """A socket object for an inherited descriptor."""
    return _socket.socket(_socket.AF_UNIX, _STREAM, 0, fd)


def listen(path: str, mode: int = 0o600) -> _socket.socket:
    """A listening socket at ``path`` that only ``mode`` may connect to.

    The path may be longer than the 107 bytes of sockaddr_un: it is bound relative to its folder.
    """
    made = _socket.socket(_socket.AF_UNIX, _STREAM)
    before = os.umask(0o777 & ~mode)
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        made.bind(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.umask(before)
        os.close(folder)
    made.listen(16)
    return made


def connect(path: str) -> _socket.socket:
    """A connection to the socket at ``path``; OSError if nobody listens."""
    made = _socket.socket(_socket.AF_UNIX, _STREAM)
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        made.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    except OSError:
        made.close()
        raise
    finally:
        os.close(folder)
    return made


def datagrams(timeout: float) -> _socket.socket:
    """A socket for :func:`send_to`, which waits at most ``timeout`` seconds for a crowded receiver.

    The kernel keeps the time (socket(7), SO_SNDTIMEO): poll(2) says nothing about a receiver that
    a socket is not connected to.
    """
    made = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _CLOEXEC)
    seconds = int(timeout)
    limit = struct.pack("@ll", seconds, int((timeout - seconds) * 10**6))
    made.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)
    return made


def send_to(
    path: str, sender: _socket.socket, content: bytes, fd: int = -1, *, wait: bool = True
) -> None:
    """Sends a datagram, with a descriptor if there is one, to whoever has ``path`` now.

    BlockingIOError if the receiver is crowded, for as long as the socket waits or (``wait`` is
    false) at this moment; OSError EMSGSIZE if it is too long, another one if nobody is there.
    """
    flags = 0 if wait else _socket.MSG_DONTWAIT
    if fd < 0:
        sender.sendto(content, flags, path)
    else:
        sender.sendmsg([content], [_rights(fd)], flags, path)


def accept(listener: _socket.socket) -> _socket.socket:
    """The next connection, close-on-exec."""
    fd, _address = listener._accept()  # type: ignore[attr-defined]
    return adopt(fd)


def peer_uid(connection: _socket.socket) -> int:
    """The uid of the process at the other end (socket(7), SO_PEERCRED)."""
    raw = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int(struct.unpack("iII", raw)[1])


def send_with_fd(connection: _socket.socket, content: bytes, fd: int) -> None:
    """Sends bytes and one descriptor."""
    connection.sendmsg([content], [_rights(fd)])


def _rights(fd: int) -> tuple[int, int, bytes]:
    return (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", fd))


def receive_with_fd(connection: _socket.socket, size: int) -> tuple[bytes, int]:
    """At most ``size`` bytes and the descriptor that came along, -1 if none. b"" at the end."""
    content, ancillary, _flags, _address = connection.recvmsg(size, _socket.CMSG_SPACE(4))
    fd = -1
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS and len(data) >= 4:
            fd = struct.unpack("i", data[:4])[0]
            os.set_inheritable(fd, False)
    return content, fd
