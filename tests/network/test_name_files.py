"""hosts and resolv.conf of containers that are on networks, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import files
from engine.errors import EngineError
from engine.settings import Settings
from network import resolvers
from network.resolvers import Resolvers
from network.store import Endpoint, Network

DEFAULT = Network("1" * 64, "bridge", 1.0, "pyctr0", subnet="10.1.0.0/24", gateway="10.1.0.1")
BLUE = Network("2" * 64, "blue", 2.0, "pyctr-2", subnet="10.2.0.0/24", gateway="10.2.0.1",
               subnet6="fd02::/64", gateway6="fd02::1")  # fmt: skip
INNER = Network("3" * 64, "inner", 3.0, "pyctr-3", internal=True, subnet="10.3.0.0/24",
                gateway="10.3.0.1")  # fmt: skip
SIX = Network("4" * 64, "six", 4.0, "pyctr-4", subnet6="fd04::/64", gateway6="fd04::1")
HOST = Resolvers(("127.0.0.53", "192.0.2.1", "fe80::1%eth0"), ("a.example",), ("rotate",))


def at(network: Network, position: int = 0, **more: object) -> Endpoint:
    made = Endpoint("a" * 64, network, str(position), position, mac="x")
    made = made.replace(
        address=network.gateway and f"{network.gateway[:-1]}7",
        address6=network.gateway6 and f"{network.gateway6[:-1]}7",
    )
    return made.replace(**more)


def own(**more: object) -> Settings:
    return Settings(("x",)).replace(network="bridge", **more)


def lines_of(settings: Settings, *endpoints: Endpoint, host: Resolvers = HOST) -> list[str]:
    return files.composed(settings, list(endpoints), host).splitlines()


def test_on_the_default_network_the_hosts_resolvers_are_asked_but_not_its_loopback() -> None:
    assert lines_of(own(), at(DEFAULT)) == [
        "nameserver 192.0.2.1", "search a.example", "options rotate",
    ]  # fmt: skip


def test_a_host_with_loopback_resolvers_only_is_asked_through_the_gateway() -> None:
    host = Resolvers(("127.0.0.53", "::1"))
    assert lines_of(own(), at(DEFAULT), host=host) == ["nameserver 10.1.0.1"]
    assert lines_of(own(), at(DEFAULT), host=Resolvers()) == ["nameserver 10.1.0.1"]


def test_on_a_network_of_ones_own_the_gateway_answers_and_dns_is_for_it() -> None:
    settings = own(dns=("192.0.2.9",), dns_search=("b.example", "c.example"))
    assert lines_of(settings, at(DEFAULT), at(BLUE, 1), at(SIX, 2)) == [
        "nameserver 10.2.0.1", "nameserver fd04::1", "search b.example c.example",
        "options rotate ndots:0",
    ]  # fmt: skip
    assert lines_of(own(dns=("192.0.2.9",)), at(DEFAULT))[0] == "nameserver 192.0.2.9"


def test_search_domains_can_be_taken_away_and_ndots_is_what_a_person_says() -> None:
    settings = own(dns_search=(".",), dns_options=("ndots:3", "edns0"))
    assert lines_of(settings, at(BLUE)) == ["nameserver 10.2.0.1", "options ndots:3 edns0"]


def test_hosts_has_a_line_for_each_address_of_the_container() -> None:
    text = files.hosts(own(domainname="example.org"), "web", "", [at(DEFAULT), at(BLUE, 1)])
    assert text.splitlines()[-3:] == [
        f"{address}\tweb.example.org web" for address in ("10.1.0.7", "10.2.0.7", "fd02::7")
    ]
    assert files.hosts(own(), "web", "", []).splitlines()[-1] == "127.0.1.1\tweb"


def test_host_gateway_is_where_the_container_finds_its_host() -> None:
    settings = own(extra_hosts=("gate:host-gateway", "db:10.0.0.9"))

    def gate(*endpoints: Endpoint) -> list[str]:
        lines = files.hosts(settings, "web", "", endpoints).splitlines()
        assert lines[-1] == "10.0.0.9\tdb"
        return [line.split()[0] for line in lines if line.split()[-1] == "gate"]

    assert gate(at(DEFAULT)) == ["10.1.0.1"]
    assert gate(at(INNER), at(DEFAULT, 1), at(BLUE, 2, priority=5)) == ["10.2.0.1", "fd02::1"]
    assert gate(at(INNER)) == ["10.3.0.1"]
    assert gate() == ["127.0.0.1"]  # it shares the host's network


def test_without_a_network_there_is_no_host_gateway() -> None:
    settings = own(extra_hosts=("gate:host-gateway",))
    files.check(settings)
    with pytest.raises(EngineError, match="gate"):
        files.check(settings.replace(network="none"))


@given(st.text(alphabet="nameservr chdoptis0123456789.:%#;\n", max_size=120))
def test_whatever_the_host_has_the_file_can_be_read(text: str) -> None:
    host = resolvers.parse(text)
    for endpoints in ([at(DEFAULT)], [at(BLUE)]):
        made = files.composed(own(), endpoints, host)
        again = resolvers.parse(made)
        assert again.servers and again.servers == again.external
        assert again.search == host.search
