"""Published ports, with real packets: who reaches a container under a port of the host."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.network.conftest import HOST, OUTSIDE, Host, Place, eventually
from tests.watch import rested

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pathlib

HTTPD = "mkdir /www; hostname > /www/name; exec httpd -f -p 80 -h /www"

# Answers each datagram with its own words and where it came from.
ECHO = """
import socket
own = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
own.bind(("::", 53))
print("ready", flush=True)
while True:
    words, sender = own.recvfrom(2000)
    own.sendto(words + b" " + sender[0].removeprefix("::ffff:").encode(), sender)
"""
# Sends a datagram from port 5000 until one is answered, at most argv[3] times.
ASK = """
import socket, sys
address, port, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
own = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
own.bind(("", 5000))
own.settimeout(0.5)
for _ in range(times):
    own.sendto(b"hello", (address, port))
    try:
        print(own.recv(2000).decode())
        break
    except OSError:
        continue
"""


def serve(host: Host, name: str, *flags: str) -> None:
    """A container with a web server on port 80, which says its host name."""
    host("run", "-d", "--name", name, "--hostname", name, *flags, "base", "sh", "-c", HTTPD)
    host("exec", name, "sh", "-c", "until wget -q -O /dev/null 127.0.0.1/name; do sleep 0.1; done")


def fetched(place: Place | Host, address: str) -> str:
    """What curl gets of a server from there, or "" if there is none."""
    where = place.place if isinstance(place, Host) else place
    ran = subprocess.run(
        where.argv("curl", "-s", "-m", "5", f"http://{address}/name"),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return ran.stdout.strip()


def fetched_inside(host: Host, container: str, address: str) -> str:
    """The same from a container that runs."""
    words = ["timeout", "5", "wget", "-q", "-O", "-", f"http://{address}/name"]
    return host("exec", container, *words, code=None).stdout.strip()


def test_a_published_port_is_reached_from_everywhere(host: Host) -> None:
    serve(host, "web", "-p", "8080:80")
    assert fetched(host, "127.0.0.1:8080") == "web"
    assert fetched(host, "localhost:8080") == "web", "::1 is refused at once, and 127.0.0.1 is next"
    assert fetched(host, f"{HOST}:8080") == "web", "by an address of the host, from the host"
    assert fetched(host, "172.17.0.1:8080") == "web", "by the bridge's"
    assert fetched(host, f"{host.address('web')}:80") == "web", "and by its own"
    assert fetched(host.outside, f"{HOST}:8080") == "web", "by the world"
    assert fetched(host.outside, f"{HOST}:80") == "", "only what is published"


@pytest.mark.parametrize("bridged", [0, 1])
def test_containers_reach_what_the_host_publishes_and_one_reaches_itself(
    host: Host, bridged: int
) -> None:
    """With and without the bridge asking the firewall, which changes the way of a packet."""
    path = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    host.sh(f"test ! -e {path} || echo {bridged} > {path}")
    serve(host, "web", "-p", "8080:80")
    host("network", "create", "other")
    host.up("near")
    host.up("far", "--network", "other")
    for address in (f"{HOST}:8080", "172.17.0.1:8080"):
        assert fetched_inside(host, "near", address) == "web"
        assert fetched_inside(host, "far", address) == "web", "networks meet where a port is public"
        assert fetched_inside(host, "web", address) == "web", "hairpin"
    assert fetched_inside(host, "far", host.address("web")) == "", "and only there"
    host("network", "create", "--internal", "inner")
    host.up("away", "--network", "inner")
    assert fetched_inside(host, "away", f"{HOST}:8080") == "", "what is internal stays inside"


def udp(place: Place, address: str, port: int, times: int = 20) -> str:
    """What is answered to a datagram from there, or ""."""
    ran = subprocess.run(
        place.argv(sys.executable, "-c", ASK, address, str(port), str(times)),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return ran.stdout.strip()


class Inside(Place):
    """The network namespace of a container, to start programs in that its image has not."""

    def __init__(self, host: Host, container: str) -> None:
        self.pid = int(host.out("inspect", "--format", "{{.State.Pid}}", container))
        self._started = []

    def __enter__(self) -> Inside:
        return self

    def __exit__(self, *_exc: object) -> None:
        for one in self._started:
            one.kill()
            one.communicate()


def test_datagrams_are_passed_on_and_answered(host: Host) -> None:
    host.up("dns", "-p", "5353:53/udp")
    with Inside(host, "dns") as own:
        own.start(ECHO)
        assert udp(host.outside, HOST, 5353) == f"hello {OUTSIDE}", "the sender is told as it is"
        assert udp(host.place, "127.0.0.1", 5353) == "hello 172.17.0.1"
        assert udp(host.place, HOST, 5353) == f"hello {HOST}"
        assert udp(own, "172.17.0.1", 5353) == "hello 172.17.0.1", "hairpin"
        host.up("other")
        with Inside(host, "other") as other:
            assert udp(other, HOST, 5353) == "hello 172.17.0.1"


def test_port_53_can_be_published_beside_networks_with_names(host: Host) -> None:
    host("network", "create", "own")
    serve(host, "named", "--network", "own")
    serve(host, "web", "-p", "53:80")
    assert fetched(host, f"{HOST}:53") == "web"
    assert "named" in host("run", "--rm", "--network", "own", "base", "nslookup", "named").stdout
    assert fetched(host, f"{HOST}:53") == "web"


def test_a_flow_of_datagrams_finds_the_container_that_is_there_now(host: Host) -> None:
    """Who sends on and on from one port is not sent where its first datagram went."""
    assert udp(host.outside, HOST, 5353, times=1) == "", "nobody is there"
    for name in ("first", "second"):
        host.up("one-more")  # so that the next one has another address
        host.up(name, "-p", "5353:53/udp")
        with Inside(host, name) as own:
            own.start(ECHO)
            assert udp(host.outside, HOST, 5353) == f"hello {OUTSIDE}", name
        if name == "first":
            host("rm", "-f", name)
            host.up("in-its-place")
            host("rm", "-f", "one-more")


# -- only on one address -------------------------------------------------------------------


def test_what_is_published_on_one_address_is_reached_by_no_other(host: Host) -> None:
    serve(host, "own", "-p", "127.0.0.1:8080:80", "-p", f"{HOST}:8081:80")
    assert fetched(host, "127.0.0.1:8080") == "own"
    assert fetched(host, f"{HOST}:8080") == "" == fetched(host.outside, f"{HOST}:8080")
    assert fetched(host.outside, f"{HOST}:8081") == "own"
    assert fetched(host, "127.0.0.1:8081") == ""
    serve(host, "another", "-p", "127.0.0.2:8080:80")  # there the port is free
    assert fetched(host, "127.0.0.2:8080") == "another"


def test_a_network_can_say_on_which_address_its_ports_are_published(host: Host) -> None:
    option = "com.docker.network.bridge.host_binding_ipv4"
    host("network", "create", "--opt", f"{option}=127.0.0.1", "shy")
    serve(host, "web", "--network", "shy", "-p", "8080:80", "-p", f"{HOST}:8081:80")
    assert ports_of(host, "web") == f"127.0.0.1:8080->80/tcp, {HOST}:8081->80/tcp"
    assert fetched(host, "127.0.0.1:8080") == "web" == fetched(host.outside, f"{HOST}:8081")
    assert fetched(host.outside, f"{HOST}:8080") == ""
    ran = host("network", "create", "--opt", f"{option}=::1", "wrong", code=None)
    assert ran.returncode and "it is an IPv4 address" in ran.stderr


# Packets for 127.0.0.1 leave this host by an interface, to one that is told to route them.
STRANGE_ROUTE = """
    ip route del local 127.0.0.0/8 dev lo table local
    ip route del local 127.0.0.1 dev lo table local
    ip route add 127.0.0.1 via {gateway} dev {interface} src {source}
    echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet
