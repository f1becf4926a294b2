"""From an OCI runtime specification to an ordered list of steps. Pure: nothing is touched here.

The order is the lesson of many incidents. Mounts are made in the order of the specification, the
program's rights are given up after the last mount, and the filter is loaded as late as its own
rules allow. ``process.user.username`` may hold ``user[:group]`` for the container's own passwd to
resolve; without it ``uid``, ``gid`` and ``additionalGids`` are taken as numbers.

Source: OCI runtime specification 1.2, config.md and config-linux.md.
"""

from __future__ import annotations

from kernel.record import Record
from overlay.union import Union
from runtime import becoming, filesystem, steps
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.peers import Peer

_KNOWN_NAMESPACES = ("mount", "uts", "ipc", "network", "pid", "cgroup")


class Plan(Record):
    """What a start does.

    ``outside`` are the steps of the caller, the last of which forks; ``inside`` those that the
    forked process performs on itself, in order. ``cgroup`` is where it belongs.
    """

    cgroup: str
    outside: tuple[steps.Step, ...]
    inside: tuple[steps.Step, ...]

    @property
    def steps(self) -> tuple[steps.Step, ...]:
        """All of them, as they are numbered."""
        return (*self.outside, *self.inside)


def make(
    spec: dict[str, Any],
    *,
    union: Union | None = None,
    seccomp_cache: str = "",
    volumes: tuple[str, ...] = (),
    peers: dict[str, Peer] | None = None,
) -> Plan:
    """The plan of a specification.

    ``union`` takes the place of ``root.path``. ``seccomp_cache`` is the folder of compiled
    filters. ``volumes`` names the destinations that are volumes, so that the plan can say so.
    ``peers`` are the processes whose namespaces are meant, by kind: where a specification can only
    give a path, they say for certain whose it is.
    RuntimeFailure for what this runtime does not support, by name.
    """
    peers = peers or {}
    linux = spec.get("linux") or {}
    process = spec.get("process")
    if process is None:
        raise RuntimeFailure("the specification has no process", "nothing would run")
    namespaces = _namespaces(linux)
    cgroup = linux.get("cgroupsPath") or ""
    root = spec["root"]
    made: list[steps.Step] = _joined(namespaces, peers)
    early = tuple(k for k, p in namespaces.items() if not p and k not in ("pid", "cgroup"))
    made.append(steps.JoinKeyring(becoming.keyring(cgroup)))
    made.append(steps.Unshare(early))
    if "network" in early:
        made.append(steps.RaiseLoopback())
    made.append(filesystem.IsolateMounts())
    made.append(filesystem.MountRoot(union or Union((root["path"],))))
    made += _names(spec)
    late = [m for m in spec.get("mounts") or () if m.get("type") in ("cgroup", "cgroup2")]
    for mount in spec.get("mounts") or ():
        if mount not in late:
            made.append(mount_step(mount, volumes, peers))
            if mount["destination"] == "/dev":
                made += _own_devices()
    made += [_device(device, asked=True) for device in linux.get("devices") or ()]
    made.append(steps.JoinCgroup(cgroup))
    if namespaces.get("cgroup") == "":
        made.append(steps.Unshare(("cgroup",)))
    made += [mount_step(mount, volumes, peers) for mount in late]
    for name, value in (linux.get("sysctl") or {}).items():
        from runtime import sysctls

        sysctls.check(name, tuple(namespaces))
        made.append(filesystem.WriteSysctl(name, sysctls.path(name), value))
    if process.get("terminal"):
        size = process.get("consoleSize") or {}
        made.append(steps.AllocateConsole(size.get("width") or 0, size.get("height") or 0))
    if linux.get("readonlyPaths"):
        made.append(filesystem.MakeReadonly(tuple(linux["readonlyPaths"])))
    if linux.get("maskedPaths"):
        made.append(filesystem.Mask(tuple(linux["maskedPaths"])))
    if root.get("readonly"):
        made.append(filesystem.ReadonlyRoot())
    made.append(becoming.find_user(process))
    if process.get("oomScoreAdj") is not None:
        made.append(steps.SetOomScore(process["oomScoreAdj"]))
    made.append(steps.SwitchRoot())
    made += becoming.last_steps(process, linux.get("seccomp"), seccomp_cache, monitored=True)
    outside = (
        steps.MakeCgroup(cgroup, linux.get("resources") or {}),
        *(steps.FindPeer(peer) for peer in dict.fromkeys(peers.values())),
        steps.Fork(namespaces.get("pid") == "", namespaces.get("pid") or "", peers.get("pid")),
    )
    return Plan(cgroup, outside, tuple(made))


