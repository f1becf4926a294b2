"""From a specification to steps: the order, what is refused, and that it can all be described."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import defaults, filesystem, plan, seccomp, steps, sysctls, users
from runtime.errors import RuntimeFailure
from runtime.peers import Peer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def spec(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "root": {"path": "/rootfs", "readonly": True},
        "hostname": "h",
        "mounts": [
            *defaults.mounts(1 << 20),
            {"destination": "/data", "type": "bind", "source": "/v", "options": ["rbind", "ro"]},
        ],
        "process": {"args": ["true"], "cwd": "/", "capabilities": {"bounding": ["CAP_KILL"]}},
        "linux": {
            "cgroupsPath": "/pyctr/x",
            "namespaces": [
                {"type": t} for t in ("pid", "mount", "uts", "ipc", "network", "cgroup")
            ],
            "maskedPaths": ["/proc/kcore"],
            "readonlyPaths": ["/proc/sys"],
            "sysctl": {"net.core.somaxconn": "1"},
        },
    }
    return made | more


def names(spec_: dict[str, Any]) -> list[str]:
    return [type(step).__name__ for step in plan.make(spec_).steps]


def test_rights_go_after_the_last_mount_and_the_program_comes_last() -> None:
    order = names(spec())
    mounts = max(n for n, name in enumerate(order) if name.startswith(("Mount", "Bind", "Mask")))
    assert mounts < order.index("SwitchRoot") < order.index("DropBounding")
    assert order.index("DropBounding") < order.index("BecomeUser") < order.index("Execute")
    assert order[-1] == "Execute" and order[:2] == ["MakeCgroup", "Fork"]
    assert order.index("WriteSysctl") < order.index("MakeReadonly"), "before /proc/sys is closed"
    assert order.index("JoinCgroup") < len(order) - 1 - order[::-1].index("Unshare")


def test_the_filter_is_loaded_last_where_no_new_privileges_allows_it() -> None:
    profile = {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}}
    linux = spec()["linux"] | profile
    order = names(spec(linux=linux))
    assert order.index("LoadSeccomp") < order.index("BecomeUser")
    process = spec()["process"] | {"noNewPrivileges": True}
    order = names(spec(linux=linux, process=process))
    assert order.index("NoNewPrivileges") < order.index("LoadSeccomp")
    assert order.index("BecomeUser") < order.index("LoadSeccomp")


def shared() -> tuple[dict[str, Any], dict[str, Peer]]:
    """A specification that takes three namespaces from two containers, and the host's names."""
    one, two = Peer(11, 1, "container one"), Peer(22, 2, "container two")
    kinds = {"pid": one, "ipc": one, "network": two}
    files = {"network": "net"}
    namespaces: list[dict[str, str]] = [{"type": "mount"}, {"type": "cgroup"}]
    namespaces += [
        {"type": kind, "path": f"/proc/{peer.pid}/ns/{files.get(kind, kind)}"}
        for kind, peer in kinds.items()
    ]
    devices = [{"path": "/dev/x", "type": "b", "major": 7, "minor": 1, "gid": 6}]
    linux = spec()["linux"] | {"namespaces": namespaces, "devices": devices}
    mounts = [mount for mount in spec()["mounts"] if mount["destination"] != "/dev/shm"]
    memory = {"destination": "/dev/shm", "type": "bind", "source": "/proc/11/root/dev/shm"}
    return spec(linux=linux, hostname="", mounts=[*mounts, memory]), kinds


def test_every_step_can_say_what_it_does_and_why() -> None:
    joining, peers = shared()
    for step in (*plan.make(spec()).steps, *plan.make(joining, peers=peers).steps):
        assert step.title and step.call() and step.why
        assert "(" in step.man and ")" in step.man
        assert isinstance(step.shell(), list)


def test_other_containers_are_found_before_the_fork_and_entered_before_any_mount() -> None:
    joining, peers = shared()
    made = plan.make(joining, peers=peers)
    found = [step.peer.pid for step in made.outside if isinstance(step, steps.FindPeer)]
    assert found == [11, 22], "each once; in its own pid namespace the child would find others"
    fork = made.outside[-1]
    assert isinstance(fork, steps.Fork) and not fork.new_pid and fork.peer == peers["pid"]
    order = [type(step).__name__ for step in made.inside]
    assert order[:2] == ["JoinNamespaces"] * 2
    assert [step.call() for step in made.inside[:2]] == [
        "setns(pidfd_open(11), CLONE_NEWIPC)", "setns(pidfd_open(22), CLONE_NEWNET)",
    ]  # fmt: skip
    unshared = [k for step in made.inside if isinstance(step, steps.Unshare) for k in step.kinds]
    assert unshared == ["mount", "cgroup"]
    assert not {"RaiseLoopback", "SetHostname", "EnterNamespace"} & set(order)
    assert order.count("BindFromPeer") == 1


def test_a_path_alone_is_entered_as_the_specification_says() -> None:
    joining, _ = shared()
    made = plan.make(joining)
    entered = {
        step.kind: step.path for step in made.inside if isinstance(step, steps.EnterNamespace)
    }
    assert entered == {"ipc": "/proc/11/ns/ipc", "network": "/proc/22/ns/net"}
    fork = made.outside[-1]
    assert isinstance(fork, steps.Fork) and fork.pid_path == "/proc/11/ns/pid"


