"""Platforms in the words of images: ``linux/amd64``, ``linux/arm/v7``.

Source: OCI image index specification, "platform"; the usual other spellings of architectures.
"""

from __future__ import annotations

from images.config import host_architecture
from images.errors import ImageError
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.config import ImageConfig

_SPELLINGS = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_ARCHITECTURES = frozenset(
    "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x".split()
)
_SYSTEMS = frozenset("aix android darwin dragonfly freebsd linux netbsd openbsd windows".split())
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-.")
_USUAL = {"arm64": "v8", "arm": "v7", "amd64": "v1"}  # the variant that is meant by none


class Platform(Record):
    """System, architecture and variant; the usual variant of an architecture is ""."""

    system: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.system, self.architecture, self.variant)))


def parse(text: str) -> Platform:
    """``system``, ``architecture``, or both parted by ``/``, and a variant; else ValueError."""
    words = text.lower().split("/")
    if not (0 < len(words) <= 3 and all(word and set(word) <= _LETTERS for word in words)):
        raise ValueError("write system/architecture[/variant], for example linux/amd64")
    if len(words) > 1:
        return made(words[0], words[1], "".join(words[2:]))
    (word,) = words
    if word in _SYSTEMS:
        return made(word, host_architecture(), "")
    if word in _ARCHITECTURES or word in _SPELLINGS:
        return made("linux", word, "")
    raise ValueError(f"{word!r} is neither a system nor an architecture, such as linux or amd64")


def of(config: ImageConfig) -> Platform:
    """That of an image; where it says nothing, this machine's."""
    system, variant = (config.raw.get(name) for name in ("os", "variant"))
    return made(
        str(system or "linux"), config.architecture or host_architecture(), str(variant or "")
    )


def require(config: ImageConfig, wanted: str) -> None:
    """An image is of one platform: ImageError if that is not the wanted one."""
    if of(config) != parse(wanted):
        raise ImageError(f"the image has nothing for {wanted}", f"it is made for {of(config)}")


def made(system: str, word: str, variant: str) -> Platform:
    """A platform from its parts, in whatever spelling."""
    architecture, usual = _SPELLINGS.get(word, (word, ""))
    variant = variant or usual
    if variant and not variant.startswith("v"):
        variant = f"v{variant}"
    return Platform(system, architecture, "" if variant == _USUAL.get(architecture) else variant)
