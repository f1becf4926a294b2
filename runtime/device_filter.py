"""The device rules of a v2 control group: a small BPF program, assembled here.

Version 2 has no devices controller; a program of type BPF_PROG_TYPE_CGROUP_DEVICE is asked for
each open and mknod instead. It answers 1 (allowed) or 0. Rules are tried from the last to the
first, so that a later rule wins, as in version 1.

Source: bpf(2), linux/bpf.h (struct bpf_cgroup_dev_ctx), Documentation/bpf/instruction-set.
"""

from __future__ import annotations

import ctypes
import os
import struct

from kernel.libc import number, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROG_LOAD = 5
_PROG_ATTACH = 8
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_F_ALLOW_MULTI = 2

# Opcodes: class | source | operation.
_LDX_W = 0x61  # dst = *(u32 *)(src + off)
_MOV_IMM = 0xB7
_MOV_REG = 0xBF
_AND_IMM32 = 0x54
_RSH_IMM32 = 0x74
_JNE_IMM = 0x55
_JNE_REG = 0x5D
_EXIT = 0x95

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}


def _instruction(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def assemble(rules: list[dict[str, Any]]) -> bytes:
    """The program for ``linux.resources.devices``; what no rule names is denied.

    Registers: r2 type, r3 access, r4 major, r5 minor (struct bpf_cgroup_dev_ctx).
    """
    program = [
        _instruction(_LDX_W, 2, 1, 0),
        _instruction(_MOV_REG, 3, 2),
        _instruction(_AND_IMM32, 2, imm=0xFFFF),
        _instruction(_RSH_IMM32, 3, imm=16),
        _instruction(_LDX_W, 4, 1, 4),
        _instruction(_LDX_W, 5, 1, 8),
    ]
    for rule in reversed(rules):
        program += _rule(rule)
        if _is_general(rule):
            break  # what stands before it is never reached, and the verifier refuses dead code
    else:
        program += [_instruction(_MOV_IMM, 0, imm=0), _instruction(_EXIT)]
    return b"".join(program)


def _is_general(rule: dict[str, Any]) -> bool:
    return (
        (rule.get("type") or "a") == "a"
        and rule.get("major") in (None, -1)
        and rule.get("minor") in (None, -1)
        and set(rule.get("access") or "rwm") == set("rwm")
    )


def _rule(rule: dict[str, Any]) -> list[bytes]:
    tests: list[tuple[int, int, int, int]] = []  # (code, dst, src, imm), each skips when unequal
    kind = rule.get("type") or "a"
    if kind != "a":
        tests.append((_JNE_IMM, 2, 0, _TYPES["c" if kind == "u" else kind]))
    before: list[bytes] = []
    wanted = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
    if wanted != 7:  # the asked access must lie within the rule's: r1 = asked & wanted == asked
        before = [
            _instruction(_MOV_REG, 1, 3),
            _instruction(_AND_IMM32, 1, imm=wanted),
        ]
        tests.append((_JNE_REG, 1, 3, 0))
    for register, key in ((4, "major"), (5, "minor")):
        if rule.get(key) not in (None, -1):
            tests.append((_JNE_IMM, register, 0, rule[key]))
    end = [_instruction(_MOV_IMM, 0, imm=int(rule["allow"])), _instruction(_EXIT)]
    made = []
    for index, (code, dst, src, imm) in enumerate(tests):
        distance = len(tests) - index - 1 + len(end)
        made.append(_instruction(code, dst, src, distance, imm))
    return [*before, *made, *end]


class _Load(ctypes.Structure):
    """The part of union bpf_attr that BPF_PROG_LOAD reads here."""

    _fields_ = (
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
    )


class _Attach(ctypes.Structure):
    """The part of union bpf_attr that BPF_PROG_ATTACH reads."""

    _fields_ = (
        ("target_fd", ctypes.c_uint32),
        ("attach_bpf_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("attach_flags", ctypes.c_uint32),
    )


def load(program: bytes) -> int:
    """BPF_PROG_LOAD: the verified program as a descriptor. The verifier's log is in the error."""
    code = ctypes.create_string_buffer(program, len(program))
    name = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(16384)
    attr = _Load(
        _TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(name),
        1,
        len(log),
        ctypes.addressof(log),
    )
    try:
        return _bpf(_PROG_LOAD, attr)
    except OSError as error:
        said = log.value.decode(errors="replace").strip()
        raise OSError(error.errno, f"{error.strerror} ({said})" if said else "bpf") from None


def attach(folder: str, rules: list[dict[str, Any]]) -> None:
    """Attaches the program of ``rules`` to the control group ``folder``; it lives as long."""
    program_fd = load(assemble(rules))
    folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _bpf(_PROG_ATTACH, _Attach(folder_fd, program_fd, _ATTACH_CGROUP_DEVICE, _F_ALLOW_MULTI))
    finally:
        os.close(folder_fd)
        os.close(program_fd)


def _bpf(command: int, attr: ctypes.Structure) -> int:
    return syscall("bpf", number("bpf"), command, ctypes.byref(attr), ctypes.sizeof(attr))
