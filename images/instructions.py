"""Instructions that change an image's configuration: ``commit -c`` and ``import -c``.

The words are those of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME,
WORKDIR. Lists may be JSON (the "exec form") or, for CMD and ENTRYPOINT, a line for /bin/sh.
"""

from __future__ import annotations

from images.errors import ImageError

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


def command_form(text: str) -> list[str]:
    """The exec form as it is; anything else is a line for the shell."""
    listed = _json_list(text)
    return ["/bin/sh", "-c", text] if listed is None else listed


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


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    import json

    try:
        listed = json.loads(text)
    except ValueError:
        return None
    if isinstance(listed, list) and all(isinstance(word, str) for word in listed):
        return listed
    return None


def _cmd(config: Config, text: str) -> None:
    config["Cmd"] = command_form(text)


def _entrypoint(config: Config, text: str) -> None:
    config["Entrypoint"] = command_form(text)


def _env(config: Config, text: str) -> None:
    for key, value in pairs(text):
        kept = [entry for entry in config.get("Env") or [] if entry.partition("=")[0] != key]
        config["Env"] = [*kept, f"{key}={value}"]


def _label(config: Config, text: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(pairs(text))}


def _expose(config: Config, text: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in text.split():
        number, _, protocol = word.partition("/")
        if not number.isdigit() or not 0 < int(number) < 65536:
            raise ImageError(f"cannot expose {word!r}", "a port is a number from 1 to 65535")
        if protocol not in ("", "tcp", "udp", "sctp"):
            raise ImageError(f"cannot expose {word!r}", "the protocol is tcp, udp or sctp")
        ports[f"{number}/{protocol or 'tcp'}"] = {}
    config["ExposedPorts"] = ports


def _volume(config: Config, text: str) -> None:
    wanted = _json_list(text) or text.split()
    for path in wanted:
        if not path.startswith("/"):
            raise ImageError(f"cannot add the volume {path!r}", "its path must begin with /")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in wanted}}


def _workdir(config: Config, text: str) -> None:
    import posixpath

    base = config.get("WorkingDir") or "/"
    config["WorkingDir"] = posixpath.normpath(posixpath.join(base, text))


def _user(config: Config, text: str) -> None:
    config["User"] = text


def _stop_signal(config: Config, text: str) -> None:
    from kernel import signals

    try:
        signals.number(text)
    except ValueError as error:
        raise ImageError("cannot apply STOPSIGNAL", str(error)) from None
    config["StopSignal"] = text


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "LABEL": _label,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
