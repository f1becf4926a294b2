"""The error types of this room."""

from __future__ import annotations

from kernel.errors import Conflict, NotFound, PyctrError


class EngineError(PyctrError):
    """A container could not be made, started or changed."""


class ContainerNotFound(NotFound, EngineError):
    """No container has that name or id."""


class ContainerConflict(Conflict, EngineError):
    """The container's state forbids what was asked."""
