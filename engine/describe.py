"""Objects as `inspect` shows them: Docker's field names, so that scripts carry over."""

from __future__ import annotations

import os
import time

from engine import compose, containers, health, logopts, skeleton

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


def container(home: Home, one: Container) -> dict[str, Any]:
    """`container inspect`."""
    settings = one.settings
    folder = home.folder(one.id)
    image = home.images.get(one.image_id)
    mounts = home.volumes.mounts(one.id)
    running = containers.is_running(one)
    args = list(settings.args)
    return {
        "Id": one.id,
        "Created": rfc3339(one.created),
        "Path": args[0],
        "Args": args[1:],
        "State": {
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
            **({"Health": health.state(one)} if one.health else {}),
        },
        "Image": f"sha256:{one.image_id}",
        "ResolvConfPath": f"{folder}/resolv.conf",
        "HostnamePath": f"{folder}/hostname",
        "HostsPath": f"{folder}/hosts",
        "LogPath": logopts.path(home, one) if settings.log_driver == "json-file" else "",
        "Name": f"/{one.name}",
        "RestartCount": one.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "HostConfig": _host_config(one, mounts),
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                "LowerDir": ":".join(skeleton.lower(home, image)),
                "UpperDir": f"{folder}/upper",
                "WorkDir": f"{folder}/work",
                "MergedDir": f"{folder}/rootfs",
            },
        },
        "Mounts": [mount(home, m) for m in mounts],
        "Config": {
            "Hostname": compose.hostname(one),
            "Domainname": settings.domainname,
            "User": settings.user,
            "Tty": settings.tty,
            "OpenStdin": settings.stdin_open,
            "Env": compose.environment(one),
            "Cmd": args[settings.path_length :],
            "Entrypoint": args[: settings.path_length] or None,
            "Image": one.image,
            "Volumes": {m.destination: {} for m in mounts if m.kind == "volume"} or None,
            "WorkingDir": settings.working_dir,
            "Labels": dict(settings.labels),
            "StopSignal": settings.stop_signal or "SIGTERM",
            "StopTimeout": settings.stop_timeout,
            **({"Healthcheck": dict(settings.health)} if settings.health else {}),
            **({"Shell": list(settings.shell)} if settings.shell else {}),
        },
        "NetworkSettings": {"Networks": {settings.network: {}}},
    }


def _host_config(one: Container, mounts: tuple[Mount, ...]) -> dict[str, Any]:
    settings = one.settings
    return {
        "AutoRemove": settings.auto_remove,
        "Binds": [
            f"{m.source}:{m.destination}{':ro' if m.readonly else ''}"
            for m in mounts
            if m.kind == "bind"
        ],
        "BlkioWeight": settings.blkio_weight,
        "CapAdd": list(settings.cap_add) or None,
        "CapDrop": list(settings.cap_drop) or None,
        "CgroupParent": "/pyctr",
        "CpuShares": settings.cpu_shares,
        "CpusetCpus": settings.cpuset_cpus,
        "CpusetMems": settings.cpuset_mems,
        "LogConfig": {"Type": settings.log_driver, "Config": dict(settings.log_opts)},
        "Memory": settings.memory,
        "MemoryReservation": settings.memory_reservation,
        "MemorySwap": settings.memory_swap,
        "NanoCpus": settings.nano_cpus,
        "NetworkMode": settings.network,
        "OomScoreAdj": settings.oom_score_adj,
        "PidsLimit": settings.pids_limit or None,
        "ReadonlyRootfs": settings.readonly,
        "RestartPolicy": {
            "Name": settings.restart,
            "MaximumRetryCount": settings.restart_max,
        },
        "SecurityOpt": (["no-new-privileges"] if settings.no_new_privileges else [])
        + ([] if settings.seccomp == "default" else [f"seccomp={settings.seccomp}"]),
        "ShmSize": settings.shm_size,
        "Sysctls": dict(settings.sysctls),
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard}
            for name, (soft, hard) in settings.ulimits.items()
        ],
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
    lower = home.images.lower(one.config)
    return {
        "Id": f"sha256:{one.id}",
        "RepoTags": [name.familiar for name in names],
        "RepoDigests": [],
        "Created": one.config.created,
        "Author": one.config.raw.get("author") or "",
        "Architecture": one.config.architecture,
        "Os": one.config.raw.get("os") or "linux",
        "Size": home.images.size(one.id),
        "Config": one.config.raw.get("config") or {},
        "RootFS": {"Type": "layers", "Layers": [f"sha256:{d}" for d in one.config.diff_ids]},
        "GraphDriver": {"Name": "overlay", "Data": {"LowerDir": ":".join(lower)}},
    }


def volume(home: Home, one: Volume) -> dict[str, Any]:
    """`volume inspect`, and besides whether it is anonymous and who uses it."""
    return {
        "Name": one.name,
        "Driver": "local",
        "Mountpoint": home.volumes.data(one.name),
        "CreatedAt": one.created,
        "Labels": dict(one.labels),
        "Scope": "local",
        "Options": None,
        "Anonymous": one.anonymous,
        "UsedBy": containers.names(home, home.volumes.users(one.name)),
    }


def about(home: Home) -> dict[str, Any]:
    """`info`."""
    from runtime import cgroups

    rows = home.db.execute("SELECT status, count(*) FROM containers GROUP BY status")
    counts = dict(rows.fetchall())
    found = cgroups.hierarchies()
    layout = "2" if found.pure_v2 else "1 (hybrid)" if found.v2 else "1"
    host = os.uname()
    return {
        "Containers": sum(counts.values()),
        "ContainersRunning": counts.get("running", 0),
        "ContainersPaused": counts.get("paused", 0),
        "ContainersStopped": counts.get("exited", 0) + counts.get("created", 0),
        "Images": home.db.execute("SELECT count(*) FROM images").fetchone()[0],
        "Volumes": home.db.execute("SELECT count(*) FROM volumes").fetchone()[0],
        "Driver": "overlay",
        "CgroupVersion": layout,
        "SecurityOptions": ["seccomp"],
        "KernelVersion": host.release,
        "Architecture": host.machine,
        "NCPU": os.cpu_count(),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": host.nodename,
        "RootDir": home.root,
        "RunDir": home.run,
    }
