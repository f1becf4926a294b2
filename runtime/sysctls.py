"""Which kernel parameters belong to a namespace, and may therefore be set for a container.

A name is written with dots; where a part of it has a dot (an interface eth0.100), dots and slashes
are exchanged in it, as sysctl.d(5) says. Whatever is not known here concerns the whole host.

Source: namespaces(7), ipc_namespaces(7), network_namespaces(7), uts_namespaces(7), sysctl.d(5).
"""

from __future__ import annotations

from runtime.errors import RuntimeFailure

_IPC = frozenset(
    f"kernel.{name}"
    for name in (
        "msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced",
    )
)  # fmt: skip
_EXCHANGE = str.maketrans("./", "/.")


def path(name: str) -> str:
    """The file below /proc/sys. RuntimeFailure for a name that would lead elsewhere."""
    file = name.translate(_EXCHANGE)
    if any(part in ("", ".", "..") for part in file.split("/")) or "\0" in file:
        raise RuntimeFailure(f"{name!r} is not the name of a kernel parameter")
    return file


def check(name: str, namespaces: tuple[str, ...]) -> None:
    """RuntimeFailure unless ``name`` belongs to one of the container's own ``namespaces``."""
    path(name)
    kind = _namespace(name)
    if name == "kernel.hostname":
        raise RuntimeFailure(f"cannot set {name}", "it is the host name", "use --hostname")
    if not kind:
        raise RuntimeFailure(
            f"cannot set {name}",
            "it is not in a separate kernel namespace: it would change the host",
            f"sysctl -w {name}=... on the host, if you want that",
        )
    if kind not in namespaces:
        raise RuntimeFailure(
            f"cannot set {name}", f"it is not allowed in the host's {kind} namespace"
        )


def _namespace(name: str) -> str:
    """The kind of namespace that has the parameter, "" if none."""
    if name in _IPC or name.startswith("fs.mqueue."):
        return "ipc"
    if name.startswith("net."):
        return "network"
    return "uts" if name in ("kernel.hostname", "kernel.domainname") else ""
