"""Flags about what a container may do and see: rights, namespaces, devices."""

from __future__ import annotations

from cli.creation import modes, readers
from cli.options import Option, Parsed, option, refused, several, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    option("--privileged", "Give it all capabilities and devices, and hide nothing from it"),
    several("--cap-add", "CAPABILITY", "Add a capability, or ALL", read=modes.capability),
    several("--cap-drop", "CAPABILITY", "Take a capability away, or ALL", read=modes.capability),
    several("--security-opt", "OPTION", "no-new-privileges, seccomp=FILE, seccomp=unconfined or"
            " systempaths=unconfined", read=modes.security),
    option("--read-only", "Make the root file system read-only"),
    several("--sysctl", "NAME=VALUE", "Set a kernel parameter of its namespaces",
            read=readers.sysctl),
    several("--device", "HOST[:CONTAINER][:rwm]", "Give it a device, or a folder of devices",
            read=modes.device),
    several("--device-cgroup-rule", "RULE", "Allow devices by number, for example 'c 1:3 rwm'",
            read=modes.device_rule),
    option("--init", "Run an init as its first process, which passes signals on and reaps"),
    value("--pid", "host|container:NAME", "Share the processes of the host, or of a container",
          read=modes.pid, default=""),
    value("--ipc", "private|shareable|none|host|container:NAME", "Shared memory and queues: its"
          " own (private, the default, or shareable), none, or others'",
          read=modes.ipc, default=""),
    value("--uts", "host", "Share the host's names", read=modes.uts, default=""),
    value("--cgroupns", "private|host", "Control groups as it sees them: from its own (the default)"
          " or from the host's root", read=modes.cgroupns, default=""),
    value("--userns", "host", "Users are those of the host, which is the default",
          read=modes.userns, default=""),
    value("--cgroup-parent", "PATH", "Control group to put its own into", read=modes.cgroup_parent,
          default=""),
    several("--annotation", "KEY=VALUE", "Add an annotation of the OCI specification",
            read=readers.pair),
    refused("--use-api-socket", "pyctr has no daemon, and so no socket of one"),
    refused("--gpus", "give the devices themselves with --device"),
    refused("--runtime", "pyctr is the runtime, and has no other"),
    refused("--isolation", "it is for Windows"),
    refused("--storage-opt", "overlayfs has no size of its own here"),
    refused("--volume-driver", "volumes are folders of this host"),
)  # fmt: skip


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide."""
    decided = {
        "privileged": parsed.privileged,
        "cap_add": tuple(parsed.cap_add),
        "cap_drop": tuple(parsed.cap_drop),
        "readonly": parsed.read_only,
        "sysctls": dict(parsed.sysctl),
        "devices": tuple(list(one) for several_ in parsed.device for one in several_),
        "device_cgroup_rules": tuple(parsed.device_cgroup_rule),
        "init": parsed.init,
        "pid_mode": parsed.pid,
        "ipc_mode": parsed.ipc,
        "uts_mode": parsed.uts,
        "cgroupns_mode": parsed.cgroupns,
        "userns_mode": parsed.userns,
        "cgroup_parent": parsed.cgroup_parent,
        "annotations": dict(parsed.annotation),
    }
    for one in parsed.security_opt:  # the last one of a kind counts
        decided |= one
    return decided
