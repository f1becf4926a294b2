"""Defaults of flags that are configured for the host.

A configured default counts where nobody gave the flag; entries of a list stand before those that
were given, so that one of the same name on the command line wins.
"""

from __future__ import annotations

from cli.errors import UsageError
from engine import config
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.options import Command, Parsed
    from engine.config import Setting

_MAKES = ("create", "run")

# key of the configuration: (key of the flag, commands in which it is a default)
FLAGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "detach_keys": ("detach_keys", ("attach", "exec", "run", "start")),
    "network": ("network", (*_MAKES, "build")),
    "containers.memory": ("memory", _MAKES),
    "containers.cpus": ("cpus", _MAKES),
    "containers.pids_limit": ("pids_limit", _MAKES),
    "containers.ulimits": ("ulimit", _MAKES),
    "log.driver": ("log_driver", _MAKES),
    "log.options": ("log_opt", _MAKES),
}


def fill(parsed: Parsed) -> None:
    """Gives flags that nobody gave their configured defaults. UsageError names a bad one."""
    settings = config.current().settings
    for name, (flag, commands) in FLAGS.items():
        setting = settings[name]
        if not setting.words or parsed.command.name not in commands:
            continue
        if name == "network" and flag in parsed.given:  # it takes the place of the default
            continue
        if name == "log.options" and _has_another_driver(parsed, settings["log.driver"]):
            continue
        if isinstance(parsed.values[flag], list):
            parsed.values[flag][:0] = read(setting, parsed.command, flag)
        elif flag not in parsed.given:
            (parsed.values[flag],) = read(setting, parsed.command, flag)


def _has_another_driver(parsed: Parsed, setting: Setting) -> bool:
    """Whether the person chose a log driver for which the configured options are not meant."""
    if "log_driver" not in parsed.given:
        return False
    unset = next(one.default for one in parsed.command.options if one.key == "log_driver")
    return bool(parsed.log_driver != (setting.words[0] if setting.words else unset))


def read(setting: Setting, command: Command, flag: str) -> list[Any]:
    """The words of a setting as the flag reads them. UsageError names a bad one."""
    one = next(one for one in command.options if one.key == flag)
    try:
        return [one.read(word) for word in setting.words]
    except (ValueError, PyctrError) as error:
        where = f"{setting.key.name} in {setting.source}"
        raise UsageError(f"{where} is wrong", f"{', '.join(setting.words)}: {error}") from None