def _namespaces(linux: dict[str, Any]) -> dict[str, str]:
    """Type to path, "" for a new one."""
    found: dict[str, str] = {}
    for entry in linux.get("namespaces") or ():
        kind = entry["type"]
        if kind not in _KNOWN_NAMESPACES:
            raise RuntimeFailure(f"a {kind} namespace is not supported yet")
        found[kind] = entry.get("path") or ""
    if found.get("mount") != "":
        raise RuntimeFailure("a container needs a mount namespace of its own")
    return found


def _joined(namespaces: dict[str, str], peers: dict[str, Peer]) -> list[steps.Step]:
    """The steps that enter existing namespaces; the pid namespace is entered before the fork."""
    made: list[steps.Step] = []
    by_peer: dict[Peer, list[str]] = {}
    for kind, path in namespaces.items():
        if kind in peers and kind != "pid":
            by_peer.setdefault(peers[kind], []).append(kind)
        elif path and kind != "pid":
            made.append(steps.EnterNamespace(kind, path))
    if by_peer:
        from runtime import sharing

        made += [sharing.JoinNamespaces(peer, tuple(kinds)) for peer, kinds in by_peer.items()]
    return made


def _names(spec: dict[str, Any]) -> list[steps.Step]:
    made: list[steps.Step] = []
    if spec.get("hostname"):
        made.append(steps.SetHostname(spec["hostname"]))
    if spec.get("domainname"):
        made.append(steps.SetHostname(spec["domainname"], domain=True))
    return made


def mount_step(
    mount: dict[str, Any],
    volumes: tuple[str, ...] = (),
    peers: dict[str, Peer] | None = None,
) -> steps.Step:
    """The step that makes one of the specification's mounts."""
    options = filesystem.parse_options(mount.get("options") or ())
    kind, destination = mount.get("type") or "none", mount["destination"]
    peer = (peers or {}).get("ipc")
    if peer is not None and mount.get("source") == f"/proc/{peer.pid}/root{destination}":
        from runtime import sharing

        return sharing.BindFromPeer(peer, destination)
    if options.bind or kind in ("bind", "none"):
        return filesystem.Bind(mount["source"], destination, options, destination in volumes)
    if kind == "cgroup":
        from runtime import defaults

        hierarchies = defaults.cgroup_folders()
        if hierarchies:
            readonly = "ro" in options.words
            return filesystem.MountCgroups1(destination, hierarchies, readonly)
        kind = "cgroup2"
    return filesystem.MountFilesystem(kind, mount.get("source") or kind, destination, options)


def _own_devices() -> list[steps.Step]:
    """What stands on every container's /dev."""
    from runtime import defaults

    made = [_device(device, asked=False) for device in defaults.DEVICES]
    return [*made, *(filesystem.Link(path, target) for path, target in defaults.LINKS)]


def _device(device: dict[str, Any], *, asked: bool) -> steps.Step:
    return filesystem.MakeDevice(
        device["path"],
        device["type"],
        device.get("major") or 0,
        device.get("minor") or 0,
        device.get("fileMode") or 0o666,
        device.get("uid") or 0,
        device.get("gid") or 0,
        asked,
    )
