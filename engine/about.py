"""What `info` and `version` say: this host, this root folder and this program."""

from __future__ import annotations

import os

from engine import config, logopts
from engine.containers import UP
from images.config import host_architecture
from kernel import paths
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.home import Home

_FILE_SYSTEMS = {  # statfs(2): what a root folder may lie on, in Docker's words
    0xEF53: "extfs",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x2FC12FC1: "zfs",
    0x794C7630: "overlayfs",
}


def info(home: Home, version: str) -> dict[str, Any]:
    """Docker's fields, of which those that need a daemon or a swarm are left out."""
    rows = home.db.execute("SELECT status, count(*) FROM containers GROUP BY status")
    counts = dict(rows.fetchall())
    found = cgroups.hierarchies()
    controllers = {*found.v1, *found.v2_controllers}
    host = os.uname()
    running = sum(counts.get(status, 0) for status in UP if status != "paused")
    paused = counts.get("paused", 0)
    return {
        "Containers": sum(counts.values()),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": sum(counts.values()) - running - paused,
        "Images": home.db.execute("SELECT count(*) FROM images").fetchone()[0],
        "Volumes": home.db.execute("SELECT count(*) FROM volumes").fetchone()[0],
        "ServerVersion": version,
        "Driver": "overlay",
        "DriverStatus": [["Backing Filesystem", _file_system(home.root)]],
        "LoggingDriver": _log_driver(),
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if found.pure_v2 else "1",
        "CgroupLayout": "unified" if found.pure_v2 else "hybrid" if found.v2 else "legacy",
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Log": list(logopts.DRIVERS),
        },
        "MemoryLimit": "memory" in controllers,
        "CpuCfsPeriod": "cpu" in controllers,
        "CpuCfsQuota": "cpu" in controllers,
        "CPUShares": "cpu" in controllers,
        "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers,
        "Runtimes": {"pyctr": {"path": "pyctr"}},
        "DefaultRuntime": "pyctr",
        "Swarm": {"LocalNodeState": "inactive"},
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "KernelVersion": host.release,
        "OperatingSystem": _operating_system("PRETTY_NAME"),
        "OSVersion": _operating_system("VERSION_ID"),
        "OSType": "linux",
        "Architecture": host.machine,
        "NCPU": os.cpu_count(),
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "Name": host.nodename,
        "DockerRootDir": home.root,
        "RunDir": home.run,
        "ClientInfo": {"Version": version, "Context": "default", "Debug": False},
    }


def version(number: str) -> dict[str, Any]:
    """Client and server are one program: nothing listens."""
    import platform

    host = os.uname()
    found = {
        "Version": number,
        "Specifications": ["OCI runtime 1.2", "OCI image 1.1"],
        "PythonVersion": platform.python_version(),
        "KernelVersion": host.release,
        "Os": "linux",
        "Arch": host_architecture(),
    }
    return {"Client": {**found, "Context": "default"}, "Server": found}


def _log_driver() -> str:
    """The driver of new containers: as configured, or the one that is built in."""
    words = config.current().settings["log.driver"].words
    return words[0] if words else logopts.DRIVERS[0]


def _file_system(folder: str) -> str:
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        number = paths.fs_magic(fd)
    finally:
        os.close(fd)
    return _FILE_SYSTEMS.get(number, f"{number:#x}")


def _operating_system(key: str) -> str:
    """A value of os-release(5); "unknown" where there is none."""
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read(1 << 16).splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition("=")
            if name == key:
                return value.strip("\"'")
    return "unknown"
