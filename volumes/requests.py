"""What a person asks for: ``-v``, ``--mount``, ``--tmpfs`` and ``--volumes-from`` into records.

Parsing is pure and total: any text gives a record or a VolumeError that quotes it. Options that
have no effect here are refused by name, not swallowed.

Source: Docker's documentation of `docker run` (--volume, --mount, --tmpfs, --volumes-from).
"""

from __future__ import annotations

import posixpath

from kernel import units
from kernel.record import Record
from volumes.errors import VolumeError

_ALNUM = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _ALNUM | frozenset("_.-")
_PROPAGATION = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_TMPFS_FLAGS = ("ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime")
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes")
_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
_OPPOSITE = {"ro": "rw", "exec": "noexec", "suid": "nosuid", "dev": "nodev"}


class Request(Record):
    """One mount that a person asked for.

    ``kind`` is volume, bind or tmpfs. ``source`` is a volume's name or a host path, "" for an
    anonymous volume. ``explicit`` requests beat --volumes-from. ``make_source`` makes a missing
    host folder, as -v does and --mount does not. ``options`` are words of mount(8).
    """

    kind: str
    destination: str
    source: str = ""
    readonly: bool = False
    explicit: bool = True
    copy: bool = True
    make_source: bool = False
    options: tuple[str, ...] = ()


class From(Record):
    """``--volumes-from``: all volumes of a container, ``readonly`` on demand."""

    container: str
    readonly: bool = False


def is_name(text: str) -> bool:
    """Whether ``text`` can name a volume: Docker's rule, and short enough to be a folder."""
    return 1 < len(text) <= 200 and text[0] in _ALNUM and set(text) <= _NAME


def check_name(text: str) -> str:
    """``text`` if it can name a volume, else VolumeError."""
    if is_name(text):
        return text
    raise VolumeError(
        f"invalid volume name {text!r}",
        "a name has 2 to 200 of the characters a-z A-Z 0-9 _ . - and begins with a letter or digit",
        "to mount a folder of the host write its absolute path, or ./path",
    )


def parse_volume(text: str, folder: str = "/") -> Request:
    """``-v``: ``/path``, ``name:/path[:options]`` or ``/host/path:/path[:options]``.

    A source that begins with ``./`` or ``../`` is relative to ``folder``.
    """
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise _invalid(text, "write /path, name:/path[:options] or /host/path:/path[:options]")
    if len(parts) == 1:
        return Request("volume", _destination(text, text), explicit=False)
    source, destination = parts[0], _destination(text, parts[1])
    words = parts[2].split(",") if len(parts) == 3 else []
    is_path = source in (".", "..") or source.startswith(("/", "./", "../"))
    readonly, copy, propagation = _words(text, words, is_path)
    if is_path:
        path = posixpath.normpath(posixpath.join(folder, source))
        options = ("rbind", propagation or "rprivate")
        return Request("bind", destination, path, readonly, make_source=True, options=options)
    return Request("volume", destination, check_name(source), readonly, copy=copy)


def _words(text: str, words: list[str], is_path: bool) -> tuple[bool, bool, str]:
    readonly: bool | None = None
    copy, propagation = True, ""
    for word in words:
        if word in ("ro", "rw") and readonly is None:
            readonly = word == "ro"
        elif word == "nocopy" and not is_path:
            copy = False
        elif word in _PROPAGATION and is_path and not propagation:
            propagation = word
        elif word in ("z", "Z"):
            raise _invalid(text, f"option {word} (SELinux labels) is not supported")
        else:
            raise _invalid(text, f"unknown, repeated or misplaced option {word!r}")
    return bool(readonly), copy, propagation


def parse_mount(text: str) -> Request:
    """``--mount type=volume|bind|tmpfs,source=...,target=...``: comma-separated, as CSV."""
    fields = _fields(text)
    kind = fields.pop("type", "volume")
    if kind not in ("volume", "bind", "tmpfs"):
        raise _invalid_mount(text, f"type {kind!r} is not volume, bind or tmpfs")
    target = fields.pop("target", "")
    if not target:
        raise _invalid_mount(text, "target is missing")
    destination = _destination(text, target)
    source = fields.pop("source", "")
    readonly = _boolean(text, "readonly", fields.pop("readonly", "false"))
    if kind == "volume":
        copy = not _boolean(text, "volume-nocopy", fields.pop("volume-nocopy", "false"))
        _nothing_left(text, kind, fields)
        name = check_name(source) if source else ""
        return Request("volume", destination, name, readonly, copy=copy)
    if kind == "bind":
        return _bind(text, destination, source, readonly, fields)
    if source:
        raise _invalid_mount(text, "a tmpfs has no source")
    size, mode = fields.pop("tmpfs-size", ""), fields.pop("tmpfs-mode", "1777")
    _nothing_left(text, kind, fields)
    options = [*_TMPFS_DEFAULTS, _tmpfs_value(text, f"mode={mode}")]
    options += [_tmpfs_value(text, f"size={size}")] if size else []
    return Request("tmpfs", destination, readonly=readonly, options=tuple(options))


