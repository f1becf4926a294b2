"""Networks of one's own: the commands, who sees whom, addresses that a person chooses."""

from __future__ import annotations

import json

import pytest

from runtime import cgroups
from tests.network.conftest import OUTSIDE, Host, eventually
from tests.network.test_bridge import bridge_of


def subnet(host: Host, name: str) -> str:
    return host.out("network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", name)


def test_networks_are_listed_as_docker_lists_them(host: Host) -> None:
    made = host.out("network", "create", "--label", "tier=back", "backend")
    lines = host.out("network", "ls").splitlines()
    assert lines[0].split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    rows = [line.split() for line in lines[1:]]
    assert [row[1:] for row in rows] == [
        ["backend", "bridge", "local"], ["bridge", "bridge", "local"],
        ["host", "host", "local"], ["none", "null", "local"],
    ]  # fmt: skip
    assert rows[0][0] == made[:12]

    def names(*filters: str) -> list[str]:
        return host.out("network", "ls", "--format", "{{.Name}}", *filters).split()

    assert names("-f", "type=custom") == ["backend"]
    assert names("-f", "dangling=true") == ["backend"]
    assert names("-f", "driver=null") == ["none"]
    assert names("-f", "label=tier=back", "-f", "name=back") == ["backend"]
    assert names("-f", f"id={made[:5]}") == ["backend"]
    assert "there are dangling" in host("network", "ls", "-f", "x=y", code=125).stderr


def test_a_network_is_shown_with_all_that_it_is(host: Host) -> None:
    host(
        "network", "create", "--subnet", "10.7.0.0/24", "--gateway", "10.7.0.9", "--ip-range",
        "10.7.0.128/25", "--aux-address", "router=10.7.0.128", "--label", "a=b", "--internal",
        "--subnet", "fd07::/64", "-o", "com.docker.network.driver.mtu=1300", "lab",
    )  # fmt: skip
    host.up("one", "--network", "lab")
    (shown,) = json.loads(host.out("network", "inspect", "lab"))
    assert shown["IPAM"]["Config"] == [
        {"Subnet": "10.7.0.0/24", "IPRange": "10.7.0.128/25", "Gateway": "10.7.0.9",
         "AuxiliaryAddresses": {"router": "10.7.0.128"}},
        {"Subnet": "fd07::/64", "Gateway": "fd07::1"},
    ]  # fmt: skip
    assert shown["Internal"] and shown["EnableIPv6"] and shown["Labels"] == {"a": "b"}
    (member,) = shown["Containers"].values()
    assert member["Name"] == "one"
    assert member["IPv4Address"] == "10.7.0.129/24" and member["IPv6Address"] == "fd07::2/64"
    assert "mtu 1300" in host.out("exec", "one", "ip", "link", "show", "eth0")
    (one,) = json.loads(host.out("inspect", "--type", "network", "lab"))
    assert one["Id"] == shown["Id"]


def test_two_networks_do_not_see_each_other(host: Host) -> None:
    host("network", "create", "a")
    host("network", "create", "b")
    host.up("one", "--network", "a")
    host.up("two", "--network", "b")
    host.up("three", "--network", "a")
    host.up("four")
    assert host.reaches("one", host.address("three", "a"))
    for name in ("two", "four"):
        assert not host.reaches(name, host.address("one", "a"))
        assert host.reaches(name, OUTSIDE)


def test_a_container_in_two_networks_sees_both(host: Host) -> None:
    host("network", "create", "a")
    host("network", "create", "b")
    host.up("one", "--network", "a")
    host.up("two", "--network", "b")
    host.up("both", "--network", "b", "--network", "name=a,gw-priority=-1")
    assert host.reaches("both", host.address("one", "a"))
    assert host.reaches("both", host.address("two", "b"))
    assert host.out("ps", "--format", "{{.Networks}}", "-f", "name=both") == "b,a"
    default = next(
        line for line in host.out("exec", "both", "ip", "route").splitlines() if "default" in line
    )
    assert default.split()[2] == subnet(host, "b").replace("0.0/16", "0.1")


def test_an_internal_network_has_no_way_out(host: Host) -> None:
    host("network", "create", "--internal", "lab")
    host.up("one", "--network", "lab")
    host.up("two", "--network", "lab")
    assert host.reaches("one", host.address("two", "lab"))
    assert not host.reaches("one", OUTSIDE)
    host("exec", "--privileged", "one", "ip", "route", "add", "default", "via",
         subnet(host, "lab").replace("0.0/16", "0.1"))  # fmt: skip
    assert not host.reaches("one", OUTSIDE), "nor for one who adds a route"


def test_containers_of_a_network_without_icc_see_only_the_host(host: Host) -> None:
    host("network", "create", "-o", "com.docker.network.bridge.enable_icc=false", "shy")
    host.up("one", "--network", "shy")
    host.up("two", "--network", "shy")
    assert not host.reaches("one", host.address("two", "shy"))
    assert host.reaches("one", subnet(host, "shy").replace("0.0/16", "0.1"))


