"""The default network: addresses, the way out, and what a crash leaves."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.network.conftest import HOST, OUTSIDE, Host, eventually

# Says who has asked, over HTTP.
SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"you are {self.client_address[0]}".encode())
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", 80), Handler)
print("ready", flush=True)
server.serve_forever()
"""


def test_a_container_has_an_address_and_reaches_the_world_as_the_host(host: Host) -> None:
    host.outside.start(SERVER)
    host.sh("echo 0 > /proc/sys/net/ipv4/ip_forward")
    fetch = ["wget", "-q", "-O", "-", f"http://{OUTSIDE}/"]
    ran = host("run", "--rm", "base", *fetch)
    assert ran.stdout == f"you are {HOST}"
    assert "forwarding was off" in ran.stderr, "said once"
    ran = host("run", "--rm", "base", *fetch)
    assert ran.stdout == f"you are {HOST}" and not ran.stderr


def test_the_interface_is_as_docker_makes_it(host: Host) -> None:
    host.sh("ip link set uplink mtu 1400")
    shown = host.out("run", "--rm", "base", "ip", "addr", "show", "eth0")
    assert "02:42:ac:11:00:02" in shown and "172.17.0.2/16" in shown
    assert "mtu 1400" in shown, "packets fit through the uplink"
    assert "inet6" not in shown, "the network has no IPv6"
    routes = host.out("run", "--rm", "base", "ip", "route")
    assert "default via 172.17.0.1 dev eth0" in routes


def test_containers_see_each_other_and_the_host(host: Host) -> None:
    host.up("one")
    host.up("two")
    assert host.reaches("two", host.address("one"))
    assert host.reaches("one", "172.17.0.1")
    host.sh(f"busybox ping -c1 -W2 {host.address('two')}")


def test_the_world_reaches_no_container(host: Host) -> None:
    host.up("one")
    host.outside.sh(f"ip route add 172.17.0.0/16 via {HOST}")
    ran = subprocess.run(
        host.outside.argv("busybox", "ping", "-c1", "-W1", host.address("one")), capture_output=True
    )
    assert ran.returncode == 1
    assert host.reaches("one", OUTSIDE)


def test_an_address_is_free_again_when_its_container_ends(host: Host) -> None:
    host.up("one")
    host.up("two")
    first = host.address("one")
    host("stop", "-t", "0", "one")
    assert host.address("one") == "", "inspect tells of no address that nobody has"
    host.up("three")
    assert host.address("three") == first
    host("start", "one")
    assert host.address("one") not in ("", first, host.address("two"))


def test_containers_that_start_at_once_have_different_addresses(host: Host) -> None:
    running = [
        subprocess.Popen(
            host.argv("run", "-d", "--name", f"c{n}", "base", "sleep", "3600"),
            stdout=subprocess.DEVNULL,
        )
        for n in range(8)
    ]
    assert [one.wait(timeout=100) for one in running] == [0] * 8
    addresses = {host.address(f"c{n}") for n in range(8)}
    assert addresses == {f"172.17.0.{n}" for n in range(2, 10)}
    assert host.reaches("c0", host.address("c7"))


def test_the_subnet_collides_with_no_route_of_the_host(host: Host) -> None:
    host.sh(
        f"ip route add 172.17.0.0/16 via {OUTSIDE}; ip route add 172.18.0.0/24 via {OUTSIDE};"
        " ip link add other type bridge; ip addr add 172.19.5.1/24 dev other;"
        " ip link set other up"
    )
    host.up("one")
    assert host.address("one") == "172.20.0.2"
    host("rm", "-f", "one")
    host.sh("ip link delete other")


