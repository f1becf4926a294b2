"""``HostConfig`` of `container inspect`: what a container was asked to be, in Docker's names.

Fields of what pyctr has not (swarm, Windows, real-time scheduling) are as Docker has them where
they are not used, so that a script finds what it looks for.
"""

from __future__ import annotations

from engine import containers, publishing, rights
from kernel.mapping import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from engine.settings import Settings


def host_config(settings: Settings) -> dict[str, Any]:
    """The whole section."""
    return {
        **_general(settings),
        **_isolation(settings),
        **_resources(settings),
        **_block_devices(settings),
    }


def _general(settings: Settings) -> dict[str, Any]:
    return {
        "Binds": list(settings.binds) or None,
        "Mounts": [dict(one) for one in settings.mounts] or None,
        "Tmpfs": Map(settings.tmpfs) or None,
        "VolumesFrom": list(settings.volumes_from) or None,
        "VolumeDriver": "",
        "LogConfig": {"Type": settings.log_driver, "Config": _sorted(settings.log_opts)},
        "RestartPolicy": {"Name": settings.restart, "MaximumRetryCount": settings.restart_max},
        "AutoRemove": settings.auto_remove,
        "Annotations": _sorted(settings.annotations),
        "Init": settings.init or None,
        "ConsoleSize": [0, 0],
        "NetworkMode": settings.network,
        "PortBindings": Map(publishing.port_bindings(settings)),
        "PublishAllPorts": settings.publish_all,
        "Links": None,
        "Dns": list(settings.dns),
        "DnsOptions": list(settings.dns_options),
        "DnsSearch": list(settings.dns_search),
        "ExtraHosts": list(settings.extra_hosts) or None,
    }


def _isolation(settings: Settings) -> dict[str, Any]:
    masked, readonly = rights.hidden_paths(settings)
    return {
        "CapAdd": list(settings.cap_add) or None,
        "CapDrop": list(settings.cap_drop) or None,
        "CgroupnsMode": settings.cgroupns_mode or "private",
        "IpcMode": settings.ipc_mode or "private",
        "PidMode": settings.pid_mode,
        "UTSMode": settings.uts_mode,
        "UsernsMode": settings.userns_mode,
        "GroupAdd": list(settings.group_add) or None,
        "Privileged": settings.privileged,
        "ReadonlyRootfs": settings.readonly,
        "SecurityOpt": _security(settings) or None,
        "MaskedPaths": masked or None,
        "ReadonlyPaths": readonly or None,
        "ShmSize": settings.shm_size,
        "Sysctls": _sorted(settings.sysctls) or None,
        "Runtime": "pyctr",
        "Isolation": "",
    }


def _security(settings: Settings) -> list[str]:
    """--security-opt; ``systempaths`` is told by the paths themselves, as Docker does."""
    made = ["no-new-privileges"] if settings.no_new_privileges else []
    return made + ([] if settings.seccomp == "default" else [f"seccomp={settings.seccomp}"])


def _resources(settings: Settings) -> dict[str, Any]:
    return {
        "CgroupParent": settings.cgroup_parent or containers.PARENT,
        "Cgroup": "",
        "CpuShares": settings.cpu_shares,
        "NanoCpus": settings.nano_cpus,
        "CpuPeriod": settings.cpu_period,
        "CpuQuota": settings.cpu_quota,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": settings.cpuset_cpus,
        "CpusetMems": settings.cpuset_mems,
        "Memory": settings.memory,
        "MemoryReservation": settings.memory_reservation,
        "MemorySwap": settings.memory_swap,
        "MemorySwappiness": None if settings.memory_swappiness < 0 else settings.memory_swappiness,
        "OomKillDisable": settings.oom_kill_disable,
        "OomScoreAdj": settings.oom_score_adj,
        "PidsLimit": settings.pids_limit or None,
        "Ulimits": [
            {"Name": name, "Soft": soft, "Hard": hard}
            for name, (soft, hard) in settings.ulimits.items()
        ],
    }


def _block_devices(settings: Settings) -> dict[str, Any]:
    return {
        "BlkioWeight": settings.blkio_weight,
        "BlkioWeightDevice": _pairs(settings.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": _pairs(settings.device_read_bps, "Rate"),
        "BlkioDeviceReadIOps": _pairs(settings.device_read_iops, "Rate"),
        "BlkioDeviceWriteBps": _pairs(settings.device_write_bps, "Rate"),
        "BlkioDeviceWriteIOps": _pairs(settings.device_write_iops, "Rate"),
        "Devices": [
            {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access}
            for host, inside, access in settings.devices
        ],
        "DeviceCgroupRules": list(settings.device_cgroup_rules) or None,
        "DeviceRequests": None,
    }


def _pairs(entries: Iterable[Any], key: str) -> list[dict[str, Any]]:
    return [{"Path": path, key: number} for path, number in entries]


def _sorted(words: dict[str, str]) -> Map:
    return Map(sorted(words.items()))
