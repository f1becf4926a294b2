"""Trying something in a child process, so that whatever it enters or changes goes with it."""

from __future__ import annotations

import errno
import os
import select

from kernel import signals
from kernel.errors import PyctrError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 20.0  # seconds; a probe is a handful of system calls


class Refused(PyctrError):
    """What was tried in the child failed."""


def in_child(action: Callable[[], str]) -> str:
    """What ``action`` returns in a forked child. Refused with its reason if it fails there."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.write(writer, _answer(action).encode(errors="replace")[:4096])
        os._exit(0)
    os.close(writer)
    try:
        said = _read(reader)
        if not said:
            os.kill(pid, signals.SIGKILL)
        os.waitpid(pid, 0)
    finally:
        os.close(reader)
    if said[:1] == "+":
        return said[1:]
    raise Refused(said[1:] or "the probe was killed, or did not answer")


def _answer(action: Callable[[], str]) -> str:
    try:
        return f"+{action()}"
    except (OSError, PyctrError) as error:
        return f"-{reason(error)}"
    except BaseException as error:  # whatever it is, the child must not go on as its parent
        return f"-{error!r}"


def _read(reader: int) -> str:
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    if not poll.poll(_PATIENCE * 1000):
        return ""
    return os.read(reader, 4096).decode(errors="replace")


def reason(error: OSError | PyctrError) -> str:
    """Why something failed, in a few words: the kernel's where it is the kernel's."""
    if isinstance(error, PyctrError):
        return str(error)
    known = errno.errorcode.get(error.errno or 0, "")
    return f"{error.strerror or error} ({known})" if known else str(error)
