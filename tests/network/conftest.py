"""A host of one's own: a network namespace with an uplink, and the world behind it.

    outside  198.51.100.1 ── uplink 198.51.100.2  host  (pyctr runs here)

Nothing of it touches the machine's own interfaces, routes or rules. The agent of a test's root
folder is ended with the test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from kernel import sockets
from network import client
from tests.conftest import PROJECT, Pyctr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HOST, OUTSIDE = "198.51.100.2", "198.51.100.1"


class Place:
    """A network namespace, kept by a process that sleeps in it."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo there; exec sleep 3600"], stdout=subprocess.PIPE
        )
        assert self._keeper.stdout is not None and self._keeper.stdout.readline() == b"there\n"
        self.pid = self._keeper.pid
        self.sh("ip link set lo up")
        self._started: list[subprocess.Popen[bytes]] = []

    def argv(self, *args: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *args]

    def sh(self, script: str) -> str:
        """The output of a shell script that runs here and succeeds."""
        ran = subprocess.run(
            self.argv("sh", "-ec", script), capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, f"{script}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def start(self, code: str) -> None:
        """A Python program that runs here until the test ends; it says a line when it is ready."""
        made = subprocess.Popen(self.argv(sys.executable, "-c", code), stdout=subprocess.PIPE)
        assert made.stdout is not None and made.stdout.readline()
        self._started.append(made)

    def close(self) -> None:
        for one in (*self._started, self._keeper):
            one.kill()
            one.wait()
            if one.stdout is not None:
                one.stdout.close()


class Host(Pyctr):
    """The command, on that host; `outside` is the world behind its uplink."""

    def __init__(self, root: str, run: str, place: Place, outside: Place) -> None:
        super().__init__(root)
        self.run = run
        self.place = place
        self.outside = outside

    def argv(self, *args: str) -> list[str]:
        return self.place.argv(*super().argv(*args))

    def sh(self, script: str) -> str:
        return self.place.sh(script)

    def up(self, name: str, *args: str) -> None:
        """A container that runs until it is removed."""
        self("run", "-d", "--name", name, *args, "base", "sleep", "3600")

    def address(self, container: str, network: str = "bridge") -> str:
        template = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
        return self.out("inspect", "--format", template, container)

    def reaches(self, container: str, address: str) -> bool:
        """Whether a ping from a container to an address is answered."""
        return self("exec", container, "ping", "-c1", "-W2", address, code=None).returncode == 0

    def agent(self) -> int:
        """The process id of the agent, 0 if none runs."""
        try:
            connection = sockets.connect(client.socket_path(self.run))
        except OSError:
            return 0
        raw = connection.getsockopt(1, 17, 12)  # SOL_SOCKET, SO_PEERCRED
        connection.close()
        return int.from_bytes(raw[:4], sys.byteorder)

    def kill_agent(self) -> None:
        pid = self.agent()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not os.path.exists(f"/proc/{pid}"))

    def leave(self) -> None:
        """Ends the agent, which takes away what nobody uses."""
        if self.agent():
            client.ask(self.run, _no_agent, do="leave")

    def links(self) -> set[str]:
        """The interfaces of the host but its own."""
        names = {line.split()[0].partition("@")[0] for line in self.sh("ip -br link").splitlines()}
        return names - {"lo", "uplink"}


def _no_agent(_listener: object) -> None:
    raise OSError("no agent is to be started")


def eventually(condition: object, patience: float = 30.0) -> None:
    """Waits until a condition holds."""
    assert callable(condition)
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{condition} does not come true"
        time.sleep(0.02)


@pytest.fixture
def host(home_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host, and afterwards: no container, no agent, no interface and no rule of ours is left."""
    monkeypatch.setenv("PYTHONPATH", PROJECT)
    monkeypatch.delenv("PYCTR_NETWORK")
    place, outside = Place(), Place()
    made = Host(home_dir, os.environ["PYCTR_RUN"], place, outside)
    place.sh(
        f"ip link add uplink type veth peer name world netns {outside.pid}; ip link set uplink up;"
        f" ip addr add {HOST}/24 dev uplink; ip route add default via {OUTSIDE}"
    )
    outside.sh(f"ip link set world up; ip addr add {OUTSIDE}/24 dev world")
    try:
        yield made
        ids = made("ps", "-aq", "--no-trunc").stdout.split()
        if ids:
            made("rm", "-f", "-v", *ids)
        made.leave()
        eventually(lambda: not made.links())
        eventually(lambda: "table inet pyctr" not in made.sh("nft list ruleset"))
    finally:
        if pid := made.agent():
            os.kill(pid, signal.SIGKILL)
        place.close()
        outside.close()
