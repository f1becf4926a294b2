"""Flags about how a container is watched: restarts, health, its log."""

from __future__ import annotations

from cli.options import Option, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = ()


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide."""
    return {}
