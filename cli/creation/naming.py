"""Flags about the network and names: host name, domain name, hosts, resolvers."""

from __future__ import annotations

from cli.creation import readers
from cli.options import Option, Parsed, option, refused, several, value
from network import ports, requests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DOMAIN_MAX = 255


def address(text: str) -> str:
    """An IPv4 or IPv6 address, as it was written."""
    from _socket import AF_INET, AF_INET6, inet_pton

    try:
        inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except OSError:
        raise ValueError(f"{text!r} is not an IP address") from None
    return text


def extra_host(text: str) -> str:
    """``name:address`` or ``name=address``, an IPv6 address also in brackets; made the first.

    ``host-gateway`` in place of the address is where the host is (:mod:`engine.files`).
    """
    name, sign, word = text.partition("=" if "=" in text else ":")
    if not sign or not name or not word or not readers.is_host_name(name):
        raise ValueError("write name:address, for example db:10.0.0.7 or db=[fd00::7]")
    if word == "host-gateway":
        return f"{name}:{word}"
    if word.startswith("[") and word.endswith("]"):
        word = word[1:-1]
    return f"{name}:{address(word)}"


def domain(text: str) -> str:
    """A search domain; a dot alone means that there is none."""
    word = text.strip()
    name = word.removesuffix(".")
    if word != "." and (len(word) >= _DOMAIN_MAX or not all(map(_is_label, name.split(".")))):
        raise ValueError("it is a domain such as example.org, or . for none")
    return name or word


def _is_label(text: str) -> bool:
    return readers.is_host_name(text) and "." not in text and not text.endswith("-")


def _resolver_option(text: str) -> str:
    if not text or not text.isprintable() or " " in text:
        raise ValueError("it is an option of resolv.conf(5), such as ndots:2")
    return text


OPTIONS: tuple[Option, ...] = (
    several("--network --net", "NETWORK|none|host|container:NAME", "bridge (the default) or another"
            " network, none, the host's, or that of another container; more is said with"
            " name=NETWORK,alias=NAME,ip=ADDRESS", read=requests.parse),
    value("--ip", "ADDRESS", "Its IPv4 address in the network", read=requests.address, default=""),
    value("--ip6", "ADDRESS", "Its IPv6 address in the network", read=requests.address6,
          default=""),
    value("--mac-address", "ADDRESS", "Its MAC address in the network", read=requests.mac,
          default=""),
    several("--network-alias --net-alias", "NAME", "A further name in the network",
            read=requests.alias),
    value("-h --hostname", "NAME", "Host name inside", read=readers.hostname, default=""),
    value("--domainname", "NAME", "NIS domain name inside", read=readers.hostname, default=""),
    several("--add-host", "NAME:ADDRESS", "Add a line to its /etc/hosts", read=extra_host),
    several("--dns", "ADDRESS", "A name server in its /etc/resolv.conf", read=address),
    several("--dns-search", "DOMAIN", "A search domain in its /etc/resolv.conf; . for none",
            read=domain),
    several("--dns-option --dns-opt", "OPTION", "An option in its /etc/resolv.conf",
            read=_resolver_option),
    several("--link", "CONTAINER[:NAME]", "A name for another container in the network",
            read=requests.link),
    several("-p --publish", "[[ADDRESS:]PORT:]PORT", "Pass a port of the host on to a port of it;"
            " 8000-8002:80-82 and 80/udp work too", read=ports.parse),
    option("-P --publish-all", "Pass on a free port of the host for each port that it exposes"),
    several("--expose", "PORT", "Say that it listens on this port, or range of ports",
            read=ports.parse_exposed),
    refused("--link-local-ip", "interfaces have no link-local addresses"),
)  # fmt: skip


def networks(parsed: Parsed) -> tuple[requests.Attachment, ...]:
    """All networks that it is to be in, with what --ip and its like say of the first."""
    given = parsed.network or [requests.Attachment(requests.DEFAULT)]
    own = requests.Attachment(
        "", parsed.ip, parsed.ip6, parsed.mac_address, tuple(parsed.network_alias),
        tuple(parsed.link),
    )  # fmt: skip
    return requests.combined(given, own)


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide."""
    return {
        "network": networks(parsed)[0].network,
        "publish": tuple(
            [*one.as_dict().values()] for several_ in parsed.publish for one in several_
        ),
        "publish_all": parsed.publish_all,
        "expose": tuple(name for several_ in parsed.expose for name in several_),
        "hostname": parsed.hostname,
        "domainname": parsed.domainname,
        "extra_hosts": tuple(parsed.add_host),
        "dns": tuple(parsed.dns),
        "dns_search": tuple(parsed.dns_search),
        "dns_options": tuple(parsed.dns_option),
    }
