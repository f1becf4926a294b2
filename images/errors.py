"""The error types of this room."""

from __future__ import annotations

from kernel.errors import Conflict, NotFound, PyctrError


class ImageError(PyctrError):
    """An image, a reference or an archive that cannot be used."""


class ImageNotFound(NotFound, ImageError):
    """No image has that name or id. `run` and `create` answer 125 to it, all others 1."""


class ImageInUse(Conflict, ImageError):
    """The image may not be removed as it is."""
