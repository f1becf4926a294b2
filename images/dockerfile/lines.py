"""Logical lines of a Dockerfile: an instruction with everything that belongs to it.

Directives (``# syntax=``, ``# escape=``, ``# check=``) count only before anything else. A line
that ends with the escape character goes on in the next one; comments and blank lines in between
are passed over. RUN, COPY and ADD may be followed by here-documents.
"""

from __future__ import annotations

from images.dockerfile.errors import at
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTIVES = ("syntax", "escape", "check")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")
SIZE_MAX = 4 << 20  # bytes of a Dockerfile
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


class Heredoc(Record):
    """``<<NAME`` and its content. ``literal``: the name was quoted, so nothing is expanded."""

    name: str
    content: str
    literal: bool = False


class Line(Record):
    """One instruction: its word in capitals, the text after it, and where it began."""

    number: int
    word: str
    text: str
    heredocs: tuple[Heredoc, ...] = ()


class Lines(Record):
    """A whole file: its name for messages, its escape character, its instructions."""

    file: str
    escape: str
    lines: tuple[Line, ...]


def split(content: str, file: str = "Dockerfile") -> Lines:
    """The logical lines of a Dockerfile. DockerfileError."""
    if len(content) > SIZE_MAX:
        raise at(file, 1, f"a Dockerfile has at most {SIZE_MAX} bytes")
    physical = content.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    escape, start = _directives(physical, file)
    return Lines(file, escape, tuple(_logical(physical, start, escape, file)))


def _directives(physical: list[str], file: str) -> tuple[str, int]:
    escape = "\\"
    seen: set[str] = set()
    for index, line in enumerate(physical):
        text = line.strip()
        if index == 0 and text.startswith("#!"):
            continue
        key, sign, value = text.removeprefix("#").partition("=")
        key = key.strip().lower()
        if not text.startswith("#") or not sign or key not in _DIRECTIVES:
            return escape, index
        if key in seen:
            raise at(file, index + 1, f"the directive {key} stands twice")
        seen.add(key)
        if key == "escape":
            escape = value.strip()
            if escape not in ("\\", "`"):
                raise at(file, index + 1, f"escape is \\ or `, not {escape!r}")
    return escape, len(physical)


def _logical(physical: list[str], start: int, escape: str, file: str) -> Iterator[Line]:
    index = start
    while index < len(physical):
        text = physical[index].strip()
        if not text or text.startswith("#"):
            index += 1
            continue
        number = index + 1
        text, index = _joined(physical, index, escape)
        word, _, rest = text.partition(" ") if " " in text else text.partition("\t")
        word = word.upper()
        heredocs: list[Heredoc] = []
        triggered = rest.split(None, 1)[0].upper() if word == "ONBUILD" and rest.split() else word
        if triggered in _WITH_HEREDOCS and "<<" in rest:
            for name, literal, tabs in heredoc_names(rest):
                content, index = _heredoc(physical, index, name, tabs, file, number)
                heredocs.append(Heredoc(name, content, literal))
        yield Line(number, word, rest.strip(), tuple(heredocs))


def _joined(physical: list[str], index: int, escape: str) -> tuple[str, int]:
    """(the whole text of an instruction, the index of the line after it)."""
    parts: list[str] = []
    while index < len(physical):
        line = physical[index]
        index += 1
        bare = line.strip()
        if parts and (not bare or bare.startswith("#")):
            continue
        line = line.lstrip() if not parts else line
        trimmed = line.rstrip()
        if not trimmed.endswith(escape):
            parts.append(line)
            break
        parts.append(trimmed[: -len(escape)])
    return "".join(parts).strip(), index


def heredoc_names(text: str) -> list[tuple[str, bool, bool]]:
    """(name, quoted, tabs are stripped) of the here-documents that a line opens."""
    found = []
    for word in _shell_words(text):
        before, mark, rest = word.partition("<<")
        if not mark or (before and not before.isdigit()) or rest.startswith("<"):
            continue
        tabs = rest.startswith("-")
        name = rest.removeprefix("-")
        quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "\"'"
        name = name[1:-1] if quoted else name
        if name and set(name) <= _NAME:
            found.append((name, quoted, tabs))
    return found


def _shell_words(text: str) -> Iterator[str]:
    """Words of a line as a shell parts them, quotes kept."""
    word, quote = "", ""
    for char in text:
        if quote:
            word += char
            quote = "" if char == quote else quote
        elif char in "\"'":
            word, quote = word + char, char
        elif char.isspace() or char in ";&|()":
            if word:
                yield word
            word = ""
        else:
            word += char
    if word:
        yield word


def _heredoc(
    physical: list[str], index: int, name: str, tabs: bool, file: str, number: int
) -> tuple[str, int]:
    content: list[str] = []
    while index < len(physical):
        line = physical[index].lstrip("\t") if tabs else physical[index]
        index += 1
        if line == name:
            return "".join(f"{own}\n" for own in content), index
        content.append(line)
    raise at(file, number, f"the here-document {name} has no end", f"write {name} on a line alone")
