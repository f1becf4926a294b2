"""What a stage is at one point of its Dockerfile: the image so far, and the variables in scope.

A state is a value: each instruction makes another one. It goes through pipes as JSON, because
stages may be built by processes of their own.
"""

from __future__ import annotations

from images.config import Layer
from kernel import quickjson
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from images.config import ImageConfig

_SHELL = ("/bin/sh", "-c")


class State(Record):
    """``config`` is the object of that name in the image's configuration, ``top`` what stands
    beside it (architecture, os, author...). ``layers`` are base first, ``history`` as the
    configuration has it. ``args`` are the ARGs in scope that have a value. ``created`` is when the
    last layer was made (RFC 3339). ``own_command``: CMD stood in this stage.
    """

    config: dict[str, Any]
    top: dict[str, Any]
    layers: tuple[Layer, ...] = ()
    history: tuple[dict[str, Any], ...] = ()
    args: dict[str, str] = {}  # noqa: RUF012 - a frozen record's default
    created: str = ""
    own_command: bool = False

    @property
    def chain(self) -> list[str]:
        """The diff ids of the layers: what the files are."""
        return [layer.diff_id for layer in self.layers]

    @property
    def env(self) -> dict[str, str]:
        """The variables of ENV."""
        found = (entry.partition("=") for entry in self.config.get("Env") or [])
        return {name: value for name, _, value in found}

    @property
    def variables(self) -> dict[str, str]:
        """What $NAME means: ENV goes before ARG."""
        return {**self.args, **self.env}

    @property
    def shell(self) -> tuple[str, ...]:
        """What the shell form of RUN, CMD and ENTRYPOINT is run by."""
        return tuple(self.config.get("Shell") or _SHELL)

    @property
    def workdir(self) -> str:
        """The working folder, absolute."""
        return str(self.config.get("WorkingDir") or "/")

    @property
    def user(self) -> str:
        """``user[:group]``, "" for root."""
        return str(self.config.get("User") or "")

    @property
    def volumes(self) -> list[str]:
        """The declared volumes."""
        return sorted(self.config.get("Volumes") or {})


def of_image(config: ImageConfig, layers: list[Layer]) -> State:
    """The state right after FROM an image."""
    raw = config.raw
    top = {k: v for k, v in raw.items() if k not in ("config", "history", "rootfs", "created")}
    history = tuple(
        {key: value if _is_sane(key, value) else "" for key, value in entry.items()}
        for entry in raw.get("history") or []
        if isinstance(entry, dict)
    )
    created = next((e["created"] for e in reversed(history) if e.get("created")), config.created)
    own = dict(raw.get("config") or {})
    own |= {key: list(words) for key, words in _lists(config).items() if own.get(key)}
    return State(own, top, tuple(layers), history, {}, created)


def _lists(config: ImageConfig) -> dict[str, tuple[str, ...]]:
    """Fields that very old images hold as one word."""
    return {"Env": config.env, "Cmd": config.cmd, "Entrypoint": config.entrypoint}


def triggers(config: ImageConfig) -> list[str]:
    """The ONBUILD triggers of an image."""
    found = (config.raw.get("config") or {}).get("OnBuild")
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


def _is_sane(key: str, value: Any) -> bool:
    """Whether a field of a foreign image's history is what the specification says."""
    return isinstance(value, bool if key == "empty_layer" else str)


def dumps(state: State) -> str:
    """JSON of a state."""
    fields = state.as_dict()
    fields["layers"] = [(one.diff_id, one.digest, one.size) for one in state.layers]
    return quickjson.dumps(fields)


def loads(text: str) -> State:
    """The state of :func:`dumps`."""
    fields = quickjson.loads(text)
    fields["layers"] = tuple(Layer(*one) for one in fields["layers"])
    fields["history"] = tuple(fields["history"])
    return State(**fields)
