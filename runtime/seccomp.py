"""Seccomp: an OCI profile in, BPF bytes out, compiled once by libseccomp and kept.

libseccomp is a library of the host, called through ctypes and loaded only when a profile is
compiled for the first time. The result is cached as bytes under a key made of the profile's
content and the machine, so that the usual start reads one small file.

Source: seccomp(2), seccomp_rule_add(3), seccomp_export_bpf(3), OCI config-linux.md "Seccomp".
"""

from __future__ import annotations

import os

from kernel.digest import fingerprint
from kernel.tree import write_atomically
from runtime import seccomp_default
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from typing import Any

_ALLOW = 0x7FFF0000
_ACTIONS = {
    "SCMP_ACT_KILL": 0x0,
    "SCMP_ACT_KILL_THREAD": 0x0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": _ALLOW,
}
_PERMISSIVE = (_ALLOW, _ACTIONS["SCMP_ACT_LOG"])
_OPERATORS = {"NE": 1, "LT": 2, "LE": 3, "EQ": 4, "GE": 5, "GT": 6, "MASKED_EQ": 7}
_ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_S390": 0x16,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
}
_FLAGS = {  # seccomp(2)
    "SECCOMP_FILTER_FLAG_TSYNC": 0x1,
    "SECCOMP_FILTER_FLAG_LOG": 0x2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 0x4,
}
_ATTR_OPTIMIZE = 8
_EEXIST = -17
_FORMAT = "2"  # changes with the default profile or the compiler: old bytes are not used


def default_filter(cache: str, capabilities: tuple[str, ...]) -> bytes:
    """The default profile's BPF for a capability set, from the folder ``cache`` if it is there.

    The key needs no profile to be built: module, capabilities and machine decide.
    """
    machine = os.uname().machine
    key = f"default {_FORMAT} {machine} {' '.join(sorted(capabilities))}"
    return _cached(cache, key, lambda: seccomp_default.profile(capabilities, machine))


def filter_of(cache: str, profile: dict[str, Any]) -> bytes:
    """The BPF of any OCI profile, from the cache if it is there."""
    import json

    key = f"{_FORMAT} {os.uname().machine} {json.dumps(profile, sort_keys=True)}"
    return _cached(cache, key, lambda: profile)


def _cached(cache: str, key: str, profile: Any) -> bytes:
    if not cache:
        return compile_filter(profile())
    path = f"{cache}/{fingerprint(key.encode()).hex()}.bpf"
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        content = b""
    program = content[32:]
    if program and fingerprint(program) == content[:32]:
        return program
    program = compile_filter(profile())
    os.makedirs(cache, 0o700, exist_ok=True)
    write_atomically(path, fingerprint(program) + program, sync=False)
    return program


def compile_filter(profile: dict[str, Any]) -> bytes:
    """Compiles ``linux.seccomp`` to an array of struct sock_filter.

    Names that this libseccomp does not know are left out of the filter where that forbids them:
    an allowance for a call that it cannot express is safely no allowance. RuntimeFailure where it
    would allow them, for an unknown action, operator or architecture, and without libseccomp.
    """
    import ctypes

    library = _load(ctypes)
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise RuntimeFailure("libseccomp could not begin a filter")
    try:
        for name in profile.get("architectures") or ():
            _add_architecture(library, context, name)
        library.seccomp_attr_set(context, _ATTR_OPTIMIZE, 2)  # a binary tree instead of a list
        for rule in profile.get("syscalls") or ():
            _add_rule(library, context, rule, default)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _load(ctypes_module: Any) -> Any:
    try:
        library = ctypes_module.CDLL("libseccomp.so.2")
    except OSError:
        raise RuntimeFailure(
            "libseccomp.so.2 is not installed",
            hint="apt-get install libseccomp2",
        ) from None
    library.seccomp_init.restype = ctypes_module.c_void_p
    for name in ("release", "arch_add", "attr_set", "rule_add_array", "export_bpf"):
        function = getattr(library, f"seccomp_{name}")
        first = ctypes_module.c_void_p
        function.argtypes = {
            "release": [first],
            "arch_add": [first, ctypes_module.c_uint32],
            "attr_set": [first, ctypes_module.c_int, ctypes_module.c_uint32],
            "rule_add_array": [
                first,
                ctypes_module.c_uint32,
                ctypes_module.c_int,
                ctypes_module.c_uint,
                ctypes_module.c_void_p,
            ],
            "export_bpf": [first, ctypes_module.c_int],
        }[name]
    return library


