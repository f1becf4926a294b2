"""The C library through ctypes: one loader, one way to call, one way to fail.

Every function of this room goes through :func:`call` (a function of the C library) or
:func:`syscall` (a call that the C library does not wrap). Both turn -1 into
:class:`OSError` with the errno, the name of the call and the path it was about.
"""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_machine = os.uname().machine

# Calls since Linux 5.1 have the same number on every architecture; these are older.
_NUMBERS = {
    "x86_64": {"pivot_root": 155, "keyctl": 250, "seccomp": 317, "bpf": 321},
    "aarch64": {"pivot_root": 41, "keyctl": 219, "seccomp": 277, "bpf": 280},
}


def number(name: str) -> int:
    """The number of a system call older than 5.1 on this machine; OSError(ENOSYS) if unknown."""
    try:
        return _NUMBERS[_machine][name]
    except KeyError:
        import errno

        raise OSError(errno.ENOSYS, f"{name} is not known on {_machine}") from None


def _check(result: int, name: str, path: str) -> int:
    if result == -1:
        code = ctypes.get_errno()
        message = f"{name}: {os.strerror(code)}"
        raise OSError(code, message, path) if path else OSError(code, message)
    return result


def call(name: str, *args: object, path: str = "") -> int:
    """Calls a function of the C library that returns -1 and sets errno when it fails."""
    return _check(_libc[name](*args), name, path)


def syscall(name: str, nr: int, *args: object, path: str = "") -> int:
    """syscall(2): ``args`` are ints (passed as long), bytes, None or ctypes objects."""
    longs = (ctypes.c_long(a) if isinstance(a, int) else a for a in args)
    function = _libc.syscall
    function.restype = ctypes.c_long
    return _check(function(ctypes.c_long(nr), *longs), name, path)
