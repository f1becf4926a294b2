"""--network and its like: which networks a container is to be in, and as what.

A word is a name, or pairs: ``name=backend,alias=db,ip=10.1.0.7,mac-address=...``. Pure.

Source: Docker's "docker run", --network; "docker network connect".
"""

from __future__ import annotations

from kernel.record import Record
from network import options, subnets
from network.errors import NetworkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT = "bridge"
_ALONE = ("none", "host")  # and container:NAME


class Attachment(Record):
    """One network of a container: the words of a person, checked but not looked up.

    ``links`` are (container, name) pairs; ``priority`` says who has the default route.
    """

    network: str
    address: str = ""
    address6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    options: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    priority: int = 0

    @property
    def is_mode(self) -> bool:
        """Whether it is no network but none, the host's or another container's."""
        return self.network in _ALONE or self.network.startswith("container:")

    @property
    def is_plain(self) -> bool:
        """Whether nothing is said but the name."""
        return self == Attachment(self.network)


def parse(text: str) -> Attachment:
    """The value of --network; ValueError or NetworkError says what is wrong."""
    if "=" not in text:
        return Attachment(_name(text))
    found: dict[str, str] = {}
    aliases: list[str] = []
    driver: dict[str, str] = {}
    for word in text.split(","):
        key, sign, value = word.partition("=")
        key = key.strip().lower()
        if not sign or not value:
            raise ValueError(f"{word!r} is not like name=backend")
        if key == "alias":
            aliases.append(alias(value))
        elif key == "driver-opt":
            driver |= [driver_option(value)]
        elif key == "link-local-ip":
            raise NetworkError(LINK_LOCAL, "interfaces have no link-local addresses")
        elif key in ("name", "ip", "ip6", "mac-address", "gw-priority"):
            found[key] = value
        else:
            raise ValueError(f"invalid field {key}")
    if "name" not in found:
        raise ValueError("network name/id is not specified")
    return Attachment(
        _name(found["name"]),
        address(found["ip"]) if "ip" in found else "",
        address6(found["ip6"]) if "ip6" in found else "",
        mac(found["mac-address"]) if "mac-address" in found else "",
        tuple(aliases),
        options=driver,
        priority=priority(found.get("gw-priority", "0")),
    )


LINK_LOCAL = "link-local addresses are not supported"


def _name(text: str) -> str:
    if not text or text == "container:":
        raise ValueError("write a network, none, host or container:NAME")
    return DEFAULT if text == "default" else text


def address(text: str) -> str:
    """An IPv4 address; ValueError."""
    if subnets.is_v6(text):
        raise ValueError(f"{text!r} is not an IPv4 address")
    return subnets.text(subnets.number(text), 32)


def address6(text: str) -> str:
    """An IPv6 address in its usual form; ValueError."""
    if not subnets.is_v6(text):
        raise ValueError(f"{text!r} is not an IPv6 address")
    return subnets.text(subnets.number(text), 128)


def mac(text: str) -> str:
    """A MAC address in its usual form; ValueError."""
    words = text.lower().replace("-", ":").split(":")
    good = len(words) == 6 and all(
        len(word) == 2 and set(word) <= set("0123456789abcdef") for word in words
    )
    if not good:
        raise ValueError(f"{text!r} is not a MAC address such as 02:42:ac:11:00:02")
    if int(words[0], 16) & 1 or not any(int(word, 16) for word in words):
        raise ValueError(f"{text!r} is not the address of one interface")
    return ":".join(words)


_ALIAS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def alias(text: str) -> str:
    """A further name in a network; ValueError."""
    if not 0 < len(text) < 254 or not set(text) <= _ALIAS:
        raise ValueError(f"{text!r} is not a name such as db")
    return text


def link(text: str) -> tuple[str, str]:
    """--link: ``CONTAINER`` or ``CONTAINER:NAME``; (container, name). ValueError."""
    container, colon, name = text.partition(":")
    if not container or ":" in name or (colon and not name):
        raise ValueError("bad format for links: write CONTAINER:NAME")
    return container, alias(name or container)


def priority(text: str) -> int:
    """--gw-priority; ValueError."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError("it is a whole number")
    return int(text)


def driver_option(text: str) -> tuple[str, str]:
    """An option of an endpoint. NetworkError: there is none that pyctr has."""
    key, sign, value = text.partition("=")
    if not sign:
        raise ValueError("write NAME=VALUE")
    options.check_endpoint(key)
    return key, value


def combined(given: Iterable[Attachment], own: Attachment) -> tuple[Attachment, ...]:
    """All networks of a container; ``own`` is what --ip and its like say, which is meant for the
    first of them, by name "" if that is the default. NetworkError for what excludes each other.
    """
    found = list(given)
    names = [one.network for one in found]
    for one in found:
        if one.is_mode and len(found) > 1:
            raise NetworkError(
                "conflicting options: cannot attach both user-defined and non-user-defined"
                " network-modes",
                f"{one.network} cannot be one of several",
            )
        if names.count(one.network) > 1:
            raise NetworkError(f"network {one.network!r} is specified multiple times")
    first = found[0]
    changes: dict[str, object] = {}
    for field, flag in (("address", "--ip"), ("address6", "--ip6"), ("mac", "--mac-address"),
                        ("aliases", "--network-alias"), ("links", "--link")):  # fmt: skip
        value = getattr(own, field)
        if not value:
            continue
        if getattr(first, field):
            raise NetworkError(f"conflicting options: {flag}, and the same of --network")
        if first.is_mode:
            raise NetworkError(
                f"conflicting options: {flag} and the network mode",
                f"with {first.network} a container has no interface of its own",
            )
        changes[field] = value
    return (first.replace(**changes), *found[1:])
