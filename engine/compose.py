"""A container becomes an OCI runtime specification, and that a plan.

Pure: the three small files (hosts, hostname, resolv.conf) that it mounts are written by
:mod:`engine.files`. Field names are those of the specification.

Source: OCI runtime specification 1.2, config.md and config-linux.md; Docker's defaults.
"""

from __future__ import annotations

from engine import environment, limits, program, rights, skeleton, views
from overlay.union import Union
from runtime import defaults
from runtime import plan as runtime_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from engine.settings import Settings
    from runtime.peers import Peer
    from volumes.plan import Mount

_FILES = ("resolv.conf", "hostname", "hosts")


def make_plan(
    home: Home, container: Container, console: tuple[int, int] = (0, 0), network: str = ""
) -> runtime_plan.Plan:
    """The plan of a start; ``console`` is (columns, rows) of the terminal, ``network`` the path of
    the network namespace that was made for it (:mod:`engine.network`).

    It holds for this start only: the containers that it joins may have another process next time.
    The writable layer of --rm goes with the end, also with that of the host: it waits for no disk.
    """
    peers = views.peers(home, container)
    mounts = home.volumes.mounts(container.id)
    folder = home.folder(container.id)
    image = home.images.get(container.image_id)
    union = Union(
        skeleton.lower(home, image),
        f"{folder}/upper",
        f"{folder}/work",
        volatile=container.settings.auto_remove,
    )
    return runtime_plan.make(
        specification(home, container, mounts, console, peers, network),
        union=union,
        seccomp_cache=home.filters,
        volumes=tuple(m.destination for m in mounts if m.kind == "volume"),
        peers=peers,
    )


def specification(
    home: Home,
    container: Container,
    mounts: tuple[Mount, ...],
    console: tuple[int, int] = (0, 0),
    peers: dict[str, Peer] | None = None,
    network: str = "",
) -> dict[str, Any]:
    """The OCI runtime specification of a container; ``peers`` as :func:`engine.views.peers`,
    ``network`` as :func:`make_plan`.
    """
    settings = container.settings
    masked, readonly = rights.hidden_paths(settings)
    made_process = program.process(container, console)
    filters = rights.seccomp(settings, made_process["capabilities"]["bounding"])
    made_mounts = _mounts(home, container, mounts, peers or {})
    if settings.init:
        from engine import inits

        init = inits.find()
        made_mounts.append(inits.mount(init))
        alone = settings.pid_mode in ("", "private")
        made_process["args"] = [*inits.arguments(init, alone=alone), *settings.args]
    return {
        "ociVersion": "1.2.0",
        "root": {"path": f"{home.folder(container.id)}/rootfs", "readonly": settings.readonly},
        **_names(container),
        "mounts": made_mounts,
        "process": made_process,
        **({"annotations": dict(settings.annotations)} if settings.annotations else {}),
        "linux": {
            "cgroupsPath": container.cgroup,
            "namespaces": views.namespaces(settings, peers or {}, network),
            "resources": resources(settings),
            "maskedPaths": masked,
            "readonlyPaths": readonly,
            **_devices(settings),
            **({"sysctl": dict(settings.sysctls)} if settings.sysctls else {}),
            **({"seccomp": filters} if filters else {}),
        },
    }


def _names(container: Container) -> dict[str, str]:
    """``hostname`` and ``domainname``, unless they are the host's."""
    settings = container.settings
    if settings.uts_mode == "host":
        return {}
    made = {"hostname": environment.hostname(container)}
    return made | ({"domainname": settings.domainname} if settings.domainname else {})


def _mounts(
    home: Home, container: Container, mounts: tuple[Mount, ...], peers: dict[str, Peer]
) -> list[dict[str, Any]]:
    """``mounts``: the kernel's own file systems, then those with a person's files."""
    settings = container.settings
    made = []
    for mount in defaults.mounts(settings.shm_size):
        if settings.privileged and mount["destination"] in ("/sys", "/sys/fs/cgroup"):
            mount["options"].remove("ro")
        shared = mount["destination"] == "/dev/shm"
        made += views.shared_memory(settings, peers, mount) if shared else [mount]
    own = {mount.destination for mount in mounts}
    made = [mount for mount in made if mount["destination"] not in own]
    return [*made, *file_mounts(home, container, mounts)]


def _devices(settings: Settings) -> dict[str, Any]:
    if not (settings.privileged or settings.devices):
        return {}
    from engine import devices

    return {"devices": devices.nodes(settings)}


def file_mounts(
    home: Home, container: Container, mounts: tuple[Mount, ...]
) -> list[dict[str, Any]]:
    """Those of ``mounts`` of the specification that hold a person's files, not the kernel's."""
    own = {mount.destination for mount in mounts}
    folder = views.network_files(home, container)
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


def resources(settings: Settings) -> dict[str, Any]:
    """``linux.resources``: the device rules, and what is limited."""
    return {"devices": device_rules(settings), **limits.resources(settings)}


def device_rules(settings: Settings) -> list[dict[str, Any]]:
    """``linux.resources.devices``: the usual ones, and what was asked for."""
    if not (settings.privileged or settings.devices or settings.device_cgroup_rules):
        return defaults.device_rules()
    from engine import devices

    return devices.rules(settings)


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
