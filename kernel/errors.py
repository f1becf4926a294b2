"""What a person is told when something fails: what, why, and what to do.

Each room has one subclass; `cli` renders all of them in one place. ``exit_code`` follows Docker's
convention: 125 pyctr failed, 126 the command cannot be executed, 127 it was not found, 1 for
a refused request about an existing object.
"""

from __future__ import annotations


class PyctrError(Exception):
    """An expected failure.

    ``what`` failed (a sentence without a full stop), ``why`` it failed, a ``hint`` what to do,
    the ``path`` it was about, the kernel's ``errno`` (0 if none) and the command's exit code.
    """

    exit_code = 125

    def __init__(
        self,
        what: str,
        why: str = "",
        hint: str = "",
        path: str = "",
        errno: int = 0,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(what, why, hint, path, errno)
        self.what = what
        self.why = why
        self.hint = hint
        self.path = path
        self.errno = errno
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.what}: {self.why}" if self.why else self.what


class NotFound(PyctrError):
    """No object has that name or id."""

    exit_code = 1


class Conflict(PyctrError):
    """The request is well-formed, but the state of the object forbids it."""

    exit_code = 1


def printable(text: str, kept: str = "") -> str:
    """``text`` for a terminal, or for one line of a script: an image says what its paths are.

    What does not print, line ends and escape sequences above all, is written as Python does; but
    not the characters of ``kept``.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in text)
