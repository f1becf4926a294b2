"""Words of an instruction: quotes, escapes and variables.

``$name``, ``${name}`` and with modifiers ``${name:-word}``, ``${name-word}``, ``${name:+word}``,
``${name+word}``, ``${name:?word}``, ``${name?word}``, ``${name#pattern}``, ``##``, ``%``, ``%%``,
``${name/pattern/word}`` and ``//``. Nothing is expanded between single quotes.

Source: Docker's "Dockerfile reference", "Environment replacement".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_LETTERS = _FIRST | frozenset("0123456789")
_DEPTH_MAX = 20


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """One word: quotes removed, variables replaced. ValueError for what cannot be understood."""
    return _Expander(variables, escape).word(text)


def expand_plain(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """A text in which quotes mean nothing: here-documents."""
    return _Expander(variables, escape, quotes=False).word(text)


def split(text: str, escape: str = "\\") -> list[str]:
    """The words of a text, quotes and escapes kept for :func:`expand`. ValueError."""
    words, word, quote, started = [], "", "", False
    index = 0
    while index < len(text):
        char = text[index]
        if char == escape and quote != "'" and index + 1 < len(text):
            word, started = word + text[index : index + 2], True
            index += 2
            continue
        if quote:
            quote = "" if char == quote else quote
            word += char
        elif char in "\"'":
            word, quote, started = word + char, char, True
        elif char.isspace():
            if started:
                words.append(word)
            word, started = "", False
        else:
            word, started = word + char, True
        index += 1
    if quote:
        raise ValueError(f"a quote {quote} is not closed")
    return [*words, word] if started else words


class _Expander:
    def __init__(
        self, variables: Mapping[str, str], escape: str, *, quotes: bool = True, depth: int = 0
    ) -> None:
        self._variables = variables
        self._escape = escape
        self._quotes = quotes
        self._depth = depth
        if depth > _DEPTH_MAX:
            raise ValueError("variables are nested too deeply")

    def word(self, text: str) -> str:
        made: list[str] = []
        at = 0
        quoted = False  # between double quotes
        while at < len(text):
            char = text[at]
            if char == "'" and self._quotes and not quoted:
                end = text.find("'", at + 1)
                if end < 0:
                    raise ValueError("a quote ' is not closed")
                made.append(text[at + 1 : end])
                at = end + 1
            elif char == '"' and self._quotes:
                quoted = not quoted
                at += 1
            elif char == self._escape and at + 1 < len(text):
                following = text[at + 1]
                special = following in ('"', "$", self._escape)
                if self._quotes and not quoted:
                    made.append(following)
                else:
                    made.append(following if special else char + following)
                at += 2
            elif char == "$":
                value, at = self._variable(text, at + 1)
                made.append(value)
            else:
                made.append(char)
                at += 1
        if quoted:
            raise ValueError('a quote " is not closed')
        return "".join(made)

    def _variable(self, text: str, at: int) -> tuple[str, int]:
        """(the value of the variable that begins after a $, where the text goes on)."""
        if at < len(text) and text[at] == "{":
            end = _closing(text, at)
            return self._braced(text[at + 1 : end]), end + 1
        end = at
        while end < len(text) and text[end] in _LETTERS and (end > at or text[end] in _FIRST):
            end += 1
        if end == at:
            return "$", at
        return self._variables.get(text[at:end], ""), end

    def _braced(self, inside: str) -> str:
        end = 0
        while end < len(inside) and inside[end] in _LETTERS:
            end += 1
        name, rest = inside[:end], inside[end:]
        if not name or name[0] not in _FIRST:
            raise ValueError(f"${{{inside}}} names no variable")
        value = self._variables.get(name)
        if not rest:
            return value or ""
        for mark in (":-", ":+", ":?", "-", "+", "?", "##", "#", "%%", "%", "//", "/"):
            if rest.startswith(mark):
                return self._modified(name, value, mark, rest[len(mark) :])
        raise ValueError(f"${{{inside}}} has an unknown modifier")

    def _modified(self, name: str, value: str | None, mark: str, word: str) -> str:
        there = bool(value) if mark.startswith(":") else value is not None
        if mark in (":-", "-"):
            return (value or "") if there else self._inner(word)
        if mark in (":+", "+"):
            return self._inner(word) if there else ""
        if mark in (":?", "?"):
            if not there:
                raise ValueError(f"{name}: {self._inner(word) or 'it is not set'}")
            return value or ""
        if mark in ("/", "//"):
            pattern, _, by = word.partition("/")
            return _replaced(value or "", self._inner(pattern), self._inner(by), mark == "//")
        return _stripped(value or "", self._inner(word), mark)

    def _inner(self, word: str) -> str:
        inner = _Expander(self._variables, self._escape, quotes=self._quotes, depth=self._depth + 1)
        return inner.word(word)


def _closing(text: str, at: int) -> int:
    """Where the brace that opens at ``at`` is closed."""
    depth = 0
    for index in range(at, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if not depth:
                return index
    raise ValueError("a brace { is not closed")


def _regex(pattern: str, many: str) -> str:
    """A shell pattern of ``*`` and ``?`` as a regular expression; ``many`` stands for ``*``."""
    import re

    return "".join({"*": many, "?": "."}.get(char, re.escape(char)) for char in pattern)


def _stripped(value: str, pattern: str, mark: str) -> str:
    """``#`` and ``##`` from the front, ``%`` and ``%%`` from the end; twice means the longest."""
    import re

    longest = len(mark) == 2
    if mark[0] == "#":
        found = re.match(_regex(pattern, ".*" if longest else ".*?"), value, re.DOTALL)
        return value[found.end() :] if found else value
    kept = ".*?" if longest else ".*"
    found = re.fullmatch(f"({kept}){_regex(pattern, '.*')}", value, re.DOTALL)
    return found[1] if found else value


def _replaced(value: str, pattern: str, by: str, everywhere: bool) -> str:
    """Replaces the longest match at each place, the first only or all."""
    import re

    if not pattern:
        return value
    made = re.compile(_regex(pattern, ".*"), re.DOTALL)
    return made.sub(lambda _found: by, value, count=0 if everywhere else 1)
