"""Limits that contradict each other are refused; what a host cannot do is told and left out."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import limits
from engine.errors import EngineError
from engine.settings import Settings, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Host:
    """A control group of a host that can do all but some things."""

    def __init__(self, *lacks: str, cpus: str = "0-1,4", mems: str = "0") -> None:
        self._lacks = lacks
        self._available = (cpus, mems)

    def lacking(self, resources: dict[str, Any]) -> dict[str, str]:
        keys = {f"{name}.{key}" for name, section in resources.items() for key in section}
        return {key: f"file.of.{key}" for key in keys if key.startswith(self._lacks or ("-",))}

    def available(self) -> tuple[str, str]:
        return self._available


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a host in the place of this one."""

    def put(*lacks: str, **more: str) -> None:
        monkeypatch.setattr("runtime.cgroups.of", lambda _path: Host(*lacks, **more))

    put()
    return put


def checked(**given: Any) -> tuple[Settings, list[str]]:
    said: list[str] = []
    return limits.checked(Settings(("true",), **given), said.append), said


M = 1 << 20


def test_memory_brings_as_much_swap(host: Any) -> None:
    assert checked(memory=64 * M)[0].memory_swap == 128 * M
    assert checked(memory=64 * M, memory_swap=64 * M)[0].memory_swap == 64 * M
    assert checked(memory=64 * M, memory_swap=-1)[0].memory_swap == -1
    assert limits.resources(checked()[0]) == {}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"memory_swap": M}, "no memory limit"),
        ({"memory": 64 * M, "memory_swap": 63 * M}, "below the memory limit"),
        ({"memory": 64 * M, "memory_reservation": 65 * M}, "above the memory limit"),
        ({"nano_cpus": 10**9, "cpu_quota": 5000}, "contradict"),
        ({"nano_cpus": 10**9, "cpu_period": 5000}, "contradict"),
        ({"cpuset_cpus": "0-2"}, "requested 0-2, available 0-1,4"),
        ({"cpuset_cpus": "4,5"}, "requested 4,5, available 0-1,4"),
        ({"cpuset_cpus": "0-99999"}, "requested CPUs"),
        ({"cpuset_mems": "1"}, "requested memory nodes"),
    ],
)
def test_contradictions_are_refused(host: Any, given: dict[str, Any], why: str) -> None:
    with pytest.raises(EngineError, match=why):
        checked(**given)


def test_cpus_that_are_there_are_taken(host: Any) -> None:
    settings, said = checked(cpuset_cpus="0-1,4,1", cpuset_mems="0", cpu_quota=-1)
    assert limits.resources(settings)["cpu"] == {"cpus": "0-1,4,1", "mems": "0", "quota": -1}
    assert said == []
    host(cpus="", mems="")
    assert checked(cpuset_cpus="7")[0].cpuset_cpus == "7", "nobody knows better"


def test_cpus_are_a_quota_of_a_period(host: Any) -> None:
    settings, _ = checked(nano_cpus=1_500_000_000, cpu_shares=5)
    assert limits.resources(settings)["cpu"] == {"quota": 150000, "period": 100000, "shares": 5}


ALL: dict[str, dict[str, Any]] = {
    "memory.reservation": {"memory_reservation": 10 * M},
    "memory.disableOOMKiller": {"oom_kill_disable": True, "memory": 64 * M},
    "cpu.shares": {"cpu_shares": 5},
    "cpu.period": {"cpu_period": 5000},
    "cpu.quota": {"cpu_quota": 5000},
    "cpu.cpus": {"cpuset_cpus": "0"},
    "cpu.mems": {"cpuset_mems": "0"},
    "pids.limit": {"pids_limit": 5},
    "blockIO.weight": {"blkio_weight": 50},
    "blockIO.weightDevice": {"blkio_weight_device": (("/dev/sda", 50),)},
    "blockIO.throttleReadBpsDevice": {"device_read_bps": (("/dev/sda", 50),)},
    "blockIO.throttleWriteBpsDevice": {"device_write_bps": (("/dev/sda", 50),)},
    "blockIO.throttleReadIOPSDevice": {"device_read_iops": (("/dev/sda", 50),)},
    "blockIO.throttleWriteIOPSDevice": {"device_write_iops": (("/dev/sda", 50),)},
}


