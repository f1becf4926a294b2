"""Tables and lists as Docker prints them: columns, ``--format``, ``--quiet``."""

from __future__ import annotations

from cli import templates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_GAP = 3


def table(columns: dict[str, str], rows: Iterable[dict[str, Any]], template: str = "") -> None:
    """Prints rows; ``columns`` maps a field to its heading, in order.

    ``template`` may be ``table {{.A}}\\t{{.B}}``, any other template (one line a row), or json.
    """
    if template and not template.startswith("table"):
        made = templates.compile_template(template)
        for row in rows:
            print(made(row))
        return
    if template.removeprefix("table").strip():
        made = templates.compile_template(template.removeprefix("table").strip())
        lines = [made(_headings(columns)), *(made(row) for row in rows)]
        _aligned([line.split("\t") for line in lines])
        return
    cells = [list(columns.values())]
    cells += [[str(row[field]) for field in columns] for row in rows]
    _aligned(cells)


def _headings(columns: dict[str, str]) -> dict[str, Any]:
    class Headings(dict[str, str]):
        """A field without a column of its own is headed by its name."""

        def __contains__(self, key: object) -> bool:
            return True

        def __missing__(self, key: str) -> str:
            return key.upper()

    return Headings(columns)


def _aligned(lines: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=False)]
    for line in lines:
        padded = [f"{cell:<{width + _GAP}}" for cell, width in zip(line, widths, strict=False)]
        print("".join(padded).rstrip())


def objects(values: list[dict[str, Any]], template: str) -> None:
    """What `inspect` prints: a JSON list, or the template for each."""
    if template:
        made = templates.compile_template(template)
        for value in values:
            print(made(value))
        return
    import json

    print(json.dumps(values, indent=4, ensure_ascii=False))
