"""Log drivers and their options: --log-driver and --log-opt, as Docker names them.

json-file and local both keep JSON lines in files (see :mod:`engine.logs`); local sets a full file
aside and compresses it without being asked. journald hands every line to systemd's journal, where
there is one (:mod:`engine.journal`). none keeps nothing. Options are checked when the container is
created and read again by its monitor.

Source: Docker's documentation, "Configure logging drivers", "JSON File logging driver", "Local file
logging driver", "Journald logging driver", "Customize log driver output".
"""

from __future__ import annotations

import os

from engine.errors import EngineError
from kernel import units
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from re import Pattern

    from engine.containers import Container
    from engine.home import Home
    from engine.settings import Settings

DRIVERS = ("json-file", "local", "journald", "none")
JOURNAL = "/run/systemd/journal/socket"
_ROTATION = ("max-size", "max-file", "compress")
_ATTRIBUTES = ("labels", "labels-regex", "env", "env-regex", "tag")
_FIELDS = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")


class Limits(Record):
    """When a log file is set aside (``max_size`` bytes; 0: never), how many files there are at
    most, the current one included, and whether those set aside are compressed.
    """

    max_size: int = 0
    max_files: int = 1
    compress: bool = False


def path(home: Home, container: Container) -> str:
    """The file that is written to; "" for a driver that keeps none."""
    name = container.settings.log_file
    return f"{home.folder(container.id)}/{name}" if name else ""


def check(driver: str, options: dict[str, str]) -> None:
    """EngineError for a driver or an option that is not supported, or a value that cannot be."""
    if driver not in DRIVERS:
        raise EngineError(
            f"log driver {driver!r} is not supported", f"pyctr knows {', '.join(DRIVERS)}"
        )
    require(driver)
    known = ("mode", *(() if driver == "none" else _ATTRIBUTES))
    if driver in ("json-file", "local"):
        known += _ROTATION
    for name in options:
        if name == "max-buffer-size":
            raise _refused(name, "it belongs to mode=non-blocking, which is not supported")
        if name not in known:
            raise EngineError(
                f"unknown log opt {name!r} for {driver} log driver",
                f"it has {', '.join(known)}",
            )
    if options.get("mode", "blocking") != "blocking":
        raise _refused("mode", "pyctr knows blocking: nothing that a container says is dropped")
    limits(driver, options)
    for name in ("labels-regex", "env-regex"):
        _regex(options, name)
    rest = options.get("tag", "")
    for field in _FIELDS:
        rest = rest.replace(f"{{{{.{field}}}}}", "")
    if "{{" in rest:
        fields = " ".join(f"{{{{.{field}}}}}" for field in _FIELDS)
        raise _refused("tag", f"a tag may have {fields}")


def require(driver: str) -> None:
    """EngineError if this host lacks what a driver needs."""
    if driver == "journald" and not os.path.exists(JOURNAL):
        raise EngineError(
            "log driver 'journald' cannot be used",
            f"journald is not enabled on this host: there is no {JOURNAL}",
        )


def limits(driver: str, options: dict[str, str]) -> Limits:
    """The limits that the options of a driver set. EngineError for values that cannot be."""
    default = Limits(20 << 20, 5, True) if driver == "local" else Limits()
    size, files = default.max_size, default.max_files
    if "max-size" in options and (driver, options["max-size"]) != ("json-file", "-1"):
        try:
            size = units.parse_bytes(options["max-size"], 1000)
        except ValueError as error:
            raise _invalid("max-size", options, str(error)) from None
        if size <= 0:
            raise _invalid("max-size", options, "it must be a positive number")
    if "max-file" in options:
        word = options["max-file"]
        files = int(word) if word.isascii() and word.isdigit() and len(word) < 7 else 0
        if files < 1:
            raise _invalid("max-file", options, "it must be a whole number of at least 1")
    compress = default.compress
    if "compress" in options:
        words = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
        if options["compress"].lower() not in words:
            raise _invalid("compress", options, "it is true or false")
        compress = words[options["compress"].lower()]
    if compress and (files < 2 or not size):
        raise EngineError(
            "log opt compress cannot be true",
            "max-file is less than 2 or max-size is not set",
            "set both, or --log-opt compress=false",
        )
    return Limits(size, files, compress)


def attributes(container: Container) -> dict[str, str]:
    """What labels, env and tag ask to be kept with each line."""
    settings = container.settings
    options = settings.log_opts
    found: dict[str, str] = {}
    env = {name: value for name, sign, value in (e.partition("=") for e in settings.env) if sign}
    for name, values in (("labels", settings.labels), ("env", env)):
        wanted = options.get(name, "").split(",")
        found |= {key: value for key, value in values.items() if key in wanted}
        fits = _regex(options, f"{name}-regex")
        if fits is not None:
            found |= {key: value for key, value in values.items() if fits.search(key)}
    if options.get("tag"):
        found["tag"] = _tag(options["tag"], container)
    return found


def _tag(template: str, container: Container) -> str:
    values = (
        container.short_id, container.id, container.name, container.image_id[:12],
        f"sha256:{container.image_id}", container.image, "pyctr",
    )  # fmt: skip
    for field, value in zip(_FIELDS, values, strict=True):
        template = template.replace(f"{{{{.{field}}}}}", value)
    return template


def _regex(options: dict[str, str], name: str) -> Pattern[str] | None:
    if not options.get(name):
        return None
    import re

    try:
        return re.compile(options[name])
    except (re.error, RecursionError) as error:
        raise _invalid(name, options, str(error)) from None


def _invalid(name: str, options: dict[str, str], why: str) -> EngineError:
    return EngineError(f"invalid log opt {name}={options[name]}", why)


def _refused(name: str, why: str) -> EngineError:
    return EngineError(f"log opt {name} is not supported as it is given", why)


def of(settings: Settings) -> Limits:
    """The limits of a container's log."""
    return limits(settings.log_driver, settings.log_opts)
