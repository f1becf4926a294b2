"""The error types of this room."""

from __future__ import annotations

from kernel.errors import Conflict, NotFound, PyctrError


class VolumeError(PyctrError):
    """A volume or a request for one that cannot be used."""


class VolumeNotFound(NotFound, VolumeError):
    """No volume has that name."""


class VolumeInUse(Conflict, VolumeError):
    """Containers, running or stopped, use the volume."""
