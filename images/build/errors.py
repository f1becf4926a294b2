"""The error of a build, and how it tells what the kernel refused."""

from __future__ import annotations

import errno

from images.errors import ImageError

_WORDS = {
    errno.ELOOP: "it leads through too many links",
    errno.ENOENT: "no such file or folder",
    errno.ENOTDIR: "a file or a link is where a folder must be",
}


class BuildError(ImageError):
    """An image that cannot be built."""

    exit_code = 1


def refused(what: str, error: OSError) -> BuildError:
    """The error about ``what`` failed because of a system call."""
    number = error.errno or 0
    path = error.filename if isinstance(error.filename, str) else ""
    why = _WORDS.get(number) or (error.strerror or str(error)).rpartition(": ")[2]
    at = f" ({path})" if path else ""
    return BuildError(what, why[:1].lower() + why[1:] + at, path=path, errno=number)


class StepFailed(BuildError):
    """An instruction that failed; ``output`` is the end of what its command wrote."""

    def __init__(self, what: str, why: str, hint: str = "", output: tuple[str, ...] = ()) -> None:
        super().__init__(what, why, hint)
        self.output = output
