"""The functions of a template: Go's own, and those that Docker adds.

Each takes values and returns one, or raises a FunctionError with the words of Go's. ``and`` and
``or`` are not here: they look at their arguments one after the other, which is the parser's work.
"""

from __future__ import annotations

from cli.templates.errors import FunctionError
from cli.templates.values import is_true, plain, show, to_json, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WIDEST = 10_000  # spaces that pad may write


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FunctionError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FunctionError(f"wrong type for value; expected int; got {type_name(value)}")
    return value


def _listed(value: Any) -> list[Any]:
    if value is None:  # a list that JSON has as null
        return []
    if not isinstance(value, list | tuple):
        raise FunctionError(f"wrong type for value; expected []string; got {type_name(value)}")
    return list(value)


# -- words ------------------------------------------------------------------------------------


def _title(value: Any) -> str:
    made, inside = [], False
    for char in _text(value):
        made.append(char if inside else char.upper())
        inside = char.isalnum() or char == "_"
    return "".join(made)


def _pad(value: Any, before: Any, after: Any) -> str:
    text = _text(value)
    if not text:
        return text
    left, right = _whole(before), _whole(after)
    if max(left, right) > _WIDEST:
        raise FunctionError(f"more than {_WIDEST} spaces")
    return " " * left + text + " " * right


def _truncate(value: Any, length: Any) -> str:
    text = _text(value)
    return text[: max(0, _whole(length))]


def _join(words: Any, by: Any) -> str:
    return _text(by).join(plain(word) for word in _listed(words))


def _split(value: Any, by: Any) -> list[str]:
    separator = _text(by)
    return _text(value).split(separator) if separator else list(_text(value))


def _print(*values: Any) -> str:
    """A space only between two operands of which neither is a string."""
    made = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            made += " "
        made += show(value)
    return made


def _printf(form: Any, *values: Any) -> str:
    from cli.templates.printf import printf

    return printf(_text(form), values)


# -- lists and dicts --------------------------------------------------------------------------


def _len(value: Any) -> int:
    if isinstance(value, str):
        return len(_encoded(value))
    if value is None:
        return 0
    if isinstance(value, list | tuple | dict):
        return len(value)
    raise FunctionError(f"len of type {type_name(value)}")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            empty = "" if all(isinstance(own, str) for own in value.values()) else None
            value = value.get(_text(key), empty)
            continue
        if value is None:
            raise FunctionError("index of untyped nil")
        if not isinstance(value, str | list | tuple):
            raise FunctionError(f"can't index item of type {type_name(value)}")
        items = _encoded(value) if isinstance(value, str) else value
        if not 0 <= _whole(key) < len(items):
            raise FunctionError(f"index out of range: {key}")
        value = items[key]
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, str | list | tuple):
        raise FunctionError(f"can't slice item of type {type_name(value)}")
    if isinstance(value, str) and len(bounds) == 3:
        raise FunctionError("cannot 3-index slice a string")
    items = _encoded(value) if isinstance(value, str) else list(value)
    last = len(items)
    for bound in bounds:
        if not 0 <= _whole(bound) <= last:
            raise FunctionError(f"index out of range: {bound}")
    start = bounds[0] if bounds else 0
    end = bounds[1] if len(bounds) > 1 else last
    if start > end or (len(bounds) == 3 and end > bounds[2]):
        raise FunctionError(f"invalid slice index: {start} > {end}")
    cut = items[start:end]
    return cut.decode("utf-8", "surrogateescape") if isinstance(cut, bytes) else cut


# -- comparisons ------------------------------------------------------------------------------


def _basic(value: Any) -> str:
    kind = type_name(value)
    if kind not in ("bool", "int", "float64", "string", "nil"):
        raise FunctionError("non-comparable type for comparison")
    return kind


def _same(one: Any, other: Any) -> bool:
    kinds = {_basic(one), _basic(other)}
    if len(kinds) > 1 and "nil" not in kinds:
        raise FunctionError("incompatible types for comparison")
    return len(kinds) == 1 and bool(one == other)


def _eq(first: Any, *others: Any) -> bool:
    return any(_same(first, other) for other in others)


def _less(one: Any, other: Any) -> bool:
    kinds = {_basic(one), _basic(other)}
    if kinds & {"bool", "nil"}:
        raise FunctionError("invalid type for comparison")
    if len(kinds) > 1:
        raise FunctionError("incompatible types for comparison")
    return bool(one < other)


# name -> (function, fewest arguments, most arguments or -1)
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    "eq": (_eq, 2, -1),
    "ge": (lambda one, other: not _less(one, other), 2, 2),
    "gt": (lambda one, other: _less(other, one), 2, 2),
    "index": (_index, 1, -1),
    "join": (_join, 2, 2),
    "json": (to_json, 1, 1),
    "le": (lambda one, other: not _less(other, one), 2, 2),
    "len": (_len, 1, 1),
    "lower": (lambda text: _text(text).lower(), 1, 1),
    "lt": (_less, 2, 2),
    "ne": (lambda one, other: not _same(one, other), 2, 2),
    "not": (lambda value: not is_true(value), 1, 1),
    "pad": (_pad, 3, 3),
    "print": (_print, 0, -1),
    "printf": (_printf, 1, -1),
    "println": (lambda *values: " ".join(map(show, values)) + "\n", 0, -1),
    "slice": (_slice, 1, 4),
    "split": (_split, 2, 2),
    "title": (_title, 1, 1),
    "truncate": (_truncate, 2, 2),
    "upper": (lambda text: _text(text).upper(), 1, 1),
}

REFUSED = frozenset(("call", "html", "js", "urlquery"))
