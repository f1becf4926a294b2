"""`image inspect`, `image rm` and `image tag`."""

from __future__ import annotations

from cli import looking
from cli.flags import PLATFORM
from cli.main import tell
from cli.options import Command, Parsed, option
from engine import home
from images import references
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from engine.home import Home


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
            _require(here, word, parsed.platform)
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


def _require(here: Home, word: str, platform: str) -> None:
    if platform:
        from images import platforms

        platforms.require(here.images.resolve(word, make=False).config, platform)


def _inspect(parsed: Parsed) -> int:
    from engine import describe

    here = home.find()

    def described(word: str) -> dict[str, Any]:
        _require(here, word, parsed.platform)
        return describe.image(here, here.images.resolve(word))

    return looking.inspect(parsed.words, described, parsed.format or "")


COMMANDS: tuple[Command, ...] = (
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
        (
            option("-f --force", "Take the name away even if a container uses the image"),
            option("--no-prune", "Leave images that it was made of alone, as is always done"),
            PLATFORM,
        ),
        at_least=1,
        at_most=-1,
        examples=("pyctr rmi mine:1.0",),
    ),
    Command(
        "image inspect",
        "IMAGE [IMAGE...]",
        "Show everything about images, as JSON.",
        _inspect,
        (looking.FORMAT, PLATFORM),
        at_least=1,
        at_most=-1,
        examples=("pyctr image inspect --format '{{.Id}}' base",),
    ),
)