"""
# Writes down the first words of each datagram that comes to a port.
RECORDER = """
import socket
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(({address!r}, {port}))
print("ready", flush=True)
while True:
    words = own.recv(2000)
    with open({path!r}, "ab") as file:
        file.write(words)
"""
SEND = """
import socket, sys
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(3):
    own.sendto(sys.argv[1].encode(), (sys.argv[2], int(sys.argv[3])))
"""


def send(place: Place, words: str, address: str, port: int) -> None:
    """Three datagrams; nobody answers."""
    argv = place.argv(sys.executable, "-c", SEND, words, address, str(port))
    subprocess.run(argv, check=True, timeout=60)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def test_no_neighbour_reaches_what_is_published_on_the_loopback_address(
    host: Host, tmp_path: pathlib.Path
) -> None:
    """CVE-2020-8558, even where something has made the host take such packets in."""
    inner, outer = f"{tmp_path}/inner", f"{tmp_path}/outer"
    host.sh("echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet")
    host.up("own", "-p", "127.0.0.1:5353:53/udp", "-p", "5354:53/udp")
    host.place.start(RECORDER.format(address="127.0.0.1", port=7000, path=outer))
    host.outside.sh(STRANGE_ROUTE.format(gateway=HOST, interface="world", source=OUTSIDE))
    with Inside(host, "own") as own:
        own.start(RECORDER.format(address="", port=53, path=inner))
        send(host.outside, "A", "127.0.0.1", 7000)
        eventually(lambda: os.path.exists(outer))  # so the way is there
        send(host.outside, "B", "127.0.0.1", 5353)
        send(host.outside, "C", "127.0.0.1", 5354)
        send(host.outside, "D", HOST, 5354)
        eventually(lambda: os.path.exists(inner) and "D" in read(inner))
        send(host.place, "E", "127.0.0.1", 5353)
        eventually(lambda: "E" in read(inner))
        assert set(read(inner)) == {"D", "E"}


def test_no_container_reaches_the_loopback_address_of_the_host(
    host: Host, tmp_path: pathlib.Path
) -> None:
    """The bridge may route 127.0.0.0/8, or published ports could not be reached there."""
    path = f"{tmp_path}/recorded"
    host.place.start(RECORDER.format(address="", port=7000, path=path))
    host.up("hostile", "-p", "8080:80")
    bridge = host.sh("ip -br link show type bridge").split()[0]
    assert host.sh(f"cat /proc/sys/net/ipv4/conf/{bridge}/route_localnet") == "1\n"
    source = host.address("hostile")
    with Inside(host, "hostile") as own:
        own.sh(STRANGE_ROUTE.format(gateway="172.17.0.1", interface="eth0", source=source))
        send(own, "A", "127.0.0.1", 7000)
        send(own, "B", "172.17.0.1", 7000)
    eventually(lambda: os.path.exists(path) and "B" in read(path))
    assert set(read(path)) == {"B"}


SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a secret")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 7777), Handler)
print("ready", flush=True)
server.serve_forever()
"""


