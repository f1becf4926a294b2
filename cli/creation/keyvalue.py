"""Files of ``NAME=value`` lines: --env-file and --label-file.

One entry a line, taken as it is: no quotes, escapes or expansion. White space before a name is
left out, white space after a value belongs to it. A line that begins with # is a comment.

Source: Docker's "docker run", --env and --label-file; its package kvfile.
"""

from __future__ import annotations

import os

from cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE_MAX = 1 << 16  # bytes, as Docker has it
_FILE_MAX = 1 << 24
_BOM = b"\xef\xbb\xbf"


def environment(paths: Iterable[str]) -> list[str]:
    """The entries of environment files; a name alone takes its value from this environment.

    A name that this environment does not have either is left out.
    """
    made = []
    for path in paths:
        for name, value in entries(path):
            if value is None and name in os.environ:
                value = os.environ[name]
            if value is not None:
                made.append(f"{name}={value}")
    return made


def labels(paths: Iterable[str]) -> dict[str, str]:
    """The labels of label files; a name alone is a label without a value."""
    return {name: value or "" for path in paths for name, value in entries(path)}


def entries(path: str) -> list[tuple[str, str | None]]:
    """(name, value, None without a =) of each line. UsageError names file and line."""
    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_MAX + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}", (error.strerror or "").lower()) from None
    if len(content) > _FILE_MAX:
        raise UsageError(f"cannot read {path}", f"it is larger than {_FILE_MAX} bytes")
    made = []
    for number, line in enumerate(content.removeprefix(_BOM).split(b"\n"), 1):
        try:
            entry = _entry(line.removesuffix(b"\r"))
        except ValueError as error:
            raise UsageError(f"invalid line in {path}:{number}", str(error)) from None
        if entry is not None:
            made.append(entry)
    return made


def _entry(line: bytes) -> tuple[str, str | None] | None:
    if len(line) >= _LINE_MAX:
        raise ValueError(f"it is longer than {_LINE_MAX} bytes")
    text = line.decode().lstrip()  # UnicodeDecodeError is a ValueError
    if not text or text.startswith("#"):
        return None
    name, sign, value = text.partition("=")
    if not name:
        raise ValueError(f"there is no name before the = in {text!r}")
    if " " in name or "\t" in name or "\0" in text:
        raise ValueError(f"the name {name!r} has white space or a zero byte in it")
    return name, value if sign else None
