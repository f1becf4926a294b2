"""A container becomes an OCI runtime specification, and that a plan.

Pure: the three small files (hosts, hostname, resolv.conf) that it mounts are written by
:mod:`engine.files`. Field names are those of the specification.

Source: OCI runtime specification 1.2, config.md and config-linux.md; Docker's defaults.
"""

from __future__ import annotations

import os

from engine import limits, skeleton
from engine.errors import EngineError
from overlay.union import Union
from runtime import capabilities, defaults
from runtime import plan as runtime_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from engine.settings import Settings
    from volumes.plan import Mount

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FILES = ("resolv.conf", "hostname", "hosts")


def make_plan(
    home: Home, container: Container, console: tuple[int, int] = (0, 0)
) -> runtime_plan.Plan:
    """The plan of a start; ``console`` is (columns, rows) of the terminal."""
    mounts = home.volumes.mounts(container.id)
    folder = home.folder(container.id)
    image = home.images.get(container.image_id)
    union = Union(skeleton.lower(home, image), f"{folder}/upper", f"{folder}/work")
    return runtime_plan.make(
        specification(home, container, mounts, console),
        union=union,
        seccomp_cache=home.filters,
        volumes=tuple(m.destination for m in mounts if m.kind == "volume"),
    )


def specification(
    home: Home, container: Container, mounts: tuple[Mount, ...], console: tuple[int, int] = (0, 0)
) -> dict[str, Any]:
    """The OCI runtime specification of a container."""
    settings = container.settings
    folder = home.folder(container.id)
    own = {mount.destination for mount in mounts}
    kinds = ["pid", "mount", "ipc", "uts", "cgroup"]
    kinds += ["network"] if settings.network == "none" else []
    made = [m for m in defaults.mounts(settings.shm_size) if m["destination"] not in own]
    made += file_mounts(home, container, mounts)
    return {
        "ociVersion": "1.2.0",
        "root": {"path": f"{folder}/rootfs", "readonly": settings.readonly},
        "hostname": hostname(container),
        **({"domainname": settings.domainname} if settings.domainname else {}),
        "mounts": made,
        "process": process(container, console),
        "linux": {
            "cgroupsPath": container.cgroup,
            "namespaces": [{"type": kind} for kind in kinds],
            "resources": resources(settings),
            "maskedPaths": list(defaults.MASKED_PATHS),
            "readonlyPaths": list(defaults.READONLY_PATHS),
            **({"sysctl": dict(settings.sysctls)} if settings.sysctls else {}),
            **({"seccomp": seccomp(settings)} if seccomp(settings) else {}),
        },
    }


def file_mounts(
    home: Home, container: Container, mounts: tuple[Mount, ...]
) -> list[dict[str, Any]]:
    """Those of ``mounts`` of the specification that hold a person's files, not the kernel's."""
    own = {mount.destination for mount in mounts}
    folder = home.folder(container.id)
    made = [
        {
            "destination": f"/etc/{name}",
            "type": "bind",
            "source": f"{folder}/{name}",
            "options": ["bind", "rprivate"],
        }
        for name in _FILES
        if f"/etc/{name}" not in own
    ]
    return [*made, *(_mount(home, mount) for mount in mounts)]


def hostname(container: Container) -> str:
    """The given one, the host's own with its network, or the short id."""
    settings = container.settings
    if settings.hostname:
        return settings.hostname
    return os.uname().nodename if settings.network == "host" else container.short_id


def process(container: Container, console: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """``process``: what runs first, as whom, with which rights."""
    settings = container.settings
    made: dict[str, Any] = {
        "args": list(settings.args),
        "env": environment(container),
        "cwd": settings.working_dir,
        "user": {"username": settings.user, "additionalGids": list(settings.group_add)},
        "terminal": settings.tty,
        "capabilities": capability_sets(settings),
        "noNewPrivileges": settings.no_new_privileges,
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
            for name, (soft, hard) in settings.ulimits.items()
        ],
    }
    if settings.oom_score_adj:
        made["oomScoreAdj"] = settings.oom_score_adj
    if settings.tty and all(console):
        made["consoleSize"] = {"width": console[0], "height": console[1]}
    return made


def environment(container: Container) -> list[str]:
    """The variables of the settings, and the few that every container has."""
    settings = container.settings
    named = {entry.partition("=")[0] for entry in settings.env}
    made = [] if "PATH" in named else [_PATH]
    made += [] if "HOSTNAME" in named else [f"HOSTNAME={hostname(container)}"]
    made += ["TERM=xterm"] if settings.tty and "TERM" not in named else []
    return [*made, *settings.env]


def capability_sets(settings: Settings) -> dict[str, list[str]]:
    """Docker's fourteen, with what was added and without what was dropped."""
    added = [capability_name(name) for name in settings.cap_add]
    dropped = [capability_name(name) for name in settings.cap_drop]
    everything = list(capabilities.NAMES)
    start = everything if "CAP_ALL" in added else list(capabilities.DEFAULT)
    kept = [] if "CAP_ALL" in dropped else [name for name in start if name not in dropped]
    kept += [name for name in added if name not in kept and name != "CAP_ALL"]
    return {
        "bounding": kept,
        "effective": kept,
        "permitted": kept,
        "inheritable": [],
        "ambient": [],
    }


def capability_name(word: str) -> str:
    """``net_admin``, ``NET_ADMIN`` or ``CAP_NET_ADMIN`` as the last; EngineError if unknown."""
    name = word.upper().removeprefix("CAP_")
    if name != "ALL" and f"CAP_{name}" not in capabilities.NAMES:
        raise EngineError(
            f"unknown capability {word!r}", "", "capabilities(7) lists them; ALL means all"
        )
    return f"CAP_{name}"


def seccomp(settings: Settings) -> dict[str, Any]:
    """``linux.seccomp``: Docker's profile by its name, or none."""
    return {"defaultAction": "default"} if settings.seccomp == "default" else {}


def resources(settings: Settings) -> dict[str, Any]:
    """``linux.resources``: the device rules, and what is limited."""
    return {"devices": defaults.device_rules(), **limits.resources(settings)}


def _mount(home: Home, mount: Mount) -> dict[str, Any]:
    if mount.kind == "tmpfs":
        options = [*mount.options, *(["ro"] if mount.readonly else [])]
        return _entry(mount, "tmpfs", "tmpfs", options)
    source = home.volumes.data(mount.source) if mount.kind == "volume" else mount.source
    options = list(mount.options) or ["rbind", "rprivate"]
    if mount.readonly:  # recursively: what is mounted below it on the host is read-only as well
        options += ["ro", "rro"] if "rbind" in options else ["ro"]
    return _entry(mount, "bind", source, options)


def _entry(mount: Mount, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {
        "destination": mount.destination,
        "type": kind,
        "source": source,
        "options": options,
    }
