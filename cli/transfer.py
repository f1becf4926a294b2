"""`image pull` and `image push`: images from registries and to them."""

from __future__ import annotations

import sys

from cli.creation import readers
from cli.errors import UsageError
from cli.layers import Layers
from cli.options import Command, Parsed, option, refused, value
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
        if reference.digest or ":" in word.rpartition("/")[2]:
            raise UsageError("tag can't be used with --all-tags/-a", exit_code=1)
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
    if not parsed.quiet:
        if reference.tag == "latest" and ":" not in word.rpartition("/")[2]:
            print("Using default tag: latest")
        print(f"The push refers to repository [{reference.domain}/{reference.path}]")
    pushed = registries.push(here, reference, Layers(sys.stdout, "push", quiet=parsed.quiet))
    if parsed.quiet:
        print(reference)
    else:
        print(f"{reference.tag}: digest: sha256:{pushed.digest} size: {pushed.size}")
    return 0


COMMANDS: tuple[Command, ...] = (
    Command(
        "image pull",
        "NAME[:TAG|@DIGEST]",
        "Bring in an image from a registry.",
        _pull,
        (
            option("-a --all-tags", "All tags of the repository"),
            value("--platform", "SYSTEM/ARCHITECTURE", "The image for this platform, where there"
                  " are several", read=readers.platform, default=""),
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
            refused("-a --all-tags", "name each tag"),
            refused("--platform", "an image here is of one platform"),
            refused("--disable-content-trust", "nothing is ever signed or verified"),
        ),
        at_least=1,
        at_most=1,
        details="The name says where to: pyctr tag app localhost:5000/team/app:1.0 comes before.",
        examples=("pyctr push localhost:5000/team/app:1.0",),
    ),
)  # fmt: skip