# -- who has a port ------------------------------------------------------------------------


def test_a_port_that_a_container_has_is_refused_by_its_name(host: Host) -> None:
    host.up("web", "-p", "8080:80")
    for place in ("8080", "127.0.0.1:8080"):
        ran = host("run", "-d", "--name", "late", "-p", f"{place}:80", "base", "true", code=125)
        assert "port is already allocated: container web has it" in ran.stderr
        assert ran.stdout == ""
        assert host.out("inspect", "--format", "{{.State.Status}}", "late") == "created"
        host("rm", "late")
    host.up("udp", "-p", "8080:80/udp")
    host("create", "--name", "later", "-p", "8080:80", "base", "true")
    assert "container web has it" in host("start", "later", code=1).stderr
    host("stop", "-t", "0", "web")
    host("start", "later")


def test_a_port_that_another_program_has_is_refused_by_pid_and_name(host: Host) -> None:
    host.place.start(SERVER)
    ran = host("run", "--rm", "-p", "7777:80", "base", "touch", "/x", code=125)
    assert "address already in use: process " in ran.stderr and " (python" in ran.stderr
    pid = int(ran.stderr.partition("process ")[2].split()[0])
    assert os.path.exists(f"/proc/{pid}")
    with open(f"/proc/{pid}/cmdline") as file:
        assert "7777" in file.read()
    assert host.out("ps", "-aq") == ""
    host.up("other", "-p", "127.0.0.2:7777:80")  # it has it on 127.0.0.1 only


