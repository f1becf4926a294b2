"""Tables and lists as Docker prints them: columns, ``--format``, wide letters.

A column is as wide as its longest cell and three spaces, at least ten; letters count as many
places as a terminal gives them. Only here is anything aligned.
"""

from __future__ import annotations

from kernel.errors import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from cli.templates import Row

_GAP = 3
_NARROWEST = 10


def table(
    columns: dict[str, str],
    rows: Iterable[dict[str, Any] | Row],
    template: str = "",
    more: dict[str, str] | None = None,
) -> None:
    """Prints rows; ``columns`` maps a field to its heading, in order.

    ``template`` may be ``table``, ``table {{.A}}\\t{{.B}}``, any other template (one line a row),
    or json. ``more`` are the headings of fields that only a template shows.
    """
    for line in lines(columns, rows, template, more):
        print(line)


def lines(
    columns: dict[str, str],
    rows: Iterable[dict[str, Any] | Row],
    template: str = "",
    more: dict[str, str] | None = None,
) -> Iterator[str]:
    """What :func:`table` prints."""
    if template in ("", "table"):
        cells = [list(columns.values())]
        cells += [[str(row[field]) for field in columns] for row in rows]
        return aligned(cells)
    from cli import templates

    template = template.replace("\\t", "\t").replace("\\n", "\n")
    if not template.startswith("table "):
        made = templates.compile_template(template)
        return (made(row) for row in rows)
    made = templates.compile_template(template.removeprefix("table "))
    heading = templates.Row("heading", {**columns, **(more or {})}, Label=_label_heading)
    text = "\n".join([made(heading), *map(made, rows)])
    return aligned([line.split("\t") for line in text.split("\n")])


def _label_heading(name: str) -> str:
    """``com.example.some-thing`` as ``some thing``."""
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def aligned(rows: list[list[str]], narrowest: int = _NARROWEST) -> Iterator[str]:
    """Lines with their cells below each other; the last cell of a line fills no column.

    What images and processes call themselves is no command of the terminal.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths: dict[int, int] = {}
    for row in rows:
        for column, cell in enumerate(row[:-1]):
            widths[column] = max(widths.get(column, narrowest), width(cell) + _GAP)
    for row in rows:
        padded = [
            cell + " " * (widths[column] - width(cell)) for column, cell in enumerate(row[:-1])
        ]
        yield "".join([*padded, *row[-1:]]).rstrip()


def width(text: str) -> int:
    """The places that a terminal gives a text: two for wide letters, none for combining ones."""
    return len(text) if text.isascii() else sum(map(_places, text))


def _places(char: str) -> int:
    import unicodedata

    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def ellipsis(text: str, places: int) -> str:
    """A text in at most so many places; what is cut ends in ``…``."""
    if width(text) <= places:
        return text
    kept, used = "", 0
    for char in text:
        used += width(char)
        if used > places - 1:
            break
        kept += char
    return kept + "…"


def sections(value: dict[str, Any], template: str, lines: Iterable[str]) -> None:
    """What `info` and `version` print: lines, or the template for the whole value."""
    if template:
        from cli import templates

        print(templates.render(template, value))
        return
    for line in lines:
        print(line)


def objects(values: list[dict[str, Any]], template: str) -> None:
    """What `inspect` prints: a JSON list (with ``json`` in one line), or the template for each."""
    if template == "json":
        from cli.templates.values import to_json

        print(to_json(values))
        return
    if template:
        from cli import templates

        made = templates.compile_template(template)
        for value in values:
            print(made(value))
        return
    from kernel import quickjson

    print(quickjson.indented(values))
