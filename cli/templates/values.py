"""Values as a template sees and shows them: words, numbers, lists, dicts and rows of tables."""

from __future__ import annotations

from kernel import quickjson
from kernel.mapping import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_NAMED = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
          "\v": "\\v", "\\": "\\\\"}  # fmt: skip


class Row:
    """One line of a table: fields by name, and what can be called (``{{.Label "x"}}``).

    A field that is a function is worked out when it is first asked for, so a table pays only for
    what it shows. ``kind`` names the object in errors. ``plain`` is what JSON has instead of the
    fields, where the names differ (an event).
    """

    def __init__(
        self,
        kind: str,
        fields: dict[str, Any],
        plain: dict[str, Any] | None = None,
        **methods: Callable[..., Any],
    ) -> None:
        self.kind = kind
        self.methods = methods
        self._fields = fields
        self._plain = plain

    def __getitem__(self, name: str) -> Any:
        value = self._fields[name]
        if callable(value):
            value = self._fields[name] = value()
        return value

    def names(self) -> list[str]:
        """The names of its fields, in order."""
        return sorted(self._fields)

    def as_dict(self) -> dict[str, Any]:
        """What ``{{json .}}`` writes."""
        if self._plain is not None:
            return self._plain
        return {name: self[name] for name in self.names()}


def show(value: Any) -> str:
    """As ``{{...}}`` writes it: Go's ``%v``, where nothing at all is ``<no value>``."""
    return "<no value>" if value is None else plain(value)


def plain(value: Any) -> str:
    """Go's ``%v``."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(plain, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{plain(own)}' for key, own in sorted(value.items()))}]"
    if isinstance(value, Row):
        return plain(value.as_dict())
    return str(value)


def _float(value: float) -> str:
    """The shortest digits; with an exponent below 0.0001 and from a million on."""
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return repr(value).removesuffix(".0")
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    power = int(exponent or 0) + len(whole) - 1
    digits = (whole + fraction).rstrip("0")
    if whole == "0":  # 0.00001
        power -= len(digits) - len(digits.lstrip("0"))
        digits = digits.lstrip("0")
    sign, point = "-" if value < 0 else "", "." if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{point}{digits[1:]}e{'-' if power < 0 else '+'}{abs(power):02}"


def quote(text: str) -> str:
    """In double quotes, with escapes for what cannot be shown: Go's ``%q``."""
    made = []
    for char in text:
        code = ord(char)
        if char == '"':
            made.append('\\"')
        elif char in _NAMED:
            made.append(_NAMED[char])
        elif char.isprintable():
            made.append(char)
        elif 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8 (PEP 383)
            made.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x80:
            made.append(f"\\x{code:02x}")
        else:
            made.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return f'"{"".join(made)}"'


def to_json(value: Any) -> str:
    """One line of JSON without spaces, as Docker's ``json`` function writes it."""
    return quickjson.compact(value, _of_object)


def _of_object(value: Any) -> Any:
    if isinstance(value, Row):
        return value.as_dict()
    raise TypeError(f"{type(value).__name__} is not JSON")


def type_name(value: Any) -> str:
    """The name that Go's errors have for the type of a value."""
    if isinstance(value, Row):
        return value.kind
    if isinstance(value, Map):
        return "map[string]string"
    if isinstance(value, dict):
        return "map[string]interface {}"
    if isinstance(value, list | tuple):
        return "[]interface {}"
    names = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "nil"}
    return names.get(type(value), type(value).__name__)


def is_true(value: Any) -> bool:
    """Whether ``if`` takes a value for true: not false, 0, "", empty or missing."""
    return isinstance(value, Row) or bool(value)
