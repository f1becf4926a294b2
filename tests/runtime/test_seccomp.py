"""seccomp=FILE: a profile is understood as Docker understands it, or refused; and it forbids."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import seccomp, seccomp_default, seccomp_profile
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Pyctr

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"


def profile(*rules: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"defaultAction": ALLOW, "syscalls": list(rules), **more}


def deny(*names: str, **more: Any) -> dict[str, Any]:
    return {"names": list(names), "action": ERRNO, **more}


def names(made: dict[str, Any], *, caps: tuple[str, ...] = (), release: str = "6.1.0") -> list[str]:
    """The system calls that are named in a profile, once it is resolved."""
    seccomp_profile.check(made)
    resolved = seccomp_profile.resolve(made, caps, "x86_64", release)
    return [name for rule in resolved["syscalls"] for name in rule["names"]]


def run_with(pyctr: Pyctr, home_dir: str, made: object, script: str, *flags: str) -> str:
    path = f"{home_dir}/profile.json"
    with open(path, "w") as file:
        json.dump(made, file)
    option = ("--security-opt", f"seccomp={path}")
    return pyctr.out("run", "--rm", *option, *flags, "base", "sh", "-c", script)


def test_what_a_profile_forbids_is_forbidden(pyctr: Pyctr, home_dir: str) -> None:
    made = profile(deny("mkdir", "mkdirat", errnoRet=28), deny("chmod", "fchmodat", "fchmod"))
    script = (
        "mkdir /x 2>&1; chmod 700 /tmp 2>&1; touch /fine && echo fine;"
        "grep Seccomp: /proc/self/status"
    )
    said = run_with(pyctr, home_dir, made, script).splitlines()
    assert "No space left" in said[0] and "not permitted" in said[1] and said[2] == "fine"
    assert said[3].split() == ["Seccomp:", "2"]


def test_a_profile_is_kept_with_the_container_and_holds_for_exec(
    pyctr: Pyctr, home_dir: str
) -> None:
    path = f"{home_dir}/profile.json"
    with open(path, "w") as file:
        json.dump(profile(deny("mkdir", "mkdirat")), file)
    pyctr("create", "--name", "c", "--security-opt", f"seccomp={path}", "base", "sleep", "1000")
    with open(path, "w") as file:
        file.write("gone")
    pyctr("start", "c")
    assert "not permitted" in pyctr("exec", "c", "mkdir", "/x", code=1).stderr


def test_the_last_word_about_seccomp_counts(pyctr: Pyctr, home_dir: str) -> None:
    script = "grep Seccomp: /proc/self/status; mkdir /x && echo made"
    flags = ("--security-opt", "seccomp=unconfined")
    said = run_with(pyctr, home_dir, profile(deny("mkdir", "mkdirat")), script, *flags)
    assert said.split() == ["Seccomp:", "0", "made"]


def test_arguments_and_no_new_privileges(pyctr: Pyctr, home_dir: str) -> None:
    family = {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}  # AF_INET
    made = profile(deny("socket", args=[family]), flags=["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])
    script = "ifconfig lo 2>&1; ip -o link show lo | cut -d: -f 2"
    flags = ("--security-opt", "no-new-privileges")
    said = run_with(pyctr, home_dir, made, script, *flags)
    assert "not permitted" in said and said.endswith(" lo"), "sockets of another family are made"


def test_dockers_default_as_a_file_is_the_default(pyctr: Pyctr, home_dir: str) -> None:
    """The built-in profile in Docker's own format, with all that the format has."""
    rules = [
        {"names": list(seccomp_default.ALWAYS), "action": ALLOW},
        {"names": ["arch_prctl"], "action": ALLOW, "includes": {"arches": ["amd64", "x32"]}},
        {"names": ["chroot"], "action": ALLOW, "includes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["mount", "clone"], "action": ALLOW, "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["clone"], "action": ALLOW, "excludes": {"caps": ["CAP_SYS_ADMIN"]},
         "args": [{"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["clone3"], "action": ERRNO, "errnoRet": 38, "comment": "falls back to clone"},
    ]  # fmt: skip
    made = {
        "defaultAction": ERRNO,
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_MIPS64", "subArchitectures": None},
        ],
        "syscalls": rules,
    }
    script = "mount -t tmpfs none /mnt 2>&1 || echo refused"
    assert "refused" in run_with(pyctr, home_dir, made, script)
    assert run_with(pyctr, home_dir, made, script, "--cap-add", "SYS_ADMIN") == ""


def test_rules_count_by_capability_machine_and_kernel() -> None:
    made = profile(
        deny("a", includes={"caps": ["CAP_KILL", "CAP_CHOWN"]}),
        deny("b", excludes={"caps": ["CAP_KILL"]}),
        deny("c", includes={"arches": ["amd64"]}),
        deny("d", excludes={"arches": ["amd64", "s390x"]}),
        deny("e", includes={"minKernel": "5.10"}),
        deny("f", excludes={"minKernel": "5.10"}),
        {"name": "g", "action": ERRNO},
    )
    assert names(made) == ["b", "c", "e", "g"]
    assert names(made, caps=("CAP_KILL",)) == ["c", "e", "g"]
    assert names(made, caps=("CAP_KILL", "CAP_CHOWN")) == ["a", "c", "e", "g"]
    assert names(made, release="5.9.300-rc1") == ["b", "c", "f", "g"]
    assert names(made, release="5.10") == ["b", "c", "e", "g"]


def test_the_machines_own_architectures_are_chosen() -> None:
    made = profile(
        archMap=[
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ]
    )
    for machine, first in (("x86_64", "SCMP_ARCH_X86_64"), ("aarch64", "SCMP_ARCH_AARCH64")):
        assert seccomp_profile.resolve(made, (), machine, "6.1")["architectures"][0] == first


def test_errors_may_be_named() -> None:
    made = profile(deny("a", errno="ENOSYS"), defaultErrno="EPERM")
    resolved = seccomp_profile.resolve(made, (), "x86_64", "6.1")
    assert resolved["syscalls"][0]["errnoRet"] == 38 and resolved["defaultErrnoRet"] == 1


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ([], "not a JSON object"),
        ({}, "defaultAction is missing"),
        (profile(syscall=[]), "'syscall' is not known"),
        (profile(architectures=["SCMP_ARCH_VAX"]), "SCMP_ARCH_VAX"),
        (profile(architectures=["SCMP_ARCH_X86"], archMap=[{"architecture": "x"}]), "archMap"),
        (profile(listenerPath="/x"), "seccomp agent"),
        (profile(flags=["SECCOMP_FILTER_FLAG_NEW_LISTENER"]), "NEW_LISTENER"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "SCMP_ACT_NOTIFY"),
        (profile({"action": ERRNO}), "syscalls[0]"),
        (profile(deny("a"), deny("a", name="b")), "syscalls[1]"),
        (profile(deny("a", action="DENY")), "'DENY'"),
        (profile(deny("a", errnoRet=9999)), "9999"),
        (profile(deny("a", errno="ENOPE")), "ENOPE"),
        (profile(deny("a", args=[{"index": 6, "op": "SCMP_CMP_EQ"}])), "index is 0 to 5"),
        (profile(deny("a", args=[{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}])), "unsigned"),
        (profile(deny("a", args=[{"index": 0, "value": 0, "op": "=="}])), "'=='"),
        (profile(deny("a", includes={"kernel": "5"})), "'kernel'"),
        (profile(deny("a", includes={"minKernel": "new"})), "minKernel"),
        (profile(deny("no_such_call")), "cannot forbid 'no_such_call'"),
    ],
)
def test_a_profile_that_is_not_understood_is_refused(
    pyctr: Pyctr, home_dir: str, made: object, why: str
) -> None:
    path = f"{home_dir}/profile.json"
    with open(path, "w") as file:
        json.dump(made, file)
    option = ("--security-opt", f"seccomp={path}")
    assert why in pyctr("create", *option, "base", "true", code=125).stderr
    assert pyctr.out("ps", "-aq") == ""


