"""The server of names with real packets: bridges and containers in a namespace of its own.

Everything runs in this one thread. The test asks from within the containers' namespaces, turns the
server's loop, and plays the host's resolvers.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import time

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.namespaces import CLONE_NEWNET, setns, unshare
from network import agent, forward, links, listeners, names, packets, resolvers
from network.store import Endpoint, Network
from network.zone import Person, Zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_LONG = 20.0  # seconds that a busy machine may take

WEB, DB, CACHE, SPY = (letter * 64 for letter in "abcd")
BLUE = Network("1" * 64, "blue", 1.0, "br-blue", subnet="10.77.1.0/24", gateway="10.77.1.1",
               subnet6="fd77:1::/64", gateway6="fd77:1::1")  # fmt: skip
RED = Network("2" * 64, "red", 2.0, "br-red", subnet="10.77.2.0/24", gateway="10.77.2.1")
INNER = Network("3" * 64, "inner", 3.0, "br-inner", internal=True, subnet="10.77.3.0/24",
                gateway="10.77.3.1")  # fmt: skip
DEFAULT = Network("4" * 64, "bridge", 4.0, "br-def", subnet="10.77.4.0/24", gateway="10.77.4.1")
PEOPLE = {
    WEB: Person("web"),
    DB: Person("db.main", "Postgres"),
    CACHE: Person("cache"),
    SPY: Person("spy"),
}


def endpoint(who: str, network: Network, last: int, **more: object) -> Endpoint:
    address = f"{network.gateway.rpartition('.')[0]}.{last}"
    made = Endpoint(who, network, f"{who[:4]}{network.id[:4]}", address=address, mac="x")
    if network.subnet6:
        made = made.replace(address6=f"{network.gateway6[:-1]}{last:x}")
    return made.replace(**more)


# -- who knows whom ------------------------------------------------------------------------


def found(zone: Zone, who: str, name: str) -> list[str] | None:
    places = zone.find(who, name)
    return None if places is None else sorted(one.address for one in places)


def test_a_container_is_found_by_name_alias_short_id_and_host_name_in_its_networks_only() -> None:
    zone = Zone(
        [
            endpoint(WEB, BLUE, 2),
            endpoint(DB, BLUE, 3, aliases=("store", "Data")),
            endpoint(SPY, RED, 2),
        ],
        PEOPLE,
    )
    for name in ("db.main", "DB.Main", "store", "data", DB[:12], "postgres", "db.main.blue"):
        assert found(zone, WEB, name) == ["10.77.1.3"], name
        assert found(zone, SPY, name) is None
    assert found(zone, WEB, "web") == ["10.77.1.2"]
    for name in ("db", DB, DB[:11], "spy", "db.main.red", "blue", ".blue", ""):
        assert found(zone, WEB, name) is None, name


def test_a_name_that_several_have_is_all_of_them() -> None:
    zone = Zone(
        [
            endpoint(WEB, BLUE, 2),
            endpoint(DB, BLUE, 3, aliases=("all",)),
            endpoint(CACHE, BLUE, 4, aliases=("all",)),
        ],
        PEOPLE,
    )
    assert found(zone, WEB, "all") == ["10.77.1.3", "10.77.1.4"]


def test_the_network_tells_apart_what_has_one_name_in_two() -> None:
    zone = Zone(
        [
            endpoint(WEB, BLUE, 2),
            endpoint(WEB, RED, 2),
            endpoint(DB, BLUE, 3, aliases=("x",)),
            endpoint(CACHE, RED, 3, aliases=("x",)),
        ],
        PEOPLE,
    )
    assert found(zone, WEB, "x.blue") == ["10.77.1.3"]
    assert found(zone, WEB, "x.RED") == ["10.77.2.3"]
    assert found(zone, WEB, "x") == ["10.77.1.3"]


def test_a_link_is_a_name_for_its_owner_only_and_comes_first() -> None:
    links_ = ((DB, "cache"), (SPY, "spy"))
    zone = Zone(
        [
            endpoint(WEB, BLUE, 2, links=links_),
            endpoint(DB, BLUE, 3),
            endpoint(CACHE, BLUE, 4),
            endpoint(SPY, RED, 5),
        ],
        PEOPLE,
    )
    assert found(zone, WEB, "cache") == ["10.77.1.3"]
    assert found(zone, DB, "cache") == ["10.77.1.4"]
    assert found(zone, WEB, "spy") is None  # linked, but not in this network


def test_the_default_network_has_no_names() -> None:
    zone = Zone([endpoint(WEB, DEFAULT, 2), endpoint(DB, DEFAULT, 3)], PEOPLE)
    assert found(zone, WEB, "db.main") is None
    assert zone.name_at(WEB, "10.77.4.3") is None


def test_an_address_has_a_name_for_those_who_share_its_network() -> None:
    zone = Zone([endpoint(WEB, BLUE, 2), endpoint(DB, BLUE, 3), endpoint(SPY, RED, 2)], PEOPLE)
    assert zone.name_at(WEB, "10.77.1.3") == "db.main.blue"
    assert zone.name_at(WEB, "fd77:1::3") == "db.main.blue"
    assert zone.name_at(WEB, "10.77.1.99") == ""
    assert zone.name_at(WEB, "10.77.2.2") is None
    assert zone.name_at(SPY, "10.77.1.3") is None


def test_what_is_internal_asks_nobody_outside() -> None:
    host = ("192.0.2.53",)
    own = ("192.0.2.1", "10.77.3.9", "fe80::1%eth0")
    people = PEOPLE | {DB: Person("db", servers=own)}
    zone = Zone([endpoint(WEB, INNER, 2), endpoint(DB, INNER, 3)], people)
    assert zone.servers(WEB, host) == ()
    assert zone.servers(DB, host) == ("10.77.3.9",)
    zone = Zone([endpoint(WEB, INNER, 2), endpoint(WEB, RED, 2), endpoint(DB, RED, 3)], people)
    assert zone.servers(WEB, host) == host
    assert zone.servers(DB, host) == own


# -- the host's resolvers ------------------------------------------------------------------


def test_a_resolv_conf_is_read_as_the_c_library_reads_it() -> None:
    text = (
        "# nameserver 9.9.9.9\nnameserver 127.0.0.53 # stub\n nameserver\t192.0.2.1\nnameserver x\n"
        "nameserver ::1\nnameserver fe80::1%eth0\ndomain old.example\nsearch a.example b.example\n"
        "options ndots:2 rotate\n;x\noptions edns0\nnameserver\nsortlist 1.2.3.4\n"
    )
    made = resolvers.parse(text)
    assert made.servers == ("127.0.0.53", "192.0.2.1", "::1")
    assert made.external == ("192.0.2.1",)
    assert made.search == ("a.example", "b.example")
    assert made.options == ("ndots:2", "rotate", "edns0")


@given(st.text(alphabet="nameservr choptis0123456789.:%#;\n\t\x00é", max_size=200))
def test_any_resolv_conf_can_be_read(text: str) -> None:
    made = resolvers.parse(text)
    assert len(made.servers) <= 3 and set(made.external) <= set(made.servers)


def test_the_hosts_resolvers_are_read_again_when_the_file_has_changed(tmp_path: object) -> None:
    path = f"{tmp_path}/resolv.conf"
    watched = resolvers.Watched(path)
    assert watched.servers == ("127.0.0.1",)
    with open(path, "w") as file:
        file.write("nameserver 192.0.2.1\n")
    assert watched.servers == ("192.0.2.1",)
    with open(f"{path}.new", "w") as file:  # as a DHCP client does
        file.write("nameserver 192.0.2.2\n")
    os.rename(f"{path}.new", path)
    assert watched.servers == ("192.0.2.2",)


# -- what a packet can be ------------------------------------------------------------------


def question(name: str, kind: str = "A", **more: object) -> bytes:
    return dns.message.make_query(name, kind, **more).to_wire()  # type: ignore[arg-type]


def refusal(wire: bytes) -> bytes:
    with pytest.raises(packets.Refused) as caught:
        packets.read(wire)
    return caught.value.answer


def test_a_plain_question_is_read_with_and_without_edns() -> None:
    plain = packets.read(question("Web.blue"))
    assert (plain.name, plain.kind, plain.limit) == ("Web.blue", 1, 512)
    more = packets.read(question("web", "AAAA", use_edns=0, payload=1400))
    assert (more.name, more.kind, more.limit) == ("web", 28, 1400)
    assert packets.read(question("web", use_edns=0, payload=60000)).limit == 4096
    assert packets.read(question("3.1.77.10.in-addr.arpa", "PTR")).address == "10.77.1.3"
    for name in ("in-addr.arpa", "x.1.77.10.in-addr.arpa", "300.1.1.1.in-addr.arpa", "web"):
        assert packets.read(question(name, "PTR")).address == ""
    assert packets.read(question(".")).name == ""
    assert packets.read(question("a\\.b")).name == ""  # one label with a dot in it


def test_what_is_no_question_is_refused_without_a_look_at_it() -> None:
    wire = question("web")
    assert refusal(wire[:11]) == b""
    assert refusal(wire[:2] + b"\x84\x00" + wire[4:]) == b""  # an answer

    def code(changed: bytes) -> dns.rcode.Rcode:
        answer = refusal(changed)
        assert answer[:2] == changed[:2] and answer[2] & 0x80
        return dns.message.from_wire(answer).rcode()

    formerr = dns.rcode.FORMERR
    assert code(wire[:2] + b"\x29\x00" + wire[4:]) == dns.rcode.NOTIMP  # an update
    assert code(wire[:4] + b"\0\2" + wire[6:]) == formerr  # two questions
    assert code(wire[:4] + b"\0\0" + wire[6:12]) == formerr
    assert code(wire + b"x") == formerr
    assert code(wire[:-1]) == formerr
    assert code(wire[:12] + b"\xc0\x0c\0\1\0\1") == formerr  # points to itself
    assert code(wire[:12] + b"\xc0\x00\0\1\0\1") == formerr
    assert code(wire + b"\0" * 1300) == formerr
    record = b"\0\0\1\0\1\0\0\0\0\0\4abcd"
    assert code(wire[:10] + b"\0\1" + wire[12:] + record) == formerr  # an address as an addition
    assert code(question("web", "AXFR")) == dns.rcode.REFUSED
    assert code(question("version.bind", "TXT", rdclass="CH")) == dns.rcode.REFUSED
    assert code(question("web", use_edns=1)) == dns.rcode.BADVERS


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_garbage_never_raises_anything_but_a_refusal(wire: bytes) -> None:
    try:
        packets.read(wire)
    except packets.Refused:
        return


@settings(max_examples=300)
@given(
    st.sampled_from([question("web.blue", use_edns=0), question("1.1.77.10.in-addr.arpa", "PTR")]),
    st.lists(st.tuples(st.integers(2, 60), st.integers(0, 255)), max_size=6),
    st.integers(0, 60),
)
def test_a_damaged_question_has_an_answer_or_a_refusal(
    wire: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    changed = bytearray(wire)
    for at, value in changes:
        if at < len(changed):
            changed[at] = value
    try:
        query = packets.read(bytes(changed[: len(changed) - cut]))
    except packets.Refused as refused:
        said = refused.answer
    else:
        said = packets.failed(query, 0)
        _check_answers(query)
    assert not said or dns.message.from_wire(said).flags & dns.flags.QR


def _check_answers(query: packets.Query) -> None:
    assert len(query.name) < 256 and query.limit >= 512
    for answer in (
        packets.addresses(query, ["10.0.0.1", "fd00::1"]),
        packets.pointer(query, query.address or "x" * 64),
        packets.failed(query, 2),
        packets.truncated(query),
    ):
        made = dns.message.from_wire(answer)
        assert made.id == query.number and made.question == query.message.question


@given(st.binary(max_size=100), st.integers(0, 65535))
def test_whatever_a_resolver_sends_is_judged(wire: bytes, number: int) -> None:
    query = packets.read(question("example.org"))
    if packets.is_answer(query, number, wire):
        assert wire[:2] == number.to_bytes(2)
        packets.is_worth_another(wire)


# -- a host with networks ------------------------------------------------------------------


class World:
    """A host with bridges in a namespace of its own, a server of names, and resolvers."""

    def __init__(self, own: int, resolv_conf: str) -> None:
        self.own = own
        self.netlink = links.Netlink()
        self.selector = selectors.DefaultSelector()
        self.endpoints: list[Endpoint] = []
        self.people = dict(PEOPLE)
        self.inside: dict[str, links.Namespace] = {}
        self.open: list[socket.socket] = []
        self.resolv_conf = resolv_conf
        self.resolvers("127.0.0.1")
        self.server = names.Server(
            self.selector,
            lambda: Zone(self.endpoints, self.people),
            resolvers.Watched(resolv_conf),
        )

    def resolvers(self, *servers: str) -> None:
        with open(self.resolv_conf, "w") as file:
            file.writelines(f"nameserver {one}\n" for one in servers)

    def network(self, network: Network) -> None:
        links.ensure_bridge(self.netlink, network, 1500, "pyctr test")
        self.server.serve(network)

    def put(self, *endpoints: Endpoint) -> None:
        """Containers with those endpoints; a new one gets a namespace."""
        for position, one in enumerate(endpoints):
            if one.container_id not in self.inside:
                self.inside[one.container_id] = links.Namespace(self.own)
                links.raise_loopback(self.inside[one.container_id])
            numbered = one.replace(position=position, mac=f"02:{os.urandom(5).hex(':')}")
            bridge = links.index(one.network.bridge)
            links.plug(
                self.netlink, self.inside[one.container_id], bridge, numbered, 1500, hairpin=False
            )
            self.endpoints.append(numbered)

    def remove(self, container_id: str) -> None:
        self.endpoints = [one for one in self.endpoints if one.container_id != container_id]
        inside = self.inside.pop(container_id)
        inside.close()
        os.close(inside.fd)

    def socket_in(
        self, container_id: str, kind: int, family: int = socket.AF_INET
    ) -> socket.socket:
        setns(self.inside[container_id].fd, CLONE_NEWNET)
        try:
            made = socket.socket(family, kind)
        finally:
            setns(self.own, CLONE_NEWNET)
        made.setblocking(False)
        self.open.append(made)
        return made

    def turn(self) -> None:
        for key, _ in self.selector.select(0.02):
            key.data()
        self.server.expire()

    def until(self, said: Callable[[], bytes | None]) -> bytes:
        deadline = time.monotonic() + _LONG
        while time.monotonic() < deadline:
            self.turn()
            try:
                answer = said()
            except BlockingIOError:
                continue
            if answer is not None:
                return answer
        raise AssertionError("no answer came")

    def udp(self, container_id: str, wire: bytes, gateway: str) -> dns.message.Message:
        family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
        one = self.socket_in(container_id, socket.SOCK_DGRAM, family)
        one.connect((gateway, 53))
        one.send(wire)
        answer = dns.message.from_wire(self.until(lambda: one.recv(65535)))
        assert answer.id == int.from_bytes(wire[:2])
        return answer

    def connection(self, container_id: str, gateway: str) -> socket.socket:
        one = self.socket_in(container_id, socket.SOCK_STREAM)
        one.connect_ex((gateway, 53))
        return one

    def tcp(self, one: socket.socket, *wires: bytes) -> list[dns.message.Message]:
        """The answers to several questions over one connection, in the order they came."""
        out = b"".join(len(wire).to_bytes(2) + wire for wire in wires)
        self.until(lambda: b"sent" if one.send(out) else None)
        content = b""
        made: list[dns.message.Message] = []

        def said() -> bytes | None:
            nonlocal content
            chunk = one.recv(65535)
            assert chunk, "the connection was closed"
            content += chunk
            while len(content) > 2 and len(content) >= 2 + int.from_bytes(content[:2]):
                end = 2 + int.from_bytes(content[:2])
                made.append(dns.message.from_wire(content[2:end]))
                content = content[end:]
            return b"all" if len(made) == len(wires) else None

        self.until(said)
        return made

    def resolver(self, address: str, answer: Callable[[bytes], list[bytes]]) -> list[bytes]:
        """A resolver of the host, over UDP and TCP; the list gets all questions that came."""
        asked: list[bytes] = []
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((address, 53))
        tcp = socket.create_server((address, 53))
        self.open += [udp, tcp]

        def packet() -> None:
            wire, source = udp.recvfrom(65535)
            asked.append(wire)
            for one in answer(wire):
                udp.sendto(one, source)

        def accept() -> None:
            made, _ = tcp.accept()
            self.open.append(made)

            def message() -> None:
                wire = made.recv(65535)[2:]
                if not wire:
                    self.selector.unregister(made)
                    return
                asked.append(b"tcp" + wire)
                for one in answer(wire):
                    made.send(len(one).to_bytes(2) + one)

            self.selector.register(made, selectors.EVENT_READ, message)

        self.selector.register(udp, selectors.EVENT_READ, packet)
        self.selector.register(tcp, selectors.EVENT_READ, accept)
        return asked

    def close(self) -> None:
        self.server.keep(())
        for one in self.open:
            one.close()
        for container_id in list(self.inside):
            self.remove(container_id)
        self.netlink.close()


@pytest.fixture
def world(tmp_path: object) -> Iterator[World]:
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNET)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    made = None
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=60)
        made = World(own, f"{tmp_path}/resolv.conf")
        yield made
    finally:
        if made is not None:
            made.close()
        setns(before, CLONE_NEWNET)
        os.close(own)
        os.close(before)


def replied(wire: bytes, *words: str, kind: str = "A", code: int = 0, tc: bool = False) -> bytes:
    """What a resolver says to a question."""
    query = dns.message.from_wire(wire)
    made = dns.message.make_response(query, True)
    made.set_rcode(dns.rcode.Rcode(code))
    if words:
        made.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", kind, *words))
    if tc:
        made.flags |= dns.flags.TC
    return made.to_wire()


def told(answer: dns.message.Message) -> list[str]:
    assert answer.rcode() == dns.rcode.NOERROR
    return sorted(str(item) for one in answer.answer for item in one)


def test_containers_find_each_other_over_udp_and_tcp(world: World) -> None:
    asked = world.resolver("127.0.0.1", lambda wire: [replied(wire, code=3)])
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    world.put(endpoint(DB, BLUE, 3, aliases=("store",)))
    for name in ("db.main", "STORE.", DB[:12], "postgres", "store.blue"):
        assert told(world.udp(WEB, question(name), "10.77.1.1")) == ["10.77.1.3"]
    assert told(world.udp(WEB, question("store", "AAAA"), "10.77.1.1")) == ["fd77:1::3"]
    assert told(world.udp(WEB, question("store", "MX"), "10.77.1.1")) == []
    reverse = question("3.1.77.10.in-addr.arpa", "PTR")
    assert told(world.udp(WEB, reverse, "10.77.1.1")) == ["db.main.blue."]
    nobody = world.udp(WEB, question("9.1.77.10.in-addr.arpa", "PTR"), "10.77.1.1")
    assert nobody.rcode() == dns.rcode.NXDOMAIN
    connection = world.connection(DB, "10.77.1.1")
    answers = world.tcp(connection, question("web"), question("web", "AAAA"), question("store"))
    assert [told(one) for one in answers] == [["10.77.1.2"], ["fd77:1::2"], ["10.77.1.3"]]
    assert all(one.flags & dns.flags.AA for one in answers)
    assert asked == []


def test_a_network_of_ipv6_alone_has_names_as_well(world: World) -> None:
    six = BLUE.replace(subnet="", gateway="")
    world.network(six)
    world.put(endpoint(WEB, BLUE, 2).replace(network=six, address=""))
    assert told(world.udp(WEB, question("web", "AAAA"), "fd77:1::1")) == ["fd77:1::2"]


def test_a_name_has_the_new_address_after_a_restart(world: World) -> None:
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    world.put(endpoint(DB, BLUE, 3))
    assert told(world.udp(WEB, question("db.main"), "10.77.1.1")) == ["10.77.1.3"]
    world.remove(DB)
    world.resolver("127.0.0.1", lambda wire: [replied(wire, code=3)])
    gone = world.udp(WEB, question("db.main"), "10.77.1.1")
    assert gone.rcode() == dns.rcode.NXDOMAIN
    world.put(endpoint(DB, BLUE, 9))
    assert told(world.udp(WEB, question("db.main"), "10.77.1.1")) == ["10.77.1.9"]


def test_nobody_asks_through_a_network_that_is_not_its_own(world: World) -> None:
    world.network(BLUE)
    world.network(RED)
    world.put(endpoint(WEB, BLUE, 2))
    world.put(endpoint(SPY, RED, 2))
    links.route(world.inside[SPY], world.endpoints[-1:])
    stranger = world.socket_in(SPY, socket.SOCK_DGRAM)
    stranger.connect(("10.77.1.1", 53))  # the gateway of the other network is this host's as well
    stranger.send(question("web"))
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    world.open.append(here)
    here.connect(("10.77.1.1", 53))
    here.send(question("web"))
    # Both came before this one, which has its answer.
    assert told(world.udp(WEB, question("web"), "10.77.1.1")) == ["10.77.1.2"]
    for one in (stranger, here):
        one.setblocking(False)
        with pytest.raises(OSError):
            one.recv(512)


def test_everything_else_goes_to_the_hosts_resolvers_under_random_ids_and_ports(
    world: World,
) -> None:
    asked = world.resolver("127.0.0.1", lambda wire: [replied(wire, "192.0.2.80")])
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    wire = question("example.org")
    assert all(told(world.udp(WEB, wire, "10.77.1.1")) == ["192.0.2.80"] for _ in range(6))
    assert {one[2:] for one in asked} == {wire[2:]} and len({one[:2] for one in asked}) > 3
    connection = world.connection(WEB, "10.77.1.1")
    (answer,) = world.tcp(connection, question("example.net"))
    assert told(answer) == ["192.0.2.80"] and asked[-1].startswith(b"tcp")


def test_resolvers_that_changed_on_the_host_are_asked_from_then_on(world: World) -> None:
    world.resolver("127.0.0.1", lambda wire: [replied(wire, "192.0.2.1")])
    world.resolver("127.0.0.2", lambda wire: [replied(wire, "192.0.2.2")])
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    assert told(world.udp(WEB, question("example.org"), "10.77.1.1")) == ["192.0.2.1"]
    world.resolvers("127.0.0.2", "127.0.0.1")
    assert told(world.udp(WEB, question("example.org"), "10.77.1.1")) == ["192.0.2.2"]


def test_a_container_has_resolvers_of_its_own(world: World) -> None:
    asked = world.resolver("127.0.0.1", lambda wire: [replied(wire, "192.0.2.1")])
    world.resolver("127.0.0.7", lambda wire: [replied(wire, "192.0.2.7")])
    world.people[WEB] = Person("web", servers=("127.0.0.7",))
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    assert told(world.udp(WEB, question("example.org"), "10.77.1.1")) == ["192.0.2.7"]
    assert asked == []


def test_an_internal_network_asks_nobody(world: World) -> None:
    asked = world.resolver("127.0.0.1", lambda wire: [replied(wire, "192.0.2.1")])
    world.network(INNER)
    world.put(endpoint(WEB, INNER, 2))
    answer = world.udp(WEB, question("example.org"), "10.77.3.1")
    assert answer.rcode() == dns.rcode.NXDOMAIN and asked == []
    assert told(world.udp(WEB, question("web"), "10.77.3.1")) == ["10.77.3.2"]


def test_a_resolver_that_cannot_help_or_is_not_there_makes_way_for_the_next(world: World) -> None:
    world.resolvers("127.0.0.9", "127.0.0.1", "127.0.0.2")  # nobody listens at the first
    world.resolver("127.0.0.1", lambda wire: [replied(wire, code=2)])
    good = world.resolver("127.0.0.2", lambda wire: [replied(wire, "192.0.2.2")])
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    assert told(world.udp(WEB, question("example.org"), "10.77.1.1")) == ["192.0.2.2"]
    assert len(good) == 1
    (answer,) = world.tcp(world.connection(WEB, "10.77.1.1"), question("example.org"))
    assert told(answer) == ["192.0.2.2"]
    world.resolvers("127.0.0.1")  # what it says is better than nothing, and said once
    answer = world.udp(WEB, question("example.org"), "10.77.1.1")
    assert answer.rcode() == dns.rcode.SERVFAIL


def test_silence_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "_PATIENCE", 0.1)
    monkeypatch.setattr(forward, "_TCP_PATIENCE", 0.1)
    asked = world.resolver("127.0.0.1", lambda _wire: [])
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    assert world.server.patience() == float("inf")
    answer = world.udp(WEB, question("example.org"), "10.77.1.1")
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert len(asked) == 3 and len({one[:2] for one in asked}) > 1
    connection = world.connection(WEB, "10.77.1.1")
    (answer,) = world.tcp(connection, question("example.org"))
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert 0 < world.server.patience() <= 10


def test_only_the_answer_to_the_question_counts(world: World) -> None:
    def forged(wire: bytes) -> list[bytes]:
        other = (int.from_bytes(wire[:2]) ^ 1).to_bytes(2)
        good = replied(wire, "192.0.2.1")
        return [
            b"", b"x", other + good[2:], wire, good[:12] + b"\7badname" + good[20:],
            replied(wire[:2] + question("example.com")[2:], "192.0.2.66"), good,
        ]  # fmt: skip

    world.resolver("127.0.0.1", forged)
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    assert told(world.udp(WEB, question("example.org"), "10.77.1.1")) == ["192.0.2.1"]


def test_what_is_too_long_for_a_packet_comes_over_tcp(world: World) -> None:
    many = [f"192.0.2.{n}" for n in range(1, 101)]
    world.resolver("127.0.0.1", lambda wire: [replied(wire, *many)])
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    crowd = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(60)]
    for number, word in enumerate(crowd):
        one = endpoint(f"e{word}".ljust(64, "0"), BLUE, 100 + number, aliases=("crowd",))
        world.endpoints.append(one)
    for name, count in (("example.org", 100), ("crowd", 60)):
        answer = world.udp(WEB, question(name), "10.77.1.1")
        assert answer.flags & dns.flags.TC and not answer.answer
        more = world.udp(WEB, question(name, use_edns=0, payload=4096), "10.77.1.1")
        assert len(told(more)) == count
        (answer,) = world.tcp(world.connection(WEB, "10.77.1.1"), question(name))
        assert len(told(answer)) == count


def test_what_a_resolver_cuts_short_is_asked_for_over_tcp_by_the_container(world: World) -> None:
    world.resolver(
        "127.0.0.1",
        lambda wire: [replied(wire, "192.0.2.1", tc=True)],
    )
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    answer = world.udp(WEB, question("example.org"), "10.77.1.1")
    assert answer.flags & dns.flags.TC


def test_one_container_cannot_have_more_under_way_than_its_share(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "_PATIENCE", 600.0)
    asked = world.resolver("127.0.0.1", lambda _wire: [])
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    world.put(endpoint(DB, BLUE, 3))
    flood = world.socket_in(WEB, socket.SOCK_DGRAM)
    flood.connect(("10.77.1.1", 53))
    same = question("again.example.org")
    for number in range(names.MOST + 5):
        flood.send(question(f"n{number}.example.org"))
        flood.send(same)
        world.turn()

    answer = dns.message.from_wire(world.until(lambda: flood.recv(512)))
    assert answer.rcode() == dns.rcode.SERVFAIL
    world.until(lambda: b"all" if len(asked) >= names.MOST else None)
    for _ in range(5):
        world.turn()
    assert len({packets.read(one).name for one in asked}) == len(asked) == names.MOST
    # The other one is served as if nothing had happened.
    assert told(world.udp(DB, question("web"), "10.77.1.1")) == ["10.77.1.2"]
    good = world.resolver("127.0.0.5", lambda wire: [replied(wire, "192.0.2.5")])
    world.people[DB] = Person("db", servers=("127.0.0.5",))
    assert told(world.udp(DB, question("example.org"), "10.77.1.1")) == ["192.0.2.5"] and good


def test_one_container_has_few_connections_and_each_ends_when_it_is_idle(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    world.put(endpoint(DB, BLUE, 3))
    own = [world.connection(WEB, "10.77.1.1") for _ in range(listeners.CONNECTIONS)]
    for one in own:
        world.tcp(one, question("web"))
    more = world.connection(WEB, "10.77.1.1")
    assert world.until(lambda: more.recv(10) or b"closed") == b"closed"
    world.tcp(world.connection(DB, "10.77.1.1"), question("web"))
    monkeypatch.setattr(listeners, "_IDLE", 0.0)
    world.tcp(own[0], question("web"))
    assert world.until(lambda: own[0].recv(10) or b"closed") == b"closed"
    own[1].send(b"\xff\xffx")  # longer than any question
    assert world.until(lambda: own[1].recv(10) or b"closed") == b"closed"


def test_whoever_takes_no_answers_is_cut_off_and_holds_up_nobody(world: World) -> None:
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    world.put(endpoint(DB, BLUE, 3))
    for number in range(100):
        one = endpoint(f"f{number}".ljust(64, "0"), BLUE, 100 + number, aliases=("crowd",))
        world.endpoints.append(one)
    lazy = world.connection(WEB, "10.77.1.1")
    wire = question("crowd")
    message = len(wire).to_bytes(2) + wire
    cut = False
    deadline = time.monotonic() + _LONG
    while not cut and time.monotonic() < deadline:
        try:
            lazy.send(message * 20)
        except BlockingIOError:
            pass
        except ConnectionError:
            cut = True
        world.turn()
    assert cut
    assert told(world.udp(DB, question("web"), "10.77.1.1")) == ["10.77.1.2"]


def test_garbage_and_mistakes_do_not_stop_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    one = world.socket_in(WEB, socket.SOCK_DGRAM)
    one.connect(("10.77.1.1", 53))
    for size in (0, 1, 5, 11, 12, 17, 100, 512, 1232, 1233, 1400):
        one.send(os.urandom(size))
    one.send(os.urandom(20000))
    assert told(world.udp(WEB, question("web"), "10.77.1.1")) == ["10.77.1.2"]
    with monkeypatch.context() as broken:
        broken.setattr(names, "_known", lambda *_: 1 // 0)
        for _ in range(names.COMPLAINTS + 5):
            one.send(question("web"))
            world.turn()
    assert told(world.udp(WEB, question("web"), "10.77.1.1")) == ["10.77.1.2"]
    assert capsys.readouterr().err.count("ZeroDivisionError") == names.COMPLAINTS


def test_where_the_port_is_taken_another_one_is_found(world: World) -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        other = socket.socket(socket.AF_INET, kind)
        other.bind(("0.0.0.0", 53))
        world.open.append(other)
    world.network(BLUE)
    found = world.server.redirects
    assert [one[:3] for one in found] == [
        ("br-blue", "10.77.1.1", "udp"), ("br-blue", "10.77.1.1", "tcp"),
    ]  # fmt: skip
    assert all(port not in (0, 53) for *_, port in found)


def test_the_port_is_left_to_somebody_who_wants_it(world: World) -> None:
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    wanted = ("0.0.0.0", 53)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError):
            other.bind(wanted)
        assert world.server.redirects == []
        world.server.vacate()
        other.bind(wanted)
    assert len(world.server.redirects) == 2
    one = world.socket_in(WEB, socket.SOCK_DGRAM)
    one.connect(("10.77.1.1", world.server.redirects[0][3]))
    one.send(question("web"))
    assert told(dns.message.from_wire(world.until(lambda: one.recv(512)))) == ["10.77.1.2"]
    world.network(RED)  # nor is it taken in a network that comes later
    assert len(world.server.redirects) == 4


def test_a_bridge_that_was_made_anew_is_served_again(world: World) -> None:
    world.network(BLUE)
    world.network(BLUE)
    links.remove(world.netlink, BLUE.bridge)
    world.network(BLUE)
    world.put(endpoint(WEB, BLUE, 2))
    assert told(world.udp(WEB, question("web"), "10.77.1.1")) == ["10.77.1.2"]
    assert world.server.is_serving
    world.server.keep([RED.id])
    assert not world.server.is_serving
    assert world.server.patience() == float("inf")
    world.server.expire()


def test_the_agent_stays_as_long_as_there_are_containers_that_may_ask(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "IDLE", 0.0)

    class Live:
        def live(self) -> list[Endpoint]:
            return world.endpoints

    listener = socket.socket(socket.AF_UNIX)
    world.open.append(listener)
    store: Any = Live
    one = agent.Agent(
        listener, "/nowhere", "pyctr-test", store, lambda: Zone(world.endpoints, PEOPLE)
    )
    assert one._is_idle()
    links.ensure_bridge(world.netlink, BLUE, 1500, "pyctr test")
    world.put(endpoint(WEB, BLUE, 2))
    one._serve_names(store(), [BLUE])
    assert not one._is_idle()
    left = world.endpoints
    world.remove(WEB)
    world.endpoints = left  # as a monitor leaves it that was killed
    deadline = time.monotonic() + _LONG
    while not one._is_idle():  # the kernel takes an interface away in its own time
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not one._names.is_serving
