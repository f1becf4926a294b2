"""Flags about how a container is watched: restarts, health, its log."""

from __future__ import annotations

from cli.creation import readers
from cli.errors import UsageError
from cli.options import Option, Parsed, option, several, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OPTIONS: tuple[Option, ...] = (
    value("--restart", "no|on-failure[:MAX]|always|unless-stopped",
          "Whether it is started again when it ends", read=readers.restart, default=("no", 0)),
    value("--health-cmd", "COMMAND", "A line for the shell that tells whether it is healthy",
          default=""),
    value("--health-interval", "DURATION", "Time between two checks (30s)",
          read=readers.nanoseconds, default=0),
    value("--health-timeout", "DURATION", "How long a check may take (30s)",
          read=readers.nanoseconds, default=0),
    value("--health-retries", "NUMBER", "Failures in a row that make it unhealthy (3)",
          read=readers.positive, default=0),
    value("--health-start-period", "DURATION", "Time in which failures do not count (0s)",
          read=readers.nanoseconds, default=0),
    value("--health-start-interval", "DURATION", "Time between two checks in the start period (5s)",
          read=readers.nanoseconds, default=0),
    option("--no-healthcheck", "Leave the image's health check out"),
    value("--log-driver", "DRIVER", "How its log is kept: json-file, local, journald or none",
          default="json-file"),
    several("--log-opt", "NAME=VALUE", "max-size, max-file, compress, labels, env or tag",
            read=readers.pair),
)  # fmt: skip


def settings(parsed: Parsed) -> dict[str, Any]:
    """The settings that these flags decide. UsageError for combinations that cannot be."""
    from engine import logopts

    policy, most = parsed.restart
    if policy != "no" and parsed.rm:
        raise UsageError("conflicting options: cannot specify both --restart and --rm")
    options = dict(parsed.log_opt)
    logopts.check(parsed.log_driver, options)
    return {
        "restart": policy,
        "restart_max": most,
        "health": _health(parsed),
        "log_driver": parsed.log_driver,
        "log_opts": options,
    }


def _health(parsed: Parsed) -> dict[str, Any]:
    """The fields that were given, in the words of an image's configuration."""
    given = {
        "Test": ["CMD-SHELL", parsed.health_cmd] if parsed.health_cmd else [],
        "Interval": parsed.health_interval,
        "Timeout": parsed.health_timeout,
        "StartPeriod": parsed.health_start_period,
        "StartInterval": parsed.health_start_interval,
        "Retries": parsed.health_retries,
    }
    found = {name: own for name, own in given.items() if own}
    if parsed.no_healthcheck:
        if found:
            raise UsageError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    return found
