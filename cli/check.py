"""`pyctr check`: the report of :mod:`engine.check`, for people and for scripts."""

from __future__ import annotations

from cli import options, output
from cli.colours import painted
from cli.options import Command, Parsed
from engine import check, home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COLOURS = {check.OK: "green", check.LIMITED: "yellow", check.MISSING: "red"}


def _check(parsed: Parsed) -> int:
    found = check.report(home.find())
    fit = not any(one.status == check.MISSING and one.essential for one in found)
    if parsed.format:
        output.sections(_as_object(found, fit), parsed.format, ())
    else:
        _show(found, fit)
    return 0 if fit else 1


def _as_object(found: list[check.Finding], fit: bool) -> dict[str, Any]:
    fields = ("area", "name", "status", "detail", "advice", "essential")
    checks = [{name.capitalize(): getattr(one, name) for name in fields} for one in found]
    return {"Fit": fit, "Checks": checks}


def _show(found: list[check.Finding], fit: bool) -> None:
    width = max(len(one.name) for one in found) + 3
    area = ""
    for one in found:
        if one.area != area:
            area = one.area
            print(f"{area}:")
        status = painted(f"{one.status:<9}", _COLOURS[one.status])
        print(f"  {status}{one.name:<{width}}{one.detail}".rstrip())
        if one.advice:
            print(*options.hanging(" " * 13, one.advice), sep="\n")
    essential = [one.name for one in found if one.status == check.MISSING and one.essential]
    print()
    print("Containers can run here." if fit else f"No containers here: {', '.join(essential)}")


COMMANDS: tuple[Command, ...] = (
    Command(
        "check",
        "",
        "Try what this host offers to containers, and say what is missing and what to do.",
        _check,
        (options.value("-f --format", "TEMPLATE", "A Go template, or json"),),
        details="Everything is really tried, in processes and folders that go at once. The exit"
        " code is 1 if\nsomething is missing without which no container starts. Whether what pyctr"
        " keeps is sound is\nanother question: pyctr system check.",
        examples=("pyctr check", "pyctr check --format '{{.Fit}}'"),
        verb="check-host",
    ),
)
