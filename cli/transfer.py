"""`image pull` and `image push`: images from registries and to them."""

from __future__ import annotations

import sys

from cli.errors import UsageError
from cli.flags import PLATFORM
from cli.layers import Layers
from cli.options import Command, Parsed, option, refused
from engine import home, registries
from images import references

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.home import Home
    from images.references import Reference


def _pull(parsed: Parsed) -> int:
    here = home.find()
    (word,) = parsed.words
    reference = references.parse(word)
    if parsed.all_tags:
        _no_tag(word, reference)
        wanted = [
            reference.replace(tag=tag)
            for tag in registries.registry(reference.domain).tags(reference.path)
        ]
    else:
        wanted = [reference]
        if reference.tag == "latest" and ":" not in word.rpartition("/")[2] and not parsed.quiet:
            print("Using default tag: latest")
    for one in wanted:
        _pull_one(here, one, parsed)
    return 0


def _pull_one(here: Home, reference: Reference, parsed: Parsed) -> None:
    quiet = parsed.quiet
    if not quiet:
        print(f"{reference.digest or reference.tag}: Pulling from {reference.path}")
    told = Layers(sys.stdout, "pull", quiet=quiet)
    pulled = registries.pull(here, reference, parsed.platform, told)
    if not quiet:
        print(f"Digest: sha256:{pulled.digest}")
        state = "Downloaded newer image" if pulled.fresh else "Image is up to date"
        print(f"Status: {state} for {reference.familiar}")
    print(reference.familiar if reference.domain != "docker.io" else reference)


def _push(parsed: Parsed) -> int:
    here = home.find()
    (word,) = parsed.words
    reference = references.parse(word)
    bare = ":" not in word.rpartition("/")[2]
    wanted = [reference]
    if parsed.all_tags:
        _no_tag(word, reference)
        listed = [one.reference for one in here.images.listing() if one.reference]
        wanted = [one for one in listed if one.repository == reference.repository]
        if not wanted:
            raise here.images.missing(reference.repository)
    if not parsed.quiet:
        if bare and not parsed.all_tags and not reference.digest:
            print("Using default tag: latest")
        print(f"The push refers to repository [{reference.domain}/{reference.path}]")
    for one in wanted:
        _push_one(here, one, parsed)
    return 0


def _no_tag(word: str, reference: Reference) -> None:
    if reference.digest or ":" in word.rpartition("/")[2]:
        raise UsageError("tag can't be used with --all-tags/-a", exit_code=1)


def _push_one(here: Home, reference: Reference, parsed: Parsed) -> None:
    if parsed.platform:
        from images import platforms

        platforms.require(here.images.resolve(reference.familiar).config, parsed.platform)
    pushed = registries.push(here, reference, Layers(sys.stdout, "push", quiet=parsed.quiet))
    if parsed.quiet:
        print(reference)
    else:
        print(f"{reference.tag}: digest: sha256:{pushed.digest} size: {pushed.size}")


COMMANDS: tuple[Command, ...] = (
    Command(
        "image pull",
        "NAME[:TAG|@DIGEST]",
        "Bring in an image from a registry.",
        _pull,
        (
            option("-a --all-tags", "All tags of the repository"),
            PLATFORM.replace(help="The image for this platform, where there are several"),
            option("-q --quiet", "Only the name in the end"),
            refused("--disable-content-trust", "nothing is ever signed or verified"),
        ),
        at_least=1,
        at_most=1,
        details="What a broken pull has fetched already is not fetched again. Plain HTTP is spoken"
        " only with this\nhost and with registries that the configuration calls insecure.",
        examples=("pyctr pull localhost:5000/team/app:1.0",),
    ),
    Command(
        "image push",
        "NAME[:TAG]",
        "Send an image to a registry.",
        _push,
        (
            option("-q --quiet", "Only the name in the end"),
            option("-a --all-tags", "All tags of the repository that are here"),
            PLATFORM,
            refused("--disable-content-trust", "nothing is ever signed or verified"),
        ),
        at_least=1,
        at_most=1,
        details="The name says where to: pyctr tag app localhost:5000/team/app:1.0 comes before.",
        examples=("pyctr push localhost:5000/team/app:1.0",),
    ),
)  # fmt: skip
