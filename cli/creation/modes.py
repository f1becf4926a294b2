"""What the words of the flags about isolation must look like; see :mod:`cli.creation.readers`."""

from __future__ import annotations

import os

from cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _mode(text: str, words: tuple[str, ...]) -> str:
    """One of the words, or, where "container:" is one, a container's name behind it."""
    kind, colon, name = text.partition(":")
    if text in words and not colon:
        return text
    if colon and f"{kind}:" in words and name:
        return text
    shown = [f"{word}NAME" if word.endswith(":") else word for word in words]
    raise ValueError(f"it is {' or '.join(shown)}")


def pid(text: str) -> str:
    return _mode(text, ("host", "container:"))


def ipc(text: str) -> str:
    return _mode(text, ("none", "private", "shareable", "host", "container:"))


def uts(text: str) -> str:
    return _mode(text, ("host",))


def cgroupns(text: str) -> str:
    return _mode(text, ("host", "private"))


def userns(text: str) -> str:
    if text != "host":
        raise UsageError(
            f"user namespace {text!r} is not supported yet",
            "pyctr knows host, which is the default",
        )
    return text


def capability(text: str) -> str:
    from engine.rights import capability_name

    return capability_name(text)


def device(text: str) -> list[tuple[str, str, str]]:
    from engine.devices import parse

    return parse(text)


def device_rule(text: str) -> str:
    from engine.devices import parse_rule

    parse_rule(text)
    return text


def cgroup_parent(text: str) -> str:
    parts = text.strip("/").split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in text or "\n" in text:
        raise ValueError("it is a path from the root of the control groups, for example /pyctr/web")
    return "/" + "/".join(parts)


def security(text: str) -> dict[str, Any]:
    """One --security-opt as the settings that it decides."""
    word, sign, value = text.partition("=")
    if not sign:  # an older spelling
        word, sign, value = text.partition(":")
    if word == "no-new-privileges" and value in ("", "true", "false"):
        return {"no_new_privileges": value != "false"}
    if word == "seccomp" and value:
        return {"seccomp": value if value in ("unconfined", "builtin") else _profile(value)}
    if (word, value) == ("systempaths", "unconfined"):
        return {"systempaths": "unconfined"}
    if (word, value) in (("label", "disable"), ("apparmor", "unconfined")):
        return {}  # which is so: pyctr gives no process a label or a profile
    raise _unsupported(text, word)


def _unsupported(text: str, word: str) -> UsageError:
    missing = {"label": ("SELinux", "/sys/fs/selinux/enforce"),
               "apparmor": ("AppArmor", "/sys/module/apparmor")}  # fmt: skip
    if word not in missing:
        return UsageError(
            f"security option {text!r} is not supported",
            "pyctr knows no-new-privileges, seccomp=FILE, seccomp=unconfined, seccomp=builtin and"
            " systempaths=unconfined",
        )
    name, place = missing[word]
    if os.path.exists(place):
        return UsageError(
            f"security option {text!r} is not supported", f"pyctr does not use {name}"
        )
    return UsageError(f"security option {text!r} is not supported", f"this host has no {name}")


def _profile(path: str) -> str:
    """A seccomp profile as one line of JSON, read and checked here, for its file may go."""
    from kernel import quickjson
    from runtime import seccomp_profile

    try:
        with open(path, encoding="utf-8") as file:
            profile = quickjson.loads(file.read())
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read the seccomp profile {path}", str(why)) from None
    seccomp_profile.check(profile)
    return quickjson.dumps(profile)
