"""The monitor's streams, with pipes in the place of a container."""

from __future__ import annotations

import os
import select

import pytest

from engine import wire
from engine.backlog import Backlog
from engine.hub import Client, Hub
from kernel import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Iterator


class House:
    """A hub, a container's side of its pipes, and the other side of the first client."""

    def __init__(self, folder: str) -> None:
        ours, self.first = sockets.pair()
        self.client = Client(ours, folder, output=("stdout", "stderr"))
        self.frozen: list[bool] = []
        self.hub = Hub(folder, lambda _client, frozen: self.frozen.append(frozen), once=True)
        output, self.stdout = os.pipe()
        errors, self.stderr = os.pipe()
        self.stdin, target = os.pipe()
        os.set_blocking(self.stdout, False)
        os.set_blocking(self.stdin, False)
        self.hub.connect({output: "stdout", errors: "stderr"}, target, tty=False)
        self.hub.admit(self.client)
        self.hub.listener = sockets.listen(f"{folder}/socket")
        self.folder = folder

    def join(self, **wanted: object) -> socket:
        connection = sockets.connect(f"{self.folder}/socket")
        connection.sendall(wire.message(wire.ATTACH, {"output": []} | wanted))
        self.turns(3)
        return connection

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.hub.turn((), 0)

    def write_all_it_takes(self, most: int = 16 << 20) -> bytes:
        """Writes as a container does, until it would have to wait, or so much."""
        written = bytearray()
        block = os.urandom(4096)
        while len(written) < most:
            if not self.can_write():
                self.turns(3)
                if not self.can_write():
                    break
            written += block[: os.write(self.stdout, block)]
        return bytes(written)

    def can_write(self) -> bool:
        return bool(select.select([], [self.stdout], [], 0)[1])


@pytest.fixture
def house(tmp_path: object) -> Iterator[House]:
    made = House(str(tmp_path))
    yield made
    made.hub.finish_output()
    for client in made.hub.clients.values():
        client.close()
    for fd in (made.stdout, made.stderr, made.stdin):
        os.close(fd)
    made.hub.close_door()


def frames(connection: socket) -> list[tuple[int, bytes]]:
    """What has come to a client so far."""
    reader = wire.Reader()
    seen: list[tuple[int, bytes]] = []
    connection.setblocking(False)
    while True:
        try:
            chunk = connection.recv(1 << 16)
        except BlockingIOError:
            return seen
        if not chunk:
            return seen
        seen += list(reader.feed(chunk))


def test_only_a_full_backlog_makes_the_container_wait(house: House) -> None:
    house.client.waiting = Backlog(house.folder, memory=1 << 16, limit=1 << 20)
    written = house.write_all_it_takes()
    assert 1 << 20 < len(written) < 3 << 20, "memory, file, and the kernel's own buffers"
    reader, seen = wire.Reader(), b""
    while len(seen) < len(written):
        for kind, payload in reader.feed(house.first.recv(1 << 16)):
            assert kind == wire.STDOUT
            seen += payload
        house.turns(2)
    assert seen == written
    assert house.can_write(), "it goes on"


def test_a_full_disk_makes_it_wait_until_there_is_room(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _content: bytes, _at: int) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "pwrite", full)
    written = house.write_all_it_takes()
    assert len(written) < 3 << 20
    monkeypatch.undo()
    house.turns(3)  # nobody has read anything, but now there is room
    assert house.can_write()
    house.first.close()
    house.turns(3)
    assert not house.hub.clients and len(house.client.waiting) == 0
    assert len(house.write_all_it_takes()) >= 16 << 20, "there is nobody to wait for"


def test_input_is_not_taken_faster_than_it_is_read(house: House) -> None:
    typing = house.join(stdin=True)
    typing.setblocking(False)
    content = wire.frame(wire.STDIN, b"x" * 1000) * 10_000
    sent, before = 0, -1
    while sent > before:
        before = sent
        sent += _sent(typing, content[sent : sent + 60_000])
        house.turns(4)
    assert 1 << 20 < sent < 4 << 20
    other = house.join()
    other.sendall(wire.message(wire.FREEZE, True))
    house.turns(3)
    assert house.frozen == [True], "others are heard all the same"
    got = 0
    while chunk := _read(house.stdin):
        got += len(chunk)
        house.turns(2)
    assert got > 1 << 20


def _sent(connection: socket, content: bytes) -> int:
    try:
        return connection.send(content)
    except BlockingIOError:
        return 0


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


def test_what_was_said_before_leaving_is_heard(house: House) -> None:
    typing = house.join(stdin=True, output=["stdout"])
    typing.sendall(wire.frame(wire.STDIN, b"last words"))
    typing.close()
    os.write(house.stdout, b"nobody hears this")
    house.turns(5)
    assert os.read(house.stdin, 100) == b"last words"
    house.turns(2)
    assert os.read(house.stdin, 100) == b"", "and it was the last one who could type"


def test_clients_are_told_that_nobody_reads_their_input(house: House) -> None:
    typing = house.join(stdin=True)
    os.close(house.stdin)
    house.stdin = os.open("/dev/null", os.O_RDONLY)
    house.turns(2)
    assert frames(typing) == [(wire.STDIN, b"")]
    late = house.join(stdin=True)
    assert frames(late) == [(wire.STDIN, b"")]


def test_each_client_gets_the_streams_that_it_wants(house: House) -> None:
    only = {name: house.join(output=[name]) for name in ("stdout", "stderr")}
    nothing = house.join()
    os.write(house.stdout, b"out")
    os.write(house.stderr, b"err")
    house.turns(3)
    assert frames(only["stdout"]) == [(wire.STDOUT, b"out")]
    assert frames(only["stderr"]) == [(wire.STDERR, b"err")]
    assert frames(nothing) == []
    assert sorted(frames(house.first)) == [(wire.STDOUT, b"out"), (wire.STDERR, b"err")]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\xff\xff\xff\xff",
        wire.frame(wire.ATTACH, b"{"),
        wire.message(wire.ATTACH, {"stdin": True}),
        wire.message(wire.ATTACH, [1]),
    ],
)
def test_who_does_not_speak_the_protocol_is_let_go(house: House, nonsense: bytes) -> None:
    odd = house.join()
    odd.sendall(nonsense)
    house.turns(2)
    assert odd.recv(10) == b""
    assert list(house.hub.clients.values()) == [house.client]


def test_whoever_connected_before_the_end_is_told_of_it(house: House) -> None:
    late = sockets.connect(f"{house.folder}/socket")
    late.sendall(wire.message(wire.ATTACH, {"stdin": False, "output": []}))
    house.hub.close_door()
    for client in house.hub.clients.values():
        client.tell(wire.message(wire.EXIT, 7))
    house.hub.drain()
    assert frames(late) == [(wire.EXIT, b"7")]
    with pytest.raises(OSError, match="refused"):
        sockets.connect(f"{house.folder}/socket")


def test_output_after_the_end_is_taken_once_and_not_waited_for(house: House) -> None:
    os.write(house.stdout, b"left over")
    house.hub.finish_output()  # somebody else still has the pipe open
    assert frames(house.first) == [(wire.STDOUT, b"left over")]
    assert house.hub.descriptors == set()