def test_devices_that_were_asked_for_come_after_every_mount_of_the_person() -> None:
    joining, peers = shared()
    made = plan.make(joining, peers=peers).inside
    asked = [n for n, s in enumerate(made) if isinstance(s, filesystem.MakeDevice) and s.asked]
    binds = [n for n, step in enumerate(made) if isinstance(step, filesystem.Bind)]
    assert len(asked) == 1 and asked[0] > max(binds)
    assert asked[0] < next(n for n, s in enumerate(made) if isinstance(s, filesystem.Mask))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("net.core.somaxconn", "net/core/somaxconn"),
        ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ("kernel.msgmax", "kernel/msgmax"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
        ("kernel.domainname", "kernel/domainname"),
    ],
)
def test_a_parameter_of_a_namespace_may_be_set(name: str, file: str) -> None:
    sysctls.check(name, ("network", "ipc", "uts"))
    assert sysctls.path(name) == file
    with pytest.raises(RuntimeFailure, match="host"):
        sysctls.check(name, ("mount",))


@given(st.text(alphabet="net.kr/ml\0x", max_size=20))
def test_no_parameter_leads_out_of_its_folder(name: str) -> None:
    try:
        sysctls.check(f"net.{name}", ("network",))
    except RuntimeFailure:
        return
    path = f"/proc/sys/{sysctls.path(f'net.{name}')}"
    assert os.path.normpath(path) == path and path.startswith("/proc/sys/net/")


@pytest.mark.parametrize(
    "broken",
    [
        {"process": None},
        {"process": {"args": []}},
        {"linux": {"namespaces": [{"type": "user"}, {"type": "mount"}]}},
        {"linux": {"namespaces": [{"type": "pid"}]}},
        {"linux": {"namespaces": [{"type": "mount"}], "sysctl": {"net.core.somaxconn": "1"}}},
        {"linux": {"namespaces": [{"type": "mount"}], "sysctl": {"kernel.panic": "1"}}},
    ],
)
def test_what_cannot_be_done_is_refused_by_name(broken: dict[str, Any]) -> None:
    with pytest.raises(RuntimeFailure):
        plan.make(spec(**broken))


def test_mount_options_become_attributes_propagation_and_data() -> None:
    from kernel import mounts

    options = filesystem.parse_options(["rbind", "ro", "nosuid", "rslave", "size=1m"])
    assert options.bind and options.recursive
    assert options.attr_set == mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID
    assert options.propagation == mounts.MS_SLAVE and options.propagation_recursive
    assert options.data == ("size=1m",)


def test_the_filter_is_compiled_once(home_dir: str) -> None:
    first = seccomp.default_filter(home_dir, ("CAP_KILL",))
    (kept,) = os.listdir(home_dir)
    written = os.stat(f"{home_dir}/{kept}").st_mtime_ns
    assert seccomp.default_filter(home_dir, ("CAP_KILL",)) == first
    assert os.stat(f"{home_dir}/{kept}").st_mtime_ns == written
    assert seccomp.default_filter(home_dir, ("CAP_SYS_ADMIN",)) != first
    assert len(first) % 8 == 0


def lookup(home_dir: str, wanted: str, passwd: str, group: str = "") -> users.User:
    os.makedirs(f"{home_dir}/etc", exist_ok=True)
    for name, text in (("passwd", passwd), ("group", group)):
        with open(f"{home_dir}/etc/{name}", "w") as file:
            file.write(text)
    root = os.open(home_dir, os.O_PATH)
    try:
        return users.lookup(root, wanted)
    finally:
        os.close(root)


PASSWD = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:100::/home/me:/bin/sh\n1234:x:5:6::/n:/bin/sh\n"
GROUP = "root:x:0:\nusers:x:100:\nextra:x:200:me,root\n"


def test_users_are_found_in_the_containers_own_files(home_dir: str) -> None:
    me = lookup(home_dir, "me", PASSWD, GROUP)
    assert (me.uid, me.gid, me.groups, me.home) == (1000, 100, (100, 200), "/home/me")
    assert lookup(home_dir, "1000", PASSWD, GROUP) == me
    assert lookup(home_dir, "me:extra", PASSWD, GROUP).gid == 200
    assert lookup(home_dir, "me:7", PASSWD, GROUP).groups == ()
    assert lookup(home_dir, "4242", PASSWD, GROUP).uid == 4242
    assert lookup(home_dir, "1234", PASSWD, GROUP).uid == 5, "a name of digits is a name first"
    assert lookup(home_dir, "", PASSWD, GROUP).home == "/root"
    for wanted in ("nobody", "me:nogroup", "99999999999", "me:4294967296"):
        with pytest.raises(RuntimeFailure):
            lookup(home_dir, wanted, PASSWD, GROUP)


@given(st.text(alphabet="ax:0\n-9", max_size=60), st.text(alphabet="ax0:", min_size=1, max_size=6))
def test_any_passwd_gives_a_user_or_a_refusal(text: str, wanted: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            user = lookup(folder, wanted, text, text)
        except RuntimeFailure:
            return
        assert user.uid >= 0 and user.gid >= 0
