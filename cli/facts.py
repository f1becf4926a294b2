"""info and version: what this host and this program are."""

from __future__ import annotations

from cli import looking, output
from cli.main import VERSION
from cli.options import Command, Parsed
from engine import about, home, reconcile
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def _info(parsed: Parsed) -> int:
    here = home.find()
    reconcile.mend_all(here)
    found = about.info(here, VERSION)
    output.sections(found, parsed.format or "", _info_lines(found))
    return 0


def _info_lines(found: dict[str, Any]) -> Iterator[str]:
    """Docker's sections, in its order."""
    client, plugins = found["ClientInfo"], found["Plugins"]
    yield "Client:"
    yield f" Version:    {client['Version']}"
    yield f" Context:    {client['Context']}"
    yield f" Debug Mode: {str(client['Debug']).lower()}"
    yield ""
    yield "Server:"
    yield f" Containers: {found['Containers']}"
    for word in ("Running", "Paused", "Stopped"):
        yield f"  {word}: {found[f'Containers{word}']}"
    yield f" Images: {found['Images']}"
    yield f" Volumes: {found['Volumes']}"
    yield f" Server Version: {found['ServerVersion']}"
    yield f" Storage Driver: {found['Driver']}"
    for name, value in found["DriverStatus"]:
        yield f"  {name}: {value}"
    yield f" Logging Driver: {found['LoggingDriver']}"
    yield f" Cgroup Driver: {found['CgroupDriver']}"
    yield f" Cgroup Version: {found['CgroupVersion']}"
    yield f"  Layout: {found['CgroupLayout']}"
    yield " Plugins:"
    for kind in ("Volume", "Network", "Log"):
        yield f"  {kind}: {' '.join(plugins[kind])}"
    yield f" Swarm: {found['Swarm']['LocalNodeState']}"
    yield f" Runtimes: {' '.join(found['Runtimes'])}"
    yield f" Default Runtime: {found['DefaultRuntime']}"
    yield " Security Options:"
    for entry in found["SecurityOptions"]:
        pairs = dict(word.partition("=")[::2] for word in entry.split(","))
        yield f"  {pairs['name']}"
        if "profile" in pairs:
            yield f"   Profile: {pairs['profile']}"
    yield f" Kernel Version: {found['KernelVersion']}"
    yield f" Operating System: {found['OperatingSystem']}"
    yield f" OSType: {found['OSType']}"
    yield f" Architecture: {found['Architecture']}"
    yield f" CPUs: {found['NCPU']}"
    yield f" Total Memory: {units.show_binary(found['MemTotal'])}"
    yield f" Name: {found['Name']}"
    yield f" Root Dir: {found['DockerRootDir']}"
    yield f" Run Dir: {found['RunDir']}"


def _version(parsed: Parsed) -> int:
    found = about.version(VERSION)
    output.sections(found, parsed.format or "", _version_lines(found))
    return 0


def _version_lines(found: dict[str, Any]) -> Iterator[str]:
    for name, indent in (("Client", 1), ("Server", 2)):
        part = found[name]
        if name == "Server":
            yield ""
        yield f"{name}: pyctr"
        if name == "Server":
            yield " Engine:"
        for heading, value in (
            ("Version", part["Version"]),
            ("Specifications", ", ".join(part["Specifications"])),
            ("Python version", part["PythonVersion"]),
            ("Kernel version", part["KernelVersion"]),
            ("OS/Arch", f"{part['Os']}/{part['Arch']}"),
            ("Context", part.get("Context")),
        ):
            if value is not None:
                yield f"{' ' * indent}{heading + ':':<{21 - indent}}{value}"


COMMANDS: tuple[Command, ...] = (
    Command("info", "", "Show facts about this host.", _info, (looking.FORMAT,),
            examples=("pyctr info", "pyctr info --format '{{.CgroupVersion}}'")),
    Command("version", "", "Show the version.", _version, (looking.FORMAT,),
            examples=("pyctr version", "pyctr version --format '{{.Server.Version}}'")),
)  # fmt: skip
