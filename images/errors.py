"""The error types of this room."""

from __future__ import annotations

from kernel.errors import Conflict, NotFound, PyctrError


class ImageError(PyctrError):
    """An image, a reference or an archive that cannot be used.

    The exit code is Docker's: 1 for every command about images, whatever failed. `run` and `create`
    answer 125 instead, for they made no container.
    """

    exit_code = 1


class ImageNotFound(NotFound, ImageError):
    """No image has that name or id."""


class ImageInUse(Conflict, ImageError):
    """The image may not be removed as it is."""
