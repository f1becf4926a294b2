"""Instructions that change an image's configuration and none of its files. Pure.

Docker documents in which instructions variables are replaced: not in CMD, ENTRYPOINT, HEALTHCHECK,
MAINTAINER, SHELL, and of ONBUILD when its trigger's turn comes.

Source: Docker's "Dockerfile reference".
"""

from __future__ import annotations

from images import instructions
from images.build import variables
from images.build.errors import BuildError
from kernel import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from images.build.state import State
    from images.dockerfile.parser import Instruction

    Config = dict[str, Any]

_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}
_TIME_MIN = 0.001  # seconds; as Docker


def apply(state: State, instruction: Instruction, escape: str) -> State:
    """The state after an instruction of this kind. BuildError, ImageError."""
    config, top = dict(state.config), dict(state.top)  # fields are replaced, never changed
    perform = _PERFORM[instruction.word]
    perform(config, top, instruction, state, escape)
    own = state.own_command or instruction.word == "CMD"
    return state.replace(config=config, top=top, own_command=own)


def recorded(state: State, text: str) -> State:
    """The state with a line in the image's history that stands for no layer."""
    entry = {"created": state.created, "created_by": text, "empty_layer": True}
    return state.replace(history=(*state.history, entry))


def trigger_text(onbuild: Instruction) -> str:
    """What an ONBUILD holds, as an image keeps it; here-documents follow their line."""
    heredocs = "".join(f"\n{one.content}{one.name}" for one in onbuild.heredocs)
    return onbuild.text + heredocs


def _command(instruction: Instruction, state: State) -> list[str]:
    if instruction.listed is not None:
        return list(instruction.listed)
    return [*state.shell, instruction.text] if instruction.text else []


def _cmd(config: Config, _top: Config, one: Instruction, state: State, _escape: str) -> None:
    config["Cmd"] = _command(one, state)


def _entrypoint(config: Config, _top: Config, one: Instruction, state: State, _escape: str) -> None:
    config["Entrypoint"] = _command(one, state)
    if not state.own_command:  # the command of the base image goes with its entrypoint
        config["Cmd"] = None


def _env(config: Config, _top: Config, one: Instruction, state: State, escape: str) -> None:
    for key, value in variables.pairs(one.text, state.variables, escape):
        instructions.set_env(config, key, value)


def _label(config: Config, _top: Config, one: Instruction, state: State, escape: str) -> None:
    found = variables.pairs(one.text, state.variables, escape)
    instructions.add_labels(config, dict(found))


def _expose(config: Config, _top: Config, one: Instruction, state: State, escape: str) -> None:
    instructions.add_ports(config, variables.expand_all(one.text, state.variables, escape))


def _volume(config: Config, _top: Config, one: Instruction, state: State, escape: str) -> None:
    if ("reset", "") in one.flags:
        config["Volumes"] = None
    if one.listed is not None:
        paths = [variables.expand(word, state.variables, escape) for word in one.listed]
    else:
        paths = variables.expand_all(one.text, state.variables, escape)
    if paths:
        instructions.add_volumes(config, paths)


def _user(config: Config, _top: Config, one: Instruction, state: State, escape: str) -> None:
    config["User"] = variables.expand(one.text, state.variables, escape)


def _workdir(config: Config, _top: Config, one: Instruction, state: State, escape: str) -> None:
    path = variables.expand(one.text, state.variables, escape)
    if not path:
        raise BuildError("WORKDIR", "it names no folder once its variables are replaced")
    instructions.set_workdir(config, path)


def _stop_signal(config: Config, _top: Config, one: Instruction, state: State, escape: str) -> None:
    word = variables.expand(one.text, state.variables, escape)
    instructions.set_stop_signal(config, word)


def _shell(config: Config, _top: Config, one: Instruction, _state: State, _escape: str) -> None:
    config["Shell"] = list(one.listed or ())


def _maintainer(config: Config, top: Config, one: Instruction, _state: State, _escape: str) -> None:
    top["author"] = one.text


def _onbuild(config: Config, _top: Config, one: Instruction, _state: State, _escape: str) -> None:
    config["OnBuild"] = [*(config.get("OnBuild") or []), trigger_text(one)]


def _healthcheck(
    config: Config, _top: Config, one: Instruction, _state: State, _escape: str
) -> None:
    kind, _, rest = one.text.partition(" ")
    if kind.upper() == "NONE":
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    rest = rest.strip()
    listed = instructions.json_list(rest)
    if not rest or listed == []:
        raise BuildError("HEALTHCHECK CMD", "a command must follow")
    test = ["CMD-SHELL", rest] if listed is None else ["CMD", *listed]
    made: dict[str, Any] = {"Test": test}
    for name, word in one.flags:
        if name == "retries":
            if not (word.isascii() and word.isdigit()):
                raise BuildError(f"HEALTHCHECK --retries={word}", "it is a whole number")
            made["Retries"] = int(word)
            continue
        try:
            seconds = units.parse_duration(word)
        except ValueError as error:
            raise BuildError(f"HEALTHCHECK --{name}={word}", str(error)) from None
        if 0 < seconds < _TIME_MIN:
            raise BuildError(f"HEALTHCHECK --{name}={word}", "it is less than 1ms")
        made[_TIMES[name]] = round(seconds * 10**9)
    config["Healthcheck"] = made


_PERFORM: dict[str, Callable[[Config, Config, Instruction, State, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
