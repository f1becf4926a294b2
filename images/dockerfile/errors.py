"""The error of this package."""

from __future__ import annotations

from images.errors import ImageError


class DockerfileError(ImageError):
    """A Dockerfile that cannot be understood; it names file and line."""

    exit_code = 1


def at(file: str, number: int, why: str, hint: str = "") -> DockerfileError:
    """The error about one line."""
    return DockerfileError(f"{file}:{number}", why, hint)
