"""``RUN --mount``: what a command sees besides the image's files, and what is not kept.

    type=bind    files of the context, a stage or an image; changes are thrown away
    type=cache   a folder that builds share and that stays
    type=tmpfs   memory
    type=secret  a file (or a variable) that is in no image and in no cache

Source: Docker's "Dockerfile reference", RUN --mount.
"""

from __future__ import annotations

import posixpath

from images.build.errors import BuildError
from kernel import units
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Fail = Callable[[str], BuildError]

_KINDS = ("bind", "cache", "secret", "tmpfs")
_OF_ALL = ("type", "target", "dst", "destination")
_KEYS = {
    "bind": ("source", "src", "from", "rw", "readwrite", "ro", "readonly"),
    "cache": ("id", "ro", "readonly", "rw", "readwrite", "sharing", "from", "source", "src",
              "mode", "uid", "gid"),
    "tmpfs": ("size",),
    "secret": ("id", "env", "required", "mode", "uid", "gid"),
}  # fmt: skip
_FLAGS = ("ro", "readonly", "rw", "readwrite", "required")
_SPELLINGS = {
    "dst": "target",
    "destination": "target",
    "src": "source",
    "readonly": "ro",
    "readwrite": "rw",
}
_SHARINGS = ("shared", "private", "locked")


class RunMount(Record):
    """One mount, its target absolute (or "" for a secret that is a variable only).

    ``origin`` is the stage or image of from=, "" for the context (bind) or nothing (cache).
    ``size`` in bytes, 0 without limit; ``mode`` -1 where none is given.
    """

    kind: str
    target: str
    source: str = ""
    origin: str = ""
    identity: str = ""
    writable: bool = False
    sharing: str = "shared"
    size: int = 0
    mode: int = -1
    uid: int = 0
    gid: int = 0
    required: bool = False
    variable: str = ""


def source_of(text: str) -> str:
    """The from= of a mount, as written."""
    found = [word.partition("=")[2] for word in text.split(",") if word.startswith("from=")]
    return found[-1] if found else ""


def parse(text: str, workdir: str) -> RunMount:
    """One --mount, its variables replaced; relative targets are below ``workdir``. BuildError."""

    def fail(why: str) -> BuildError:
        return BuildError(f"RUN --mount={text}", why)

    given = _fields(text, fail)
    kind = given.pop("type", "bind")
    if kind == "ssh":
        raise fail("type=ssh is not supported: use a secret")
    if kind not in _KINDS:
        raise fail(f"the type is one of {', '.join(_KINDS)}, not {kind!r}")
    for key in given:
        if key not in _OF_ALL and key not in {_SPELLINGS.get(k, k) for k in _KEYS[kind]}:
            raise fail(f"type={kind} knows no {key}")
    identity, target = given.get("id", ""), given.get("target", "")
    if kind == "secret":
        identity = identity or posixpath.basename(target)
        if not identity:
            raise fail("a secret needs an id, or a target")
        target = target or ("" if "env" in given else f"/run/secrets/{identity}")
    elif not target:
        raise fail("a target is missing")
    if target:
        target = posixpath.normpath(posixpath.join("/", workdir, target))
    if target == "/":
        raise fail("the target cannot be /")
    sharing = given.get("sharing", "shared")
    if sharing not in _SHARINGS:
        raise fail(f"sharing is one of {', '.join(_SHARINGS)}, not {sharing!r}")
    writable = _truth(given, "rw", kind == "cache", fail)
    if _truth(given, "ro", False, fail):
        writable = False
    return RunMount(
        kind,
        target,
        given.get("source", ""),
        given.get("from", ""),
        identity or (target if kind == "cache" else ""),
        writable,
        sharing,
        _size(given, fail),
        _number(given, "mode", 8, -1, fail),
        _number(given, "uid", 10, 0, fail),
        _number(given, "gid", 10, 0, fail),
        _truth(given, "required", False, fail),
        given.get("env", ""),
    )


def _fields(text: str, fail: Fail) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in text.split(","):
        key, sign, value = word.strip().partition("=")
        key = key.lower()
        if not sign and key not in _FLAGS:
            raise fail(f"{word!r} is not key=value")
        given[_SPELLINGS.get(key, key)] = value if sign else "true"
    return given


def _truth(given: dict[str, str], key: str, default: bool, fail: Fail) -> bool:
    word = given.get(key, "").lower()
    if word not in ("", "true", "1", "false", "0"):
        raise fail(f"{key} is true or false")
    return word in ("true", "1") if word else default


def _number(given: dict[str, str], key: str, base: int, default: int, fail: Fail) -> int:
    word = given.get(key, "")
    if not word:
        return default
    try:
        number = int(word, base)
    except ValueError:
        number = -1
    if number < 0 or number > (0o7777 if key == "mode" else 2**31 - 1):
        raise fail(f"{key}={word} is out of range, or no number")
    return number


def _size(given: dict[str, str], fail: Fail) -> int:
    try:
        return units.parse_bytes(given["size"]) if given.get("size") else 0
    except ValueError as error:
        raise fail(f"size: {error}") from None
