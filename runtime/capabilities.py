"""Capabilities: names, Docker's default fourteen, and setting all five sets.

Source: capabilities(7), linux/capability.h, OCI runtime specification, config.md, "process".
"""

from __future__ import annotations

from kernel import process
from runtime.errors import RuntimeFailure

# The position is the number of the capability (linux/capability.h).
NAMES: tuple[str, ...] = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)
_NUMBERS = {name: number for number, name in enumerate(NAMES)}

DEFAULT: tuple[str, ...] = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    ]
)

_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def number(name: str) -> int:
    """The number of ``CAP_NAME``; RuntimeFailure for a name that the kernel does not have."""
    try:
        return _NUMBERS[name]
    except KeyError:
        raise RuntimeFailure(f"unknown capability {name!r}") from None


def mask(names: tuple[str, ...] | list[str]) -> int:
    """The 64-bit mask of capability names."""
    return sum(1 << number(name) for name in set(names))


def own_bounding() -> int:
    """The mask of this process's bounding set: nothing outside it can be granted."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("CapBnd:"):
                return int(line.split()[1], 16)
    return 0


def drop_bounding(wanted: dict[str, list[str]]) -> None:
    """Takes everything out of the bounding set that the specification does not name.

    Needs CAP_SETPCAP, so it comes before the user changes.
    """
    keep = mask(wanted.get("bounding") or [])
    own = own_bounding()
    for bit in range(own.bit_length()):
        if own >> bit & 1 and not keep >> bit & 1:
            process.bounding_drop(bit)


def set_all(wanted: dict[str, list[str]]) -> None:
    """Sets effective, permitted, inheritable and ambient; absent sets become empty.

    What the caller itself may not have is left out (a host may run pyctr with fewer).
    """
    unknown = set(wanted) - set(_SETS)
    if unknown:
        raise RuntimeFailure(f"unknown capability set {sorted(unknown)[0]!r}")
    own = own_bounding()
    effective, permitted, inheritable, ambient = (
        mask(wanted.get(name) or []) & own for name in _SETS[1:]
    )
    process.ambient_clear()
    process.capset(effective & permitted, permitted, inheritable)
    for bit in range(ambient.bit_length()):
        if ambient & permitted & inheritable & 1 << bit:
            process.ambient_raise(bit)
