"""JSON through CPython's C scanner and encoder, without importing :mod:`json`.

The package costs as much as the interpreter's own start (it compiles regular expressions that
the C code does not need); the functions underneath are the same. On an interpreter that lacks
them the package itself is used.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

try:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
except ImportError:  # not CPython, or one without its accelerator
    from json import dumps, loads

    def compact(value: Any, default: Callable[[Any], Any]) -> str:
        return dumps(value, default=default, separators=(",", ":"), ensure_ascii=False)

    def canonical(value: Any) -> str:
        return dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def indented(value: Any) -> str:
        return dumps(value, indent=4, ensure_ascii=False)
else:

    class _Context:
        """What the scanner wants to know (json.decoder.JSONDecoder has the same fields)."""

        strict = True
        object_hook = None
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        memo: dict[str, str] = {}  # noqa: RUF012 - part of the scanner's protocol

        @staticmethod
        def parse_constant(name: str) -> float:
            raise ValueError(f"{name} is not JSON")

    _scan = make_scanner(_Context())  # type: ignore[arg-type]
    _SPACE = " \t\n\r"

    def loads(text: str | bytes) -> Any:  # type: ignore[misc]
        """The value of a JSON text; ValueError (RecursionError for absurd nesting) otherwise."""
        if isinstance(text, bytes):
            text = text.decode()
        start = len(text) - len(text.lstrip(_SPACE))
        try:
            value, end = _scan(text, start)
        except StopIteration as stopped:
            raise ValueError(f"no JSON value at character {stopped.value}") from None
        except SystemError:  # a fault in the text, for which only json.decoder has an error
            from json import loads

            return loads(text)
        if text[end:].strip(_SPACE):
            raise ValueError(f"more than one JSON value: character {end}")
        return value

    def dumps(value: Any) -> str:  # type: ignore[misc]
        """A value as one line of ASCII; TypeError for what JSON cannot say."""
        encoder = make_encoder(
            {}, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, True
        )
        return "".join(encoder(value, 0))

    def compact(value: Any, default: Callable[[Any], Any]) -> str:
        """A value without spaces and with all letters as they are.

        ``default`` turns what JSON cannot say into something that it can, or raises TypeError.
        """
        encoder = make_encoder({}, default, encode_basestring, None, ":", ",", False, False, True)
        return "".join(encoder(value, 0))

    def canonical(value: Any) -> str:
        """A value without spaces, its keys in order and all letters as they are: equal values are
        equal texts. TypeError for what JSON cannot say.
        """
        encoder = make_encoder({}, _refuse, encode_basestring, None, ":", ",", True, False, True)
        return "".join(encoder(value, 0))

    def indented(value: Any) -> str:
        """A value with a line for each entry, as inspect shows it, and all letters as they are.

        Keys are texts. TypeError for what JSON cannot say.
        """
        return _lines(value, "\n")

    def _lines(value: Any, line: str) -> str:
        """``line`` begins each line of the value but the first."""
        inner = f"{line}    "
        if isinstance(value, dict) and value:
            entries = [
                f"{encode_basestring(key)}: {_lines(own, inner)}" for key, own in value.items()
            ]
            return f"{{{inner}{f',{inner}'.join(entries)}{line}}}"
        if isinstance(value, list | tuple) and value:
            return f"[{inner}{f',{inner}'.join([_lines(own, inner) for own in value])}{line}]"
        return compact(value, _refuse)

    def _refuse(value: object) -> Any:
        raise TypeError(f"{type(value).__name__} is not JSON")


__all__ = ["canonical", "compact", "dumps", "indented", "loads"]
