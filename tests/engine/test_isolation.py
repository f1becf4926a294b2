"""What a command line asks for, as data: capabilities, devices and rules, namespaces."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import devices, rights, views
from engine.settings import Settings
from runtime import capabilities, cgroups_v1, device_filter

NAMES = [name.removeprefix("CAP_") for name in capabilities.NAMES]
CAPS = st.lists(st.sampled_from([*NAMES, "ALL"]), max_size=4)


@given(CAPS, CAPS, st.booleans())
def test_capabilities_are_a_set_of_known_ones(
    added: list[str], dropped: list[str], privileged: bool
) -> None:
    settings = Settings((), cap_add=tuple(added), cap_drop=tuple(dropped), privileged=privileged)
    made = rights.wanted_capabilities(settings)
    assert len(made) == len(set(made)) and set(made) <= set(capabilities.NAMES)
    for name in added:
        assert name == "ALL" or f"CAP_{name}" in made or ("ALL" in added and name in dropped)
    if privileged or ("ALL" in added and not set(dropped) - {"ALL"}):
        assert set(made) == set(capabilities.NAMES)
    elif "ALL" in dropped and "ALL" not in added:
        assert set(made) == {f"CAP_{name}" for name in added}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/dev/a", [("/dev/a", "/dev/a", "rwm")]),
        ("/dev/a:/b", [("/dev/a", "/b", "rwm")]),
        ("/dev/a:r", [("/dev/a", "/dev/a", "r")]),
        ("/dev/a:/b:mr", [("/dev/a", "/b", "mr")]),
        ("/dev/a:/b/../c//d", [("/dev/a", "/c/d", "rwm")]),
        ("/dev/nul*", [("/dev/null", "/dev/null", "rwm")]),
        ("/dev/nul*:r", [("/dev/null", "/dev/null", "r")]),
    ],
)
def test_a_device_is_read_as_docker_reads_it(
    text: str, expected: list[tuple[str, str, str]]
) -> None:
    assert devices.parse(text) == expected


@given(st.text(alphabet="/dev:rwm.*x", max_size=14))
def test_any_device_is_understood_or_refused(text: str) -> None:
    try:
        made = devices.parse(text)
    except ValueError:
        return
    for host, inside, access in made:
        assert host.startswith("/") and inside.startswith("/") and ".." not in inside.split("/")
        assert 0 < len(access) <= 3 and set(access) <= set("rwm")


@given(st.text(alphabet="abc 0123456789:*rwm", max_size=16))
def test_any_rule_is_understood_or_refused(text: str) -> None:
    try:
        rules = devices.parse_rule(text)
    except ValueError:
        return
    kind, numbers, access = text.split()
    assert [rule.get("type", "a") for rule in rules] in ([kind], ["b", "c"])
    for rule in rules:
        line = cgroups_v1.device_rule(rule)
        # "a" stands for everything in version 1, whatever follows.
        assert (line == "a") == (kind == "a" and numbers == "*:*" and set(access) == set("rwm"))
    os.close(device_filter.load(device_filter.assemble(rules)))


def test_all_devices_of_the_host_but_what_is_the_containers_own() -> None:
    made = devices.nodes(Settings((), privileged=True))
    paths = [node["path"] for node in made]
    assert len(paths) == len(set(paths)) and "/dev/null" in paths
    assert not {"/dev/ptmx", "/dev/console", "/dev/fd"} & set(paths)
    assert not [path for path in paths if path.startswith(("/dev/pts/", "/dev/shm/"))]
    for node in made:
        info = os.lstat(node["path"])
        assert (node["major"], node["minor"]) == (os.major(info.st_rdev), os.minor(info.st_rdev))
        assert node["fileMode"] == stat.S_IMODE(info.st_mode)
    assert devices.rules(Settings((), privileged=True)) == [{"allow": True, "access": "rwm"}]


def test_kinds_of_namespaces_that_are_not_the_hosts() -> None:
    assert set(views.kinds(Settings(()))) == {"mount", "pid", "ipc", "uts", "cgroup", "network"}
    hosts = Settings(
        (), pid_mode="host", ipc_mode="host", uts_mode="host", cgroupns_mode="host", network="host"
    )
    assert views.kinds(hosts) == ("mount",)
    shared = Settings((), pid_mode="container:abc", network="none")
    assert "pid" in views.kinds(shared) and "network" in views.kinds(shared)
    assert (views.other(shared, "pid"), views.other(shared, "network")) == ("abc", "")