def test_a_program_cannot_have_a_port_that_a_container_has(host: Host) -> None:
    """Also while its monitor rests, and when its policy has started it again."""
    host.up("web", "--restart", "on-failure", "-p", "7777:80")

    def is_refused() -> bool:
        argv = host.place.argv(sys.executable, "-c", SERVER)
        ran = subprocess.run(argv, capture_output=True, timeout=60)
        return b"Address already in use" in ran.stderr

    assert is_refused()
    rested(host, "web")
    assert is_refused()
    os.kill(int(host.out("inspect", "--format", "{{.State.Pid}}", "web")), signal.SIGKILL)
    template = "{{.RestartCount}} {{.State.Status}}"
    eventually(lambda: host.out("inspect", "--format", template, "web") == "1 running")
    assert is_refused() and "0.0.0.0:7777" in host.out("port", "web")
    rested(host, "web")
    host("stop", "-t", "0", "web")
    host.place.start(SERVER)


def test_an_address_of_somebody_else_is_refused(host: Host) -> None:
    ran = host("run", "--rm", "-p", f"{OUTSIDE}:8080:80", "base", "true", code=125)
    assert f"{OUTSIDE} is no address of this host" in ran.stderr
    ran = host("run", "--rm", "-p", "[::]:8080:80", "base", "true", code=125)
    assert "the container has no IPv6 address" in ran.stderr


def test_one_port_of_the_host_cannot_lead_to_two(host: Host) -> None:
    ran = host("create", "-p", "8080:80", "-p", "8080:81", "base", code=125)
    assert "cannot publish port 81/tcp on port 8080 of the host" in ran.stderr
    host("create", "--name", "twice", "-p", "8080:80", "-p", "8080:80", "base", "sleep", "9")
    host("start", "twice")
    assert host.out("port", "twice") == "80/tcp -> 0.0.0.0:8080"


# -- which port it is ----------------------------------------------------------------------


def ports_of(host: Host, name: str) -> str:
    return host.out("ps", "-a", "--filter", f"name=^{name}$", "--format", "{{.Ports}}")


def test_any_free_port_and_the_first_of_a_range(host: Host) -> None:
    serve(host, "any", "-p", "80")
    place = host.out("port", "any", "80")
    assert place.startswith("0.0.0.0:") and ports_of(host, "any") == f"{place}->80/tcp"
    assert fetched(host, place.replace("0.0.0.0", HOST)) == "any"
    host.up("first", "-p", "8000-8001:80")
    host.up("second", "-p", "8000-8001:80")
    assert [host.out("port", name, "80/tcp") for name in ("first", "second")] == [
        "0.0.0.0:8000", "0.0.0.0:8001",
    ]  # fmt: skip
    ran = host("run", "-d", "-p", "8000-8001:80", "base", "sleep", "9", code=125)
    assert "container second has it" in ran.stderr
    host.up("many", "-p", "9000-9002:9000-9002", "-p", "7000:80/udp", "--expose", "443")
    assert ports_of(host, "many") == (
        "443/tcp, 0.0.0.0:9000-9002->9000-9002/tcp, 0.0.0.0:7000->80/udp"
    )


def test_all_exposed_ports_are_published(host: Host) -> None:
    host("create", "--name", "x", "base")
    host("commit", "-c", "EXPOSE 80 53/udp", "x", "exposing")
    host("run", "-d", "--name", "all", "-P", "--expose", "8000-8001", "-p", "8053:53/udp",
         "exposing", "sleep", "3600")  # fmt: skip
    shown = dict(line.split(" -> ") for line in host.out("port", "all").splitlines())
    assert list(shown) == ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]
    assert shown["53/udp"] == "0.0.0.0:8053", "what -p says counts more"
    numbers = [int(place.rpartition(":")[2]) for place in shown.values()]
    assert len(set(numbers)) == 4 and min(numbers) > 1023
    host("run", "-d", "--name", "none", "exposing", "sleep", "3600")
    assert host.out("port", "none") == "" and ports_of(host, "none") == "53/udp, 80/tcp"
    host("commit", "-c", "EXPOSE 9/sctp", "x", "strange")
    assert "sctp cannot be published" in host("create", "-P", "strange", code=125).stderr
    host("create", "strange")


