"""What was decided for this host: a file, the environment, and what is built in.

    /etc/pyctr/config.toml    another one with PYCTR_CONFIG or --config; it need not be there

A key that the file does not know, or a value of the wrong kind, is an error that names both: a
limit that is not set because of a typing error would be worse. The result is one frozen record,
read once. Where nothing is configured this costs one failed open(2); :mod:`tomllib` is imported
only for a file with something in it.

Of a key that is the default of a flag only the words are kept: what they mean is for the one who
has the flag (:mod:`cli.config`).

Source: toml.io, version 1.0.
"""

from __future__ import annotations

import os

from engine.errors import EngineError
from kernel import units
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "/etc/pyctr/config.toml"
ROOT = "/var/lib/pyctr"
RUN = "/run/pyctr"

BUILT_IN = "built-in"


class Key(Record):
    """One thing that can be configured.

    ``name`` is where it stands in the file (tables and keys parted by dots), ``kind`` what its
    value looks like (see :data:`_KINDS`), ``words`` what is built in.
    """

    name: str
    environment: str
    kind: str
    help: str
    words: tuple[str, ...] = ()


class Setting(Record):
    """A key with its value, as words, and where it was found.

    A table is one word ``name=value`` for each of its entries.
    """

    key: Key
    words: tuple[str, ...]
    source: str


KEYS = (
    Key("root", "PYCTR_ROOT", "path", "Where everything is kept", (ROOT,)),
    Key("run", "PYCTR_RUN", "path", "Sockets; it follows the root folder"),
    Key("detach_keys", "PYCTR_DETACH_KEYS", "text", "--detach-keys of whatever shares a terminal"),
    Key("network", "PYCTR_NETWORK", "text", "--network of new containers", ("bridge",)),
    Key("network_subnet", "PYCTR_NETWORK_SUBNET", "text", "Subnet of the network bridge"),
    Key("network_pools", "PYCTR_NETWORK_POOLS", "list",
        "Pools of subnets, such as 10.64.0.0/10:24"),
    Key("volumes.trash_age", "PYCTR_VOLUME_TRASH", "duration",
        "How long a retired volume can be restored", ("24h",)),
    Key("containers.memory", "PYCTR_MEMORY", "size", "--memory of new containers"),
    Key("containers.cpus", "PYCTR_CPUS", "number", "--cpus of new containers"),
    Key("containers.pids_limit", "PYCTR_PIDS_LIMIT", "whole", "--pids-limit of new containers"),
    Key("containers.ulimits", "PYCTR_ULIMITS", "pairs", "--ulimit of new containers"),
    Key("registry.insecure", "PYCTR_INSECURE", "list",
        "Registries (host:port) to trust with plain HTTP"),
    Key("log.driver", "PYCTR_LOG_DRIVER", "text", "--log-driver of new containers"),
    Key("log.options", "PYCTR_LOG_OPTIONS", "pairs", "--log-opt of containers with that driver"),
)  # fmt: skip
_BY_NAME = {key.name: key for key in KEYS}
_ENVIRONMENT = ("PYCTR_CONFIG", *(key.environment for key in KEYS))

# kind: (what the file may hold, what is expected, in words)
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "path": ((str,), 'an absolute path such as "/var/lib/pyctr"'),
    "text": ((str,), "text in quotes"),
    "duration": ((str, int, float), 'a duration such as "24h", or seconds'),
    "size": ((str, int), 'a size such as "512m", or bytes'),
    "number": ((int, float), "a number such as 1.5"),
    "whole": ((int,), "a whole number"),
    "list": ((list,), 'a list such as ["host:5000"]'),
    "pairs": ((dict,), 'a table of names and values such as { name = "value" }'),
}


class Config(Record):
    """The configuration of one process; ``settings`` holds every key by its name."""

    file: str
    settings: dict[str, Setting]

    @property
    def root(self) -> str:
        """The root folder, an absolute path."""
        return self.settings["root"].words[0]

    @property
    def run(self) -> str:
        """The run folder, an absolute path."""
        return self.settings["run"].words[0]

    @property
    def insecure_registries(self) -> tuple[str, ...]:
        """Registries that may be spoken with in plain HTTP, as host or host:port."""
        return self.settings["registry.insecure"].words

    @property
    def network_subnet(self) -> str:
        """The subnet of the default network, "" where one is chosen."""
        return self._subnet("network_subnet", ", ".join(self.settings["network_subnet"].words))

    @property
    def network_pools(self) -> tuple[str, ...]:
        """Pools of subnets (:func:`network.subnets.pool`), () for what is built in."""
        words = self.settings["network_pools"].words
        return tuple(self._subnet("network_pools", word) for word in words)

    def _subnet(self, name: str, word: str) -> str:
        """The word, once it is known to be a pool; EngineError names where it stands."""
        from network import subnets

        try:
            if word:
                subnets.pool(word)
        except ValueError as error:
            source = self.settings[name].source
            raise EngineError(f"{name} is wrong in {source}", str(error)) from None
        return word

    @property
    def trash_age(self) -> float:
        """Seconds for which a retired volume can be restored."""
        return units.parse_duration(self.settings["volumes.trash_age"].words[0])


_known: dict[tuple[str | None, ...], Config] = {}


def current() -> Config:
    """The configuration that the environment leads to, read when it is first asked for."""
    environment = tuple(map(os.environ.get, _ENVIRONMENT))
    if environment not in _known:
        _known[environment] = read()
    return _known[environment]


