"""Named trace points: places where a crash would matter, and where a test can make one.

A module declares its points when it is imported and calls them where they stand::

    _renamed = trace.point("volumes.populate.renamed")
    ...
    _renamed()

A call does nothing unless the environment armed that name before the process began:
``PYCTR_TRACE=kill:NAME`` ends the process with SIGKILL, ``pause:NAME`` stops it (SIGSTOP),
``fail:NAME`` raises OSError(EIO); ``NAME@3`` means the third passage. :func:`arm` does the same
from inside a test. :func:`names` lists every declared point, so that a test can walk all of them.

``PYCTR_TRACE=list:FILE`` adds a line ``NAME@N`` to a file for each passage, whatever process it is
in: command, monitor, agent, or the container's own until it is the program. These are the words
that ``kill:`` takes; ``kill:NAME@N,list:FILE`` does both.
"""

from __future__ import annotations

import os

from kernel import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_names: list[str] = []
_armed_action = ""
_armed_name = ""
_passages_left = 0
_list_path = ""  # of PYCTR_TRACE=list:FILE
_list_fd = -1
_passages: dict[str, int] = {}


def point(name: str) -> Callable[[], None]:
    """Declares the trace point ``name`` (``room.module.moment``) and returns its call."""
    _names.append(name)
    if _list_path:
        return lambda: _note(name)

    def passed() -> None:
        if _armed_name == name:
            _hit()

    return passed


def names() -> tuple[str, ...]:
    """All points declared by the modules imported so far."""
    return tuple(_names)


def arm(action: str, name: str, passage: int = 1) -> None:
    """Arms one point in this process and its future children; ``arm("", "")`` disarms."""
    global _armed_action, _armed_name, _passages_left
    _armed_action, _armed_name, _passages_left = action, name, passage


def _hit() -> None:
    global _passages_left
    _passages_left -= 1
    if _passages_left != 0:
        return
    if _armed_action == "kill":
        os.kill(os.getpid(), signals.SIGKILL)
        os._exit(128 + signals.SIGKILL)  # the first process of a pid namespace cannot kill itself
    elif _armed_action == "pause":
        os.kill(os.getpid(), signals.SIGSTOP)
    elif _armed_action == "fail":
        import errno

        raise OSError(errno.EIO, f"failed on purpose at trace point {_armed_name}")
    else:
        raise ValueError(f"PYCTR_TRACE knows kill, pause, fail and list, not {_armed_action!r}")


def _note(name: str) -> None:
    """Counts as :func:`_hit` does: a process goes on where it was forked."""
    _passages[name] = _passages.get(name, 0) + 1
    os.write(_list(), f"{name}@{_passages[name]}\n".encode())
    if _armed_name == name:
        _hit()


def _list() -> int:
    """The list's descriptor: opened anew where a process has closed all that it inherited, and kept
    where the container's root hides the file.
    """
    global _list_fd
    try:
        if os.path.samestat(os.fstat(_list_fd), os.stat(_list_path)):
            return _list_fd
    except FileNotFoundError:
        return _list_fd
    except OSError:
        pass
    _list_fd = os.open(_list_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    return _list_fd


def _arm_from_environment(value: str) -> None:
    global _list_path
    for word in value.split(","):
        action, _, rest = word.partition(":")
        if action == "list":
            _list_path = rest
            _list()
        else:
            name, _, passage = rest.partition("@")
            arm(action, name, int(passage or 1))


if os.environ.get("PYCTR_TRACE"):
    _arm_from_environment(os.environ["PYCTR_TRACE"])
