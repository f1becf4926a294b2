"""Variables of a Dockerfile: where an ARG gets its value, and what $NAME becomes.

In this order: --build-arg, the default that the instruction gives, and then, for an ARG of a
stage, the ARG of that name before the first FROM. The platform's and the stage's names are there
as if they stood before the first FROM. Proxies need no ARG: they are in the environment of RUN
when they are given, and no part of the cache's keys or of the image.

Source: Docker's "Dockerfile reference", ARG; "Build variables".
"""

from __future__ import annotations

from images.build.errors import BuildError
from images.dockerfile import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from images.dockerfile.parser import Instruction
    from images.platforms import Platform

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXIES = (*_PROXIES, *(name.lower() for name in _PROXIES))
EPOCH = "SOURCE_DATE_EPOCH"
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_LETTERS = _FIRST | frozenset("0123456789")


def predefined(target: Platform, host: Platform, stage: str) -> dict[str, str]:
    """What is there without an ARG before the first FROM; ``stage`` is the target's name."""
    made = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("TARGET", target), ("BUILD", host)):
        made |= {
            f"{prefix}PLATFORM": str(platform),
            f"{prefix}OS": platform.system,
            f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }
    return made


def arg(
    instruction: Instruction,
    escape: str,
    seen: Mapping[str, str],
    given: Mapping[str, str],
    outer: Mapping[str, str],
) -> dict[str, str]:
    """What an ARG adds to the scope: name to value, without those that have none.

    ``seen`` are the variables so far, ``given`` those of --build-arg, ``outer`` those before the
    first FROM.
    """
    made: dict[str, str] = {}
    for word in split(instruction.text, escape):
        name, sign, default = word.partition("=")
        name = expand(name, {**seen, **made}, escape)
        if not name or name[0] not in _FIRST or not set(name) <= _LETTERS:
            raise BuildError(f"ARG {word}", f"{name!r} cannot name a variable")
        if name in given:
            made[name] = given[name]
        elif sign:
            made[name] = expand(default, {**seen, **made}, escape)
        elif name in outer:
            made[name] = outer[name]
    return made


def expand(word: str, variables: Mapping[str, str], escape: str) -> str:
    """One word, its quotes removed and its variables replaced. BuildError."""
    try:
        return words.expand(word, variables, escape)
    except ValueError as error:
        raise BuildError(f"cannot read {word!r}", str(error)) from None


def expand_text(text: str, variables: Mapping[str, str], escape: str) -> str:
    """A here-document, in which quotes mean nothing. BuildError."""
    try:
        return words.expand_plain(text, variables, escape)
    except ValueError as error:
        raise BuildError("cannot read the here-document", str(error)) from None


def split(text: str, escape: str) -> list[str]:
    """The words of a text, as they are written. BuildError."""
    try:
        return words.split(text, escape)
    except ValueError as error:
        raise BuildError(f"cannot read {text!r}", str(error)) from None


def expand_all(text: str, variables: Mapping[str, str], escape: str) -> list[str]:
    """The words of a text, expanded; one that becomes several counts as several."""
    found: list[str] = []
    for word in split(text, escape):
        expanded = expand(word, variables, escape)
        found += [expanded] if any(char in "\"'" for char in word) else expanded.split()
    return found


def pairs(text: str, variables: Mapping[str, str], escape: str) -> list[tuple[str, str]]:
    """``key=value key2="two words"``, or the old form ``key the rest``; expanded."""
    found = split(text, escape)
    if "=" not in found[0]:
        rest = text.strip().removeprefix(found[0]).strip()
        if not rest:
            raise BuildError(f"cannot read {text!r}", "a value is missing", "write key=value")
        return [(expand(found[0], variables, escape), expand(rest, variables, escape))]
    made = []
    for word in found:
        key, sign, value = word.partition("=")
        key = expand(key, variables, escape)
        if not key or not sign:
            raise BuildError(f"cannot read {text!r}", f"{word!r} is not key=value")
        made.append((key, expand(value, variables, escape)))
    return made


def proxies(given: Mapping[str, str]) -> dict[str, str]:
    """Those of --build-arg that RUN gets without an ARG."""
    return {name: value for name, value in given.items() if name in PROXIES}


def unused(given: Iterable[str], consumed: Iterable[str]) -> list[str]:
    """The build arguments that no ARG asked for."""
    return sorted(set(given) - set(consumed) - set(PROXIES) - {EPOCH})