def flags(names: Any) -> int:
    """Flags of seccomp(2) by their names; RuntimeFailure for one that needs more than a bit."""
    for name in names:
        if name not in _FLAGS:
            raise RuntimeFailure(f"seccomp: unknown or unsupported flag {name!r}")
    return sum(_FLAGS[name] for name in set(names))


def action(name: str, errno_return: int | None) -> int:
    """What a filter returns for an action of the specification; RuntimeFailure if unsupported."""
    if name not in _ACTIONS:
        raise RuntimeFailure(f"seccomp: unknown or unsupported action {name!r}")
    value = _ACTIONS[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        value |= 1 if errno_return is None else errno_return
    return value


def architecture(name: Any) -> int:
    """libseccomp's number of SCMP_ARCH_*; RuntimeFailure if unknown."""
    if name not in _ARCHITECTURES:
        raise RuntimeFailure(f"seccomp: unknown architecture {name!r}")
    return _ARCHITECTURES[name]


def operator(name: Any) -> int:
    """libseccomp's number of SCMP_CMP_*; RuntimeFailure if unknown."""
    number = _OPERATORS.get(str(name).removeprefix("SCMP_CMP_"))
    if number is None:
        raise RuntimeFailure(f"seccomp: unknown operator {name!r}")
    return number


def _add_architecture(library: Any, context: Any, name: str) -> None:
    result = library.seccomp_arch_add(context, architecture(name))
    if result not in (0, _EEXIST):
        raise RuntimeFailure(f"seccomp: cannot add {name}", os.strerror(-result))


def _add_rule(library: Any, context: Any, rule: dict[str, Any], default: int) -> None:
    wanted = action(rule["action"], rule.get("errnoRet"))
    if wanted == default:
        return  # libseccomp refuses rules that say what is the case anyway
    conditions = _conditions(rule.get("args") or [])
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            if default in _PERMISSIVE and wanted not in _PERMISSIVE:
                raise RuntimeFailure(
                    f"seccomp: cannot forbid {name!r}",
                    "this libseccomp knows no such system call",
                    "correct its spelling, or leave it out",
                )
            continue
        for array, count in conditions:
            result = library.seccomp_rule_add_array(context, wanted, number, count, array)
            if result not in (0, _EEXIST):
                raise RuntimeFailure(f"seccomp: cannot add {name}", os.strerror(-result))


def _conditions(args: list[dict[str, Any]]) -> list[tuple[ctypes.Array[Any] | None, int]]:
    """One array of comparisons, or, where an argument stands twice, one array for each."""
    import ctypes

    class Comparison(ctypes.Structure):
        """struct scmp_arg_cmp, seccomp.h."""

        _fields_ = (
            ("arg", ctypes.c_uint),
            ("op", ctypes.c_int),
            ("datum_a", ctypes.c_uint64),
            ("datum_b", ctypes.c_uint64),
        )

    made = []
    for arg in args:
        number = operator(arg["op"])
        made.append(Comparison(arg["index"], number, arg["value"], arg.get("valueTwo") or 0))
    if not made:
        return [(None, 0)]
    if len({arg["index"] for arg in args}) < len(args):
        return [((Comparison * 1)(comparison), 1) for comparison in made]
    return [((Comparison * len(made))(*made), len(made))]


def _export(library: Any, context: Any) -> bytes:
    fd = os.memfd_create("seccomp")
    try:
        result = library.seccomp_export_bpf(context, fd)
        if result:
            raise RuntimeFailure("seccomp: the filter cannot be exported", os.strerror(-result))
        size = os.fstat(fd).st_size
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)
