"""What a person typed that cannot be understood."""

from __future__ import annotations

from kernel.errors import PyctrError


class UsageError(PyctrError):
    """An unknown flag, a missing argument, a value that does not fit. Exit code 125."""
