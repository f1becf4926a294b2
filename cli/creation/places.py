"""Flags about what is mounted: volumes, folders of the host, tmpfs."""

from __future__ import annotations

from cli.creation import readers
from cli.options import Option, Parsed, several
from volumes.requests import parse_from, parse_mount, parse_tmpfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volumes.requests import Request

OPTIONS: tuple[Option, ...] = (
    several("-v --volume", "VOLUME:PATH", "Mount a volume (/path, name:/path) or a host folder"
            " (/host:/path); :ro makes it read-only", read=readers.volume),
    several("--mount", "SPEC", "The same in words: type=volume|bind|tmpfs,source=FROM,target=PATH",
            read=parse_mount),
    several("--tmpfs", "PATH[:OPTIONS]", "Mount a tmpfs", read=parse_tmpfs),
    several("--volumes-from", "CONTAINER[:ro]", "Mount all volumes of another container",
            read=parse_from),
)  # fmt: skip


def settings(parsed: Parsed) -> dict[str, Any]:
    """What was asked for, in the words of Docker's HostConfig: `inspect` shows it."""
    return {
        "binds": tuple(_bind(one) for one in parsed.volume if one.source),
        "volumes": tuple(one.destination for one in parsed.volume if not one.source),
        "mounts": tuple(map(_mount, parsed.mount)),
        "tmpfs": {one.destination: ",".join(one.options) for one in parsed.tmpfs},
        "volumes_from": tuple(
            f"{one.container}:ro" if one.readonly else one.container for one in parsed.volumes_from
        ),
    }


def _bind(one: Request) -> str:
    words = [*(["ro"] if one.readonly else []), *([] if one.copy else ["nocopy"])]
    words += [word for word in one.options if word not in ("bind", "rbind", "rprivate")]
    return ":".join([one.source, one.destination, *([",".join(words)] if words else [])])


def _mount(one: Request) -> dict[str, Any]:
    made: dict[str, Any] = {"Type": one.kind, "Source": one.source, "Target": one.destination}
    made["ReadOnly"] = one.readonly
    if one.kind == "bind":
        own, propagation = one.options
        made["BindOptions"] = {"Propagation": propagation, "NonRecursive": own == "bind"}
    elif one.kind == "volume":
        made["VolumeOptions"] = {"NoCopy": not one.copy}
    else:
        given = dict(word.partition("=")[::2] for word in one.options if "=" in word)
        made["TmpfsOptions"] = {
            "SizeBytes": int(given.get("size", 0)),
            "Mode": int(given.get("mode", "0"), 8),
        }
    return made
