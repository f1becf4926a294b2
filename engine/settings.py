"""What a container was asked to be: decided when it is created, kept as JSON in its row."""

from __future__ import annotations

from kernel import quickjson
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Settings(Record):
    """Everything of a container but its mounts and its image.

    Sizes are bytes, ``nano_cpus`` billionths of a CPU, ``stop_timeout`` seconds, ``cpu_period``
    and ``cpu_quota`` microseconds. Zero or empty means not limited, not given. ``*_device`` are
    [path, weight], ``device_*`` [path, bytes or operations a second]; ``devices`` are [path on the
    host, path inside, access]. The namespace modes are "" (the default), "private", "host",
    "none", "shareable" or "container:<id>" (engine.views). ``seccomp`` is default, builtin (the
    same, but asked for), unconfined, or a profile as JSON. ``health`` has the fields of an image's
    Healthcheck (times in nanoseconds); ``shell`` is the image's, for its CMD-SHELL. ``restart`` is
    no, on-failure, always or unless-stopped. ``args`` is the whole command line, entrypoint
    included; ``path_length`` says how many of its words are the entrypoint. ``binds``, ``volumes``
    (-v with and without a source), ``mounts``, ``tmpfs`` and ``volumes_from`` tell what was asked
    for, as `inspect` shows it; what became of it is in the table of mounts. ``attach`` are the
    streams that whoever made it wanted for themselves. ``publish`` are the fields of
    :class:`network.ports.Publication`; ``expose`` are names such as 80/tcp, the image's included.
    """

    args: tuple[str, ...]
    path_length: int = 0
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    hostname: str = ""
    domainname: str = ""
    network: str = "none"
    tty: bool = False
    stdin_open: bool = False
    readonly: bool = False
    auto_remove: bool = False
    labels: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    stop_signal: str = ""
    stop_timeout: float = 10.0
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0
    oom_score_adj: int = 0
    shm_size: int = 64 << 20
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = "default"
    sysctls: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    ulimits: dict[str, Any] = {}  # noqa: RUF012 - name to [soft, hard]
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    cpu_period: int = 0
    cpu_quota: int = 0
    blkio_weight_device: tuple[Any, ...] = ()
    device_read_bps: tuple[Any, ...] = ()
    device_write_bps: tuple[Any, ...] = ()
    device_read_iops: tuple[Any, ...] = ()
    device_write_iops: tuple[Any, ...] = ()
    privileged: bool = False
    init: bool = False
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    cgroupns_mode: str = ""
    userns_mode: str = ""
    systempaths: str = ""
    cgroup_parent: str = ""
    devices: tuple[Any, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    annotations: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    attach: tuple[str, ...] = ()
    restart: str = "no"
    restart_max: int = 0
    health: dict[str, Any] = {}  # noqa: RUF012 - a frozen record's default
    log_driver: str = "json-file"
    log_opts: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    shell: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    mounts: tuple[Any, ...] = ()
    tmpfs: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    volumes_from: tuple[str, ...] = ()
    publish: tuple[Any, ...] = ()
    publish_all: bool = False
    expose: tuple[str, ...] = ()

    @property
    def stdin_once(self) -> bool:
        """Docker's StdinOnce: standard input is there for those who attach, and ends with them."""
        return self.stdin_open and "stdin" in self.attach

    @property
    def is_on_networks(self) -> bool:
        """Whether it has endpoints: its network is not none, the host's or another's."""
        return self.network not in ("none", "host") and not self.network.startswith("container:")

    @property
    def log_file(self) -> str:
        """The file below the container's folder that its log driver writes; "" if it keeps none."""
        names = {"json-file": "log.json", "local": "local-logs/container.log"}
        return names.get(self.log_driver, "")


def encode(settings: Settings) -> str:
    """JSON of the fields that differ from their defaults."""
    defaults = Settings(())
    different = {
        name: value
        for name, value in settings.as_dict().items()
        if name == "args" or value != getattr(defaults, name)
    }
    return quickjson.dumps(different)


def decode(text: str) -> Settings:
    """The settings of :func:`encode`."""
    given: dict[str, Any] = {}
    for name, value in quickjson.loads(text).items():
        given[name] = tuple(value) if isinstance(value, list) else value
    return Settings(**given)
