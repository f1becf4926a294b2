"""What the kernel refused where nobody expected it, as people are told it."""

from __future__ import annotations

import errno
import os

from kernel import hints
from kernel.errors import PyctrError


def explained(error: OSError | MemoryError) -> PyctrError:
    """What, why, where, and what to do."""
    if isinstance(error, MemoryError):
        return PyctrError("the system refused", "out of memory", hints.MEMORY, errno=errno.ENOMEM)
    number = error.errno or 0
    if isinstance(error, PermissionError):
        hint = "" if os.geteuid() == 0 else "pyctr needs root: try sudo"
        return PyctrError("permission denied", str(error), hint, errno=number)
    why = error.strerror.lower() if error.strerror else str(error)
    where = error.filename2 or error.filename
    path = where if isinstance(where, str) else ""
    return PyctrError("the system refused", why, hints.of(number), path, number)
