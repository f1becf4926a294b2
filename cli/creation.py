"""The options that `create` and `run` share, and what they ask for."""

from __future__ import annotations

import os

from cli.errors import UsageError
from cli.options import Option, Parsed, option
from engine.create import CreateRequest
from engine.settings import Settings
from kernel import units
from volumes.requests import parse_from, parse_mount, parse_tmpfs, parse_volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volumes.requests import Request

_HOST_WORDS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")
_ULIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
    "nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


def _volume(text: str) -> Request:
    return parse_volume(text, os.getcwd())


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("it is not a whole number")
    return int(text)


def _pids(text: str) -> int:
    return 0 if text in ("-1", "0") else _positive(text)


def _memory(text: str) -> int:
    size = units.parse_bytes(text)
    if size < 6 << 20:
        raise ValueError("the minimum memory limit is 6m")
    return size


def _swap(text: str) -> int:
    return -1 if text == "-1" else units.parse_bytes(text)


def _cpus(text: str) -> int:
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit() or not whole or len(fraction) > 9:
        raise ValueError("it is a number of CPUs such as 1.5")
    nano = int(whole) * 10**9 + int(fraction.ljust(9, "0") or 0)
    if not 10**7 <= nano <= (os.cpu_count() or 1) * 10**9:
        raise ValueError(f"it is between 0.01 and {os.cpu_count()}, the CPUs of this host")
    return nano


def _cpu_list(text: str) -> str:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and (not last.isdigit() or int(last) < int(first))):
            raise ValueError("it is a list such as 0-2,4")
    return text


def _oom_score(text: str) -> int:
    if not text.lstrip("-").isdigit() or not -1000 <= int(text) <= 1000:
        raise ValueError("it is between -1000 and 1000")
    return int(text)


def _weight(text: str) -> int:
    if not text.isdigit() or not (10 <= int(text) <= 1000 or text == "0"):
        raise ValueError("it is between 10 and 1000")
    return int(text)


def _shares(text: str) -> int:
    if not 2 <= _positive(text) <= 262144:
        raise ValueError("it is between 2 and 262144")
    return int(text)


def _env(text: str) -> str:
    name = text.partition("=")[0]
    if not name or "\0" in text:
        raise ValueError("write NAME=value, or NAME to take it from this environment")
    return text


def env_entry(text: str) -> str:
    """``NAME`` takes its value from this environment, and is left out where that has none."""
    if "=" in text or text not in os.environ:
        return text
    return f"{text}={os.environ[text]}"


