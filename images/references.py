"""Image references: ``[domain/]path[:tag][@digest]``.

A reference is kept in its full form (``docker.io/library/base:latest``) and shown in its familiar
form (``base``). The grammar and its limits are those of the distribution project.

Source: the "reference" grammar of distribution/reference; OCI distribution specification,
"Pulling manifests" (tag and name patterns).
"""

from __future__ import annotations

from images.errors import ImageError
from kernel.record import Record

_DEFAULT_DOMAIN = "docker.io"
_OFFICIAL = "library/"
_NAME_MAX = 255
_TAG_MAX = 128

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_HEX = frozenset("0123456789abcdef")


class Reference(Record):
    """``tag`` and ``digest`` (``sha256:...``) may be empty; see :func:`parse`."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.domain}/{self.path}{tag}{digest}"

    @property
    def repository(self) -> str:
        """The familiar name without tag: ``base``, ``training/webapp``, ``host:5000/x``."""
        if self.domain != _DEFAULT_DOMAIN:
            return f"{self.domain}/{self.path}"
        if self.path.startswith(_OFFICIAL) and "/" not in self.path[len(_OFFICIAL) :]:
            return self.path[len(_OFFICIAL) :]
        return self.path

    @property
    def familiar(self) -> str:
        """As people write it, with the tag: ``base:latest``."""
        tag = f":{self.tag}" if self.tag else ""
        return self.repository + tag + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """The reference that ``text`` means; without tag and digest the tag is ``latest``."""
    name, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise _invalid(text, "the digest is not sha256: and 64 hexadecimal digits")
    slash, colon = name.rfind("/"), name.rfind(":")
    tag = ""
    if colon > slash:
        name, tag = name[:colon], name[colon + 1 :]
        if not is_tag(tag):
            raise _invalid(text, f"{tag!r} is not a tag: letters, digits, _ . - and at most 128")
    domain, path = _split_domain(name)
    if len(f"{domain}/{path}") > _NAME_MAX:
        raise _invalid(text, f"the name is longer than {_NAME_MAX} characters")
    if not _is_domain(domain):
        raise _invalid(text, f"{domain!r} is not a host name with an optional port")
    if not all(_is_component(part) for part in path.split("/")):
        if path != path.lower():
            raise _invalid(text, "repository name must be lowercase")
        raise _invalid(text, "a name is made of a-z and 0-9, parted by one of . _ __ - /")
    bare = path.removeprefix(_OFFICIAL)
    if len(bare) == 64 and set(bare) <= _HEX:
        raise _invalid(text, "64 hexadecimal digits are an id, not a name")
    return Reference(domain, path, tag or ("" if digest else "latest"), digest)


def is_digest(text: str) -> bool:
    """Whether ``text`` is a sha256 digest in full."""
    algorithm, _, digits = text.partition(":")
    return algorithm == "sha256" and len(digits) == 64 and set(digits) <= _HEX


def as_id_prefix(text: str) -> str:
    """The hexadecimal digits if ``text`` may be an image id or the beginning of one, else ""."""
    digits = text.removeprefix("sha256:")
    return digits if 0 < len(digits) <= 64 and set(digits) <= _HEX else ""


def _invalid(text: str, why: str) -> ImageError:
    return ImageError(
        f"invalid reference {text!r}",
        why,
        "write [host/]name[:tag], for example base or my/app:1.0",
    )


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_host = "." in first or ":" in first or first == "localhost" or first != first.lower()
    if not slash or not is_host:
        return _DEFAULT_DOMAIN, name if "/" in name else _OFFICIAL + name
    if first in ("index.docker.io", _DEFAULT_DOMAIN):
        return _DEFAULT_DOMAIN, rest if "/" in rest else _OFFICIAL + rest
    return first, rest


def is_tag(tag: str) -> bool:
    """Whether a word can be a tag."""
    return 0 < len(tag) <= _TAG_MAX and tag[0] in _WORD and set(tag) <= _WORD | {".", "-"}


def _is_domain(domain: str) -> bool:
    host, colon, port = domain.partition(":")
    if colon and not (port.isascii() and port.isdigit()):
        return False
    labels = host.split(".")
    letters = _WORD - {"_"}
    return all(
        label and set(label) <= letters | {"-"} and label[0] != "-" != label[-1] for label in labels
    )


def _is_component(part: str) -> bool:
    """Runs of a-z0-9 parted by one dot, one or two underscores, or any number of dashes."""
    separator, expecting = "", True
    for char in part:
        if char in _LOWER:
            if separator and separator not in (".", "_", "__") and set(separator) != {"-"}:
                return False
            separator, expecting = "", False
        elif char in "._-" and not (expecting and not separator):
            separator, expecting = separator + char, True
        else:
            return False
    return not expecting
