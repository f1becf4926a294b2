"""Devices of the host in a container: their nodes, and the rules of its control group.

A node alone opens nothing: the control group's device rules decide who may read, write or make it.
What is asked for by --device is looked at again at each start, because a device may have another
number after a reboot.

Source: Documentation/admin-guide/cgroup-v1/devices.rst, mknod(2); Docker's --device,
--device-cgroup-rule and --privileged.
"""

from __future__ import annotations

import os
import stat

from engine.errors import EngineError
from runtime import defaults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from engine.settings import Settings

# Folders of /dev that are the container's own, or no devices at all.
_NOT_DEVICES = ("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev")


def parse(text: str) -> list[tuple[str, str, str]]:
    """``HOST[:CONTAINER][:rwm]`` as (path on the host, path inside, access).

    A ``*`` at the end of HOST means all paths that begin so. ValueError says what is wrong.
    """
    host, *rest = text.split(":")
    if len(rest) > 2 or not host:
        raise ValueError("write HOST[:CONTAINER][:rwm]")
    access = rest.pop() if rest and (len(rest) == 2 or _is_access(rest[-1])) else "rwm"
    inside = rest[0] if rest else ""
    if not _is_access(access):
        raise ValueError(f"{access!r} is not made of the letters r, w and m")
    for path in (host, inside):
        if path and not path.startswith("/"):
            raise ValueError(f"{path} is not an absolute path")
    if not host.endswith("*"):
        return [(host, os.path.normpath(inside or host), access)]
    if inside:
        raise ValueError("a path that ends in * has the same places inside")
    folder, _, start = host[:-1].rpartition("/")
    names = os.listdir(f"{folder}/") if os.path.isdir(f"{folder}/") else []
    paths = [f"{folder}/{name}" for name in sorted(names) if name.startswith(start)]
    if not paths:
        raise ValueError("no path begins so")
    return [(path, path, access) for path in paths]


def _is_access(word: str) -> bool:
    return 0 < len(word) <= 3 and set(word) <= set("rwm") and len(set(word)) == len(word)


def parse_rule(text: str) -> list[dict[str, Any]]:
    """``c 1:3 rwm``, * for any number, as ``linux.resources.devices``; ValueError otherwise.

    Version 1 takes "a" for all devices whatever stands behind it, so it becomes two rules.
    """
    words = text.split()
    kind, numbers, access = words if len(words) == 3 else ("", "", "")
    major, colon, minor = numbers.partition(":")
    if kind not in ("a", "b", "c") or not colon or not _is_access(access):
        raise ValueError("write TYPE MAJOR:MINOR ACCESS, for example 'c 1:3 rwm'")
    if not all(word == "*" or (word.isascii() and word.isdigit()) for word in (major, minor)):
        raise ValueError("major and minor are numbers, or * for all")
    if (kind, numbers, set(access)) == ("a", "*:*", set("rwm")):
        return [{"allow": True, "access": "rwm"}]
    ids = [-1 if word == "*" else int(word) for word in (major, minor)]
    return [_rule(one, ids[0], ids[1], access) for one in ("bc" if kind == "a" else kind)]


def _rule(kind: str, major: int, minor: int, access: str) -> dict[str, Any]:
    return {"allow": True, "type": kind, "major": major, "minor": minor, "access": access}


def nodes(settings: Settings) -> list[dict[str, Any]]:
    """``linux.devices``: what was asked for, and all of the host's for a privileged container."""
    found: dict[str, dict[str, Any]] = {}
    if settings.privileged:
        linked = {path for path, _ in defaults.LINKS} | {"/dev/console"}
        found = {node["path"]: node for node in _below("/dev", "/dev")}
        found = {path: node for path, node in found.items() if path not in linked}
    for host, inside, _ in settings.devices:
        found |= {node["path"]: node for node in _nodes(host, inside)}
    return list(found.values())


def rules(settings: Settings) -> list[dict[str, Any]]:
    """``linux.resources.devices``."""
    if settings.privileged:
        return [{"allow": True, "access": "rwm"}]
    made = defaults.device_rules()
    for host, inside, access in settings.devices:
        for node in _nodes(host, inside):
            made.append(_rule(node["type"], node["major"], node["minor"], access))
    for text in settings.device_cgroup_rules:
        made += parse_rule(text)
    return made


def check(settings: Settings) -> None:
    """EngineError for a device that is not there."""
    for host, inside, _ in settings.devices:
        _nodes(host, inside)


def _nodes(host: str, inside: str) -> list[dict[str, Any]]:
    """The device at a path of the host, or all below a folder; a link is followed here."""
    real = os.path.realpath(host)
    try:
        info = os.stat(real)
    except OSError as error:
        raise EngineError(
            f"cannot give the device {host}", os.strerror(error.errno or 0).lower(), path=host
        ) from None
    if stat.S_ISDIR(info.st_mode):
        found = list(_below(real, inside))
    else:
        node = _node(info, inside)
        found = [node] if node else []
    if not found:
        raise EngineError(
            f"cannot give the device {host}",
            "it is not a device node, nor a folder with one",
            "a file or folder is mounted with --volume",
            host,
        )
    return found


def _below(folder: str, inside: str) -> Iterator[dict[str, Any]]:
    """The devices in a folder and its folders; links are not followed, and mostly double."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path = f"{inside}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _NOT_DEVICES:
                yield from _below(entry.path, path)
            continue
        try:
            node = _node(entry.stat(follow_symlinks=False), path)
        except FileNotFoundError:  # unplugged just now
            continue
        if node:
            yield node


def _node(info: os.stat_result, path: str) -> dict[str, Any]:
    """One entry of ``linux.devices``, {} for what is no device."""
    kind = "c" if stat.S_ISCHR(info.st_mode) else "b" if stat.S_ISBLK(info.st_mode) else ""
    if not kind:
        return {}
    return {
        "path": path,
        "type": kind,
        "major": os.major(info.st_rdev),
        "minor": os.minor(info.st_rdev),
        "fileMode": stat.S_IMODE(info.st_mode),
        "uid": info.st_uid,
        "gid": info.st_gid,
    }
