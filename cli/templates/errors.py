"""What is wrong with a template, in the words that Go has for it."""

from __future__ import annotations

from cli.errors import UsageError

_HINT = "for example --format '{{.Name}}', --format '{{json .}}' or --format json"


class TemplateError(UsageError):
    """A template that cannot be read, or cannot be done for a value. Exit code 1, as Docker's."""

    exit_code = 1


class FunctionError(Exception):
    """A function that cannot do what it was asked; the parser says where."""


def unreadable(template: str, position: int, why: str, hint: str = _HINT) -> TemplateError:
    """A mistake in the template itself, at the character ``position``."""
    line = 1 + template.count("\n", 0, position)
    return TemplateError("template parsing error", f"template: :{line}: {why}", hint)


def failed(template: str, position: int, where: str, why: str, hint: str = "") -> TemplateError:
    """A template that does not fit a value; ``where`` is the piece of it at ``position``."""
    line = 1 + template.count("\n", 0, position)
    column = position - (template.rfind("\n", 0, position) + 1)
    shown = where if len(where) <= 40 else where[:37] + "..."
    return TemplateError(
        "template parsing error",
        f'template: :{line}:{column}: executing "" at <{shown}>: {why}',
        hint,
    )
