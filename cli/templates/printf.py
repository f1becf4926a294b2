"""``printf``: verbs such as %s, %-10q and %.2f, with Go's way to tell what does not fit.

Source: the documentation of Go's fmt, "Printing" and "Format errors".
"""

from __future__ import annotations

from cli.templates.values import plain, quote, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_WIDEST = 10_000  # a width or precision beyond this is not meant
_FLAGS = "+-# 0"


def printf(form: str, values: Sequence[Any]) -> str:
    """The text of a format. What does not fit is told in the text, never raised."""
    made: list[str] = []
    at = used = 0
    while at < len(form):
        percent = form.find("%", at)
        if percent < 0:
            made.append(form[at:])
            break
        made.append(form[at:percent])
        directive, at = _directive(form, percent + 1, values, used)
        used = directive.used
        if not directive.verb:
            made.append("%!(NOVERB)")
        elif directive.verb == "%":
            made.append("%")
        elif used >= len(values):
            made.append(f"%!{directive.verb}(MISSING)")
        else:
            made.append(directive.show(values[used]))
            used += 1
    if used < len(values):
        extra = ", ".join(f"{type_name(value)}={plain(value)}" for value in values[used:])
        made.append(f"%!(EXTRA {extra})")
    return "".join(made)


def _directive(form: str, at: int, values: Sequence[Any], used: int) -> tuple[_Directive, int]:
    """What follows a percent sign, and where it ends."""
    flags = ""
    while at < len(form) and form[at] in _FLAGS:
        flags += form[at]
        at += 1
    width, at, used = _number(form, at, values, used)
    if width is not None and width < 0:  # only a star can say so
        flags, width = flags + "-", -width
    precision: int | None = None
    if form[at : at + 1] == ".":
        precision, at, used = _number(form, at + 1, values, used)
        precision = max(0, precision or 0)
    return _Directive(flags, width, precision, form[at : at + 1], used), at + 1


def _number(form: str, at: int, values: Sequence[Any], used: int) -> tuple[int | None, int, int]:
    """Digits, or a star that takes the next value."""
    if form[at : at + 1] == "*":
        value = values[used] if used < len(values) else None
        whole = isinstance(value, int) and not isinstance(value, bool)
        return (min(value, _WIDEST) if whole and value is not None else None), at + 1, used + 1
    end = at
    while end < len(form) and form[end] in "0123456789":
        end += 1
    return (min(int(form[at : min(end, at + 9)]), _WIDEST) if end > at else None), end, used


class _Directive:
    def __init__(
        self, flags: str, width: int | None, precision: int | None, verb: str, used: int
    ) -> None:
        self.flags = flags
        self.width = width or 0
        self.precision = precision
        self.verb = verb
        self.used = used

    def show(self, value: Any) -> str:
        """A value as this directive wants it."""
        if self.verb == "T":
            return self._padded(type_name(value))
        if self.verb == "v":
            return self._verb_v(value)
        if isinstance(value, list | tuple):
            return f"[{' '.join(map(self.show, value))}]"
        made: str | None = None
        if isinstance(value, bool):
            made = self._padded(plain(value)) if self.verb == "t" else None
        elif isinstance(value, int):
            made = self._integer(value)
        elif isinstance(value, float):
            made = self._float(value)
        elif isinstance(value, str):
            made = self._string(value)
        if made is not None:
            return made
        shown = "<nil>" if value is None else f"{type_name(value)}={plain(value)}"
        return f"%!{self.verb}({shown})"

    def _verb_v(self, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            shown = quote(value) if "#" in self.flags and isinstance(value, str) else plain(value)
            return self._padded(shown)
        verb = "d" if isinstance(value, int) else "g"
        return _Directive(self.flags, self.width, self.precision, verb, 0).show(value)

    def _string(self, value: str) -> str | None:
        cut = value if self.precision is None else value[: self.precision]
        if self.verb == "s":
            return self._padded(cut)
        if self.verb == "q":
            return self._padded(quote(cut))
        if self.verb in ("x", "X"):
            digits = value.encode("utf-8", "surrogateescape").hex()
            return self._padded(digits.upper() if self.verb == "X" else digits)
        return None

    def _integer(self, value: int) -> str | None:
        if self.verb in ("c", "q", "U"):
            return self._padded(_rune(value, self.verb))
        forms = {"d": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
        if self.verb not in forms:
            return None
        digits = format(abs(value), forms[self.verb])
        if self.precision is not None:
            digits = digits.rjust(self.precision, "0")
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(self.verb, "")
        prefix = prefix if "#" in self.flags else "0o" if self.verb == "O" else ""
        return self._signed(value < 0, prefix + digits, zeros=self.precision is None)

    def _float(self, value: float) -> str | None:
        if self.verb not in tuple("eEfFgG"):
            return None
        if value != value or value in (float("inf"), float("-inf")):
            return self._padded(plain(value))
        if self.verb in "gG" and self.precision is None:
            digits = plain(abs(value))
        else:
            precision = 6 if self.precision is None else self.precision
            digits = format(abs(value), f".{precision}{self.verb}")
        return self._signed(value < 0, digits, zeros=True)

    def _signed(self, negative: bool, digits: str, *, zeros: bool) -> str:
        """With its sign, and filled up with zeros if the flags want it and ``zeros`` allows it."""
        sign = "-" if negative else "+" if "+" in self.flags else " " if " " in self.flags else ""
        if zeros and "0" in self.flags and "-" not in self.flags:
            digits = digits.rjust(self.width - len(sign), "0")
        return self._padded(sign + digits)

    def _padded(self, text: str) -> str:
        return text.ljust(self.width) if "-" in self.flags else text.rjust(self.width)


def _rune(code: int, verb: str) -> str:
    """A number as the character that it stands for."""
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code < 0xE000:
        code = 0xFFFD
    if verb == "U":
        return f"U+{code:04X}"
    if verb == "c":
        return chr(code)
    inner = {"'": "\\'", '"': '"'}.get(chr(code)) or quote(chr(code))[1:-1]
    return f"'{inner}'"
