"""SQLite for Python without what comes with it: what is left costs a third.

:mod:`sqlite3` adds dates and times. ``_sqlite3`` below it imports :mod:`functools`, and with it
:mod:`collections`, to keep the last statements of a connection in an ``lru_cache``: two
milliseconds for one function, whose working part is in C. While ``_sqlite3`` is imported, a module
with that function alone stands in for functools.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def load() -> ModuleType:
    """The module ``_sqlite3``; the caller has one thread."""
    if "functools" not in sys.modules:
        try:
            from _functools import _lru_cache_wrapper as cached
        except ImportError:  # not CPython
            import functools  # noqa: F401
        else:

            def lru_cache(maxsize: int) -> Callable[[Any], Any]:
                return lambda function: cached(function, maxsize, False, tuple)

            stand_in: Any = type(sys)("functools")
            stand_in.lru_cache = lru_cache
            sys.modules["functools"] = stand_in
            try:
                import _sqlite3
            finally:
                del sys.modules["functools"]
            return _sqlite3
    import _sqlite3

    return _sqlite3
