"""`pyctr system check`: what :mod:`engine.verify` finds, for people and for scripts."""

from __future__ import annotations

from cli import output
from cli.colours import painted
from cli.options import Command, Parsed, option, value
from engine import home, verify
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from kernel.finding import Finding

_FOUND, _MENDED, _LEFT = "found", "mended", "left"
_COLOURS = {_FOUND: "yellow", _MENDED: "green", _LEFT: "red"}


def _check(parsed: Parsed) -> int:
    here = home.find()
    told: list[tuple[Finding, str, str]] = []
    for one in verify.findings(here, thorough=parsed.all):
        state, why = _repaired(one) if parsed.repair else (_FOUND, "")
        told.append((one, state, why))
        if not parsed.quiet and not parsed.format:
            print(_line(one, state, why))
    sound = all(state == _MENDED for _, state, _ in told)
    if parsed.format:
        output.sections(_as_object(told, sound), parsed.format, ())
    elif not parsed.quiet:
        print(_summary(told))
    return 0 if sound else 1


def _repaired(one: Finding) -> tuple[str, str]:
    """What has become of a finding: mended, or left and why."""
    if not one.is_mendable:
        return _LEFT, ""
    try:
        one.repair()
    except (OSError, PyctrError) as error:
        return _LEFT, str(error)
    return _MENDED, ""


def _line(one: Finding, state: str, why: str) -> str:
    where = f" ({one.path})" if one.path else ""
    text = f"{painted(state, _COLOURS[state])}: {one.about}: {one.what}{where}; "
    if why:
        return f"{text}repair failed: {why}"
    return text + ("repair: " if one.is_mendable else "to do: ") + one.remedy


def _summary(told: list[tuple[Finding, str, str]]) -> str:
    if not told:
        return "Everything is as it should be."
    mended = sum(state == _MENDED for _, state, _ in told)
    if mended or any(state == _LEFT for _, state, _ in told):
        return f"{len(told)} found, {mended} mended."
    mendable = sum(one.is_mendable for one, _, _ in told)
    return f"{len(told)} found; pyctr system check --repair can mend {mendable} of them."


def _as_object(told: list[tuple[Finding, str, str]], sound: bool) -> dict[str, Any]:
    return {
        "Sound": sound,
        "Findings": [
            {
                "About": one.about,
                "What": one.what,
                "Path": one.path,
                "Remedy": one.remedy,
                "Mendable": one.is_mendable,
                "State": state,
                "Error": why,
            }
            for one, state, why in told
        ],
    }


COMMANDS: tuple[Command, ...] = (
    Command(
        "system check",
        "",
        "Find what is damaged, lost or left over in what pyctr keeps, and mend it.",
        _check,
        (
            option("--repair", "Mend what can be mended"),
            option("-a --all", "Also read all content of images, and compare it with its digests"),
            option("-q --quiet", "Only the exit code"),
            value("-f --format", "TEMPLATE", "A Go template, or json"),
        ),
        details="Folders, database, processes, control groups and networks are compared with each"
        " other.\nThe exit code is 1 if something is wrong, with --repair if something of it is"
        " left. Data of\nvolumes is never removed. What this host offers is another question:"
        " pyctr check.",
        examples=(
            "pyctr system check",
            "pyctr system check --repair",
            "pyctr system check --format '{{.Sound}}'",
        ),
    ),
)
