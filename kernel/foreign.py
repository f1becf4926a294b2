"""C functions without :mod:`ctypes`: what is below it, ``_ctypes``, does the work.

The package around it makes a class for every type of C, and the decorators of callbacks: more than
a millisecond, a fifth of an interpreter's start, in every process that starts or enters a
container. Whoever describes structures or other libraries takes the package.
"""

from __future__ import annotations

from _ctypes import (
    FUNCFLAG_CDECL,
    FUNCFLAG_PYTHONAPI,
    FUNCFLAG_USE_ERRNO,
    CFuncPtr,
    _SimpleCData,
    addressof,
    dlopen,
    dlsym,
    get_errno,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Int", "Long", "Pointer", "addressof", "buffer", "function", "get_errno"]


class Int(_SimpleCData):  # type: ignore[type-arg]
    """int"""

    _type_ = "i"


class Long(_SimpleCData):  # type: ignore[type-arg]
    """long"""

    _type_ = "l"


class Pointer(_SimpleCData):  # type: ignore[type-arg]
    """void *: bytes, a :func:`buffer`, None, an address."""

    _type_ = "P"


class _Byte(_SimpleCData):  # type: ignore[type-arg]
    _type_ = "B"


class _Function(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO


class _LockedFunction(CFuncPtr):
    _flags_ = FUNCFLAG_CDECL | FUNCFLAG_USE_ERRNO | FUNCFLAG_PYTHONAPI


# The interpreter, and the C library with it: dlopen(3), a filename of NULL.
_SELF = dlopen(None, 0)  # type: ignore[arg-type]


def function(name: str, result: Any, kinds: tuple[Any, ...] = (), *, locked: bool = False) -> Any:
    """The function ``name`` of the C library or the interpreter, with its types.

    :func:`get_errno` says why it failed. ``locked``: the interpreter's lock is kept during calls.
    """
    made: Any = (_LockedFunction if locked else _Function)(dlsym(_SELF, name))
    made.restype, made.argtypes = result, kinds
    return made


def buffer(content: bytes | int) -> Any:
    """Memory that a function may write to: a copy of bytes, or so many zeroes."""
    return (_Byte * len(bytes(content))).from_buffer_copy(bytes(content))