def test_the_subnet_can_be_configured(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCTR_NETWORK_SUBNET", "10.99.0.0/24")
    monkeypatch.setenv("PYCTR_NETWORK_POOLS", "10.98.0.0/16:26")
    host.up("one")
    assert host.address("one") == "10.99.0.2"
    host("network", "create", "own")
    template = "{{(index .IPAM.Config 0).Subnet}}"
    assert host.out("network", "inspect", "--format", template, "own") == "10.98.0.0/26"
    monkeypatch.setenv("PYCTR_NETWORK_POOLS", "10.98.0.0/16:8")
    ran = host("network", "create", "more", code=125)
    assert "network_pools is wrong in environment PYCTR_NETWORK_POOLS" in ran.stderr


# -- crashes -------------------------------------------------------------------------------


def test_nothing_is_left_of_a_container_whose_monitor_was_killed(host: Host) -> None:
    host.up("one")
    address = host.address("one")
    os.kill(int(monitor_of(host, "one")), 9)
    eventually(lambda: host.links() == {bridge_of(host)})
    host("ps")  # the next command mends the record
    host.up("two")
    assert host.address("two") == address


def monitor_of(host: Host, name: str) -> str:
    pid = host.out("inspect", "--format", "{{.State.Pid}}", name)
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[1]


def bridge_of(host: Host) -> str:
    template = '{{index .Options "com.docker.network.bridge.name"}}'
    return host.out("network", "inspect", "--format", template, "bridge")


@pytest.mark.parametrize(
    "point",
    ["network.store.allocated", "engine.network.begun", "engine.network.ready",
     "engine.start.monitor_forked", "engine.monitor.launched"],
)  # fmt: skip
def test_a_start_that_is_killed_keeps_no_address(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    host("create", "--name", "one", "base", "sleep", "3600")
    monkeypatch.setenv("PYCTR_TRACE", f"kill:{point}")
    host("start", "one", code=None)
    monkeypatch.delenv("PYCTR_TRACE")
    if point != "engine.start.monitor_forked":  # whose monitor lives
        host("ps", "-a")
        host.up("two")
        assert host.address("two") == "172.17.0.2"
        host("start", "one")
        assert host.address("one") == "172.17.0.3"


def test_a_killed_agent_changes_nothing_for_those_who_run(host: Host) -> None:
    host.up("one")
    host.up("two")
    host.kill_agent()
    assert host.reaches("one", host.address("two"))
    assert host.agent() == 0
    host.up("three")
    assert host.agent() and host.address("three") == "172.17.0.4"
    assert host.reaches("three", host.address("one"))


@pytest.mark.parametrize("point", ["asked", "namespace_made", "plugged"])
def test_an_agent_that_is_killed_at_work_is_replaced(
    host: Host, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The first agent inherits the trap; the one that takes its place has passed it already."""
    monkeypatch.setenv("PYCTR_TRACE", f"kill:network.agent.{point}")
    ran = host("run", "--rm", "base", "ip", "addr", "show", "eth0", code=None)
    monkeypatch.delenv("PYCTR_TRACE")
    assert "the network agent died" in ran.stderr, "the second one falls into the same trap"
    assert "172.17.0.2/16" in host.out("run", "--rm", "base", "ip", "addr", "show", "eth0")


def test_rules_that_another_tool_has_flushed_are_mended(host: Host) -> None:
    host.outside.start(SERVER)
    fetch = ["wget", "-q", "-O", "-", f"http://{OUTSIDE}/"]
    host.up("one")
    host.sh("nft flush ruleset")
    host.up("two")
    assert host.out("exec", "one", *fetch) == f"you are {HOST}", "the next start has mended them"
    host.sh("nft flush ruleset")
    host("ps")
    assert host.out("exec", "one", *fetch) == f"you are {HOST}", "and so has the next ps"


def test_what_others_do_to_their_own_tables_costs_a_start_nothing(host: Host) -> None:
    host.up("one")
    ours, pid = "nft -a list ruleset | grep 'table inet pyctr'", host.agent()
    before = host.sh(ours)
    host.sh("nft add table inet other; nft add chain inet other mine; nft add table ip pyctr")
    host.up("two")
    assert host.sh(ours) == before, "the table is the same one"
    host.sh("yes 'add rule inet other mine counter' | head -n 4000 | nft -f -")
    host.up("three")
    assert host.sh(ours) != before, "the kernel told more than could be kept: it was made anew"
    before = host.sh(ours)
    host.sh(f"nft add chain inet {before.split()[2]} mine")
    host.up("four")
    assert host.sh(ours) != before, "and so it was when somebody changed it"
    assert host.agent() == pid


def test_other_tables_are_not_touched(host: Host) -> None:
    host.sh(
        "nft add table ip filter; nft add chain ip filter mine '{ type filter hook forward"
        " priority 0; }'; nft add rule ip filter mine counter; nft add table inet pyctr-other"
    )
    host.up("one")
    host("rm", "-f", "one")
    host.leave()
    left = host.sh("nft list ruleset")
    assert "chain mine" in left and "counter" in left and "table inet pyctr-other" in left
    host.sh("nft flush ruleset")
    host.up("one")


_STATE = "ip -o -4 addr; ip -o route; ip -br link | cut -d' ' -f1; nft list ruleset"


def test_an_agent_whose_root_folder_is_gone_takes_all_away_and_makes_none(host: Host) -> None:
    host.up("one")
    host("rm", "-f", "one")
    state = f"{host.root}/state.db"
    os.rename(state, f"{state}.away")
    host.leave()
    eventually(lambda: not host.links())
    assert not os.path.exists(state)
    os.rename(f"{state}.away", state)


def test_an_address_that_a_crash_has_left_is_there_for_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYCTR_NETWORK_SUBNET", "10.99.0.0/30")
    host("create", "--name", "one", "base", "sleep", "3600")
    monkeypatch.setenv("PYCTR_TRACE", "kill:engine.network.ready")
    host("start", "one", code=-9)
    monkeypatch.delenv("PYCTR_TRACE")
    host.up("two")
    assert host.address("two") == "10.99.0.2", "the only one"
    assert "no free address" in host("start", "one", code=1).stderr


def test_a_firewall_that_drops_what_passes_is_told_of_once(host: Host) -> None:
    host.sh("nft add table ip filter; nft add chain ip filter FORWARD '{ type filter hook forward"
            " priority 0; policy drop; }'")  # fmt: skip
    ran = host("run", "-d", "--name", "one", "base", "sleep", "3600")
    assert "the chain ip filter FORWARD of another firewall drops" in ran.stderr
    assert not host.reaches("one", OUTSIDE)
    assert not host("run", "--rm", "base", "true").stderr
    host.sh("nft add rule ip filter FORWARD iifname 'pyctr*' accept;"
            " nft add rule ip filter FORWARD oifname 'pyctr*' accept")  # fmt: skip
    assert host.reaches("one", OUTSIDE), "what the warning says helps"


def test_the_agent_leaves_the_host_as_it_was(host: Host) -> None:
    before = host.sh(_STATE)
    host("run", "--rm", "base", "true")
    assert host.links() != set()
    host.leave()
    eventually(lambda: host.sh(_STATE) == before)
    assert host.agent() == 0 and not os.path.exists(f"{host.run}/network.sock")
    host.up("one")
    host.leave()
    assert host.reaches("one", "172.17.0.1"), "who runs keeps the bridge"


def test_the_agent_serves_root_alone(host: Host) -> None:
    host("run", "--rm", "base", "true")
    socket = f"{host.run}/network.sock"
    os.chmod(host.run, 0o755)
    os.chmod(socket, 0o666)
    ask = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "asking = socket.socket(socket.AF_UNIX); asking.connect(sys.argv[1])\n"
        "try:\n"
        '    asking.send(b\'{"do": "leave"}\\n\')\n'
        "    print(asking.recv(100))\n"
        "except OSError as error:\n"
        "    print(b'')\n"
    )
    said = subprocess.run(["python3", "-c", ask, socket], capture_output=True, text=True)
    assert said.stdout == "b''\n", said.stderr
    assert host.agent()


def test_a_command_does_not_load_what_only_the_agent_needs(host: Host) -> None:
    host("run", "--rm", "base", "true")
    code = (
        "import sys; from cli.main import main; main(sys.argv[1:]); print('MODULES', *sys.modules)"
    )
    argv = host.place.argv(host.argv()[2], "-c", code, "run", "--rm", "base", "true")
    ran = subprocess.run(argv, capture_output=True, text=True)
    modules = set(ran.stdout.rpartition("MODULES ")[2].split())
    assert "network.client" in modules, ran.stderr
    heavy = {"pyroute2", "network.agent", "network.links", "network.nft", "json", "socket", "re"}
    assert not heavy & modules