def test_ipv6_reaches_the_neighbour_and_the_world(host: Host) -> None:
    host.outside.sh("ip addr add fd99::1/64 dev world nodad")
    host.sh("ip addr add fd99::2/64 dev uplink nodad; ip -6 route add default via fd99::1")
    host("network", "create", "--ipv6", "six")
    host.up("one", "--network", "six")
    host.up("two", "--network", "six", "--ip6", v6_of(host, "six", "::77"))
    six = '{{(index .NetworkSettings.Networks "six").GlobalIPv6Address}}'
    assert host.out("inspect", "--format", six, "two") == v6_of(host, "six", "::77")
    assert host.reaches("one", host.out("inspect", "--format", six, "two"))
    assert host.reaches("one", "fd99::1"), "masqueraded: the world knows no way back"


def v6_of(host: Host, network: str, rest: str) -> str:
    shown = host.out("network", "inspect", "--format", "{{(index .IPAM.Config 1).Subnet}}", network)
    return shown.partition("::")[0] + rest


def test_addresses_that_a_person_chooses(host: Host) -> None:
    host("network", "create", "--subnet", "10.7.0.0/24", "lab")
    host.up("one", "--network", "lab", "--ip", "10.7.0.50", "--mac-address", "02:00:00:00:00:07")
    shown = host.out("exec", "one", "ip", "addr", "show", "eth0")
    assert "10.7.0.50/24" in shown and "02:00:00:00:00:07" in shown
    ran = host("run", "--rm", "--network", "lab", "--ip", "10.7.0.50", "base", code=125)
    assert "address 10.7.0.50 is already in use" in ran.stderr
    ran = host("run", "--rm", "--network", "lab", "--ip", "10.7.0.1", "base", code=125)
    assert "already in use" in ran.stderr, "it is the gateway's"
    ran = host("create", "--network", "lab", "--ip", "10.8.0.1", "base", code=125)
    assert "does not belong to any of network lab's subnets" in ran.stderr
    host("stop", "-t", "0", "one")
    host("start", "one")
    assert host.address("one", "lab") == "10.7.0.50"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--network", "nowhere"), "network nowhere not found"),
        (("--network", "host", "--network", "bridge"), "cannot attach both"),
        (("--network", "bridge", "--network", "bridge"), "specified multiple times"),
        (("--network", "none", "--ip", "10.0.0.1"), "conflicting options: --ip"),
        (("--network", "name=bridge,ip=172.17.0.9", "--ip", "172.17.0.8"), "conflicting options"),
        (("--network", "bridge", "--network-alias", "x"), "user defined networks"),
        (("--network", "alias=x"), "network name/id is not specified"),
        (("--network", "name=bridge,colour=red"), "invalid field colour"),
        (("--network", "name=bridge,driver-opt=a=b"), "the option a is not supported"),
        (("--mac-address", "01:00:00:00:00:01"), "not the address of one interface"),
        (("--ip", "fd00::1"), "is not an IPv4 address"),
    ],
)
def test_what_cannot_be_is_refused(host: Host, args: tuple[str, ...], said: str) -> None:
    assert said in host("create", *args, "base", code=125).stderr
    assert host.out("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("bridge",), "predefined bridge network"),
        (("-x",), "unknown"),
        (("--subnet", "10.1.0.1/24", "x"), "not a subnet"),
        (("--subnet", "10.1.0.0/31", "x"), "too small"),
        (("--subnet", "172.17.0.0/24", "x"), "Pool overlaps"),
        (("--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1", "x"), "no matching subnet"),
        (("--subnet", "10.1.0.0/24", "--ip-range", "10.2.0.0/25", "x"), "no matching subnet"),
        (("--subnet", "10.1.0.0/24", "--subnet", "10.2.0.0/24", "x"), "given twice"),
        (("--gateway", "fd00::1", "x"), "add --ipv6"),
        (("--opt", "com.docker.network.bridge.colour=red", "x"), "is not supported"),
        (("--driver", "macvlan", "x"), "is not supported"),
        (("--opt", "com.docker.network.bridge.name=uplink", "x"), "is there already"),
    ],
)
def test_a_network_that_cannot_be_is_refused(host: Host, args: tuple[str, ...], said: str) -> None:
    ran = host("network", "create", *args, code=None)
    assert ran.returncode != 0 and said in ran.stderr
    assert host.out("network", "ls", "-qf", "type=custom") == ""


def test_a_network_in_use_stays(host: Host) -> None:
    # No name is a hexadecimal number: one that is gone may be the start of the id of another.
    host("network", "create", "lan")
    host("network", "create", "other")
    host("create", "--name", "one", "--network", "lan", "base")
    ran = host("network", "rm", "lan", code=1)
    assert "in use by one" in ran.stderr
    assert host.out("network", "prune", "-f") == "Deleted Networks:\nother"
    assert "pre-defined" in host("network", "rm", "bridge", code=1).stderr
    host("rm", "one")
    assert host.out("network", "rm", "lan") == "lan"
    assert "not found" in host("network", "rm", "lan", code=1).stderr
    assert host.out("network", "rm", "-f", "lan") == "lan"


