"""Host ports are held against everybody: :mod:`network.holding`, :mod:`network.holders`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from network import holders, holding, ports
from network.errors import NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from network.holding import Held


def hold(*words: str, hosts: tuple[str, ...] = ("0.0.0.0",)) -> Held:
    return holding.hold([one for word in words for one in ports.parse(word)], hosts)


def numbers(held: Held) -> list[int]:
    return [one.held for one in held.publications]


@pytest.fixture
def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_held_port_is_nobody_elses(free_port: int, protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    held = hold(f"{free_port}:80/{protocol}")
    assert numbers(held) == [free_port]
    for reuse in (0, 1):
        for address in ("127.0.0.1", "0.0.0.0"):
            with socket.socket(type=kind) as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
                with pytest.raises(OSError, match="Address already in use"):
                    other.bind((address, free_port))
    with pytest.raises(holding.Taken):
        hold(f"127.0.0.1:{free_port}:80/{protocol}")
    held.close()
    hold(f"{free_port}:80/{protocol}").close()


def test_a_held_port_answers_nobody(free_port: int) -> None:
    held = hold(f"{free_port}:80")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port), timeout=10)
    held.close()


def test_a_port_can_be_had_right_after_its_server_has_closed_connections(
    listener: socket.socket,
) -> None:
    port = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as ours:
        theirs, _ = listener.accept()
        theirs.close()
        assert ours.recv(1) == b""
    listener.close()
    with socket.socket() as plain, pytest.raises(OSError, match="Address already in use"):
        plain.bind(("127.0.0.1", port))  # so there is a connection in TIME-WAIT
    hold(f"{port}:80").close()


def test_who_has_a_port_is_named(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(holding.Taken) as caught:
        hold(f"{port}:80")
    taken = caught.value
    assert (taken.address, taken.port, taken.protocol, taken.exit_code) == (
        "0.0.0.0", port, "tcp", 125,
    )  # fmt: skip
    pid, name = holders.program("0.0.0.0", port, "tcp")
    assert pid == os.getpid() and name
    assert holders.program("127.0.0.2", port, "tcp") == (0, "")
    assert holders.program("127.0.0.1", port, "udp") == (0, "")


def test_a_server_of_both_families_is_found() -> None:
    script = (
        "import socket, sys; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM);"
        "s.bind(('::', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None and child.stdout is not None
    port = int(child.stdout.readline())
    with pytest.raises(holding.Taken):
        hold(f"{port}:53/udp")
    assert holders.program("0.0.0.0", port, "udp")[0] == child.pid
    child.stdin.close()
    assert child.wait(60) == 0


def test_of_a_range_the_first_free_one_is_taken(free_port: int) -> None:
    last = min(free_port + 20, 65535)
    first = hold(f"{free_port}-{last}:80")
    second = hold(f"{free_port}-{last}:80")
    assert numbers(first)[0] == free_port
    assert free_port < numbers(second)[0] <= last
    with pytest.raises(holding.Taken):
        hold(f"{free_port}:80", f"{free_port}:81")
    first.close()
    second.close()


def test_an_ephemeral_port_is_the_same_for_both_families() -> None:
    held = hold("80", "81", hosts=("0.0.0.0", "::"))
    assert len(held.descriptors) == 4 and len(set(numbers(held))) == 2
    bound = []
    for fd in held.descriptors:
        with socket.socket(fileno=os.dup(fd)) as one:
            bound.append(one.getsockname()[1])
    assert bound == [numbers(held)[0]] * 2 + [numbers(held)[1]] * 2
    held.close()


def test_nothing_stays_held_after_a_failure(free_port: int, listener: socket.socket) -> None:
    with pytest.raises(holding.Taken):
        hold(f"{free_port}:80", f"{listener.getsockname()[1]}:81")
    hold(f"{free_port}:80").close()


def test_an_address_that_cannot_be_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"192\.0\.2\.77 is no address of this host"):
        hold("192.0.2.77:8080:80")
    with pytest.raises(NetworkError, match="no IPv6 address"):
        hold("[::]:8080:80")
    with pytest.raises(NetworkError, match="no IPv4 address"):
        hold("0.0.0.0:8080:80", hosts=("::",))
