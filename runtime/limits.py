"""Resource limits (getrlimit(2)) by the names of the OCI runtime specification."""

from __future__ import annotations

import resource

from runtime.errors import RuntimeFailure

# asm-generic/resource.h: the position is the number. Python's module lacks LOCKS.
_NAMES = (
    "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS",
    "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
)  # fmt: skip


def set_limit(name: str, soft: int, hard: int) -> None:
    """Sets one limit of this process; RuntimeFailure names it when the kernel refuses.

    ``name`` is RLIMIT_*; values as the specification gives them, -1 or 2**64-1 is unlimited.
    """
    prefix, _, short = name.partition("_")
    if prefix != "RLIMIT" or short not in _NAMES:
        raise RuntimeFailure(f"unknown resource limit {name!r}")
    infinite = resource.RLIM_INFINITY
    pair = tuple(infinite if value in (-1, 2**64 - 1) else value for value in (soft, hard))
    try:
        resource.setrlimit(_NAMES.index(short), pair)  # type: ignore[arg-type]
    except (ValueError, PermissionError) as error:
        raise RuntimeFailure(
            f"cannot set {name} to {soft}:{hard}",
            str(error),
            "a hard limit can only be raised with CAP_SYS_RESOURCE",
        ) from None