@pytest.mark.parametrize("key", ALL)
def test_what_the_host_lacks_is_told_and_left_out(host: Any, key: str) -> None:
    given = ALL[key]
    assert checked(**given)[1] == []
    host(key)
    settings, (said,) = checked(**given)
    assert f"no file.of.{key} " in said and "left out" in said
    section, _, name = key.partition(".")
    left = limits.resources(settings, lambda _path: (0, 0))
    assert name not in left.get(section, {})


def test_without_swap_accounting_memory_is_limited_alone(host: Any) -> None:
    host("memory.swap")
    settings, (said,) = checked(memory=64 * M)
    assert (settings.memory, settings.memory_swap) == (64 * M, -1)
    assert "a limit of swap" in said
    host("memory")
    settings, (said,) = checked(memory=64 * M)
    assert (settings.memory, settings.memory_swap) == (0, 0)
    assert "a memory limit" in said


def test_what_would_be_more_than_asked_for_is_refused(host: Any) -> None:
    host("memory.swappiness")
    with pytest.raises(EngineError, match="swappiness cannot be set"):
        checked(memory_swappiness=0)
    host("cpu.quota")
    with pytest.raises(EngineError, match="number of CPUs cannot be limited"):
        checked(nano_cpus=10**9)


def test_no_oom_killer_and_no_limit_is_warned_of(host: Any) -> None:
    assert "whole host" in checked(oom_kill_disable=True)[1][0]
    assert checked(oom_kill_disable=True, memory=64 * M)[1] == []


def test_block_devices_are_looked_up_by_their_paths(loop_device: str) -> None:
    number = os.stat(loop_device).st_rdev
    settings = Settings(("true",), device_read_bps=((loop_device, 5),))
    assert limits.resources(settings)["blockIO"] == {
        "throttleReadBpsDevice": [{"major": os.major(number), "minor": os.minor(number), "rate": 5}]
    }
    for path, why in (("/dev/null", "no block device"), ("/dev/no-such", "no such file")):
        with pytest.raises(EngineError, match=why):
            limits.device_numbers(path)


def test_a_partition_has_no_limit_of_its_own(loop_device: str) -> None:
    subprocess.run(["addpart", loop_device, "1", "0", "2048"], check=True, timeout=60)
    part = f"{loop_device}p1"
    deadline = time.monotonic() + 30
    while not os.path.exists(part) and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        with pytest.raises(EngineError, match="is a partition") as caught:
            limits.device_numbers(part)
    finally:
        subprocess.run(["delpart", loop_device, "1"], check=True, timeout=60)
    assert caught.value.hint == f"limit {loop_device}"


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 5)), max_size=6))
def test_a_list_of_cpus_is_inside_or_it_is_not(pairs: list[tuple[int, int]]) -> None:
    wanted = {n for first, more in pairs for n in range(first, first + more + 1)}
    text = ",".join(f"{first}-{first + more}" for first, more in pairs)
    there = set(range(10)) | {12} | set(range(20, 31))
    try:
        limits._check_list("CPUs", text, "0-9,12,20-30")
    except EngineError:
        assert not wanted <= there
    else:
        assert wanted <= there


def test_limits_survive_the_database() -> None:
    settings = Settings(
        ("true",), device_read_bps=(("/dev/sda", 5),), memory_swappiness=0, oom_kill_disable=True
    )
    again = decode(encode(settings))
    assert limits.resources(again, lambda _path: (8, 0)) == limits.resources(
        settings, lambda _path: (8, 0)
    )