def test_the_bridge_of_a_network_goes_with_it(host: Host) -> None:
    made = host.out("network", "create", "a")
    host.up("one", "--network", "a")
    host.up("keeper")
    host("rm", "-f", "one")
    assert any(name.endswith(f"-{made[:8]}") for name in host.links())
    host("network", "rm", "a")
    assert host.links() == {bridge_of(host), *veths(host)}


def veths(host: Host) -> set[str]:
    return {name for name in host.links() if name.startswith("veth")}


def test_a_bridge_whose_removal_was_killed_goes_with_the_next_command(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = host.out("network", "create", "a")
    host.up("one", "--network", "a")
    host.up("keeper")
    host("rm", "-f", "one")
    monkeypatch.setenv("PYCTR_TRACE", "kill:engine.networks.removed")
    host("network", "rm", "a", code=-9)
    monkeypatch.delenv("PYCTR_TRACE")
    assert any(name.endswith(f"-{made[:8]}") for name in host.links())
    host("ps")
    assert host.links() == {bridge_of(host), *veths(host)}


def test_a_running_container_joins_and_leaves(host: Host) -> None:
    host("network", "create", "a")
    host.up("one", "--network", "a")
    host.up("two")
    assert not host.reaches("two", host.address("one", "a"))
    host("network", "connect", "a", "two")
    assert host.reaches("two", host.address("one", "a")) and host.reaches("two", OUTSIDE)
    assert "already exists in network a" in host("network", "connect", "a", "two", code=1).stderr
    host("network", "disconnect", "bridge", "two")
    assert host.reaches("two", host.address("one", "a")) and host.reaches("two", OUTSIDE)
    assert "eth0" not in host.out("exec", "two", "ip", "link")
    host("restart", "-t", "0", "two")
    assert host.reaches("two", host.address("one", "a"))
    host("network", "disconnect", "a", "two")
    assert "not connected" in host("network", "disconnect", "a", "two", code=1).stderr
    host("restart", "-t", "0", "two")
    assert host.out("exec", "two", "ip", "-o", "link").count("\n") == 0, "lo is left"


def test_a_stopped_container_joins_for_its_next_start(host: Host) -> None:
    host("network", "create", "a")
    host("create", "--name", "one", "base", "sleep", "3600")
    host("network", "connect", "--ip", subnet(host, "a").replace("0.0/16", "0.77"), "a", "one")
    host("start", "one")
    assert host.address("one", "a").endswith(".0.77")
    assert host.address("one", "bridge") == "172.17.0.2"


@pytest.mark.parametrize("mode", ["none", "host"])
def test_who_has_no_network_of_its_own_joins_none(host: Host, mode: str) -> None:
    host("network", "create", "a")
    host("create", "--name", "one", "--network", mode, "base")
    assert "multiple networks" in host("network", "connect", "a", "one", code=1).stderr


def test_a_network_is_shared_with_another_container(host: Host) -> None:
    host.up("one")
    host.up("two", "--network", "container:one")
    assert "172.17.0.2" in host.out("exec", "two", "ip", "addr")


def test_a_restart_by_policy_keeps_the_address(host: Host) -> None:
    host("run", "-d", "--name", "one", "--restart", "always", "base", "sleep", "3600")
    address = host.address("one")
    pid = host.out("inspect", "--format", "{{.State.Pid}}", "one")
    host.sh(f"kill -9 {pid}")
    template = "{{.State.Status}} {{.State.Pid}}"

    def runs_again() -> bool:
        status, now = host.out("inspect", "--format", template, "one").split()
        return status == "running" and now != pid

    eventually(runs_again)
    assert host.address("one") == address and host.reaches("one", OUTSIDE)


def test_the_script_makes_the_same_network_by_hand(host: Host) -> None:
    host("network", "create", "--ipv6", "six")
    tell = "for n in 0 1; do ip addr show eth$n | grep -o 'inet.*/[0-9]*'; done"
    flags = ("--network", "name=six,gw-priority=1", "--network", "bridge")
    text = host.out("create", "--name", "c", *flags, "--explain=sh", "base", "sh", "-c", tell)
    try:
        said = host.sh(f"{text}\n")
        assert said == host("start", "-a", "c").stdout and said.count("inet") == 3
        assert "by hand" in text and "pyctr-" not in host.sh("ip netns")
    finally:
        identity = host.out("inspect", "--format", "{{.Id}}", "c")
        host("rm", "-f", "c")
        cgroups.of(f"/pyctr/{identity}").remove()


def test_events_tell_who_came_and_went(host: Host) -> None:
    made = host.out("network", "create", "a")
    host("run", "--rm", "--name", "one", "--network", "a", "base", "true")
    host("network", "rm", "a")
    said = host.out(
        "events", "--since", "0", "--until", "0s", "--filter", "type=network",
        "--format", "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}",
    )  # fmt: skip
    words = [line.split()[0] for line in said.splitlines() if made in line]
    assert words == ["create", "connect", "disconnect", "destroy"]
