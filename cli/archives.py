"""`image import`, `image load` and `image save`: images from archives and into them."""

from __future__ import annotations

import sys

from cli import progress, whole
from cli.errors import UsageError
from cli.flags import PLATFORM
from cli.options import Command, Parsed, option, several, value
from engine import home
from images import references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.home import Home
    from images.references import Reference


def _import(parsed: Parsed) -> int:
    from images import archives

    here = home.find()
    source = parsed.words[0]
    if source.startswith(("http://", "https://")):
        raise UsageError(
            f"cannot import {source}", "pyctr does not fetch files",
            f"curl -L {source} | pyctr import -", exit_code=1,
        )  # fmt: skip
    name = references.parse(parsed.words[1]) if len(parsed.words) > 1 else None
    with archives.open_source(source) as stream:
        watched = progress.shown(stream, "importing")
        made = archives.import_root(
            here.images, watched, name, parsed.change, parsed.message or "", parsed.platform
        )
    print(f"sha256:{made}")
    return 0


def _load(parsed: Parsed) -> int:
    from images import archives

    here = home.find()
    if parsed.input == "-" and sys.stdin.isatty():
        raise UsageError(
            "requested load from stdin, but stdin is empty", "", "use -i FILE, or a pipe",
            exit_code=1,
        )  # fmt: skip
    with archives.open_source(parsed.input) as stream:
        watched = progress.shown(stream, "loading", quiet=parsed.quiet)
        for image_id, names in archives.load(here.images, watched, parsed.platform):
            for name in names:
                print(f"Loaded image: {name.familiar}")
            if not names:
                print(f"Loaded image ID: sha256:{image_id}")
    return 0


def _save(parsed: Parsed) -> int:
    from images import save

    here = home.find()
    wanted = _wanted(here, parsed.words)
    if parsed.platform:
        from images import platforms

        for image_id, _ in wanted:
            platforms.require(here.images.get(image_id).config, parsed.platform)
    if parsed.output is None:
        if sys.stdout.isatty():
            raise UsageError(
                "cowardly refusing to save to a terminal", "", "use the -o flag or redirect",
                exit_code=1,
            )  # fmt: skip
        save.save(here.images, wanted, sys.stdout.buffer)
    else:
        with whole.WholeFile(parsed.output) as out:
            save.save(here.images, wanted, out)
    for image_id, names in wanted:
        here.images.told("save", image_id, names[0].familiar if names else "")
    return 0


def _wanted(here: Home, words: list[str]) -> list[tuple[str, list[Reference]]]:
    """(id, names to save) in order: by name that name, by a repository all its tags, by id none."""
    found: dict[str, list[Reference]] = {}
    for word in words:
        for image_id, name in _repository(here, word) or [_one(here, word)]:
            names = found.setdefault(image_id, [])
            names += [name] if name is not None and name not in names else []
    return list(found.items())


def _one(here: Home, word: str) -> tuple[str, Reference | None]:
    image_id = here.images.find(word)
    if image_id.startswith(references.as_id_prefix(word) or "-"):
        return image_id, None
    name = references.parse(word)
    return image_id, name if name.tag else None


def _repository(here: Home, word: str) -> list[tuple[str, Reference | None]]:
    """All images of a repository, if the word is the name of one that is here."""
    if "@" in word or ":" in word.rpartition("/")[2] or here.images.is_id(word):
        return []
    own = references.parse(word).repository
    listed = here.images.listing()
    return [(o.id, o.reference) for o in listed if o.reference and o.reference.repository == own]


CHANGES = several("-c --change", "INSTRUCTION", "Set a part of the configuration: CMD, ENTRYPOINT,"
                  " ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR")  # fmt: skip

COMMANDS: tuple[Command, ...] = (
    Command(
        "image import",
        "FILE|- [NAME[:TAG]]",
        "Make an image of a root file system in a tar archive (plain, gzip, bzip2 or xz).",
        _import,
        (
            CHANGES,
            value("-m --message", "TEXT", "A message"),
            PLATFORM.replace(help="What the image is for, if not this machine's platform"),
        ),
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
            PLATFORM.replace(help="The image for this platform, where there are several"),
            option("-q --quiet", "Do not show how far it is"),
        ),
        details="With Docker on the same host: docker save debian | pyctr image load",
        examples=("pyctr image load --input saved.tar",),
    ),
    Command(
        "image save",
        "IMAGE [IMAGE...]",
        "Write images into an archive that pyctr, Docker, Podman and OCI tools can load.",
        _save,
        (
            value("-o --output", "FILE", "The archive; standard output if not given"),
            PLATFORM,
        ),
        at_least=1,
        at_most=-1,
        details="A name without a tag means all tags. The same images give the same bytes.",
        examples=("pyctr save -o saved.tar base", "pyctr save base | gzip > saved.tar.gz"),
    ),
)