def _bind(
    text: str, destination: str, source: str, readonly: bool, fields: dict[str, str]
) -> Request:
    if not source.startswith("/"):
        raise _invalid_mount(text, "the source of a bind mount must be an absolute path")
    propagation = fields.pop("bind-propagation", "rprivate")
    if propagation not in _PROPAGATION:
        raise _invalid_mount(text, f"bind-propagation is one of {', '.join(_PROPAGATION)}")
    recursive = fields.pop("bind-recursive", "enabled")
    if recursive not in ("enabled", "disabled"):
        raise _invalid_mount(text, f"bind-recursive={recursive} is not supported")
    _nothing_left(text, "bind", fields)
    options = ("rbind" if recursive == "enabled" else "bind", propagation)
    path = posixpath.normpath(source)
    return Request("bind", destination, path, readonly, options=options)


_KEYS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}


def _fields(text: str) -> dict[str, str]:
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise _invalid_mount(text, str(error)) from None
    fields: dict[str, str] = {}
    for word in rows[0] if len(rows) == 1 else [""]:
        key, sign, value = word.partition("=")
        key = _KEYS.get(key, key)
        if not sign and key not in ("readonly", "volume-nocopy"):
            raise _invalid_mount(text, f"{word!r} is not key=value")
        if key in fields:
            raise _invalid_mount(text, f"{key} stands twice")
        fields[key] = value if sign else "true"
    return fields


def _nothing_left(text: str, kind: str, fields: dict[str, str]) -> None:
    for key in fields:
        raise _invalid_mount(text, f"option {key!r} is not supported for type {kind}")


def _boolean(text: str, key: str, value: str) -> bool:
    if value.lower() in ("true", "1"):
        return True
    if value.lower() in ("false", "0"):
        return False
    raise _invalid_mount(text, f"{key} is true or false, not {value!r}")


def parse_tmpfs(text: str) -> Request:
    """``--tmpfs /path[:options]``; without options it is noexec, nosuid and nodev."""
    path, colon, rest = text.partition(":")
    options = list(_TMPFS_DEFAULTS)
    readonly = False
    for word in rest.split(",") if colon else []:
        if word in _TMPFS_FLAGS:
            opposite = _OPPOSITE.get(word) or next(
                (key for key, value in _OPPOSITE.items() if value == word), ""
            )
            options = [kept for kept in options if kept not in (word, opposite)] + [word]
            readonly = word == "ro" or (readonly and word != "rw")
        else:
            options.append(_tmpfs_value(text, word))
    kept = tuple(word for word in options if word not in ("ro", "rw"))
    return Request("tmpfs", _destination(text, path), readonly=readonly, options=kept)


def _tmpfs_value(text: str, word: str) -> str:
    key, sign, value = word.partition("=")
    if key not in _TMPFS_VALUES or not sign:
        raise _invalid(text, f"unknown tmpfs option {word!r}")
    if key == "size":
        try:
            return f"size={units.parse_bytes(value)}"
        except ValueError as error:
            raise _invalid(text, str(error)) from None
    digits = "01234567" if key == "mode" else "0123456789"
    if not value or not set(value) <= set(digits) or len(value) > 10:
        raise _invalid(text, f"{key} is not a number: {value!r}")
    return word


def parse_from(text: str) -> From:
    """``--volumes-from container[:ro|rw]``."""
    container, colon, mode = text.partition(":")
    if not container or (colon and mode not in ("ro", "rw")):
        raise VolumeError(
            f"invalid --volumes-from {text!r}", "write the name of a container, then :ro or :rw"
        )
    return From(container, mode == "ro")


def _destination(text: str, path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise _invalid(text, f"the destination {path!r} is not an absolute path")
    normal = "/" + posixpath.normpath(path).lstrip("/")
    if normal == "/":
        raise _invalid(text, "the destination can't be '/'")
    return normal


def _invalid(text: str, why: str) -> VolumeError:
    hint = "paths with a colon need --mount" if text.count(":") > 2 else ""
    return VolumeError(f"invalid volume specification {text!r}", why, hint)


def _invalid_mount(text: str, why: str) -> VolumeError:
    return VolumeError(
        f"invalid mount {text!r}", why, "for example --mount type=volume,source=data,target=/data"
    )
