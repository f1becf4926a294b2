"""`image ls`: images as lines of a table."""

from __future__ import annotations

import time

from cli import filters, moments, output
from cli.options import Command, Parsed, option, refused, several, value
from cli.shared import filter_pair
from cli.templates import Row
from engine import home
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.home import Home
    from images.store import Listed

_COLUMNS = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
}
_WITH_DIGEST = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
}
_MORE = {
    "Containers": "CONTAINERS",
    "CreatedAt": "CREATED AT",
    "Digest": "DIGEST",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
}


def row(one: Listed, *, whole: bool, **more: str) -> Row:
    """An image as a line of a table; ``more`` are fields that only some tables have."""
    created = moments.seconds(one.created)
    age = "N/A" if created is None else f"{units.show_age(time.time() - created)} ago"
    reference = one.reference
    return Row(
        "image",
        {
            "Repository": reference.repository if reference else "<none>",
            "Tag": (reference.tag if reference else "") or "<none>",
            "Digest": (reference.digest if reference else "") or "<none>",
            "ID": f"sha256:{one.id}" if whole else one.id[:12],
            "CreatedSince": age,
            "CreatedAt": "N/A" if created is None else moments.day_and_time(created),
            "Size": units.show_bytes(one.size),
            **dict.fromkeys(("SharedSize", "UniqueSize", "Containers"), "N/A"),
            **more,
        },
    )


def _ls(parsed: Parsed) -> int:
    here = home.find()
    pairs = [*parsed.filter, *(("reference", word) for word in parsed.words)]
    wanted = filters.combined(pairs, _tests(here))
    found = [one for one in here.images.listing() if wanted(one)]
    if not parsed.all and not any(key == "dangling" for key, _ in pairs):
        found = [one for one in found if one.reference or here.images.digests(one.id)]
    if parsed.quiet:
        for image_id in dict.fromkeys(one.id for one in found):
            print(f"sha256:{image_id}" if parsed.no_trunc else image_id[:12])
        return 0
    rows = [row(one, whole=parsed.no_trunc, **_by_digest(here, one)) for one in found]
    columns = _WITH_DIGEST if parsed.digests else _COLUMNS
    output.table(columns, rows, parsed.format or "", _MORE)
    return 0


def _by_digest(here: Home, one: Listed) -> dict[str, str]:
    """The manifest that an image has in the repository of its name; without a name, where it has
    one at all."""
    from images import references

    for repository, digest in here.images.digests(one.id):
        own = one.reference
        if own is None:
            name = references.Reference(*repository.split("/", 1))
            return {"Repository": name.repository, "Digest": f"sha256:{digest}"}
        if repository == f"{own.domain}/{own.path}":
            return {"Digest": f"sha256:{digest}"}
    return {}


def _tests(here: Home) -> dict[str, filters.Test]:
    def matches(one: Listed, wanted: str) -> bool:
        names = (one.reference.familiar, one.reference.repository) if one.reference else ()
        return any(map(filters.path_pattern("reference", wanted), names))

    def created(wanted: str) -> float:
        return moments.seconds(here.images.resolve(wanted, make=False).config.created) or 0.0

    def at(one: Listed) -> float:
        return moments.seconds(one.created) or 0.0

    once: dict[tuple[str, str], float] = {}

    def moment(key: str, wanted: str, find: Callable[[str], float]) -> float:
        if (key, wanted) not in once:
            once[key, wanted] = find(wanted)
        return once[key, wanted]

    return {
        "before": lambda one, wanted: at(one) < moment("image", wanted, created),
        "dangling": lambda one, wanted: (one.reference is None) == filters.boolean(wanted),
        "label": lambda one, wanted: filters.label(here.images.get(one.id).config.labels, wanted),
        "reference": matches,
        "since": lambda one, wanted: at(one) > moment("image", wanted, created),
        "until": lambda one, wanted: at(one) < moment("until", wanted, filters.moment),
    }


COMMANDS: tuple[Command, ...] = (
    Command(
        "image ls",
        "[NAME[:TAG]]",
        "List images, the newest first.",
        _ls,
        (
            option("-a --all", "Also images without a name"),
            option("-q --quiet", "Only ids"),
            option("--digests", "Show the digests of manifests"),
            option("--no-trunc", "Nothing is shortened"),
            value("--format", "TEMPLATE", "A Go template, or json"),
            several("-f --filter", "KEY=VALUE", "Show only what fits: before=IMAGE, dangling=true,"
                    " label=KEY[=VALUE], reference=PATTERN, since=IMAGE, until=TIME",
                    read=filter_pair),
            refused("--tree", "an image here is of one platform"),
        ),
        at_most=1,
        examples=(
            "pyctr images",
            "pyctr image ls --filter dangling=true -q",
            "pyctr image ls --filter 'reference=*:1.*' --format '{{.Repository}} {{.Size}}'",
        ),
    ),
)  # fmt: skip
