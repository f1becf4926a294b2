"""The error of a build."""

from __future__ import annotations

from images.errors import ImageError


class BuildError(ImageError):
    """An image that cannot be built."""

    exit_code = 1
