"""A unit of systemd that starts containers with the host and ends them before it.

Nothing runs as a service: the unit calls `pyctr system start-all` when the host has started, and
`pyctr system stop-all` when it shuts down. Monitors live outside of the unit's control group
(:func:`runtime.cgroups.leave_unit`), so it may be stopped, restarted and removed at any time.
Another root folder has a unit of its own.

Source: systemd.unit(5), systemd.service(5), systemd.kill(5), systemd.syntax(7).
"""

from __future__ import annotations

import os

from engine import config
from engine.errors import EngineError
from kernel.digest import fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.home import Home

UNITS = "/etc/systemd/system"
_BOOTED = "/run/systemd/system"  # sd_booted(3)
_ENVIRONMENT = ("PYCTR_CONFIG", "PYCTR_ROOT", "PYCTR_RUN")

_UNIT = """\
# Made by `pyctr system install-service`; `pyctr system uninstall-service` removes it.
[Unit]
Description=Containers of pyctr that start with the host
Wants=network-online.target
After=network-online.target local-fs.target remote-fs.target
RequiresMountsFor={root}

[Service]
Type=oneshot
RemainAfterExit=yes
{environment}# A container that cannot be started must not keep ExecStop from ending the others.
ExecStart=-{command} system start-all
ExecStop={command} system stop-all
TimeoutStartSec=infinity
TimeoutStopSec=5min
# Monitors leave this unit; one that is just about to must not be killed with it.
KillMode=process

[Install]
WantedBy=multi-user.target
"""


def name(home: Home) -> str:
    """The unit of a root folder."""
    if home.root == config.ROOT:
        return "pyctr.service"
    return f"pyctr-{fingerprint(home.root.encode()).hex()[:12]}.service"


def unit(home: Home, program: str) -> str:
    """The text of the unit; ``program`` is the absolute path of the pyctr command.

    EngineError for a path that systemd does not call.
    """
    if not program.isprintable() or set(program) & set("\"'\\$"):
        raise EngineError(
            "systemd cannot call the pyctr command",
            f"its path {program!r} has quotes, $, backslashes or unprintable characters",
            "install it elsewhere",
        )
    set_here = [(key, os.environ[key]) for key in _ENVIRONMENT if os.environ.get(key)]
    environment = "".join(f"Environment={_quoted(f'{key}={own}')}\n" for key, own in set_here)
    return _UNIT.format(
        root=_quoted(home.root),
        environment=environment,
        command=_quoted(program),
    )


def _quoted(word: str) -> str:
    """One word as systemd reads it: quotes, C escapes, and % which begins a specifier."""
    made = ""
    for char in word:
        if char in '"\\':
            made += f"\\{char}"
        elif char == "%":
            made += "%%"
        elif not char.isprintable():
            made += "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))
        else:
            made += char
    return f'"{made}"'


def install(home: Home, program: str, folder: str = UNITS) -> list[str]:
    """Writes the unit, and enables and starts it where systemd runs; sentences of what was done.

    Starting it means: what starts with the host is started now.
    """
    path = f"{folder}/{name(home)}"
    _write(path, unit(home, program))
    if not is_booted():
        return [
            f"wrote {path}",
            f"systemd does not run here; where it does: systemctl enable --now {name(home)}",
        ]
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", name(home))
    return [f"wrote {path}", "enabled and started it"]


def uninstall(home: Home, folder: str = UNITS) -> list[str]:
    """Disables and removes the unit. Containers go on as they are."""
    path = f"{folder}/{name(home)}"
    if not os.path.lexists(path):
        raise EngineError("there is no service to uninstall", "", path=path, exit_code=1)
    if is_booted():
        _systemctl("disable", name(home))
    os.unlink(path)
    if not is_booted():
        return [f"removed {path}"]
    _systemctl("daemon-reload")
    return [f"disabled and removed {path}"]


def is_booted() -> bool:
    """Whether this host was started by systemd, as sd_booted(3) tells it."""
    return os.path.isdir(_BOOTED)


def _write(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.new", "w") as file:
        file.write(text)
    os.chmod(f"{path}.new", 0o644)
    os.rename(f"{path}.new", path)


def _systemctl(*words: str) -> None:
    import subprocess

    try:
        ran = subprocess.run(["systemctl", *words], capture_output=True, text=True)
    except FileNotFoundError:
        raise EngineError("cannot tell systemd of the service", "there is no systemctl") from None
    if ran.returncode:
        raise EngineError(
            f"systemctl {' '.join(words)} failed", ran.stderr.strip() or f"exit {ran.returncode}"
        )