def env_file(path: str) -> list[str]:
    """The entries of an environment file: NAME=value or NAME a line, # begins a comment."""
    try:
        with open(path) as file:
            lines = [line.rstrip("\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}", str(error)) from None
    kept = [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for line in kept:
        if not line.partition("=")[0] or " " in line.partition("=")[0]:
            raise UsageError(f"invalid line in {path}", f"{line!r} is not NAME=value")
    return [env_entry(line) for line in kept]


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    if not key:
        raise ValueError("write key=value")
    return key, value


def _sysctl(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise ValueError("write name=value, for example net.core.somaxconn=1024")
    return key.replace("/", "."), value


def _ulimit(text: str) -> tuple[str, tuple[int, int]]:
    name, sign, value = text.partition("=")
    soft, colon, hard = value.partition(":")
    if name not in _ULIMITS or not sign:
        raise ValueError(f"write name=soft[:hard], name being one of {' '.join(_ULIMITS)}")
    low, high = (_limit(word) for word in (soft, hard if colon else soft))
    if high != -1 and (low > high or low == -1):
        raise ValueError("the soft limit is above the hard limit")
    return name, (low, high)


def _limit(word: str) -> int:
    if word in ("-1", "unlimited"):
        return -1
    return _positive(word)


def _hostname(text: str) -> str:
    if not text or len(text) > 64 or not set(text) <= _HOST_WORDS or text[0] in "-.":
        raise ValueError("it has at most 64 letters, digits, dots and dashes")
    return text


def _network(text: str) -> str:
    if text not in ("none", "host"):
        raise UsageError(
            f"network {text!r} is not supported yet", "pyctr knows none (the default) and host"
        )
    return text


def _signal(text: str) -> str:
    from kernel import signals

    signals.number(text)
    return text


def _working_dir(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("it is not an absolute path")
    return text


def _user(text: str) -> str:
    if len(text) > 256 or text.count(":") > 1 or text.startswith(":") or "\0" in text:
        raise ValueError("write user, uid, user:group or uid:gid")
    return text


def _security(text: str) -> str:
    word = text.replace(":", "=", 1)
    if word in ("no-new-privileges", "no-new-privileges=true", "no-new-privileges=false"):
        return word
    if word == "seccomp=unconfined":
        return word
    raise UsageError(
        f"security option {text!r} is not supported",
        "pyctr knows no-new-privileges and seccomp=unconfined",
    )


def _explain(text: str) -> str:
    if text not in ("steps", "sh"):
        raise ValueError("it is steps or sh")
    return text


def value(names: str, metavar: str, help: str, **more: Any) -> Option:  # noqa: A002
    """An option whose last value counts."""
    return option(names, help, kind="value", metavar=metavar, **more)


def several(names: str, metavar: str, help: str, **more: Any) -> Option:  # noqa: A002
    """An option that may be given many times."""
    return option(names, help, kind="list", metavar=metavar, **more)


EXPLAIN = option(
    "--explain",
    "Show every step with its system call, why it is made and the man page; =sh prints a shell"
    " script that does the same by hand",
    kind="maybe",
    metavar="sh",
    implied="steps",
    read=_explain,
)

OPTIONS: tuple[Option, ...] = (
    several("-v --volume", "SPEC", "Mount a volume (/path, name:/path) or a host folder"
            " (/host:/path); :ro makes it read-only", read=_volume),
    several("--mount", "SPEC", "The same in words: type=volume|bind|tmpfs,source=...,target=...",
            read=parse_mount),
    several("--tmpfs", "PATH[:OPTIONS]", "Mount a tmpfs", read=parse_tmpfs),
    several("--volumes-from", "CONTAINER[:ro]", "Mount all volumes of another container",
            read=parse_from),
    value("--name", "NAME", "Name the container"),
    option("-i --interactive", "Keep standard input open"),
    option("-t --tty", "Give it a terminal"),
    option("--rm", "Remove the container and its anonymous volumes when it ends"),
    several("-e --env", "NAME=VALUE", "Set an environment variable", read=_env),
    several("--env-file", "FILE", "Read environment variables from a file"),
    value("-w --workdir", "PATH", "Working folder inside", read=_working_dir, default=""),
    value("-u --user", "USER[:GROUP]", "Run as this user", read=_user, default=""),
    several("--group-add", "GROUP", "Further groups"),
    value("--entrypoint", "COMMAND", "Instead of the image's entrypoint"),
    value("-h --hostname", "NAME", "Host name inside", read=_hostname, default=""),
    value("--domainname", "NAME", "NIS domain name inside", read=_hostname, default=""),
    value("--network", "none|host", "No network (the default), or the host's", read=_network,
          default="none"),
    option("--read-only", "Make the root file system read-only"),
    several("-l --label", "KEY=VALUE", "Attach a label", read=_pair),
    value("-m --memory", "BYTES", "Memory limit, for example 64m", read=_memory, default=0),
    value("--memory-swap", "BYTES", "Memory and swap together; -1 for no limit of swap",
          read=_swap, default=0),
    value("--memory-reservation", "BYTES", "Soft memory limit", read=units.parse_bytes,
          default=0),
    value("--cpus", "NUMBER", "CPUs, for example 1.5", read=_cpus, default=0),
    value("-c --cpu-shares", "NUMBER", "CPU weight among containers (1024 is normal)",
          read=_shares, default=0),
    value("--cpuset-cpus", "LIST", "CPUs it may use, for example 0-2,4", read=_cpu_list,
          default=""),
    value("--cpuset-mems", "LIST", "Memory nodes it may use", read=_cpu_list, default=""),
    value("--pids-limit", "NUMBER", "Processes and threads at most", read=_pids, default=0),
    value("--blkio-weight", "NUMBER", "Block input/output weight, 10 to 1000", read=_weight,
          default=0),
    value("--oom-score-adj", "NUMBER", "How willingly the kernel kills it for memory",
          read=_oom_score, default=0),
    value("--shm-size", "BYTES", "Size of /dev/shm", read=units.parse_bytes, default=64 << 20),
    several("--ulimit", "NAME=SOFT[:HARD]", "Set a resource limit", read=_ulimit),
    several("--sysctl", "NAME=VALUE", "Set a kernel parameter of its namespaces", read=_sysctl),
    several("--cap-add", "CAPABILITY", "Add a capability"),
    several("--cap-drop", "CAPABILITY", "Take a capability away"),
    several("--security-opt", "OPTION", "no-new-privileges or seccomp=unconfined",
            read=_security),
    value("--stop-signal", "SIGNAL", "The signal that asks it to stop", read=_signal, default=""),
    value("--stop-timeout", "SECONDS", "Patience before it is killed", read=_positive,
          default=10),
    value("--cidfile", "FILE", "Write the container's id to a file"),
    EXPLAIN,
)  # fmt: skip


def request(parsed: Parsed) -> CreateRequest:
    """What the command line asks for. UsageError for combinations that cannot be."""
    from engine.compose import capability_name

    image, *command = parsed.words
    for name in (*parsed.cap_add, *parsed.cap_drop):
        capability_name(name)
    if parsed.memory_swap and not parsed.memory:
        raise UsageError("--memory-swap needs --memory as well")
    if 0 < parsed.memory_swap < parsed.memory:
        raise UsageError("--memory-swap is smaller than --memory", "it counts both together")
    if parsed.memory_reservation > parsed.memory > 0:
        raise UsageError("--memory-reservation is larger than --memory")
    env = [entry for path in parsed.env_file for entry in env_file(path)]
    settings = Settings(
        args=tuple(command),
        env=(*env, *map(env_entry, parsed.env)),
        working_dir=parsed.workdir,
        user=parsed.user,
        group_add=tuple(parsed.group_add),
        hostname=parsed.hostname,
        domainname=parsed.domainname,
        network=parsed.network,
        tty=parsed.tty,
        stdin_open=parsed.interactive,
        readonly=parsed.read_only,
        auto_remove=parsed.rm,
        labels=dict(parsed.label),
        stop_signal=parsed.stop_signal,
        stop_timeout=float(parsed.stop_timeout),
        memory=parsed.memory,
        memory_swap=parsed.memory_swap,
        memory_reservation=parsed.memory_reservation,
        nano_cpus=parsed.cpus,
        cpu_shares=parsed.cpu_shares,
        cpuset_cpus=parsed.cpuset_cpus,
        cpuset_mems=parsed.cpuset_mems,
        pids_limit=parsed.pids_limit,
        blkio_weight=parsed.blkio_weight,
        oom_score_adj=parsed.oom_score_adj,
        shm_size=parsed.shm_size,
        cap_add=tuple(parsed.cap_add),
        cap_drop=tuple(parsed.cap_drop),
        no_new_privileges=any(
            word.startswith("no-new-privileges") and not word.endswith("false")
            for word in parsed.security_opt
        ),
        seccomp="unconfined" if "seccomp=unconfined" in _words(parsed) else "default",
        sysctls=dict(parsed.sysctl),
        ulimits=dict(parsed.ulimit),
    )
    entrypoint = parsed.entrypoint
    return CreateRequest(
        image,
        settings,
        name=parsed.name or "",
        entrypoint=None if entrypoint is None else ((entrypoint,) if entrypoint else ()),
        volumes=(*parsed.volume, *parsed.mount, *parsed.tmpfs),
        volumes_from=tuple(parsed.volumes_from),
    )


def _words(parsed: Parsed) -> list[str]:
    return list(parsed.security_opt)
