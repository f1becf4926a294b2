"""Containers start with the host: the service, and the two commands that it calls."""

from __future__ import annotations

import os
import sys

from cli.errors import UsageError
from cli.flags import TIMEOUT
from cli.main import tell
from cli.options import Command, Parsed, option, value
from engine import boot, home, service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from kernel.errors import PyctrError


class _Told:
    """Prints the name of each container, or what went wrong with it."""

    code = 0

    def __call__(self, container: Container, error: PyctrError | None) -> None:
        if error is None:
            print(container.name, flush=True)
        else:
            tell(error)
            self.code = 1


def _start_all(parsed: Parsed) -> int:
    told = _Told()
    boot.start_all(home.find(), told)
    return told.code


def _stop_all(parsed: Parsed) -> int:
    told = _Told()
    boot.stop_all(home.find(), parsed.timeout, told)
    return told.code


def _program() -> str:
    """The command as it was called, so that a link to it stays one."""
    path = os.path.abspath(sys.argv[0])
    if not os.access(path, os.X_OK):
        raise UsageError(
            "cannot tell which command a service should call",
            f"{path} is not executable",
            "call the installed pyctr command",
        )
    return path


def _install(parsed: Parsed) -> int:
    here = home.find()
    if parsed.dry_run or parsed.output == "-":
        print(service.unit(here, _program()), end="")
    elif parsed.output:
        with open(parsed.output, "w") as file:
            file.write(service.unit(here, _program()))
    else:
        for sentence in service.install(here, _program()):
            print(sentence)
    return 0


def _uninstall(parsed: Parsed) -> int:
    for sentence in service.uninstall(home.find()):
        print(sentence)
    return 0


_POLICIES = """\
`always` containers come back with the host, also those that were stopped by hand; `unless-stopped`
ones if nobody had stopped them. Others, and what has never run, stay as they are.
"""

COMMANDS: tuple[Command, ...] = (
    Command(
        "system install-service",
        "",
        "Start containers with the host: write a unit for systemd, and enable and start it.",
        _install,
        (
            option("--dry-run", "Print the unit and do nothing"),
            value("-o --output", "FILE", "Write the unit there and do nothing else", default=""),
        ),
        details=_POLICIES + "At shutdown each container gets its stop signal, and its patience.",
        examples=("pyctr system install-service", "pyctr system install-service --dry-run"),
    ),
    Command(
        "system uninstall-service",
        "",
        "Do not start containers with the host any more. What runs goes on.",
        _uninstall,
        examples=("pyctr system uninstall-service",),
    ),
    Command(
        "system start-all",
        "",
        "Start the containers that start with the host, if they do not run. The service calls it.",
        _start_all,
        details=_POLICIES,
        examples=("pyctr system start-all",),
    ),
    Command(
        "system stop-all",
        "",
        "Stop all containers, all at once. The service calls it when the host shuts down.",
        _stop_all,
        (TIMEOUT,),
        details="They count as not stopped by a person: `system start-all` starts them again.",
        examples=("pyctr system stop-all",),
    ),
)