def read() -> Config:
    """Reads file and environment; EngineError names what cannot be understood."""
    chosen = os.environ.get("PYCTR_CONFIG") or ""
    file = os.path.abspath(chosen) if chosen else FILE
    found = {key.name: Setting(key, key.words, BUILT_IN) for key in KEYS}
    found |= _from_file(file, must_exist=bool(chosen))
    for key in KEYS:
        word = os.environ.get(key.environment)
        if word:
            source = f"environment {key.environment}"
            found[key.name] = Setting(key, _from_word(key, word, source), source)
    if not found["run"].words or _weight(found["run"]) < _weight(found["root"]):
        # Another root folder has another run folder: a run folder belongs to its root folder.
        run = _run_folder(found["root"].words[0])
        found["run"] = Setting(_BY_NAME["run"], (run,), BUILT_IN)
    return Config(file, found)


def _weight(setting: Setting) -> int:
    """Who wins: what is built in, the file, the environment."""
    return 0 if setting.source == BUILT_IN else 2 if setting.source.startswith("env") else 1


def _run_folder(root: str) -> str:
    if root == ROOT:
        return RUN
    from kernel.digest import fingerprint

    return f"{RUN}-{fingerprint(root.encode()).hex()[:12]}"


def _from_word(key: Key, word: str, source: str) -> tuple[str, ...]:
    """The words of an environment variable."""
    value: Any = word
    try:
        if key.kind == "whole":
            value = int(word)
        elif key.kind == "number":
            value = float(word) if "." in word else int(word)
        elif key.kind == "pairs":
            pairs = [pair.strip().partition("=") for pair in word.split(",") if pair.strip()]
            if not all(name and sign for name, sign, _ in pairs):
                raise ValueError
            value = {name: own for name, _, own in pairs}
        elif key.kind == "list":
            value = [one.strip() for one in word.split(",") if one.strip()]
        elif key.kind == "path":
            value = os.path.abspath(word)
    except ValueError:
        expected = "name=value,name=value" if key.kind == "pairs" else _KINDS[key.kind][1]
        raise _wrong(key.environment, word, source, expected) from None
    return _words(key, key.environment, value, source)


def _words(key: Key, shown: str, value: Any, source: str) -> tuple[str, ...]:
    """A value as words; EngineError if it is not of the key's kind."""
    types, expected = _KINDS[key.kind]
    if not _is_one_of(value, types):
        raise _wrong(shown, value, source, expected)
    if key.kind == "pairs":
        for name, own in value.items():
            if not _is_one_of(own, (str, int)):
                raise _wrong(f"{shown}.{name}", own, source, "text or a whole number")
        return tuple(f"{name}={own}" for name, own in value.items())
    if key.kind == "list":
        for own in value:
            if not isinstance(own, str) or not own:
                raise _wrong(shown, own, source, "text in quotes")
        return tuple(value)
    word = str(value)
    try:
        if key.kind == "duration":
            units.parse_duration(word)
        elif key.kind == "size":
            units.parse_bytes(word)
    except ValueError:
        raise _wrong(shown, value, source, expected) from None
    if not word or (key.kind == "path" and not word.startswith("/")):
        raise _wrong(shown, value, source, expected)
    return (word.rstrip("/") or "/",) if key.kind == "path" else (word,)


def _is_one_of(value: object, types: tuple[type, ...]) -> bool:
    """isinstance, but true and false are no numbers."""
    return isinstance(value, types) and not isinstance(value, bool)


def _wrong(shown: str, value: object, source: str, expected: str) -> EngineError:
    where = "" if source.endswith(shown) else f" in {source}"
    return EngineError(f"{shown} is wrong{where}", f"{value!r} is not {expected}")


# -- the file ------------------------------------------------------------------------------


def _from_file(path: str, *, must_exist: bool) -> dict[str, Setting]:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError as error:
        if not must_exist:
            return {}
        raise _unreadable(path, str(error.strerror)) from None
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from None
    if not content.strip():
        return {}
    import tomllib

    try:
        text = content.decode()
        values = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unreadable(path, str(error)) from None
    made: dict[str, Setting] = {}
    for name, value in _flat(values):
        source = f"{path}{_line(text, name)}"
        key = _BY_NAME.get(name)
        if key is None:
            raise _unknown(name, value, source)
        made[name] = Setting(key, _words(key, name, value, source), source)
    return made


def _unreadable(path: str, why: str) -> EngineError:
    return EngineError("cannot read the configuration", why, path=path)


def _unknown(name: str, value: object, source: str) -> EngineError:
    below = f"{name}."
    if any(known.startswith(below) for known in _BY_NAME):
        return EngineError(f"{name} is wrong in {source}", f"{value!r} is not a table")
    return EngineError(
        f"unknown key {name} in {source}", f"there are {', '.join(_BY_NAME)}", "look for a typo"
    )


def _flat(table: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """(dotted name, value) of everything in the file; a key whose value is a table stays whole."""
    made: list[tuple[str, Any]] = []
    for name, value in table.items():
        dotted = f"{above}{name}"
        known = _BY_NAME.get(dotted)
        if known is None and isinstance(value, dict):
            made += _flat(value, f"{dotted}.") or [(dotted, value)]
        else:
            made.append((dotted, value))
    return [pair for pair in made if not _is_empty_table(*pair)]


def _is_empty_table(name: str, value: object) -> bool:
    """``[volumes]`` with nothing below it says nothing."""
    return value == {} and any(known.startswith(f"{name}.") for known in _BY_NAME)


def _line(text: str, name: str) -> str:
    """``:LINE`` where a key stands, for messages; "" where that cannot be told simply."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if bare.startswith("["):
            table = bare.strip("[] ").replace('"', "")
            if table == name:
                return f":{number}"
        own = bare.partition("=")[0].strip().replace('"', "")
        if own and name == f"{table}.{own}".lstrip("."):
            return f":{number}"
    return ""
