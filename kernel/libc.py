"""The C library: one loader, one way to call, one way to fail.

What calls it (:mod:`kernel.foreign`) is imported for the first call: many commands make none.

Every function of this room goes through :func:`call` (a function of the C library) or
:func:`syscall` (a call that the C library does not wrap). Both turn -1 into
:class:`OSError` with the errno, the name of the call and the path it was about.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_functions: dict[str, Any] = {}  # by the name of the call
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


def call(name: str, *args: object, path: str = "") -> int:
    """Calls a function of the C library that returns -1 and sets errno when it fails.

    ``args`` are ints (passed as long, as registers have them), bytes, None or a buffer; one is
    an int in each call of that name, or in none.
    """
    function = _functions.get(name)
    if function is None:
        function = _functions[name] = _prototype(name, args)
    return _checked(function(*args), name, path)


def syscall(name: str, nr: int, *args: object, path: str = "") -> int:
    """syscall(2), for a call that the C library may not know; ``args`` as for :func:`call`."""
    key = f"syscall {name}"
    function = _functions.get(key)
    if function is None:
        function = _functions[key] = _prototype("syscall", (nr, *args))
    return _checked(function(nr, *args), name, path)


def _prototype(name: str, args: tuple[object, ...]) -> Any:
    """A function for such arguments: they are converted fastest where their types are known."""
    from kernel import foreign

    kinds = (foreign.Long if isinstance(arg, int) else foreign.Pointer for arg in args)
    return foreign.function(name, foreign.Long if name == "syscall" else foreign.Int, tuple(kinds))


def _checked(result: int, name: str, path: str) -> int:
    if result == -1:
        from kernel import foreign

        code = foreign.get_errno()
        message = f"{name}: {os.strerror(code)}"
        raise OSError(code, message, path) if path else OSError(code, message)
    return result
