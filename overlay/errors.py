"""The one error type of this room."""

from __future__ import annotations

from kernel.errors import PyctrError


class OverlayError(PyctrError):
    """A layer or a union could not be made, read or removed."""

    exit_code = 1
