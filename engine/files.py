"""hosts, hostname and resolv.conf of a container, made anew for each start.

They stand in the container's folder and are mounted over the files in /etc. With the host's
network they are the host's own with what the person added; what a person says of resolvers
replaces the lines of that kind and keeps the others.

Source: hosts(5), resolv.conf(5), Docker's "Container networking", DNS services.
"""

from __future__ import annotations

from engine import compose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home
    from engine.settings import Settings

_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_NO_NETWORK = "# this container has no network\n"
_KINDS = {"nameserver": "dns", "search": "dns_search", "domain": "dns_search",
          "options": "dns_options"}  # fmt: skip


def write(home: Home, container: Container) -> None:
    """Writes the three files."""
    settings, name = container.settings, compose.hostname(container)
    shares = settings.network == "host"
    contents = {
        "hosts": hosts(settings, name, _read("/etc/hosts") if shares else ""),
        "hostname": f"{name}\n",
        "resolv.conf": resolvers(settings, _read("/etc/resolv.conf") if shares else _NO_NETWORK),
    }
    for file, content in contents.items():
        with open(f"{home.folder(container.id)}/{file}", "w", errors="surrogateescape") as out:
            out.write(content)


def hosts(settings: Settings, name: str, of_host: str) -> str:
    """/etc/hosts: that of the host, or the usual one with the container's name; and --add-host."""
    own = f"{name}.{settings.domainname} {name}" if settings.domainname else name
    text = of_host or f"{_HOSTS}127.0.1.1\t{own}\n"
    text += "" if text.endswith("\n") else "\n"
    for entry in settings.extra_hosts:
        other, _, address = entry.partition(":")
        text += f"{address}\t{other}\n"
    return text


def resolvers(settings: Settings, text: str) -> str:
    """/etc/resolv.conf: ``text``, in which --dns, --dns-search and --dns-option replace lines."""
    if not (settings.dns or settings.dns_search or settings.dns_options):
        return text
    kept = [
        line
        for line in text.splitlines()
        if line != _NO_NETWORK.rstrip() and not _is_replaced(settings, line)
    ]
    kept += [f"nameserver {address}" for address in settings.dns]
    search = [domain for domain in settings.dns_search if domain != "."]
    kept += [f"search {' '.join(search)}"] if search else []
    kept += [f"options {' '.join(settings.dns_options)}"] if settings.dns_options else []
    return "\n".join([*kept, ""])


def _is_replaced(settings: Settings, line: str) -> bool:
    words = line.split(None, 1)
    kind = _KINDS.get(words[0], "") if words else ""
    return bool(kind and getattr(settings, kind))


def _read(path: str) -> str:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
