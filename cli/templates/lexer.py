"""The text of a template into tokens: plain text, and the words of each ``{{action}}``."""

from __future__ import annotations

from cli.templates.errors import unreadable
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SPACE = " \t\r\n"
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
            "\\": "\\"}  # fmt: skip
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}
_OCTAL = frozenset("01234567")
_HEX = frozenset("0123456789abcdefABCDEF")
_MARKS = {"(": "(", ")": ")", "|": "|", ",": ","}
_MAX_INT = 1 << 63


class Token(Record):
    """``kind`` is text, begin and end (of an action), field, dot, variable, word, constant,
    assign (``=``, ``:=``) or a mark that stands for itself. ``text`` is as it was written,
    ``value`` what a constant is. ``glued`` tokens have no space before them.
    """

    kind: str
    text: str
    position: int
    glued: bool = False
    value: Any = None


def tokens(template: str) -> list[Token]:
    """All tokens of a template; a TemplateError where it makes no sense."""
    return _Lexer(template).run()


class _Lexer:
    def __init__(self, template: str) -> None:
        self._template = template
        self._at = 0
        self._found: list[Token] = []

    def run(self) -> list[Token]:
        trim = False
        while self._at < len(self._template):
            self._text(trim)
            if self._at < len(self._template):
                trim = self._action()
        return self._found

    def _text(self, trim: bool) -> None:
        """Plain text up to the next action; ``trim`` cuts what is white at its beginning."""
        opened = self._template.find("{{", self._at)
        end = len(self._template) if opened < 0 else opened
        text = self._template[self._at : end]
        if opened >= 0 and self._trims_before(opened + 2):
            text = text.rstrip(_SPACE)
        text = text.lstrip(_SPACE) if trim else text
        if text:
            self._found.append(Token("text", text, self._at))
        self._at = end

    def _trims_before(self, at: int) -> bool:
        return self._template[at : at + 1] == "-" and self._template[at + 1 : at + 2] in tuple(
            _SPACE
        )

    def _ends(self) -> int:
        """The length of the end of an action that stands here, 0 if none does."""
        if self._template.startswith("}}", self._at):
            return 2
        rest = self._template[self._at : self._at + 4]
        return 4 if rest[:1] in tuple(_SPACE) and rest[1:] == "-}}" else 0

    def _action(self) -> bool:
        """One action; whether it trims the text that follows."""
        start = self._at
        self._at += 2
        if self._trims_before(self._at):
            self._at += 2
        if self._template.startswith("/*", self._at):
            return self._comment(start)
        self._found.append(Token("begin", "{{", start))
        while True:
            before = self._at
            length = self._ends()
            while not length and self._template[self._at : self._at + 1] in tuple(_SPACE):
                self._at += 1
                length = self._ends()
            if length:
                self._found.append(Token("end", "}}", self._at))
                self._at += length
                return length > 2
            if self._at >= len(self._template):
                raise self._wrong(start, "unclosed action")
            self._found.append(self._token(glued=self._at == before))

    def _comment(self, start: int) -> bool:
        end = self._template.find("*/", self._at)
        if end < 0:
            raise self._wrong(start, "unclosed comment")
        self._at = end + 2
        length = self._ends()
        if not length:
            raise self._wrong(start, "comment ends before closing delimiter")
        self._at += length
        return length > 2

    def _token(self, *, glued: bool) -> Token:
        at, char = self._at, self._template[self._at]
        if char in _MARKS:
            return self._made(_MARKS[char], at + 1, glued)
        if char == "=":
            return self._made("assign", at + 1, glued)
        if char == ":":
            if not self._template.startswith(":=", at):
                raise self._wrong(at, "expected :=")
            return self._made("assign", at + 2, glued)
        if char == '"':
            return self._quoted(glued)
        if char == "`":
            end = self._template.find("`", at + 1)
            if end < 0:
                raise self._wrong(at, "unterminated raw quoted string")
            return self._made("constant", end + 1, glued, self._template[at + 1 : end])
        if char == "'":
            return self._character(glued)
        if char == "$":
            return self._made("variable", self._word_end(at + 1), glued)
        following = self._template[at + 1 : at + 2]
        if char == "." and not following.isdigit():
            end = self._word_end(at + 1)
            return self._made("field" if end > at + 1 else "dot", end, glued)
        if char.isdigit() or (char in "+-." and (following.isdigit() or following == ".")):
            return self._number(glued)
        if char == "_" or char.isalpha():
            return self._made("word", self._word_end(at), glued)
        raise self._wrong(at, f"unexpected {char!r} in command".replace("'", '"'))

    def _made(self, kind: str, end: int, glued: bool, value: Any = None) -> Token:
        start, self._at = self._at, end
        return Token(kind, self._template[start:end], start, glued, value)

    def _word_end(self, at: int) -> int:
        while at < len(self._template) and (
            self._template[at] == "_" or self._template[at].isalnum()
        ):
            at += 1
        return at

    def _number(self, glued: bool) -> Token:
        start = end = self._at
        while end < len(self._template) and (
            self._template[end].isalnum()
            or self._template[end] in "._"
            or (self._template[end] in "+-" and (end == start or self._template[end - 1] in "eE"))
        ):
            end += 1
        text = self._template[start:end]
        try:
            # Go's and Python's ways to write numbers are the same, but for 0777.
            value: int | float = int(text, 0) if _is_whole(text) else float(text)
        except ValueError:
            raise self._wrong(start, f"bad number syntax: {_quoted(text)}") from None
        if isinstance(value, int) and not -_MAX_INT <= value < _MAX_INT:
            raise self._wrong(start, f"integer overflow: {_quoted(text[:20])}")
        return self._made("constant", end, glued, value)

    def _quoted(self, glued: bool) -> Token:
        """A string in double quotes. A line may end in it: `--format` has put it there itself."""
        start = at = self._at
        made: list[str] = []
        while True:
            at += 1
            char = self._template[at : at + 1]
            if not char:
                raise self._wrong(start, "unterminated quoted string")
            if char == '"':
                return self._made("constant", at + 1, glued, "".join(made))
            if char == "\\":
                char, at = self._escaped(at + 1, '"')
            made.append(char)

    def _character(self, glued: bool) -> Token:
        """A rune in single quotes, which is a number."""
        at = self._at + 1
        char = self._template[at : at + 1]
        if char == "\\":
            char, at = self._escaped(at + 1, "'")
        if not char or char == "'" or self._template[at + 1 : at + 2] != "'":
            raise self._wrong(
                self._at, "malformed character constant; a string stands in double quotes"
            )
        return self._made("constant", at + 2, glued, ord(char))

    def _escaped(self, at: int, quote: str) -> tuple[str, int]:
        """(the character of the escape whose letter stands at ``at``, where its last one is)."""
        letter = self._template[at : at + 1]
        if letter == quote or letter in _ESCAPES:
            return _ESCAPES.get(letter, quote), at
        if letter in _HEX_ESCAPES:
            start, length, base, digits = at + 1, _HEX_ESCAPES[letter], 16, _HEX
        elif letter in _OCTAL and letter:
            start, length, base, digits = at, 3, 8, _OCTAL
        else:
            raise self._wrong(at, f"unknown escape \\{letter}")
        word = self._template[start : start + length]
        code = int(word, base) if len(word) == length and set(word) <= digits else -1
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code < 0xE000:
            raise self._wrong(at, f"invalid escape \\{letter}")
        return chr(code), start + length - 1

    def _wrong(self, position: int, why: str) -> Exception:
        return unreadable(self._template, position, why)


def _is_whole(text: str) -> bool:
    low = text.lower().lstrip("+-")
    return low.startswith("0x") or not ("." in low or "e" in low)


def _quoted(text: str) -> str:
    return f'"{text}"'
