"""Variables of a template, and what ``break`` and ``continue`` tell a loop."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Scope:
    """Variables of one block; those of the blocks around it are seen through ``outer``."""

    __slots__ = ("_outer", "_own")

    def __init__(self, outer: Scope | None = None, **own: Any) -> None:
        self._own: dict[str, Any] = own
        self._outer = outer

    def declare(self, name: str, value: Any) -> None:
        """``$x := ...``: a variable of this block."""
        self._own[name] = value

    def assign(self, name: str, value: Any) -> None:
        """``$x = ...``: the variable of that name, wherever it was declared."""
        self._holder(name)._own[name] = value

    def get(self, name: str) -> Any:
        """Its value; the parser has made sure that it is declared."""
        return self._holder(name)._own[name]

    def _holder(self, name: str) -> Scope:
        scope: Scope | None = self
        while scope is not None and name not in scope._own:
            scope = scope._outer
        if scope is None:
            raise LookupError(name)
        return scope


class BreakLoop(Exception):
    """``{{break}}``"""


class ContinueLoop(Exception):
    """``{{continue}}``"""
