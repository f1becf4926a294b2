"""What -p and --expose say, and what tables say of ports: :mod:`network.ports`."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network import ports
from network.ports import Binding, Publication

numbers = st.integers(1, 65535)
protocols = st.sampled_from(["tcp", "udp"])
v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).map(str).filter(lambda text: text != "::1")


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("80", Publication(80)),
        ("80/udp", Publication(80, "udp")),
        ("80/UDP", Publication(80, "udp")),
        (":80", Publication(80)),
        ("0:80", Publication(80)),
        ("8080:80", Publication(80, "tcp", "", 8080, 8080)),
        ("8000-8010:80", Publication(80, "tcp", "", 8000, 8010)),
        ("127.0.0.1:8080:80", Publication(80, "tcp", "127.0.0.1", 8080, 8080)),
        ("127.0.0.1::80/udp", Publication(80, "udp", "127.0.0.1")),
        ("0.0.0.0:8080:80", Publication(80, "tcp", "0.0.0.0", 8080, 8080)),
        ("[::]:8080:80", Publication(80, "tcp", "::", 8080, 8080)),
        ("[fd00:0:0::7]::80", Publication(80, "tcp", "fd00::7")),
        ("fd00::7:8080:80", Publication(80, "tcp", "fd00::7", 8080, 8080)),
        ("080:080", Publication(80, "tcp", "", 80, 80)),
    ],
)
def test_each_of_dockers_forms_is_understood(text: str, made: Publication) -> None:
    assert ports.parse(text) == (made,)


def test_ranges_become_one_publication_a_port() -> None:
    made = ports.parse("8000-8002:80-82")
    assert [(one.port, one.wanted) for one in made] == [(80, "8000"), (81, "8001"), (82, "8002")]
    assert [(one.port, one.host_first) for one in ports.parse("80-81")] == [(80, 0), (81, 0)]
    assert [one.host_address for one in ports.parse("127.0.0.1::80-81")] == ["127.0.0.1"] * 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no port of the container"),
        ("8080:", "no port of the container"),
        ("/tcp", "no port of the container"),
        ("0", "'0' is not a port"),
        ("8080:0", "'0' is not a port"),
        ("65536", "'65536' is not a port"),
        ("80:65536", "'65536' is not a port"),
        ("eighty", "'eighty' is not a port"),
        ("-1", "'' is not a port"),
        ("80-", "'' is not a port"),
        ("90-80", "ends before it begins"),
        ("8000-8001:80-82", "not as many ports"),
        ("8000:80-82", "not as many ports"),
        ("80/sctp", "sctp cannot be published"),
        ("80/icmp", "'icmp'"),
        ("80/", "''"),
        ("80/tcp/udp", "'tcp/udp'"),
        ("host:80:80", "'host' is not an IP address"),
        ("1.2.3:80:80", "'1.2.3' is not an IP address"),
        ("[1.2.3.4]:80:80", "not an IPv6 address"),
        ("[fe80::1%eth0]:80:80", "not an IP address"),
        ("[::1]:80:80", "use 127.0.0.1"),
        ("٨٠:80", "is not a port"),
        ("8 0", "is not a port"),
    ],
)
def test_what_cannot_be_published_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError) as caught:
        ports.parse(text)
    assert why in str(caught.value)


@given(st.text(max_size=40) | st.text(alphabet="0123456789.:-[]/tcpudsf", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (ports.parse, ports.parse_exposed):
        try:
            made = parse(text)
        except ValueError:
            continue
        assert made


@given(numbers, numbers, protocols, st.none() | v4 | v6)
def test_what_was_written_is_what_is_published(
    host: int, inside: int, protocol: str, address: str | None
) -> None:
    head = "" if address is None else f"[{address}]:" if ":" in address else f"{address}:"
    (made,) = ports.parse(f"{head}{host}:{inside}/{protocol}")
    assert (made.port, made.protocol, made.wanted) == (inside, protocol, str(host))
    if address is None:
        assert made.host_address == ""
    else:
        meant = ipaddress.ip_address(address)
        assert ipaddress.ip_address(made.host_address) == (
            getattr(meant, "ipv4_mapped", None) or meant
        )


@given(st.integers(1, 65000), st.integers(1, 65000), st.integers(0, 500))
def test_ranges_keep_their_order(low: int, inside: int, more: int) -> None:
    made = ports.parse(f"{low}-{low + more}:{inside}-{inside + more}")
    assert [one.port - one.host_first for one in made] == [inside - low] * (more + 1)
    assert [one.port for one in made] == list(range(inside, inside + more + 1))


def test_exposed_ports_may_be_ranges_and_of_any_protocol() -> None:
    assert ports.parse_exposed("80") == ("80/tcp",)
    assert ports.parse_exposed("7000-7002/udp") == ("7000/udp", "7001/udp", "7002/udp")
    assert ports.parse_exposed("9/sctp") == ("9/sctp",)
    for text in ("80:80", "", "80/x", "81-80"):
        with pytest.raises(ValueError):
            ports.parse_exposed(text)
    with pytest.raises(ValueError, match="sctp cannot be published"):
        ports.of_exposed("9/sctp")


# -- what is shown -------------------------------------------------------------------------


def held(*words: str, v6: bool = False) -> tuple[Binding, ...]:
    made = []
    for word in words:
        for one in ports.parse(word):
            on = ports.addresses(one, ports.ANY if v6 else ("0.0.0.0",))
            made.append(one.replace(held=one.host_first or 32768, held_on=" ".join(on)))
    return ports.bindings(made)


@pytest.mark.parametrize(
    ("words", "exposed", "shown"),
    [
        ("8080:80", "", "0.0.0.0:8080->80/tcp"),
        ("80", "", "0.0.0.0:32768->80/tcp"),
        ("127.0.0.1:8080:80/udp", "", "127.0.0.1:8080->80/udp"),
        ("", "80/tcp", "80/tcp"),
        ("", "443/tcp 80/tcp", "80/tcp, 443/tcp"),
        ("", "80/tcp 81/tcp 82/tcp 90/tcp", "80-82/tcp, 90/tcp"),
        ("", "80/tcp 80/udp 81/tcp", "80-81/tcp, 80/udp"),
        ("80:80", "80/tcp 443/tcp", "0.0.0.0:80->80/tcp, 443/tcp"),
        ("80-82:80-82", "", "0.0.0.0:80-82->80-82/tcp"),
        ("8000-8001:80-81", "", "0.0.0.0:8000->80/tcp, 0.0.0.0:8001->81/tcp"),
        ("80:80 8081:81 443:443", "", "0.0.0.0:80->80/tcp, 0.0.0.0:443->443/tcp,"
                                      " 0.0.0.0:8081->81/tcp"),
        ("", "", ""),
    ],
)  # fmt: skip
def test_the_column_is_dockers(words: str, exposed: str, shown: str) -> None:
    assert ports.column(held(*words.split()), exposed.split()) == shown


def test_addresses_of_ipv6_stand_in_brackets() -> None:
    assert ports.column(held("8080:80", v6=True)) == "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
    assert ports.column(held("80-81:80-81", v6=True)) == (
        "0.0.0.0:80-81->80-81/tcp, [::]:80-81->80-81/tcp"
    )
    assert [one.place for one in held("80:80", v6=True)] == ["0.0.0.0:80", "[::]:80"]


def test_only_what_is_held_is_bound() -> None:
    made = ports.parse("8080:80")
    assert ports.bindings(made) == (), "the container does not run"


def test_a_port_is_held_on_addresses_that_lead_to_the_container() -> None:
    everywhere, six = ports.parse("80")[0], ports.parse("[fd00::7]:8080:80")[0]
    assert ports.addresses(everywhere, ports.ANY) == ("0.0.0.0", "::")
    assert ports.addresses(everywhere, ("10.0.0.7",)) == ("10.0.0.7",), "as its network says"
    assert ports.addresses(six, ("0.0.0.0",)) == ()
    assert ports.addresses(six, ports.ANY) == ("fd00::7",)


@given(st.sets(st.tuples(st.integers(1, 30), protocols)), st.sets(st.integers(1, 30)))
def test_the_column_tells_of_every_port_once(
    exposed: set[tuple[int, str]], published: set[int]
) -> None:
    names = [f"{port}/{protocol}" for port, protocol in exposed]
    shown = ports.column(held(*(f"{port}:{port}" for port in published)), names)
    told = []
    for entry in shown.split(", ") if shown else []:
        numbers_, _, protocol = entry.rpartition("->")[2].partition("/")
        first, _, last = numbers_.partition("-")
        told += [(port, protocol) for port in range(int(first), int(last or first) + 1)]
    assert sorted(told) == sorted({*exposed, *((port, "tcp") for port in published)})


def test_filters_say_one_port_or_a_range() -> None:
    assert ports.in_range("80") == ("tcp", 80, 80)
    assert ports.in_range("8000-8010/udp") == ("udp", 8000, 8010)
    with pytest.raises(ValueError):
        ports.in_range("http")
