"""``--format``: the part of Go's templates that people use with Docker.

    lexer      text into tokens
    parser     tokens into functions that write text
    scope      variables, and what a loop is told
    functions  what can be called: json, join, eq, printf ...
    printf     formats with verbs
    values     how a value is shown, and the rows of tables

Text, fields, variables, pipelines, parentheses, ``if``, ``range``, ``with``, ``break``,
``continue``, comments and trimming (``{{-``) mean what they mean in Go. ``define``, ``template``
and ``block`` are refused by name, as are the functions ``call``, ``html``, ``js``, ``urlquery``.
Whatever a template says, the only exception is a UsageError, in the words of Go's own errors.

Source: the documentation of Go's text/template; Docker's "Format command and log output".
"""

from __future__ import annotations

from cli.templates.values import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def compile_template(template: str) -> Callable[[Any], str]:
    """A function from a value to its text; UsageError for what the template may not say."""
    from cli.templates import parser  # a plain table needs only rows

    return parser.compile_template(template)


def render(template: str, value: Any) -> str:
    """The text of a template for one value."""
    return compile_template(template)(value)


__all__ = ["Row", "compile_template", "render"]