def test_a_file_that_is_no_json_is_refused(pyctr: Pyctr, home_dir: str) -> None:
    for content in ("", "{", "[" * 100000, "{} {}", "\ud800x".encode("utf-8", "surrogatepass")):
        path = f"{home_dir}/profile.json"
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        said = pyctr("create", "--security-opt", f"seccomp={path}", "base", "true", code=125).stderr
        assert path in said


WORDS = st.sampled_from(
    "names name action args errnoRet errno includes excludes caps arches minKernel index value"
    " valueTwo op defaultAction syscalls archMap architecture subArchitectures flags read mkdir"
    " SCMP_ACT_ALLOW SCMP_ACT_ERRNO SCMP_CMP_EQ SCMP_ARCH_X86_64 CAP_KILL amd64 5.10 EPERM".split()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**65) | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
RULES = st.fixed_dictionaries(
    {"names": st.lists(WORDS, max_size=3) | VALUES, "action": WORDS},
    optional={"args": VALUES, "errnoRet": VALUES, "includes": VALUES, "excludes": VALUES},
)
PROFILES = VALUES | st.fixed_dictionaries(
    {"defaultAction": WORDS, "syscalls": st.lists(RULES, max_size=3) | VALUES},
    optional={"archMap": VALUES, "flags": VALUES, "defaultErrno": VALUES},
)


@given(PROFILES)
def test_any_json_becomes_a_filter_or_a_refusal(made: object) -> None:
    try:
        seccomp_profile.check(made)
        assert isinstance(made, dict)
        resolved = seccomp_profile.resolve(made, ("CAP_KILL",), "x86_64", "6.1.0")
        program = seccomp.compile_filter(resolved)
    except RuntimeFailure:
        return
    assert len(program) % 8 == 0
