"""`image save`: images in one archive."""

from __future__ import annotations

import os
import sys

from cli.errors import UsageError
from cli.options import Command, Parsed, refused, value
from engine import home
from images import references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.home import Home
    from images.references import Reference


def _save(parsed: Parsed) -> int:
    from images import save

    here = home.find()
    wanted = _wanted(here, parsed.words)
    if parsed.output is None:
        if sys.stdout.isatty():
            raise UsageError(
                "cowardly refusing to save to a terminal", "", "use the -o flag or redirect",
                exit_code=1,
            )  # fmt: skip
        save.save(here.images, wanted, sys.stdout.buffer)
    else:
        _into_file(here, wanted, parsed.output)
    for image_id, names in wanted:
        here.images.told("save", image_id, names[0].familiar if names else "")
    return 0


def _wanted(here: Home, words: list[str]) -> list[tuple[str, list[Reference]]]:
    """(id, names to save) in order: by name that name, by id none."""
    found: dict[str, list[Reference]] = {}
    for word in words:
        image_id = here.images.find(word)
        names = found.setdefault(image_id, [])
        if not image_id.startswith(references.as_id_prefix(word) or "-"):
            name = references.parse(word)
            names += [name] if name not in names and name.tag else []
    return list(found.items())


def _into_file(here: Home, wanted: list[tuple[str, list[Reference]]], path: str) -> None:
    """The file is whole or as before."""
    from images import save

    if os.path.exists(path) and not os.path.isfile(path):  # a pipe or a device
        with open(path, "wb") as out:
            save.save(here.images, wanted, out)
        return
    temporary = f"{path}.part-{os.getpid()}"
    try:
        with open(temporary, "xb") as out:
            save.save(here.images, wanted, out)
        os.rename(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


COMMANDS: tuple[Command, ...] = (
    Command(
        "image save",
        "IMAGE [IMAGE...]",
        "Write images into an archive that pyctr, Docker, Podman and OCI tools can load.",
        _save,
        (
            value("-o --output", "FILE", "The archive; standard output if not given"),
            refused("--platform", "an image here is of one platform"),
        ),
        at_least=1,
        at_most=-1,
        details="The same images give the same bytes.",
        examples=("pyctr save -o saved.tar base", "pyctr save base | gzip > saved.tar.gz"),
    ),
)
