"""An image's configuration: read from hostile JSON into checked fields.

Labels and names are data and are never interpreted. What the specification does not know is
kept in ``raw`` for `inspect`, and otherwise ignored.

Source: OCI image specification, config.md.
"""

from __future__ import annotations

from images.errors import ImageError
from images.references import is_digest
from kernel import quickjson
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIZE_MAX = 4 << 20
_WORDS_MAX = 100_000
_WORD_MAX = 1 << 17  # MAX_ARG_STRLEN of execve(2)


class ImageConfig(Record):
    """What a container takes over from its image. ``diff_ids``: base first, hex digits only."""

    raw: dict[str, Any]
    diff_ids: tuple[str, ...]
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    labels: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    stop_signal: str = ""
    healthcheck: dict[str, Any] = {}  # noqa: RUF012 - a frozen record's default
    shell: tuple[str, ...] = ()
    created: str = ""
    architecture: str = ""


def parse(content: bytes) -> ImageConfig:
    """Checks and reads a configuration; ImageError names the field that is wrong."""
    if len(content) > _SIZE_MAX:
        raise _invalid("it", f"larger than {_SIZE_MAX} bytes")
    try:
        raw = quickjson.loads(content)
    except (ValueError, RecursionError) as error:
        raise _invalid("it", f"not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise _invalid("it", "not a JSON object")
    rootfs = _object(raw, "rootfs")
    diff_ids = _words(rootfs, "diff_ids")
    for diff_id in diff_ids:
        if not is_digest(diff_id):
            raise _invalid("rootfs.diff_ids", f"{diff_id!r} is not a sha256 digest")
    if len(diff_ids) > 500:
        raise _invalid("rootfs.diff_ids", "more than the 500 layers that overlayfs can stack")
    config = _object(raw, "config")
    labels = _object(config, "Labels")
    return ImageConfig(
        raw=raw,
        diff_ids=tuple(diff_id.removeprefix("sha256:") for diff_id in diff_ids),
        env=tuple(word for word in _words(config, "Env") if "=" in word[1:]),
        entrypoint=_words(config, "Entrypoint"),
        cmd=_words(config, "Cmd"),
        user=_text(config, "User"),
        working_dir=_text(config, "WorkingDir"),
        volumes=tuple(_object(config, "Volumes")),
        exposed_ports=tuple(_object(config, "ExposedPorts")),
        labels={key: _text(labels, key) for key in labels},
        stop_signal=_text(config, "StopSignal"),
        healthcheck=_healthcheck(_object(config, "Healthcheck")),
        shell=_words(config, "Shell"),
        created=_text(raw, "created"),
        architecture=_text(raw, "architecture"),
    )


def host_architecture() -> str:
    """This machine in the words of images (GOARCH)."""
    import os

    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}.get(
        machine, machine
    )


def new(diff_ids: list[str], created: str, config: dict[str, Any], comment: str) -> dict[str, Any]:
    """A configuration of one history entry; ``diff_ids`` as hex digits."""
    return {
        "architecture": host_architecture(),
        "config": config,
        "created": created,
        "history": [{"created": created, "comment": comment} for _ in diff_ids],
        "os": "linux",
        "rootfs": {"diff_ids": [f"sha256:{digits}" for digits in diff_ids], "type": "layers"},
    }


def encode(raw: dict[str, Any]) -> bytes:
    """The canonical bytes of a configuration: its digest is the image's id."""
    return quickjson.canonical(raw).encode()


def _invalid(field: str, why: str) -> ImageError:
    return ImageError("the image's configuration is refused", f"{field}: {why}")


def _healthcheck(given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a health check that are set: Test, times in nanoseconds, Retries."""
    test = _words(given, "Test")
    if test and test[0] not in ("NONE", "CMD", "CMD-SHELL"):
        raise _invalid("Healthcheck.Test", f"{test[0]!r} is not CMD, CMD-SHELL or NONE")
    if test and test[0] != "NONE" and len(test) == 1:
        raise _invalid("Healthcheck.Test", "it names no command")
    found: dict[str, Any] = {"Test": list(test)} if test else {}
    for key in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"):
        value = given.get(key) or 0
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise _invalid(f"Healthcheck.{key}", "not a whole number of a sane size")
        if value:
            found[key] = value
    return found


def _object(of: dict[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _WORDS_MAX:
        raise _invalid(key, "not an object of a sane size")
    return value


def _words(of: dict[str, Any], key: str) -> tuple[str, ...]:
    value = of.get(key)
    if value is None:
        return ()
    if isinstance(value, str):  # very old images hold a command as one word
        value = [value]
    if not isinstance(value, list) or len(value) > _WORDS_MAX:
        raise _invalid(key, "not a list of a sane length")
    return tuple(_word(key, word) for word in value)


def _text(of: dict[str, Any], key: str) -> str:
    value = of.get(key)
    return "" if value is None else _word(key, value)


def _word(key: str, word: Any) -> str:
    if not isinstance(word, str) or len(word) > _WORD_MAX or "\0" in word:
        raise _invalid(key, "holds something that is not a word of a sane size")
    return word


class Layer(Record):
    """``diff_id`` of the plain archive, ``digest`` of the kept one, ``size`` of its files."""

    diff_id: str
    digest: str
    size: int
