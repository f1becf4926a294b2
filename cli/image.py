"""Commands about images."""

from __future__ import annotations

import time

from cli import filters, looking, moments, output, progress
from cli.main import tell
from cli.options import Command, Parsed, option, several, value
from cli.shared import filter_pair
from cli.templates import Row
from engine import home
from images import references
from kernel import units
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


def _import(parsed: Parsed) -> int:
    from images import archives

    here = home.find()
    name = references.parse(parsed.words[1]) if len(parsed.words) > 1 else None
    with archives.open_source(parsed.words[0]) as stream:
        watched = progress.shown(stream, "importing")
        made = archives.import_root(here.images, watched, name, parsed.change, parsed.message or "")
    print(f"sha256:{made}")
    return 0


def _load(parsed: Parsed) -> int:
    from images import archives

    here = home.find()
    with archives.open_source(parsed.input) as stream:
        watched = progress.shown(stream, "loading", quiet=parsed.quiet)
        for image_id, names in archives.load(here.images, watched):
            for name in names:
                print(f"Loaded image: {name.familiar}")
            if not names:
                print(f"Loaded image ID: sha256:{image_id}")
    return 0


def _tag(parsed: Parsed) -> int:
    here = home.find()
    source, name = parsed.words
    here.images.tag(here.images.find(source), references.parse(name))
    return 0


def _rm(parsed: Parsed) -> int:
    here = home.find()

    def users(image_id: str) -> list[str]:
        query = "SELECT name FROM containers WHERE image_id = ? ORDER BY created"
        return [row[0] for row in here.db.execute(query, (image_id,))]

    code = 0
    for word in parsed.words:
        try:
            names, ids = here.images.remove(word, users, parsed.force)
        except PyctrError as error:
            tell(error)
            code = 1
            continue
        for name in names:
            print(f"Untagged: {name}")
        for image_id in ids:
            print(f"Deleted: sha256:{image_id}")
    return code


def _inspect(parsed: Parsed) -> int:
    from engine import describe

    here = home.find()

    def described(word: str) -> dict[str, Any]:
        return describe.image(here, here.images.resolve(word))

    return looking.inspect(parsed.words, described, parsed.format or "")


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
    wanted = filters.combined(parsed.filter, _tests(here))
    found = [one for one in here.images.listing() if wanted(one)]
    if parsed.words:
        name = references.parse(parsed.words[0])
        tagged = ":" in parsed.words[0].rpartition("/")[2]
        found = [
            one
            for one in found
            if one.reference
            and one.reference.repository == name.repository
            and (not tagged or one.reference.tag == name.tag)
        ]
    if parsed.quiet:
        for image_id in dict.fromkeys(one.id for one in found):
            print(f"sha256:{image_id}" if parsed.no_trunc else image_id[:12])
        return 0
    rows = [row(one, whole=parsed.no_trunc, Digest=_digest(here, one)) for one in found]
    columns = _WITH_DIGEST if parsed.digests else _COLUMNS
    output.table(columns, rows, parsed.format or "", _MORE)
    return 0


def _digest(here: Home, one: Listed) -> str:
    """That of the manifest that an image has in the repository of its name."""
    for repository, digest in here.images.digests(one.id):
        own = one.reference
        if own is None or repository == f"{own.domain}/{own.path}":
            return f"sha256:{digest}"
    return "<none>"


def _tests(here: Home) -> dict[str, Any]:
    def matches(one: Listed, wanted: str) -> bool:
        from fnmatch import fnmatchcase

        names = (one.reference.familiar, one.reference.repository) if one.reference else ()
        return any(fnmatchcase(name, wanted) for name in names)

    return {
        "dangling": lambda one, wanted: (one.reference is None) == filters.boolean(wanted),
        "label": lambda one, wanted: filters.label(here.images.get(one.id).config.labels, wanted),
        "reference": matches,
    }


_CHANGES = several("-c --change", "INSTRUCTION", "Set a part of the configuration: CMD, ENTRYPOINT,"
                   " ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR")  # fmt: skip

COMMANDS: tuple[Command, ...] = (
    Command(
        "image ls",
        "[NAME[:TAG]]",
        "List images.",
        _ls,
        (
            option("-q --quiet", "Only ids"),
            option("--digests", "Show the digests of manifests"),
            option("--no-trunc", "Nothing is shortened"),
            value("--format", "TEMPLATE", "A Go template, or json"),
            several("-f --filter", "KEY=VALUE", "Show only what fits: dangling, label, reference",
                    read=filter_pair),
        ),
        at_most=1,
        examples=("pyctr images", "pyctr image ls --filter dangling=true -q"),
    ),
    Command(
        "image import",
        "FILE|- [NAME[:TAG]]",
        "Make an image of a root file system in a tar archive (plain, gzip, bzip2 or xz).",
        _import,
        (_CHANGES, value("-m --message", "TEXT", "A message")),
        at_least=1,
        at_most=2,
        details="A root file system of Debian, for example:\n"
        "  mmdebstrap --variant=minbase bookworm - | pyctr image import -c 'CMD bash' - debian",
        examples=(
            "pyctr image import rootfs.tar.gz mine:1.0",
            "pyctr export web | pyctr image import -c 'CMD sh' - flat",
        ),
    ),
    Command(
        "image load",
        "",
        "Bring in images from an archive that docker save, podman save or an OCI tool wrote.",
        _load,
        (
            value("-i --input", "FILE", "The archive; standard input if not given", default="-"),
            option("-q --quiet", "Do not show how far it is"),
        ),
        details="With Docker on the same host: docker save debian | pyctr image load",
        examples=("pyctr image load --input saved.tar",),
    ),
    Command(
        "image tag",
        "IMAGE NAME[:TAG]",
        "Give an image a further name.",
        _tag,
        at_least=2,
        at_most=2,
        examples=("pyctr tag base mine:1.0",),
    ),
    Command(
        "image rm",
        "IMAGE [IMAGE...]",
        "Remove images. An image goes with its last name, unless a container uses it.",
        _rm,
        (option("-f --force", "Take the name away even if a container uses the image"),),
        at_least=1,
        at_most=-1,
        examples=("pyctr rmi mine:1.0",),
    ),
    Command(
        "image inspect",
        "IMAGE [IMAGE...]",
        "Show everything about images, as JSON.",
        _inspect,
        (looking.FORMAT,),
        at_least=1,
        at_most=-1,
        examples=("pyctr image inspect --format '{{.Id}}' base",),
    ),
)  # fmt: skip
