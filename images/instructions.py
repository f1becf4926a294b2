"""Instructions that change an image's configuration: ``commit -c`` and ``import -c``.

The words are those of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME,
WORKDIR. Lists may be JSON (the "exec form") or, for CMD and ENTRYPOINT, a line for /bin/sh.
"""

from __future__ import annotations

from images.errors import ImageError
from kernel import quickjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Config = dict[str, Any]


def apply(config: Config, lines: Iterable[str]) -> Config:
    """The ``config`` object of an image after the instructions, the given one untouched."""
    import copy

    changed = copy.deepcopy(config)
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        perform = _INSTRUCTIONS.get(word.upper())
        if perform is None:
            known = ", ".join(sorted(_INSTRUCTIONS))
            raise ImageError(
                f"cannot apply the change {line!r}",
                f"{word or 'nothing'} is not an instruction that changes a configuration",
                f"use one of {known}",
            )
        if not rest.strip():
            raise ImageError(f"cannot apply the change {line!r}", f"{word.upper()} needs a value")
        perform(changed, rest.strip())
    return changed


def command_form(text: str, shell: Iterable[str] = ("/bin/sh", "-c")) -> list[str]:
    """The exec form as it is; anything else is a line for the shell."""
    listed = json_list(text)
    return [*shell, text] if listed is None else listed


def pairs(text: str) -> list[tuple[str, str]]:
    """``key=value key2="two words"``, or the old form ``key the rest``."""
    import shlex

    first = text.split(None, 1)
    if "=" not in first[0]:
        if len(first) == 1:
            raise ImageError(f"cannot read {text!r}", "a value is missing", "write key=value")
        return [(first[0], first[1])]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ImageError(f"cannot read {text!r}", str(error).lower()) from None
    found = []
    for word in words:
        key, sign, value = word.partition("=")
        if not key or not sign:
            raise ImageError(f"cannot read {text!r}", f"{word!r} is not key=value")
        found.append((key, value))
    return found


def json_list(text: str) -> list[str] | None:
    """The words of a JSON list of words, None for anything else."""
    if not text.startswith("["):
        return None
    try:
        listed = quickjson.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(listed, list) and all(isinstance(word, str) for word in listed):
        return listed
    return None


# -- one field each, of values that are known: what Dockerfiles use as well -----------------


def set_env(config: Config, key: str, value: str) -> None:
    """A variable, in the place of one of that name."""
    kept = [entry for entry in config.get("Env") or [] if entry.partition("=")[0] != key]
    config["Env"] = [*kept, f"{key}={value}"]


def add_labels(config: Config, labels: dict[str, str]) -> None:
    """Labels; those of the same key are replaced."""
    config["Labels"] = {**(config.get("Labels") or {}), **labels}


def add_ports(config: Config, words: Iterable[str]) -> None:
    """``80``, ``53/udp``, ``8000-8010/tcp``."""
    ports = dict(config.get("ExposedPorts") or {})
    for word in words:
        numbers, _, protocol = word.partition("/")
        first, dash, last = numbers.partition("-")
        ends = (first, last if dash else first)
        if not all(end.isascii() and end.isdigit() and 0 < int(end) < 65536 for end in ends):
            raise ImageError(f"cannot expose {word!r}", "a port is a number from 1 to 65535")
        if int(ends[0]) > int(ends[1]):
            raise ImageError(f"cannot expose {word!r}", "the range ends before it begins")
        if protocol.lower() not in ("", "tcp", "udp", "sctp"):
            raise ImageError(f"cannot expose {word!r}", "the protocol is tcp, udp or sctp")
        for number in range(int(ends[0]), int(ends[1]) + 1):
            ports[f"{number}/{protocol.lower() or 'tcp'}"] = {}
    config["ExposedPorts"] = ports


def add_volumes(config: Config, paths: Iterable[str]) -> None:
    """Places at which every container gets a volume."""
    wanted = list(paths)
    for path in wanted:
        if not path.startswith("/"):
            raise ImageError(f"cannot add the volume {path!r}", "its path must begin with /")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in wanted}}


def set_workdir(config: Config, path: str) -> None:
    """The working folder; a relative path continues the one before."""
    import posixpath

    base = config.get("WorkingDir") or "/"
    config["WorkingDir"] = posixpath.normpath(posixpath.join("/", base, path))


def set_stop_signal(config: Config, word: str) -> None:
    """The signal that asks a container to end."""
    from kernel import signals

    try:
        signals.number(word)
    except ValueError as error:
        raise ImageError("cannot apply STOPSIGNAL", str(error)) from None
    config["StopSignal"] = word


def _cmd(config: Config, text: str) -> None:
    config["Cmd"] = command_form(text)


def _entrypoint(config: Config, text: str) -> None:
    config["Entrypoint"] = command_form(text)


def _env(config: Config, text: str) -> None:
    for key, value in pairs(text):
        set_env(config, key, value)


def _label(config: Config, text: str) -> None:
    add_labels(config, dict(pairs(text)))


def _expose(config: Config, text: str) -> None:
    add_ports(config, text.split())


def _volume(config: Config, text: str) -> None:
    add_volumes(config, json_list(text) or text.split())


def _user(config: Config, text: str) -> None:
    config["User"] = text


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "STOPSIGNAL": set_stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": set_workdir,
}
