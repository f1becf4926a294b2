"""`image history`: what made an image, the newest step first."""

from __future__ import annotations

import time

from cli import moments, output
from cli.flags import PLATFORM
from cli.options import Command, Parsed, option, value
from engine import home
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COLUMNS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_MORE = {"CreatedAt": "CREATED AT"}
_PLACES = 45


def _history(parsed: Parsed) -> int:
    here = home.find()
    image = here.images.resolve(parsed.words[0])
    if parsed.platform:
        from images import platforms

        platforms.require(image.config, parsed.platform)
    sizes = iter([layer.size for layer in here.images.layers(image.id)])
    steps = image.config.raw.get("history")
    made = [
        (step, 0 if step.get("empty_layer") else next(sizes, 0))
        for step in (steps if isinstance(steps, list) else [])
        if isinstance(step, dict)
    ]
    identity = f"sha256:{image.id}" if parsed.no_trunc else image.id[:12]
    rows = [
        _row(step, size, "<missing>" if older else identity, parsed)
        for older, (step, size) in enumerate(reversed(made))
    ]
    if parsed.quiet:
        for row in rows:
            print(row["ID"])
        return 0
    output.table(_COLUMNS, rows, parsed.format or "", _MORE)
    return 0


def _row(step: dict[str, Any], size: int, identity: str, parsed: Parsed) -> dict[str, str]:
    written = str(step.get("created") or "")
    created = moments.seconds(written)
    age = "N/A" if created is None else f"{units.show_age(time.time() - created)} ago"
    by = " ".join(str(step.get("created_by") or "").split())
    return {
        "ID": identity,
        "CreatedSince": age if parsed.human else written or "N/A",
        "CreatedAt": written or "N/A",
        "CreatedBy": by if parsed.no_trunc else output.ellipsis(by, _PLACES),
        "Size": units.show_bytes(size) if parsed.human else str(size),
        "Comment": str(step.get("comment") or ""),
    }


COMMANDS: tuple[Command, ...] = (
    Command(
        "image history",
        "IMAGE",
        "Show what made an image, the newest step first.",
        _history,
        (
            value("--format", "TEMPLATE", "A Go template, or json"),
            option("-H --human", "Sizes and dates for people; =false for programs", default=True),
            option("--no-trunc", "Nothing is shortened"),
            option("-q --quiet", "Only ids"),
            PLATFORM,
        ),
        at_least=1,
        at_most=1,
        examples=("pyctr history base",),
    ),
)
