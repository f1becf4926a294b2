"""Named trace points: places where a crash would matter, and where a test can make one.

A module declares its points when it is imported and calls them where they stand::

    _renamed = trace.point("volumes.populate.renamed")
    ...
    _renamed()

A call does nothing unless the environment armed that name before the process began:
``PYCTR_TRACE=kill:NAME`` ends the process with SIGKILL, ``pause:NAME`` stops it (SIGSTOP),
``fail:NAME`` raises OSError(EIO); ``NAME@3`` means the third passage. :func:`arm` does the same
from inside a test. :func:`names` lists every declared point, so that a test can walk all of them.
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


def point(name: str) -> Callable[[], None]:
    """Declares the trace point ``name`` (``room.module.moment``) and returns its call."""
    _names.append(name)

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
        raise ValueError(f"PYCTR_TRACE knows kill, pause and fail, not {_armed_action!r}")


def _arm_from_environment(value: str) -> None:
    action, _, rest = value.partition(":")
    name, _, passage = rest.partition("@")
    arm(action, name, int(passage or 1))


if os.environ.get("PYCTR_TRACE"):
    _arm_from_environment(os.environ["PYCTR_TRACE"])
