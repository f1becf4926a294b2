"""Flags about the network and names: host name, domain name, hosts, resolvers."""

from __future__ import annotations

from cli.creation import readers
from cli.options import Option, Parsed, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    value("--network", "NETWORK", "none (the default), host, or container:NAME for that of another",
          read=readers.network, default="none"),
    value("-h --hostname", "NAME", "Host name inside", read=readers.hostname, default=""),
    value("--domainname", "NAME", "NIS domain name inside", read=readers.hostname, default=""),
)  # fmt: skip


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide."""
    return {
        "network": parsed.network,
        "hostname": parsed.hostname,
        "domainname": parsed.domainname,
    }
