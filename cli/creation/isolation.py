"""Flags about what a container may do and see: rights, namespaces, devices."""

from __future__ import annotations

from cli.creation import readers
from cli.options import Option, Parsed, option, several

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    option("--read-only", "Make the root file system read-only"),
    several("--sysctl", "NAME=VALUE", "Set a kernel parameter of its namespaces",
            read=readers.sysctl),
    several("--cap-add", "CAPABILITY", "Add a capability"),
    several("--cap-drop", "CAPABILITY", "Take a capability away"),
    several("--security-opt", "OPTION", "no-new-privileges or seccomp=unconfined",
            read=readers.security),
)  # fmt: skip


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide."""
    from engine.compose import capability_name

    for name in (*parsed.cap_add, *parsed.cap_drop):
        capability_name(name)
    return {
        "readonly": parsed.read_only,
        "cap_add": tuple(parsed.cap_add),
        "cap_drop": tuple(parsed.cap_drop),
        "no_new_privileges": any(
            word.startswith("no-new-privileges") and not word.endswith("false")
            for word in parsed.security_opt
        ),
        "seccomp": "unconfined" if "seccomp=unconfined" in parsed.security_opt else "default",
        "sysctls": dict(parsed.sysctl),
    }
