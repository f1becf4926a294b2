"""From the command line of `create` and `run` to what the engine is asked for."""

from __future__ import annotations

from cli.creation import general, isolation, limits, naming, places, supervision
from cli.flags import EXPLAIN
from cli.options import Option, Parsed
from engine.create import CreateRequest
from engine.settings import Settings

GROUPS: tuple[tuple[str, tuple[Option, ...]], ...] = (
    ("Volumes", places.OPTIONS),
    ("The program", general.OPTIONS),
    ("Network and names", naming.OPTIONS),
    ("Limits", limits.OPTIONS),
    ("Rights and views", isolation.OPTIONS),
    ("Supervision", supervision.OPTIONS),
    ("Learning", (EXPLAIN,)),
)
OPTIONS: tuple[Option, ...] = tuple(one for _, group in GROUPS for one in group)


def request(parsed: Parsed) -> CreateRequest:
    """What the command line asks for. UsageError for combinations that cannot be."""
    image, *command = parsed.words
    decided: dict[str, object] = {}
    for section in (places, general, naming, limits, isolation, supervision):
        decided |= section.settings(parsed)
    entrypoint = parsed.entrypoint
    return CreateRequest(
        image,
        Settings(tuple(command), **decided),  # type: ignore[arg-type]
        name=(parsed.name or "").removeprefix("/"),
        entrypoint=None if entrypoint is None else ((entrypoint,) if entrypoint else ()),
        volumes=(*parsed.volume, *parsed.mount, *parsed.tmpfs),
        volumes_from=tuple(parsed.volumes_from),
        pull=parsed.pull,
        platform=parsed.platform,
        networks=naming.networks(parsed),
    )
