"""The C library through ctypes: one loader, one way to call, one way to fail.

Every function of this room goes through :func:`call` (a function of the C library) or
:func:`syscall` (a call that the C library does not wrap). Both turn -1 into
:class:`OSError` with the errno, the name of the call and the path it was about.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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


_prototypes: dict[str, Any] = {}  # of syscall(2), by the name of the system call


def _failure(name: str, path: str) -> OSError:
    code = ctypes.get_errno()
    message = f"{name}: {os.strerror(code)}"
    return OSError(code, message, path) if path else OSError(code, message)


def call(name: str, *args: object, path: str = "") -> int:
    """Calls a function of the C library that returns -1 and sets errno when it fails."""
    result: int = getattr(_libc, name)(*args)
    if result == -1:
        raise _failure(name, path)
    return result


def syscall(name: str, nr: int, *args: object, path: str = "") -> int:
    """syscall(2): ``args`` are ints (passed as long), bytes, None or ctypes objects.

    An argument is an int in each call of that name, or in none.
    """
    function = _prototypes.get(name)
    if function is None:
        function = _prototypes[name] = _prototype(args)
    result: int = function(nr, *args)
    if result == -1:
        raise _failure(name, path)
    return result


def _prototype(args: tuple[object, ...]) -> Any:
    """syscall(2) for such arguments: ctypes converts what it knows the type of fastest."""
    function = _libc["syscall"]  # a new object each time, unlike the attribute
    function.restype = ctypes.c_long
    kinds = (ctypes.c_long if isinstance(arg, int) else ctypes.c_void_p for arg in args)
    function.argtypes = (ctypes.c_long, *kinds)
    return function
