"""Tables and lists as Docker prints them: columns, ``--format``, ``--quiet``."""

from __future__ import annotations

from cli import templates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_GAP = 3


def table(columns: dict[str, str], rows: Iterable[dict[str, Any]], template: str = "") -> None:
    """Prints rows; ``columns`` maps a field to its heading, in order.

    ``template`` may be ``table {{.A}}\\t{{.B}}``, any other template (one line a row), or json.
    """
    for line in lines(columns, rows, template):
        print(line)


def lines(
    columns: dict[str, str], rows: Iterable[dict[str, Any]], template: str = ""
) -> Iterator[str]:
    """What :func:`table` prints."""
    if template and not template.startswith("table"):
        made = templates.compile_template(template)
        return (made(row) for row in rows)
    if template.removeprefix("table").strip():
        made = templates.compile_template(template.removeprefix("table").strip())
        cells = [made(row).split("\t") for row in (_headings(columns), *rows)]
    else:
        cells = [list(columns.values())]
        cells += [[str(row[field]) for field in columns] for row in rows]
    return _aligned(cells)


def _headings(columns: dict[str, str]) -> dict[str, Any]:
    class Headings(dict[str, str]):
        """A field without a column of its own is headed by its name."""

        def __contains__(self, key: object) -> bool:
            return True

        def __missing__(self, key: str) -> str:
            return key.upper()

    return Headings(columns)


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=False)]
    for row in rows:
        padded = [f"{cell:<{width + _GAP}}" for cell, width in zip(row, widths, strict=False)]
        yield "".join(padded).rstrip()


def objects(values: list[dict[str, Any]], template: str) -> None:
    """What `inspect` prints: a JSON list, or the template for each."""
    if template:
        made = templates.compile_template(template)
        for value in values:
            print(made(value))
        return
    import json

    print(json.dumps(values, indent=4, ensure_ascii=False))
