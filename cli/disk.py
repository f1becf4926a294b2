"""system df: what of the disk is used for what."""

from __future__ import annotations

import time

from cli import output
from cli.container import listing
from cli.errors import UsageError
from cli.listing import row as image_row
from cli.options import Command, Parsed, option
from cli.shared import FORMAT
from cli.templates import Row
from cli.volume import row as volume_row
from engine import home, reconcile, usage
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.home import Home
    from engine.usage import Total
    from images.build.cache import Entry

_COLUMNS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
_IMAGES = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}
_CONTAINERS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Names": "NAMES",
}
_VOLUMES = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
_CACHE = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}
_TRASH = {"Name": "VOLUME NAME", "Retired": "RETIRED", "Size": "SIZE"}


def _df(parsed: Parsed) -> int:
    here = home.find()
    reconcile.mend_all(here)
    if parsed.verbose:
        _verbose(here, parsed.format or "")
        return 0
    rows = [
        _row("Images", usage.Images(here).total()),
        _row("Containers", usage.total_of_containers(usage.of_containers(here))),
        _row("Local Volumes", usage.total_of_volumes(usage.of_volumes(here))),
        _row("Build Cache", usage.total_of_cache(here.images.build_cache.entries())),
    ]
    output.table(_COLUMNS, rows, parsed.format or "")
    return 0


def _row(kind: str, total: Total) -> Row:
    share = f" ({total.reclaimable * 100 // total.size}%)" if total.size else ""
    return Row(
        "disk usage",
        {
            "Type": kind,
            "TotalCount": str(total.count),
            "Active": str(total.active),
            "Size": units.show_bytes(total.size, 4),
            "Reclaimable": units.show_bytes(total.reclaimable, 4) + share,
        },
    )


def _verbose(here: Home, template: str) -> None:
    """Each object with its size. The trash has a section of its own: Docker has none."""
    whole = bool(template)
    images = _images(here, whole=whole)
    containers = [
        listing.row(here, one, whole=whole, size=units.show_bytes(size))
        for one, size in usage.of_containers(here)
    ]
    volumes = [
        volume_row(here, one, size=units.show_bytes(size))
        for one, _, size in usage.of_volumes(here)
    ]
    entries = here.images.build_cache.entries()
    cache = [_cached(one, whole=whole) for one in entries]
    if template == "table" or not template:
        print("Images space usage:\n")
        output.table(_IMAGES, images)
        print("\nContainers space usage:\n")
        output.table(_CONTAINERS, containers)
        print("\nLocal Volumes space usage:\n")
        output.table(_VOLUMES, volumes)
        print(f"\nBuild cache usage: {units.show_bytes(usage.of_cache(entries), 4)}\n")
        output.table(_CACHE, cache)
        _trash(here)
        return
    if template.startswith("table "):
        raise UsageError("-v has several tables", "one template cannot head all of them")
    from cli import templates

    found = Row(
        "disk usage",
        {"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": cache},
    )
    print(templates.render(template, found))


def _cached(one: Entry, *, whole: bool) -> Row:
    now = time.time()
    return Row(
        "disk usage",
        {
            "ID": one.key if whole else one.key[:12],
            "CacheType": one.kind,
            "Size": units.show_bytes(one.size),
            "CreatedSince": f"{units.show_age(now - one.created)} ago",
            "LastUsedSince": f"{units.show_age(now - one.used)} ago",
            "UsageCount": str(one.uses),
            "Shared": "true" if one.shared else "false",
            "Description": one.description,
        },
    )


def _images(here: Home, *, whole: bool) -> list[Row]:
    """One line for each image, under the first of its names."""
    listed = {one.id: one for one in reversed(here.images.listing())}
    return [
        image_row(
            listed[one.id],
            whole=whole,
            Size=units.show_bytes(one.unique + one.shared),
            SharedSize=units.show_bytes(one.shared),
            UniqueSize=units.show_bytes(one.unique),
            Containers=str(one.containers),
        )
        for one in usage.Images(here).all
    ]


def _trash(here: Home) -> None:
    kept = usage.of_trash(here)
    if kept:
        now = time.time()
        print("\nVolumes in the trash (pyctr volume restore):\n")
        output.table(
            _TRASH,
            [
                {
                    "Name": name,
                    "Retired": f"{units.show_age(now - at)} ago",
                    "Size": units.show_bytes(size),
                }
                for name, at, size in kept
            ],
        )


COMMANDS: tuple[Command, ...] = (
    Command(
        "system df",
        "",
        "Show how much of the disk is used, and for what.",
        _df,
        (option("-v --verbose", "Each image, container and volume"), FORMAT),
        details="Sizes are those of the files; layers that images share count once.",
        examples=("pyctr system df", "pyctr system df --format '{{.Type}}: {{.Reclaimable}}'"),
    ),
)
