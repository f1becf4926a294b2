"""Containers find each other, and the world, by name."""

from __future__ import annotations

import os

import pytest

from tests.network.conftest import OUTSIDE, Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Knows example.org, at the address that is its argument.
RESOLVER = """
import selectors, socket
import dns.message, dns.rcode, dns.rrset
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.bind(("{at}", 53))
print("ready", flush=True)
while True:
    wire, source = one.recvfrom(65535)
    query = dns.message.from_wire(wire)
    made = dns.message.make_response(query, True)
    name = query.question[0].name
    if str(name) != "example.org.":
        made.set_rcode(dns.rcode.NXDOMAIN)
    elif query.question[0].rdtype == 1:
        made.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "{answer}"))
    one.sendto(made.to_wire(), source)
"""


def lookup(host: Host, container: str, name: str) -> list[str]:
    """The addresses that a container finds for a name."""
    said = host("exec", container, "nslookup", name, code=None).stdout
    found = said.partition("Name:")[2].splitlines()
    return sorted(line.split()[1] for line in found if line.startswith("Address:"))


def file(host: Host, container: str, name: str) -> list[str]:
    return host.out("exec", container, "cat", f"/etc/{name}").splitlines()


@pytest.fixture
def resolvers(
    host: Host, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Sets the content of the host's /etc/resolv.conf, which is another one than the machine's."""
    path = f"{tmp_path}/resolv.conf"
    script = 'mount --bind "$0" /etc/resolv.conf; exec "$@"'
    argv = host.argv

    def said(content: str) -> None:
        with open(path, "w") as file:
            file.write(content)

    said("")
    monkeypatch.setattr(
        host,
        "argv",
        lambda *args: ["unshare", "--mount", "sh", "-ec", script, path, *argv(*args)],
    )
    return said


def test_containers_of_a_network_find_each_other_by_name_alias_and_short_id(host: Host) -> None:
    host("network", "create", "blue")
    host("network", "create", "red")
    host.up("web", "--network", "blue")
    host.up("db", "--network", "blue", "--network-alias", "store", "-h", "postgres")
    host.up("spy", "--network", "red")
    address = host.address("db", "blue")
    identity = host.out("inspect", "--format", "{{.Id}}", "db")
    for name in ("db", "DB", "store", "postgres", identity[:12], "db.blue", "store.blue"):
        assert lookup(host, "web", name) == [address], name
        assert lookup(host, "spy", name) == [], name
    assert lookup(host, "db", "web") == [host.address("web", "blue")]
    assert host.reaches("web", "store")
    assert "db.blue" in host.out("exec", "web", "nslookup", address)
    names = host.out(
        "inspect", "--format", "{{json .NetworkSettings.Networks.blue.DNSNames}}", "db"
    )
    assert names == f'["db","store","{identity[:12]}","postgres"]'
    host("rename", "db", "base")
    assert lookup(host, "web", "base") == [address] and lookup(host, "web", "db") == []


def test_a_container_in_two_networks_finds_the_names_of_both(host: Host) -> None:
    host("network", "create", "blue")
    host("network", "create", "--ipv6", "red")
    host.up("db", "--network", "blue")
    host.up("cache", "--network", "red")
    host.up("web", "--network", "blue", "--network", "name=red,alias=front")
    assert lookup(host, "web", "db") == [host.address("db", "blue")]
    assert host.address("cache", "red") in lookup(host, "web", "cache")
    assert any(":" in word for word in lookup(host, "web", "cache"))
    assert host.address("web", "red") in lookup(host, "cache", "front")
    assert lookup(host, "db", "front") == [] and lookup(host, "db", "cache") == []


def test_a_name_is_that_of_the_new_address_after_a_restart(host: Host) -> None:
    host("network", "create", "blue")
    host.up("db", "--network", "blue")
    host.up("web", "--network", "blue")
    before = host.address("db", "blue")
    assert lookup(host, "web", "db") == [before]
    host("stop", "-t", "0", "db")
    assert lookup(host, "web", "db") == []
    host.up("other", "--network", "blue")
    assert host.address("other", "blue") == before
    host("start", "db")
    after = host.address("db", "blue")
    assert after != before and lookup(host, "web", "db") == [after]
    assert host.reaches("web", "db")


def test_the_agent_that_comes_after_a_killed_one_knows_all_names(host: Host) -> None:
    host("network", "create", "blue")
    host.up("db", "--network", "blue")
    host.up("web", "--network", "blue")
    host.kill_agent()
    host("run", "--rm", "base", "true")  # in another network
    assert lookup(host, "web", "db") == [host.address("db", "blue")]


def test_other_names_are_asked_of_the_hosts_resolvers_or_of_those_of_the_container(
    host: Host, resolvers: Callable[[str], None]
) -> None:
    host.outside.start(RESOLVER.format(at=OUTSIDE, answer="192.0.2.1"))
    host.place.start(RESOLVER.format(at="127.0.0.53", answer="192.0.2.53"))
    resolvers("nameserver 127.0.0.53\nsearch corp.example\noptions timeout:3\n")
    host("network", "create", "blue")
    host.up("web", "--network", "blue")
    host.up("own", "--network", "blue", "--dns", OUTSIDE, "--dns-search", ".")
    gateway = host.out(
        "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "blue"
    )
    assert file(host, "web", "resolv.conf") == [
        f"nameserver {gateway}", "search corp.example", "options timeout:3 ndots:0",
    ]  # fmt: skip
    assert file(host, "own", "resolv.conf") == [
        f"nameserver {gateway}", "options timeout:3 ndots:0",
    ]  # fmt: skip
    assert lookup(host, "web", "example.org") == ["192.0.2.53"]
    assert lookup(host, "own", "example.org") == ["192.0.2.1"]
    assert lookup(host, "own", "web") == [host.address("web", "blue")]
    resolvers(f"nameserver {OUTSIDE}\n")
    assert lookup(host, "web", "example.org") == ["192.0.2.1"]


def test_the_default_network_asks_the_hosts_resolvers_itself_if_it_can_reach_any(
    host: Host, resolvers: Callable[[str], None]
) -> None:
    host.outside.start(RESOLVER.format(at=OUTSIDE, answer="192.0.2.1"))
    host.place.start(RESOLVER.format(at="127.0.0.53", answer="192.0.2.53"))
    resolvers(f"nameserver 127.0.0.53\nnameserver {OUTSIDE}\n")
    host.up("web")
    host.up("db")
    assert file(host, "web", "resolv.conf") == [f"nameserver {OUTSIDE}"]
    assert lookup(host, "web", "example.org") == ["192.0.2.1"]
    assert lookup(host, "web", "db") == []
    resolvers("nameserver 127.0.0.53\n")
    host.up("more")
    assert file(host, "more", "resolv.conf") == ["nameserver 172.17.0.1"]
    assert lookup(host, "more", "example.org") == ["192.0.2.53"]
    assert lookup(host, "more", "db") == []


def test_an_internal_network_has_names_but_no_way_to_ask_outside(
    host: Host, resolvers: Callable[[str], None]
) -> None:
    host.place.start(RESOLVER.format(at="127.0.0.53", answer="192.0.2.53"))
    resolvers("nameserver 127.0.0.53\n")
    host("network", "create", "--internal", "inner")
    host.up("db", "--network", "inner")
    host.up("web", "--network", "inner", "--dns", "127.0.0.53")
    assert lookup(host, "web", "db") == [host.address("db", "inner")]
    assert lookup(host, "web", "example.org") == [] == lookup(host, "db", "example.org")


def test_names_are_found_where_a_program_of_the_host_has_port_53(host: Host) -> None:
    host.place.start(RESOLVER.format(at="0.0.0.0", answer="192.0.2.53"))
    host("network", "create", "blue")
    host.up("first")
    host.up("web", "--network", "blue")
    host.up("db", "--network", "blue")
    assert lookup(host, "web", "db") == [host.address("db", "blue")]
    assert lookup(host, "web", "example.org") == []  # it is not the program that answers
    host.kill_agent()
    host("run", "--rm", "base", "true")
    assert lookup(host, "web", "db") == [host.address("db", "blue")]


def test_a_container_that_floods_the_server_hurts_nobody_else(host: Host) -> None:
    host("network", "create", "blue")
    host.up("web", "--network", "blue")
    host.up("db", "--network", "blue")
    agent = host.agent()
    gateway = file(host, "web", "resolv.conf")[0].split()[1]
    flood = f"for n in $(seq 300); do head -c $n /dev/urandom | nc -u -w0 {gateway} 53; done"
    more = f"head -c 9999 /dev/urandom | timeout 2 nc {gateway} 53"
    host("exec", "web", "sh", "-c", f"({flood}) >/dev/null 2>&1; {more}", code=None)
    assert lookup(host, "db", "web") == [host.address("web", "blue")]
    assert host.agent() == agent
    with open(f"{host.run}/network.log") as log:
        assert log.read() == ""


# -- links and files -----------------------------------------------------------------------


def test_a_link_on_the_default_network_is_a_line_that_follows_the_other_container(
    host: Host,
) -> None:
    host.up("db")
    host.up("web", "--link", "db:store", "--link", "db")
    short = host.out("ps", "-q", "--filter", "name=db")
    assert file(host, "web", "hosts")[-1] == f"{host.address('db')}\tstore db {short}"
    assert host.reaches("web", "store") and host.reaches("web", "db")
    assert host.out("inspect", "--format", "{{.HostConfig.Links}}", "web") == (
        "[/db:/web/store /db:/web/db]"
    )
    host("exec", "web", "sh", "-c", "echo 192.0.2.9 mine >> /etc/hosts")
    before = host.address("db")
    host("stop", "-t", "0", "db")
    host.up("other")
    host("start", "db")
    assert host.address("db") != before
    lines = file(host, "web", "hosts")
    assert lines[-2:] == ["192.0.2.9 mine", f"{host.address('db')}\tstore db {short}"]
    assert host.reaches("web", "store")
    host("stop", "-t", "0", "web", "db")
    host("start", "web")  # the other one comes later
    assert not [line for line in file(host, "web", "hosts") if "store" in line]
    host("start", "db")
    assert host.reaches("web", "store")
    host("rm", "-f", "db")
    host("restart", "-t", "0", "web")
    assert not [line for line in file(host, "web", "hosts") if "store" in line]


def test_a_link_on_a_network_of_ones_own_is_a_name_for_its_owner(host: Host) -> None:
    host("network", "create", "blue")
    host.up("db", "--network", "blue")
    host.up("web", "--network", "blue", "--link", "db:store")
    host.up("other", "--network", "blue")
    assert lookup(host, "web", "store") == [host.address("db", "blue")]
    assert lookup(host, "other", "store") == []
    assert host.out("inspect", "--format", "{{.NetworkSettings.Networks.blue.Links}}", "web") == (
        "[db:store]"
    )
    host("network", "create", "red")
    host("network", "connect", "red", "db")
    host("network", "connect", "--link", "db:data", "red", "other")
    assert lookup(host, "other", "data") == [host.address("db", "red")]


def test_what_cannot_be_linked_is_refused(host: Host) -> None:
    host("create", "--name", "db", "base", "true")
    host("create", "--name", "other", "base", "true")
    for flags, said in (
        (["--link", "nobody"], "nobody"),
        (["--link", "db:"], "bad format for links"),
        (["--link", "a:b:c"], "bad format for links"),
        (["--link", "db:x", "--link", "other:x"], "several containers"),
        (["--network", "host", "--link", "db"], "conflicting options"),
        (["--network", "none", "--add-host", "gate:host-gateway"], "no gateway"),
    ):
        ran = host("create", *flags, "base", "true", code=125)
        assert said in ran.stderr and not ran.stdout, flags
    assert len(host.out("ps", "-aq").split()) == 2


def test_the_files_of_a_running_container_follow_its_networks(
    host: Host, resolvers: Callable[[str], None]
) -> None:
    resolvers(f"nameserver {OUTSIDE}\n")
    host("network", "create", "blue")
    host.up("db", "--network", "blue")
    host.up("web", "-h", "front")
    host("network", "connect", "blue", "web")
    assert file(host, "web", "hosts")[-2:] == [
        f"{host.address('web')}\tfront", f"{host.address('web', 'blue')}\tfront",
    ]  # fmt: skip
    assert lookup(host, "web", "db") == [host.address("db", "blue")]
    assert lookup(host, "db", "front") == [host.address("web", "blue")]
    host("network", "disconnect", "blue", "web")
    assert file(host, "web", "hosts")[-1] == f"{host.address('web')}\tfront"
    assert file(host, "web", "resolv.conf") == [f"nameserver {OUTSIDE}"]
    host("exec", "web", "sh", "-c", "echo nameserver 192.0.2.9 > /etc/resolv.conf")
    host("network", "connect", "blue", "web")
    assert file(host, "web", "resolv.conf") == ["nameserver 192.0.2.9"]  # its own affair


def test_host_gateway_leads_to_the_host(host: Host) -> None:
    host("network", "create", "blue")
    for network in ("bridge", "blue"):
        args = ("--network", network, "--add-host", "gate:host-gateway", "base")
        assert host("run", "--rm", *args, "ping", "-c1", "-W5", "gate")
    args = ("--network", "host", "--add-host", "gate:host-gateway", "base")
    assert "127.0.0.1\tgate" in host.out("run", "--rm", *args, "cat", "/etc/hosts")


def test_a_container_cannot_lead_us_to_another_file(host: Host) -> None:
    """hosts is edited while the container runs: it is mounted there, and cannot be a link."""
    host.up("db")
    host.up("web", "--link", "db")
    ran = host("exec", "web", "ln", "-sf", "/etc/passwd", "/etc/hosts", code=None)
    assert ran.returncode
    host("exec", "web", "sh", "-c", "head -c 3000000 /dev/zero > /etc/hosts")
    host("restart", "-t", "0", "db")
    folder = os.path.dirname(host.out("inspect", "--format", "{{.HostsPath}}", "web"))
    assert os.path.getsize(f"{folder}/hosts") < 2 << 20
