"""Commands about volumes."""

from __future__ import annotations

import time

from cli import filters, output
from cli.creation import readers
from cli.errors import UsageError
from cli.options import Command, Parsed, option, several, value
from cli.shared import agreed, each, filter_pair
from engine import containers, home, reconcile
from kernel import tree, units
from volumes.store import new_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.home import Home
    from volumes.store import Volume

_COLUMNS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}
_TRASH_COLUMNS = {"Name": "VOLUME NAME", "Retired": "RETIRED", "Size": "SIZE"}


def _driver(text: str) -> str:
    if text != "local":
        raise UsageError(f"volume driver {text!r} is not supported", "pyctr knows local")
    return text


def _create(parsed: Parsed) -> int:
    here = home.find()
    name = parsed.words[0] if parsed.words else new_name()
    made = here.volumes.create(name, dict(parsed.label), anonymous=not parsed.words)
    print(made.name)
    return 0


def _row(here: Home, one: Volume, template: str) -> dict[str, Any]:
    row = {
        "Driver": "local",
        "Name": one.name,
        "Mountpoint": here.volumes.data(one.name),
        "Scope": "local",
        "Labels": ",".join(f"{key}={own}" for key, own in one.labels.items()),
        "Links": str(len(here.volumes.users(one.name))),
        "Size": "N/A",
    }
    if ".Size" in template:
        row["Size"] = units.show_bytes(tree.disk_usage(row["Mountpoint"]))
    return row


def _ls(parsed: Parsed) -> int:
    here = home.find()
    if parsed.trash:
        return _ls_trash(here, quiet=parsed.quiet)
    wanted = filters.combined(
        parsed.filter,
        {
            "dangling": lambda one, word: here.volumes.is_used(one.name) != filters.boolean(word),
            "driver": lambda _one, word: word == "local",
            "label": lambda one, word: filters.label(one.labels, word),
            "name": lambda one, word: word in one.name,
        },
    )
    found = [one for one in here.volumes.listing() if wanted(one)]
    if parsed.quiet:
        for one in found:
            print(one.name)
        return 0
    template = parsed.format or ""
    output.table(_COLUMNS, [_row(here, one, template) for one in found], template)
    return 0


def _ls_trash(here: Home, *, quiet: bool) -> int:
    now = time.time()
    rows = [
        {
            "Name": name,
            "Retired": f"{units.show_age(now - at)} ago",
            "Size": units.show_bytes(tree.disk_usage(f"{here.volumes.root}/.trash/{name}")),
        }
        for name, at in sorted(here.volumes.trash(), key=lambda kept: kept[1])
    ]
    if quiet:
        for row in rows:
            print(row["Name"])
    else:
        output.table(_TRASH_COLUMNS, rows)
    return 0


def _inspect(parsed: Parsed) -> int:
    from engine import describe

    here = home.find()
    found = [describe.volume(here, here.volumes.get(word)) for word in parsed.words]
    output.objects(found, parsed.format or "")
    return 0


def _rm(parsed: Parsed) -> int:
    from kernel.errors import NotFound

    here = home.find()
    reconcile.mend_all(here)  # a container that a crash left must not hold a volume

    def away(word: str) -> str:
        try:
            here.volumes.remove(word, lambda ids: containers.names(here, ids))
        except NotFound:
            if not parsed.force:
                raise
        return word

    return each(parsed.words, away)


def _restore(parsed: Parsed) -> int:
    here = home.find()
    return each(parsed.words, lambda word: here.volumes.restore(word).name)


def _prune(parsed: Parsed) -> int:
    here = home.find()
    which = "all volumes" if parsed.all else "anonymous volumes"
    question = f"This will remove {which} not used by at least one container"
    if not agreed(f"{question}, and empty the trash.", parsed.force):
        return 0
    reconcile.mend_all(here)
    fits = filters.combined(
        parsed.filter, {"label": lambda one, word: filters.label(one.labels, word)}
    )
    going = [
        one
        for one in here.volumes.listing()
        if (one.anonymous or parsed.all) and not here.volumes.is_used(one.name) and fits(one)
    ]
    sizes = {one.name: tree.disk_usage(here.volumes.folder(one.name)) for one in going}
    freed = here.volumes.free(sizes)
    total = sum(sizes[name] for name in freed)
    if not parsed.filter:
        total += here.volumes.empty_trash(older_than=0)
    if freed:
        print("Deleted Volumes:")
        print("\n".join(freed))
        print()
    print(f"Total reclaimed space: {units.show_bytes(total)}")
    return 0


COMMANDS: tuple[Command, ...] = (
    Command(
        "volume create",
        "[NAME]",
        "Make a volume. Without a name it is anonymous: it goes with its last container.",
        _create,
        (
            several("-l --label", "KEY=VALUE", "Attach a label", read=readers.pair),
            value("-d --driver", "DRIVER", "local is the only one", read=_driver,
                  default="local"),
        ),
        at_most=1,
        examples=("pyctr volume create dbdata",),
    ),
    Command(
        "volume ls",
        "",
        "List volumes.",
        _ls,
        (
            option("-q --quiet", "Only names"),
            option("--trash", "What `pyctr volume restore` can bring back"),
            value("--format", "TEMPLATE", "A Go template, or json"),
            several("-f --filter", "KEY=VALUE", "Show only what fits: dangling, driver, label,"
                    " name", read=filter_pair),
        ),
        examples=("pyctr volume ls", "pyctr volume ls --trash"),
    ),
    Command(
        "volume inspect",
        "VOLUME [VOLUME...]",
        "Show everything about volumes, as JSON.",
        _inspect,
        (value("-f --format", "TEMPLATE", "A Go template, or json"),),
        at_least=1,
        at_most=-1,
        examples=("pyctr volume inspect --format '{{.Mountpoint}}' dbdata",),
    ),
    Command(
        "volume rm",
        "VOLUME [VOLUME...]",
        "Remove volumes, at once. A volume that a container has, running or not, stays.",
        _rm,
        (option("-f --force", "A volume that is not there is no error"),),
        at_least=1,
        at_most=-1,
        examples=("pyctr volume rm dbdata",),
    ),
    Command(
        "volume restore",
        "VOLUME [VOLUME...]",
        "Take volumes out of the trash.",
        _restore,
        at_least=1,
        at_most=-1,
        details="An anonymous volume goes to the trash when `pyctr rm` removes its last "
        "container,\n"
        "and stays there for a day (PYCTR_VOLUME_TRASH=3d, or 0 for no trash).",
        examples=("pyctr volume restore $(pyctr volume ls --trash -q)",),
    ),
    Command(
        "volume prune",
        "",
        "Remove anonymous volumes that no container has, and empty the trash.",
        _prune,
        (
            option("-a --all", "Named volumes as well"),
            option("-f --force", "Do not ask"),
            several("--filter", "label=KEY[=VALUE]", "Only those that fit", read=filter_pair),
        ),
        examples=("pyctr volume prune --force",),
    ),
)  # fmt: skip
