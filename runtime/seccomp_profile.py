"""A seccomp profile as people write it, checked, and turned into what the specification holds.

The format is Docker's, a superset of the specification's ``linux.seccomp``: architectures by
``archMap``, rules that count only with or without a capability, on an architecture, or since a
kernel (``includes``, ``excludes``); and Podman's names of errors (``errno``). What none of them
knows is refused, because a word that is not understood might have been the one that forbids.

Source: moby/profiles, seccomp/default.json and its Go types; containers/common, pkg/seccomp; OCI
config-linux.md, "Seccomp".
"""

from __future__ import annotations

import errno

from runtime import seccomp
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROFILE = frozenset(
    "defaultAction defaultErrnoRet defaultErrno architectures archMap flags syscalls comment"
    " listenerPath listenerMetadata".split()
)
_RULE = frozenset(
    "names name action args errnoRet errno includes excludes comment priority".split()
)
_CONDITION = frozenset("caps arches minKernel".split())
_ARGUMENT = frozenset("index value valueTwo op".split())
_ARCHITECTURE = frozenset("architecture subArchitectures".split())
_ERRNO_MAX = 4095  # linux/err.h, MAX_ERRNO

# uname -m to what profiles call it: (Go's name, libseccomp's architecture).
_MACHINES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
}


def check(profile: Any) -> None:
    """RuntimeFailure, naming the place, for what is not a profile or not supported."""
    where = "the profile"
    top = _object(profile, where, _PROFILE)
    for name in ("listenerPath", "listenerMetadata"):
        if top.get(name):
            raise _fault(name, "a seccomp agent is not supported")
    if top.get("architectures") and top.get("archMap"):
        raise _fault("archMap", "it cannot stand beside architectures")
    _check_action(top, "defaultAction", where)
    _errno(top, "defaultErrnoRet", "defaultErrno")
    for name in _words(top, "architectures", where):
        seccomp.architecture(name)
    for entry in _list(top, "archMap", where):
        _words(_object(entry, "archMap", _ARCHITECTURE), "subArchitectures", "archMap")
    seccomp.flags(_words(top, "flags", where))
    for index, rule in enumerate(_list(top, "syscalls", where)):
        _check_rule(rule, f"syscalls[{index}]")


def _check_rule(rule: Any, where: str) -> None:
    names = _words(_object(rule, where, _RULE), "names", where)
    if bool(rule.get("name")) == bool(names) or not isinstance(rule.get("name", ""), str):
        raise _fault(where, "it has either names, a list, or one name")
    _check_action(rule, "action", where)
    _errno(rule, "errnoRet", "errno")
    for arg in _list(rule, "args", where):
        _object(arg, f"{where}.args", _ARGUMENT)
        seccomp.operator(arg.get("op"))
        values = (arg.get("value", 0), arg.get("valueTwo", 0))
        if not _is_number(arg.get("index"), 5) or not all(_is_number(v, 2**64 - 1) for v in values):
            raise _fault(f"{where}.args", "index is 0 to 5, the values are unsigned numbers")
    for side in ("includes", "excludes"):
        condition = _object(rule.get(side) or {}, f"{where}.{side}", _CONDITION)
        _words(condition, "caps", where)
        _words(condition, "arches", where)
        version = condition.get("minKernel") or "0"
        if not isinstance(version, str) or not _release(version):
            raise _fault(f"{where}.{side}", f"minKernel {version!r} is no version such as 4.8")


def resolve(
    profile: dict[str, Any], capabilities: tuple[str, ...], machine: str, release: str
) -> dict[str, Any]:
    """``linux.seccomp`` of a checked profile for one container on one host.

    ``capabilities`` is the bounding set, ``machine`` and ``release`` are those of uname(2).
    """
    go_name, native = _MACHINES.get(machine, (machine, ""))

    def holds(condition: dict[str, Any]) -> dict[str, bool]:
        """For each thing that a condition names: all capabilities, the machine, the kernel."""
        held = {}
        if condition.get("caps"):
            held["caps"] = all(cap in capabilities for cap in condition["caps"])
            held["any cap"] = any(cap in capabilities for cap in condition["caps"])
        if condition.get("arches"):
            held["arches"] = go_name in condition["arches"]
        if condition.get("minKernel"):
            held["minKernel"] = _release(release) >= _release(condition["minKernel"])
        return held

    rules = [
        _rule(rule)
        for rule in profile.get("syscalls") or ()
        if all(holds(rule.get("includes") or {}).values())
        and not any(holds(rule.get("excludes") or {}).values())
    ]
    architectures = list(profile.get("architectures") or ())
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == native:
            architectures = [native, *(entry.get("subArchitectures") or ())]
    default = _errno(profile, "defaultErrnoRet", "defaultErrno")
    made: dict[str, Any] = {"defaultAction": profile["defaultAction"]}
    made |= {"defaultErrnoRet": default} if default is not None else {}
    made |= {"architectures": architectures} if architectures else {}
    made |= {"flags": list(profile["flags"])} if profile.get("flags") else {}
    return made | {"syscalls": rules}


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    made = {"names": list(rule.get("names") or (rule["name"],)), "action": rule["action"]}
    number = _errno(rule, "errnoRet", "errno")
    made |= {"errnoRet": number} if number is not None else {}
    args = [{"value": 0, "valueTwo": 0, **arg} for arg in rule.get("args") or ()]
    return made | ({"args": args} if args else {})


def _release(text: str) -> tuple[int, ...]:
    """The first two numbers of a kernel's version, () where there is none."""
    numbers: list[int] = []
    for word in text.split(".", 2)[:2]:
        digits = word[: len(word) - len(word.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _errno(where: dict[str, Any], key: str, name_key: str) -> int | None:
    """The number of an error, given as one or by its name; None where neither is."""
    number, name = where.get(key), where.get(name_key)
    if number is None and name:
        number = getattr(errno, str(name), None)
        if number is None:
            raise _fault(name_key, f"there is no error {name!r}")
    if number is not None and not _is_number(number, _ERRNO_MAX):
        raise _fault(key, f"{number!r} is no number of an error")
    return number


def _is_number(value: Any, highest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= highest


def _check_action(where: dict[str, Any], key: str, place: str) -> None:
    if not isinstance(where.get(key), str):
        raise _fault(place, f"{key} is missing")
    seccomp.action(where[key], None)


def _object(value: Any, place: str, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _fault(place, "it is not a JSON object")
    unknown = sorted(set(value) - known)
    if unknown:
        raise _fault(place, f"{unknown[0]!r} is not known")
    return value


def _list(where: dict[str, Any], key: str, place: str) -> list[Any]:
    value = where.get(key)
    if value is not None and not isinstance(value, list):
        raise _fault(place, f"{key} is not a list")
    return value or []


def _words(where: dict[str, Any], key: str, place: str) -> list[str]:
    value = _list(where, key, place)
    if not all(isinstance(word, str) and word for word in value):
        raise _fault(place, f"{key} is not a list of words")
    return value


def _fault(place: str, why: str) -> RuntimeFailure:
    return RuntimeFailure(f"invalid seccomp profile, {place}", why)
