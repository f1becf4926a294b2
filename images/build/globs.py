"""Patterns of paths: those of Go's filepath.Match, and ``**`` for any number of folders.

    *       any characters of one name          [a-z]   one character of a set
    ?       one character of a name             [^a-z]  one character not of it
    **      any folders, also none              \\x      the character x itself

A pattern is of a whole path; its parts between slashes are patterns of names, so a set holds no
slash. As Docker's matcher does it, ``**`` at the end or within a name is any text.

Source: Go, path/filepath, Match; Docker's "Build context", .dockerignore files.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_ANY_FOLDERS = "**"


class Glob:
    """One pattern, relative and clean (no ``.``, no empty parts). ValueError if it is malformed."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._parts = pattern.split("/")
        self.expression = _expression(self._parts)  # of the whole path, for re.fullmatch
        self._whole: re.Pattern[str] | None = None
        self._names: list[re.Pattern[str] | None] | None = None

    def covers(self, path: str) -> bool:
        """Whether the pattern matches the path or a folder above it."""
        if self._whole is None:
            self._whole = compiled([self])
        return self._whole.fullmatch(path) is not None

    def may_reach(self, folder: str) -> bool:
        """Whether the pattern may match something below a folder."""
        if self._names is None:
            import re

            self._names = [
                None if _ANY_FOLDERS in part else re.compile(_name(part), re.DOTALL)
                for part in self._parts
            ]
        for expression, name in zip(self._names, folder.split("/"), strict=False):
            if expression is None:
                return True
            if expression.fullmatch(name) is None:
                return False
        return True


def compiled(globs: list[Glob]) -> re.Pattern[str]:
    """One expression for many patterns: it matches what one of them covers."""
    import re

    either = "|".join(glob.expression for glob in globs)
    return re.compile(f"(?:{either})(?:/.*)?", re.DOTALL)


def has_wildcards(text: str) -> bool:
    """Whether a pattern is more than the name of one thing; ValueError if it is malformed."""
    at = 0
    while at < len(text):
        if text[at] in "*?[":
            return True
        at += 2 if text[at] == "\\" else 1
    if at > len(text):
        raise ValueError("it ends in the middle of an escape")
    return False


def unescaped(text: str) -> str:
    """The name that a pattern without wildcards means."""
    made, at = "", 0
    while at < len(text):
        at += text[at] == "\\"
        made += text[at]
        at += 1
    return made


def _expression(parts: list[str]) -> str:
    last = len(parts) - 1
    made = []
    for index, part in enumerate(parts):
        if part == _ANY_FOLDERS:
            made.append(".*" if index == last else "(?:.*/)?")
        else:
            made.append(_name(part) + ("" if index == last else "/"))
    return "".join(made)


def _name(part: str) -> str:
    """The expression of one name."""
    import re

    made, at = "", 0
    while at < len(part):
        char = part[at]
        at += 1
        if char == "*":
            if part.startswith("*", at):
                at += 1
                made += ".*"
            else:
                made += "[^/]*"
        elif char == "?":
            made += "[^/]"
        elif char == "[":
            one, at = _set(part, at)
            made += one
        elif char == "\\":
            if at == len(part):
                raise ValueError("it ends in the middle of an escape")
            made += re.escape(part[at])
            at += 1
        else:
            made += re.escape(char)
    return made


def _set(part: str, at: int) -> tuple[str, int]:
    """(the expression of the set that begins at ``at``, what comes after it)."""
    negated = part.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and part.startswith("]", at)):
        low, at = _member(part, at)
        high = low
        if part.startswith("-", at):
            high, at = _member(part, at + 1)
        if high < low:
            raise ValueError(f"the range {low}-{high} runs backwards")
        ranges.append((low, high))
    inner = "".join(f"\\U{ord(low):08x}-\\U{ord(high):08x}" for low, high in ranges)
    return f"(?!/)[{'^' if negated else ''}{inner}]", at + 1


def _member(part: str, at: int) -> tuple[str, int]:
    if part.startswith(("-", "]"), at):
        raise ValueError(f"a set may hold {part[at]} only after a backslash")
    at += part.startswith("\\", at)
    if at >= len(part):
        raise ValueError("a [ has no ]")
    return part[at], at + 1
