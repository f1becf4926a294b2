"""`config show`: how this host is configured, and where each value comes from."""

from __future__ import annotations

import os

from cli import commands, defaults, options, output
from cli.options import Command, Parsed
from engine import config


def _show(parsed: Parsed) -> int:
    chosen = config.current()
    run = commands.load("container", "run")
    flags = parsed.before.given if parsed.before else frozenset()
    rows = [_row("config", chosen.file, _source_of_file(), "config" in flags)]
    for name, setting in chosen.settings.items():
        if name in defaults.FLAGS:
            defaults.read(setting, run, defaults.FLAGS[name][0])
        rows.append(_row(name, ", ".join(setting.words), setting.source, name in flags))
    output.table({"Key": "KEY", "Value": "VALUE", "Source": "SOURCE"}, rows, parsed.format or "")
    return 0


def _row(name: str, value: str, source: str, by_flag: bool) -> dict[str, str]:
    return {"Key": name, "Value": value, "Source": f"flag --{name}" if by_flag else source}


def _source_of_file() -> str:
    return "environment PYCTR_CONFIG" if os.environ.get("PYCTR_CONFIG") else config.BUILT_IN


_DETAILS = """\
Flags win over environment variables, those over the file, and the file over what is built in.
A key that is not known, or a value of the wrong kind, is an error. The file is TOML:

{keys}
"""

_EXAMPLE = """\
  root = "/srv/pyctr"
  [volumes]
  trash_age = "3d"
  [containers]
  memory = "512m"
  ulimits = { nofile = "1024:4096" }
"""


def _keys() -> str:
    lines = [f"  {key.name:<24}{key.environment:<22}{key.help}" for key in config.KEYS]
    return "\n".join([*lines, "", "For example:", "", _EXAMPLE.rstrip()])


COMMANDS: tuple[Command, ...] = (
    Command(
        "config show",
        "",
        "Show how this host is configured, and where each value comes from.",
        _show,
        (options.value("-f --format", "TEMPLATE", "A Go template, or json"),),
        details=_DETAILS.format(keys=_keys()),
        examples=(
            "pyctr config show",
            "PYCTR_MEMORY=512m pyctr config show --format json",
            "pyctr --root /srv/pyctr config show",
        ),
    ),
)