def test_inspect_tells_what_was_asked_for_and_what_became_of_it(host: Host) -> None:
    host.up("web", "-p", "127.0.0.1:8080:80", "-p", "8000-8010:81", "-p", "82", "--expose", "443")

    def told(section: str) -> object:
        return json.loads(host.out("inspect", "--format", f"{{{{json {section}}}}}", "web"))

    assert told(".HostConfig.PortBindings") == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "81/tcp": [{"HostIp": "", "HostPort": "8000-8010"}],
        "82/tcp": [{"HostIp": "", "HostPort": ""}],
    }
    assert told(".HostConfig.PublishAllPorts") is False
    assert told(".Config.ExposedPorts") == {f"{n}/tcp": {} for n in (80, 81, 82, 443)}
    any_port = host.out("port", "web", "82").rpartition(":")[2]
    assert told(".NetworkSettings.Ports") == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}],
        "81/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8000"}],
        "82/tcp": [{"HostIp": "0.0.0.0", "HostPort": any_port}],
        "443/tcp": None,
    }
    ran = host("port", "web", "443", code=1)
    assert "no public port '443/tcp' published for web" in ran.stderr
    assert "invalid port" in host("port", "web", "80-81", code=125).stderr
    host("commit", "web", "image")
    template = "{{json .Config.ExposedPorts}}"
    assert json.loads(host.out("image", "inspect", "--format", template, "image")) == told(
        ".Config.ExposedPorts"
    )
    host("stop", "-t", "0", "web")
    assert told(".NetworkSettings.Ports") == {} and ports_of(host, "web") == ""
    assert host.out("port", "web") == ""


def test_ps_finds_containers_by_their_ports(host: Host) -> None:
    host.up("web", "-p", "8080:80")
    host.up("dns", "-p", "5353:53/udp", "--expose", "8080")
    host.up("none")

    def names(*filters: str) -> list[str]:
        flags = [word for pair in filters for word in ("--filter", pair)]
        return sorted(host.out("ps", "--format", "{{.Names}}", *flags).split())

    assert names("publish=8080") == ["web"] == names("publish=8000-8100") == names("expose=80")
    assert names("publish=80") == [] == names("publish=5353")
    assert names("publish=5353/udp") == ["dns"] == names("expose=8080/tcp")
    assert names("expose=53/udp") == ["dns"] == names("expose=53/udp", "publish=5353/udp")
    assert names("publish=8080", "publish=5353/udp") == ["dns", "web"]


# -- the life of a container ---------------------------------------------------------------


def test_a_container_that_comes_back_has_its_ports_again(host: Host) -> None:
    serve(host, "web", "-p", "8080:80", "-p", "81")
    host.up("late")
    host("stop", "-t", "0", "web")
    assert fetched(host, f"{HOST}:8080") == ""
    host.up("taker")  # its address is somebody else's now
    host("start", "web")
    eventually(lambda: fetched(host, f"{HOST}:8080") == "web")
    before = host.out("port", "web")
    host("restart", "-t", "0", "web")
    eventually(lambda: fetched(host, f"{HOST}:8080") == "web")
    assert before.splitlines()[0] == host.out("port", "web").splitlines()[0]


def test_ports_stay_held_while_a_policy_starts_the_container_again(host: Host) -> None:
    serve(host, "web", "--restart", "always", "-p", "8080:80", "-p", "81")
    before = host.out("port", "web")
    pid = host.out("inspect", "--format", "{{.State.Pid}}", "web")
    os.kill(int(pid), signal.SIGKILL)
    eventually(lambda: host.out("inspect", "--format", "{{.RestartCount}}", "web") == "1")
    assert "container web has it" in host("run", "-p", "8080:80", "base", code=125).stderr
    eventually(lambda: fetched(host, f"{HOST}:8080") == "web")
    assert host.out("port", "web") == before, "also the one that pyctr has chosen"


