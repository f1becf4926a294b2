"""Addresses as numbers: nothing overlaps, nothing is given twice."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network import subnets
from network.subnets import Subnet

BLOCKS = st.one_of(
    st.builds(
        lambda number, bits: Subnet(number >> (32 - bits) << (32 - bits), bits, 32),
        st.integers(0, 2**32 - 1), st.integers(1, 32),
    ),
    st.builds(
        lambda number, bits: Subnet(number >> (128 - bits) << (128 - bits), bits, 128),
        st.integers(0, 2**128 - 1), st.integers(1, 128),
    ),
)  # fmt: skip


@given(BLOCKS)
def test_a_subnet_reads_as_it_is_written(block: Subnet) -> None:
    assert subnets.parse(str(block)) == block
    same = ipaddress.ip_network(str(block))
    assert (int(same.network_address), same.prefixlen) == (block.number, block.bits)


@given(BLOCKS, BLOCKS)
def test_subnets_overlap_where_the_standard_library_says_so(one: Subnet, other: Subnet) -> None:
    if one.width == other.width:
        mine, theirs = ipaddress.ip_network(str(one)), ipaddress.ip_network(str(other))
        assert one.overlaps(other) == mine.overlaps(theirs)
    else:
        assert not one.overlaps(other)


@given(st.text(alphabet="0123456789abcdef.:/", max_size=24))
def test_no_word_is_taken_for_another_address(word: str) -> None:
    try:
        expected = ipaddress.ip_address(word)
    except ValueError:
        expected = None
    try:
        found = subnets.number(word)
    except ValueError:
        assert expected is None
    else:
        assert expected is not None and int(expected) == found


@given(st.integers(24, 30), st.sets(st.integers(0, 255)))
def test_the_next_address_is_the_lowest_that_nobody_has(bits: int, offsets: set[int]) -> None:
    block = Subnet(10 << 24, bits, 32)
    taken = {block.number + offset for offset in offsets if block.number + offset in block}
    free = set(range(block.usable[0], block.usable[1] + 1)) - taken
    assert subnets.lowest_free(block, None, taken) == (min(free) if free else -1)


@given(st.sets(st.integers(0, 254), max_size=254))
def test_a_chosen_subnet_collides_with_nothing(numbers: set[int]) -> None:
    taken = [subnets.parse(f"10.0.{number}.0/24") for number in numbers]
    found = subnets.choose(["10.0.0.0/16:24"], taken)
    assert found is not None, "one of 256 is free"
    assert not any(found.overlaps(other) for other in taken)


def test_a_route_to_a_larger_network_excludes_all_in_it() -> None:
    assert subnets.choose(["10.0.0.0/8:24"], [subnets.parse("10.0.0.0/8")]) is None
    found = subnets.choose(subnets.POOLS, [subnets.parse("172.16.0.0/12")])
    assert str(found) == "192.168.0.0/20"


def test_docker_s_pools_begin_where_docker_s_begin() -> None:
    assert str(subnets.choose(subnets.POOLS, [])) == "172.17.0.0/16"
    last = [str(one) for one in subnets.pool(subnets.POOLS[0]).subnets()][-1]
    assert last == "172.31.0.0/16"


@pytest.mark.parametrize(
    "word",
    [
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/16:8",
        "10.0.0.0/16:",
        "10.0.0.1/16:24",
        "x/8:16",
        "10.0.0.0/24:31",
        "fd00::/64:129",
    ],
)
def test_what_is_no_pool_is_refused(word: str) -> None:  # fmt: skip
    with pytest.raises(ValueError):
        subnets.pool(word)


def test_routes_of_the_host_are_read_as_the_kernel_writes_them() -> None:
    v4 = (
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert [str(one) for one in subnets.routes(v4)] == ["198.51.100.0/24"]
    zero = "0" * 32
    v6 = "".join(
        f"{destination} {bits} {zero} 00 {zero} 00000100 00000001 00000000 00000001 eth0\n"
        for destination, bits in (
            ("fd00" + "0" * 28, "40"), ("fe80" + "0" * 28, "40"), (zero, "00"),
            ("ff00" + "0" * 28, "08"),
        )
    )  # fmt: skip
    assert [str(one) for one in subnets.routes6(v6)] == ["fd00::/64"]
