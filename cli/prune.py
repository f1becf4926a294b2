"""system prune, and prune of containers, images, volumes and builds: what nobody uses goes."""

from __future__ import annotations

from cli import filters, moments
from cli.errors import UsageError
from cli.options import Command, Parsed, option, refused, several
from cli.shared import agreed, filter_pair
from engine import home, prune, reconcile
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.home import Home
    from engine.prune import Pruned
    from images.store import Image

    Pairs = list[tuple[str, str]]


def _containers(here: Home, pairs: Pairs) -> Pruned:
    wanted = filters.pruning(pairs, lambda one: one.settings.labels, lambda one: one.created)
    return prune.prune_containers(here, wanted)


def _volumes(here: Home, pairs: Pairs, *, named: bool) -> Pruned:
    wanted = filters.pruning(pairs, lambda one: one.labels)
    return prune.prune_volumes(here, wanted, named=named, trash=not pairs)


def _images(here: Home, pairs: Pairs, *, named: bool) -> Pruned:
    def created(one: Image) -> float:
        return moments.seconds(one.config.created) or 0.0  # who does not say when is old

    wanted = filters.pruning(pairs, lambda one: one.config.labels, created)
    return prune.prune_images(here, wanted, named=named)


def _builds(here: Home, pairs: Pairs, *, everything: bool) -> Pruned:
    wanted = filters.pruning(pairs, lambda _one: {}, lambda one: one.used)
    return prune.prune_builds(here, wanted, everything=everything)


def _networks(here: Home, pairs: Pairs) -> Pruned:
    wanted = filters.pruning(pairs, lambda one: one.labels, lambda one: one.created)
    return prune.prune_networks(here, wanted)


def _network_prune(parsed: Parsed) -> int:
    if not agreed("This will remove all custom networks not used by at least one container.",
                  parsed.force):  # fmt: skip
        return 0
    here = home.find()
    reconcile.mend_all(here)
    _told("Networks", _networks(here, parsed.filter))
    return 0


def _one(question: str, action: Callable[[Home], Pruned], kind: str, parsed: Parsed) -> int:
    """One kind of object: ask, remove, tell."""
    if not agreed(question, parsed.force):
        return 0
    here = home.find()
    reconcile.mend_all(here)
    done = action(here)
    _told(kind, done)
    print(f"Total reclaimed space: {units.show_bytes(done.freed, 4)}")
    return 0


def _told(kind: str, done: Pruned) -> None:
    if done.gone:
        print(f"Deleted {kind}:", *done.gone, "", sep="\n")


def _container_prune(parsed: Parsed) -> int:
    question = "This will remove all stopped containers."
    return _one(question, lambda here: _containers(here, parsed.filter), "Containers", parsed)


def _image_prune(parsed: Parsed) -> int:
    question = "This will remove all dangling images."
    if parsed.all:
        question = "This will remove all images without at least one container associated to them."
    return _one(
        question,
        lambda here: _images(here, parsed.filter, named=parsed.all),
        "Images",
        parsed,
    )


def _builder_prune(parsed: Parsed) -> int:
    which = "all build cache" if parsed.all else "all dangling build cache"
    if any(key != "until" for key, _ in parsed.filter):
        raise UsageError("the only filter is until")
    return _one(
        f"This will remove {which}.",
        lambda here: _builds(here, parsed.filter, everything=parsed.all),
        "build cache objects",
        parsed,
    )


def _volume_prune(parsed: Parsed) -> int:
    pairs = [pair for pair in parsed.filter if pair[0] != "all"]
    words = [word for key, word in parsed.filter if key == "all"]
    named = parsed.all or any(map(filters.boolean, words))
    which = "all volumes" if named else "anonymous volumes"
    trash = "" if pairs else ", and empty the trash"
    return _one(
        f"This will remove {which} not used by at least one container{trash}.",
        lambda here: _volumes(here, pairs, named=named),
        "Volumes",
        parsed,
    )


