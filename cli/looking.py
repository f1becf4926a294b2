"""What all `inspect` commands have in common: several names, of which some may be missing."""

from __future__ import annotations

from cli import output
from cli.main import tell
from cli.options import value
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FORMAT = value("-f --format", "TEMPLATE", "A Go template, or json")


def inspect(words: list[str], described: Callable[[str], dict[str, Any]], template: str) -> int:
    """Prints what is found, then tells what is not; 1 if anything is missing."""
    found, missing = [], []
    for word in words:
        try:
            found.append(described(word))
        except PyctrError as error:
            missing.append(error)
    output.objects(found, template)
    for one in missing:
        tell(one)
    return 1 if missing else 0