def test_a_port_is_free_when_its_monitor_is_killed_and_leads_nowhere(host: Host) -> None:
    host.up("web", "-p", "8080:80")
    pid = int(host.out("inspect", "--format", "{{.State.Pid}}", "web"))
    with open(f"/proc/{pid}/stat") as file:
        monitor = int(file.read().rpartition(") ")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{monitor}"))
    serve(host, "next", "-p", "8080:80")
    assert fetched(host, "127.0.0.1:8080") == "next"
    assert elements(host) == {("tcp", 8080, host.address("next"))}
    host("rm", "-f", "next")
    assert elements(host) == set()


@pytest.mark.parametrize(
    "point",
    ["network.published.held", "network.agent.published", "engine.network.ready",
     "engine.monitor.launched"],
)  # fmt: skip
def test_a_start_that_is_killed_keeps_no_port(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    host("create", "--name", "web", "-p", "8080:80", "base", "sleep", "3600")
    monkeypatch.setenv("PYCTR_TRACE", f"kill:{point}")
    host("start", "web", code=None)
    monkeypatch.delenv("PYCTR_TRACE")
    host.up("other")  # which may have been given the same address
    serve(host, "next", "-p", "8080:80")
    assert fetched(host, "127.0.0.1:8080") == "next"
    host("ps")
    assert ports_of(host, "web") == ""
    assert elements(host) == {("tcp", 8080, host.address("next"))}


def test_an_end_that_is_killed_leaves_no_way_to_whoever_has_the_address_next(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The monitor is killed when it has written that nothing is held, and told nobody."""
    host("run", "--rm", "base", "true")  # the agent is not to inherit the trap
    monkeypatch.setenv("PYCTR_TRACE", "kill:network.published.let_go")
    host.up("web", "-p", "8080:80")
    address = host.address("web")
    pid = int(host.out("inspect", "--format", "{{.State.Pid}}", "web"))
    os.kill(pid, signal.SIGKILL)
    monkeypatch.delenv("PYCTR_TRACE")
    eventually(lambda: host.out("inspect", "--format", "{{.State.Status}}", "web") == "exited")
    host.up("early")
    assert host.address("early") != address, "as long as a port leads to it"
    host("ps")
    assert elements(host) == set()
    serve(host, "next")
    assert host.address("next") == address
    assert fetched(host, "127.0.0.1:8080") == ""


def elements(host: Host) -> set[tuple[str, int, str]]:
    """What the firewall passes on: protocol, port and the address it leads to."""
    found = set()
    for entry in json.loads(host.sh("nft -j list ruleset"))["nftables"]:
        one = entry.get("map", {})
        if one.get("name") == "to4":
            for key, address in one.get("elem", []):
                found.add((*key["concat"], address))
    return found


def test_rules_that_were_taken_away_are_mended_with_the_next_start(host: Host) -> None:
    serve(host, "web", "-p", "8080:80")
    host.sh("nft flush ruleset")
    assert fetched(host, "127.0.0.1:8080") == ""
    host("run", "--rm", "base", "true")
    assert fetched(host, "127.0.0.1:8080") == "web"
    host.kill_agent()
    host.sh("nft flush ruleset")
    host("run", "--rm", "-p", "8081:80", "base", "true")
    assert fetched(host, "127.0.0.1:8080") == "web"
    assert elements(host) == {("tcp", 8080, host.address("web"))}


def test_ports_follow_the_way_out_of_their_container(host: Host) -> None:
    host("network", "create", "--internal", "inner")
    host("network", "create", "outer")
    ran = host("run", "-d", "--name", "web", "--network", "inner", "-p", "8080:80", "base", "sh",
               "-c", HTTPD)  # fmt: skip
    assert "published ports are discarded" in ran.stderr
    assert ports_of(host, "web") == "80/tcp"
    host("rm", "-f", "web")
    serve(host, "web", "--network", "inner", "--network", "outer", "-p", "8080:80")
    assert fetched(host, "127.0.0.1:8080") == "web"
    assert elements(host) == {("tcp", 8080, host.address("web", "outer"))}
    host("network", "connect", "--gw-priority", "7", "bridge", "web")
    assert elements(host) == {("tcp", 8080, host.address("web"))}
    assert fetched(host.outside, f"{HOST}:8080") == "web"
    host("network", "disconnect", "bridge", "web")
    assert elements(host) == {("tcp", 8080, host.address("web", "outer"))}
    assert fetched(host.outside, f"{HOST}:8080") == "web"


def test_a_container_may_get_a_way_out_while_it_waits_to_start_again(host: Host) -> None:
    host("network", "create", "--internal", "inner")
    script = "sleep 1000 & echo $! > /pid; wait $!; rm /pid; exit 1"
    host("run", "-d", "--name", "web", "--restart", "always", "--network", "inner",
         "-p", "8080:80", "base", "sh", "-c", script)  # fmt: skip
    assert ports_of(host, "web") == "80/tcp"
    host("network", "connect", "bridge", "web")
    assert ports_of(host, "web") == "80/tcp", "what is not held is not told of"
    host("exec", "web", "sh", "-c", "kill $(cat /pid)")
    eventually(lambda: ports_of(host, "web") == "0.0.0.0:8080->80/tcp")
    ran = host("run", "--rm", "-p", "8080:80", "base", "true", code=125)
    assert "container web has it" in ran.stderr, "and it stays held"


def test_where_there_is_no_network_of_its_own_nothing_is_published(host: Host) -> None:
    for network in ("host", "none"):
        ran = host("run", "--rm", "--network", network, "-p", "8080:80", "base", "true")
        assert "published ports are discarded" in ran.stderr
    host.up("web")
    for flag, what in (("-p=80", "publishing"), ("-P", "publishing"), ("--expose=80", "exposing")):
        ran = host("create", "--network", "container:web", flag, "base", code=125)
        assert f"port {what} and the container type network mode" in ran.stderr


# -- IPv6 ----------------------------------------------------------------------------------


def test_a_network_of_ipv6_publishes_on_both(host: Host) -> None:
    host.sh("ip addr add 2001:db8::2/64 dev uplink nodad")
    host.outside.sh("ip addr add 2001:db8::1/64 dev world nodad")
    host("network", "create", "--ipv6", "--subnet", "fd00:7::/64", "--subnet", "10.7.0.0/24", "six")
    serve(host, "web", "--network", "six", "-p", "8080:80", "-p", "[2001:db8::2]:8081:80")
    assert ports_of(host, "web") == (
        "0.0.0.0:8080->80/tcp, [2001:db8::2]:8081->80/tcp, [::]:8080->80/tcp"
    )
    for address in ("127.0.0.1:8080", "[2001:db8::2]:8080", "[2001:db8::2]:8081",
                    "[fd00:7::1]:8080", f"{HOST}:8080"):  # fmt: skip
        assert fetched(host, address) == "web", address
    assert fetched(host, "localhost:8080") == "web", "::1 is refused at once"
    assert fetched(host.outside, "[2001:db8::2]:8080") == "web"
    assert fetched(host.outside, f"{HOST}:8080") == "web"
    assert fetched(host.outside, f"{HOST}:8081") == ""
    host.up("other", "--network", "six")
    for container in ("other", "web"):
        assert fetched_inside(host, container, "[2001:db8::2]:8080") == "web", container
    assert "use 127.0.0.1" in host("create", "-p", "[::1]:80:80", "base", code=125).stderr


# -- many ----------------------------------------------------------------------------------

MANY = """
import json, sys
from network import nft
from network.firewall import Firewall
from network.forwards import Forward
from network.store import Network
asked = []
run = nft.Nft.run
nft.Nft.run = lambda self, commands: (asked.append(commands), run(self, commands))[1]
firewall = Firewall()
one = Network("id", "many", 0.0, "pyctr-many", subnet="10.8.0.0/16", gateway="10.8.0.1")
firewall.put("pyctr-many", [one], {})
for number in range(200):
    lead = Forward("tcp", "", 10000 + number, f"10.8.1.{number + 1}", 80)
    assert firewall.lead("pyctr-many", f"c{number}", (lead,))
    assert firewall.is_as_we_left_it("pyctr-many")
table = run(firewall._nft, [{"list": {"table": {"family": "inet", "name": "pyctr-many"}}}])
for number in range(200):
    assert firewall.lead("pyctr-many", f"c{number}", ())
firewall.remove("pyctr-many")
print(json.dumps([[len(json.dumps(commands)) for commands in asked], table]))
"""


def test_the_last_of_200_published_containers_costs_what_the_first_does(host: Host) -> None:
    ran = subprocess.run(
        host.place.argv(sys.executable, "-c", MANY), capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    sizes, table = json.loads(ran.stdout)
    whole, starts, ends = sizes[0], sizes[1:201], sizes[201:401]
    assert max(starts) - min(starts) <= 4 and max(starts) < whole / 4, "one transaction each"
    assert max(ends) - min(ends) <= 4
    rules = [entry["rule"] for entry in table["nftables"] if "rule" in entry]
    assert len(rules) < 25 and "10.8.1." not in json.dumps(rules)
    maps = {entry["map"]["name"]: entry["map"] for entry in table["nftables"] if "map" in entry}
    assert len(maps["to4"]["elem"]) == 200