def _system_prune(parsed: Parsed) -> int:
    pairs: Pairs = parsed.filter
    if parsed.volumes and any(key == "until" for key, _ in pairs):
        raise UsageError('the filter "until" is not supported with --volumes')
    if not agreed(_all_of_it(parsed), parsed.force):
        return 0
    here = home.find()
    reconcile.mend_all(here)
    steps: list[tuple[str, Callable[[], Any]]] = [
        ("Containers", lambda: _containers(here, pairs)),
        ("Networks", lambda: _networks(here, pairs)),
        ("Images", lambda: _images(here, pairs, named=parsed.all)),
    ]
    if parsed.volumes:
        steps.insert(1, ("Volumes", lambda: _volumes(here, pairs, named=False)))
    if not any(key.startswith("label") for key, _ in pairs):  # builds have no labels
        steps.append(("build cache objects", lambda: _builds(here, pairs, everything=parsed.all)))
    freed = 0
    for kind, step in steps:
        done = step()
        _told(kind, done)
        freed += done.freed
    print(f"Total reclaimed space: {units.show_bytes(freed, 4)}")
    return 0


def _all_of_it(parsed: Parsed) -> str:
    going = ["all stopped containers", "all networks not used by at least one container"]
    if parsed.volumes:
        going.append("all anonymous volumes not used by at least one container, and the trash")
    if parsed.all:
        going.append("all images without at least one container associated to them")
    else:
        going.append("all dangling images")
    if not any(key.startswith("label") for key, _ in parsed.filter):
        going.append("unused build cache")
    lines = ["This will remove:", *(f"  - {one}" for one in going)]
    if parsed.filter:
        pairs = sorted(f"{key}={word}" for key, word in parsed.filter)
        lines += ["", "  Items to be pruned will be filtered with:"]
        lines += [f"  - {pair}" for pair in pairs]
    return "\n".join([*lines, ""])


_FORCE = option("-f --force", "Do not ask")
_UNTIL = several("--filter", "KEY=VALUE", "Only those that fit: label=KEY[=VALUE],"
                 " label!=KEY[=VALUE], until=TIME", read=filter_pair)  # fmt: skip
_NO_UNTIL = several("--filter", "KEY=VALUE", "Only those that fit: label=KEY[=VALUE] or"
                    " label!=KEY[=VALUE]", read=filter_pair)  # fmt: skip

COMMANDS: tuple[Command, ...] = (
    Command(
        "container prune",
        "",
        "Remove all containers that do not run.",
        _container_prune,
        (_FORCE, _UNTIL),
        examples=("pyctr container prune --force", "pyctr container prune -f --filter until=24h"),
    ),
    Command(
        "image prune",
        "",
        "Remove images that have no name and no container.",
        _image_prune,
        (option("-a --all", "Also those that have names"), _FORCE, _UNTIL),
        examples=("pyctr image prune --force",),
    ),
    Command(
        "builder prune",
        "",
        "Remove what builds keep to be faster the next time, unless an image has it as well.",
        _builder_prune,
        (
            option("-a --all", "All of it: the next build does every step again"),
            _FORCE,
            several("--filter", "until=TIME", "Only what was not used since", read=filter_pair),
            refused("--max-used-space", "all that fits the filter goes"),
            refused("--min-free-space", "all that fits the filter goes"),
            refused("--reserved-space", "all that fits the filter goes"),
            refused("--keep-storage", "all that fits the filter goes"),
            refused("--verbose", "system df -v shows all of it"),
        ),
        details="What is not there is made again by the next build that needs it. Layers that an"
        " image has stay.",
        examples=("pyctr builder prune --force", "pyctr builder prune -a -f --filter until=24h"),
    ),
    Command(
        "network prune",
        "",
        "Remove all networks that no container has.",
        _network_prune,
        (_FORCE, _UNTIL),
        examples=("pyctr network prune --force",),
    ),
    Command(
        "volume prune",
        "",
        "Remove anonymous volumes that no container has, and empty the trash.",
        _volume_prune,
        (option("-a --all", "Named volumes as well"), _FORCE, _NO_UNTIL),
        details="With a filter the trash stays.",
        examples=("pyctr volume prune --force",),
    ),
    Command(
        "system prune",
        "",
        "Remove what nobody uses: stopped containers, networks, nameless images, build cache.",
        _system_prune,
        (
            option("-a --all", "All images that no container uses"),
            option("--volumes", "Also anonymous volumes that no container has, and the trash"),
            _FORCE,
            _UNTIL,
        ),
        examples=("pyctr system prune --force", "pyctr system prune -a --volumes -f"),
    ),
)
