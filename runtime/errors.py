"""The one error type of this room."""

from __future__ import annotations

from kernel.errors import PyctrError


class RuntimeFailure(PyctrError):
    """A container's process could not be made.

    ``exit_code`` is 125 for our failures, 126 if the program cannot be executed, 127 if it is
    not there. ``step`` names the step of the plan ("step 14 of 22, mount proc").
    """
