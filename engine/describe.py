"""Objects as `inspect` shows them: Docker's field names, so that scripts carry over."""

from __future__ import annotations

import time

from engine import containers, environment, health, publishing, skeleton
from engine.host_config import host_config
from kernel.mapping import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.containers import Container
    from engine.home import Home
    from images.store import Image
    from volumes.plan import Mount
    from volumes.store import Volume

NEVER = "0001-01-01T00:00:00Z"


def rfc3339(seconds: float) -> str:
    """A unix time in UTC; the zero time for 0."""
    if not seconds:
        return NEVER
    whole, fraction = divmod(seconds, 1)
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{at}.{int(fraction * 10**9):09}Z"


def container(home: Home, one: Container, *, sized: bool = False) -> dict[str, Any]:
    """`container inspect`; ``sized`` also walks its files for SizeRw and SizeRootFs (bytes)."""
    from engine import describe_network

    settings = one.settings
    folder = home.folder(one.id)
    image = home.images.get(one.image_id)
    mounts = home.volumes.mounts(one.id)
    args = list(settings.args)
    return {
        "Id": one.id,
        "Created": rfc3339(one.created),
        "Path": args[0],
        "Args": args[1:],
        "State": _state(one),
        "Image": f"sha256:{one.image_id}",
        "ResolvConfPath": f"{folder}/resolv.conf",
        "HostnamePath": f"{folder}/hostname",
        "HostsPath": f"{folder}/hosts",
        "LogPath": f"{folder}/{settings.log_file}" if settings.log_driver == "json-file" else "",
        "Name": f"/{one.name}",
        "RestartCount": one.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config(settings) | {"Links": describe_network.links(home, one)},
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                "LowerDir": ":".join(skeleton.lower(home, image)),
                "UpperDir": f"{folder}/upper",
                "WorkDir": f"{folder}/work",
                "MergedDir": f"{folder}/rootfs",
            },
        },
        **(_sizes(home, one) if sized else {}),
        "Mounts": [mount(home, m) for m in mounts],
        "Config": _config(one, image),
        "NetworkSettings": describe_network.network_settings(home, one),
    }


def _state(one: Container) -> dict[str, Any]:
    running = containers.is_running(one)
    return {
        "Status": one.status,
        "Running": running or one.status == "restarting",
        "Paused": one.status == "paused",
        "Restarting": one.status == "restarting",
        "OOMKilled": one.oom_killed,
        "Dead": False,
        "Pid": one.pid if running else 0,
        "ExitCode": one.exit_code,
        "Error": one.error,
        "StartedAt": rfc3339(one.started),
        "FinishedAt": rfc3339(one.finished),
        # Null without a check, so that {{if .State.Health}} works.
        "Health": health.state(one) or None,
    }


def _sizes(home: Home, one: Container) -> dict[str, Any]:
    from engine import sizes

    found = sizes.of(home, one)
    return {"SizeRw": found.writable, "SizeRootFs": found.virtual}


def _config(one: Container, image: Image) -> dict[str, Any]:
    settings = one.settings
    args = list(settings.args)
    ports = Map({name: {} for name in publishing.exposed(one)})
    volumes = Map({path: {} for path in sorted({*image.config.volumes, *settings.volumes})})
    patience = settings.stop_timeout
    return {
        "Hostname": environment.hostname(one),
        "Domainname": settings.domainname,
        "User": settings.user,
        "AttachStdin": "stdin" in settings.attach,
        "AttachStdout": "stdout" in settings.attach,
        "AttachStderr": "stderr" in settings.attach,
        "ExposedPorts": ports,
        "Tty": settings.tty,
        "OpenStdin": settings.stdin_open,
        "StdinOnce": settings.stdin_open and "stdin" in settings.attach,
        "Env": environment.variables(one),
        "Cmd": args[settings.path_length :] or None,
        "Healthcheck": dict(settings.health) or None,
        "Image": one.image,
        "Volumes": volumes or None,
        "WorkingDir": settings.working_dir,
        "Entrypoint": args[: settings.path_length] or None,
        "OnBuild": None,
        "Labels": Map(sorted(settings.labels.items())),
        "StopSignal": settings.stop_signal or "SIGTERM",
        **({"Shell": list(settings.shell)} if settings.shell else {}),
        "StopTimeout": int(patience) if patience == int(patience) else patience,
    }


def mount(home: Home, one: Mount) -> dict[str, Any]:
    """One entry of ``Mounts``."""
    made: dict[str, Any] = {"Type": one.kind}
    if one.kind == "volume":
        made |= {"Name": one.source, "Source": home.volumes.data(one.source), "Driver": "local"}
    else:
        made["Source"] = one.source
    words = [w for w in one.options if w not in ("bind", "rbind")]
    propagation = next((w for w in words if one.kind == "bind"), "")
    return made | {
        "Destination": one.destination,
        "Mode": ",".join(words) if one.kind == "tmpfs" else "",
        "RW": not one.readonly,
        "Propagation": propagation,
    }


def image(home: Home, one: Image) -> dict[str, Any]:
    """`image inspect`."""
    from images import references

    names = [references.parse(name) for name in home.images.names(one.id)]
    digests = [
        (references.Reference(*repository.split("/", 1)), digest)
        for repository, digest in home.images.digests(one.id)
    ]
    lower = home.images.lower(one.config)
    return {
        "Id": f"sha256:{one.id}",
        "RepoTags": [name.familiar for name in names],
        "RepoDigests": [f"{repository.familiar}@sha256:{digest}" for repository, digest in digests],
        "Comment": _comment(one),
        "Created": one.config.created,
        "Author": one.config.raw.get("author") or "",
        "Architecture": one.config.architecture,
        **({"Variant": one.config.raw["variant"]} if one.config.raw.get("variant") else {}),
        "Os": one.config.raw.get("os") or "linux",
        "Size": home.images.size(one.id),
        "Config": {**_NO_CONFIG, **(one.config.raw.get("config") or {})},
        "RootFS": {"Type": "layers", "Layers": [f"sha256:{d}" for d in one.config.diff_ids]},
        "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": ":".join(lower)}},
    }


# What of a configuration is there for templates even if the image says nothing.
_NO_CONFIG: dict[str, Any] = {
    "User": "", "Env": None, "Cmd": None, "Entrypoint": None, "WorkingDir": "", "Labels": None,
    "Volumes": None, "ExposedPorts": None, "OnBuild": None, "StopSignal": "",
}  # fmt: skip


def _comment(one: Image) -> str:
    """That of the newest step, as `commit -m` gave it."""
    steps = one.config.raw.get("history")
    last = steps[-1] if isinstance(steps, list) and steps else {}
    return str(last.get("comment") or "") if isinstance(last, dict) else ""


def volume(home: Home, one: Volume) -> dict[str, Any]:
    """`volume inspect`, and besides whether it is anonymous and who uses it."""
    return {
        "Name": one.name,
        "Driver": "local",
        "Mountpoint": home.volumes.data(one.name),
        "CreatedAt": one.created,
        "Labels": Map(sorted(one.labels.items())),
        "Scope": "local",
        "Options": None,
        "Anonymous": one.anonymous,
        "UsedBy": containers.names(home, home.volumes.users(one.name)),
    }
