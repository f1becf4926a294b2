"""Commands about volumes."""

from __future__ import annotations

import time

from cli import filters, looking, output
from cli.creation import readers
from cli.errors import UsageError
from cli.options import Command, Parsed, option, several, value
from cli.shared import each, filter_pair
from cli.templates import Row
from engine import home
from kernel import units
from volumes.store import new_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.home import Home
    from volumes.store import Volume

_COLUMNS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}
_MORE = {
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Labels": "LABELS",
    "Links": "LINKS",
    "Mountpoint": "MOUNTPOINT",
    "Scope": "SCOPE",
    "Size": "SIZE",
    "Status": "STATUS",
}
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


def row(here: Home, one: Volume, *, size: str | Callable[[], str] = "N/A") -> Row:
    """A volume as a line of a table."""
    return Row(
        "volume",
        {
            "Driver": "local",
            "Name": one.name,
            "Mountpoint": here.volumes.data(one.name),
            "Scope": "local",
            "Labels": ",".join(sorted(f"{key}={own}" for key, own in one.labels.items())),
            "Links": lambda: str(len(here.volumes.users(one.name))),
            "Size": size,
            "Availability": "N/A",
            "Group": "N/A",
            "Status": "N/A",
        },
        Label=lambda key: one.labels.get(key, ""),
    )


def _size(here: Home, name: str) -> str:
    from kernel import tree

    return units.show_bytes(tree.content_size(here.volumes.data(name)))


def _ls(parsed: Parsed) -> int:
    here = home.find()
    if parsed.trash:
        return _ls_trash(here, quiet=parsed.quiet)
    names = {word: filters.pattern("name", word) for key, word in parsed.filter if key == "name"}
    wanted = filters.combined(
        parsed.filter,
        {
            "dangling": lambda one, word: here.volumes.is_used(one.name) != filters.boolean(word),
            "driver": lambda _one, word: word == "local",
            "label": lambda one, word: filters.label(one.labels, word),
            "name": lambda one, word: names[word](one.name),
        },
    )
    found = [one for one in here.volumes.listing() if wanted(one)]
    if parsed.quiet:
        for one in found:
            print(one.name)
        return 0
    template = parsed.format or ""

    def shown(one: Volume) -> Row:
        sized = ".Size" in template  # JSON and tables do not walk all files
        return row(here, one, size=(lambda: _size(here, one.name)) if sized else "N/A")

    output.table(_COLUMNS, map(shown, found), template, _MORE)
    return 0


def _ls_trash(here: Home, *, quiet: bool) -> int:
    from engine import usage

    now = time.time()
    rows = [
        {
            "Name": name,
            "Retired": f"{units.show_age(now - at)} ago",
            "Size": units.show_bytes(size),
        }
        for name, at, size in usage.of_trash(here)
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

    def described(word: str) -> dict[str, Any]:
        return describe.volume(here, here.volumes.get(word))

    return looking.inspect(parsed.words, described, parsed.format or "")


def _rm(parsed: Parsed) -> int:
    from engine import containers, reconcile
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
        (looking.FORMAT,),
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
)  # fmt: skip
