"""--cidfile: the id of a container in a file, for scripts.

The file is made before the container and must not be there, so that a script never takes the id
of an older container for a new one. It is removed again if no container is made.
"""

from __future__ import annotations

import os

from cli.errors import UsageError


class CidFile:
    """The file at ``path``, made now; as a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise UsageError(
                f"the file {path} exists already",
                "another container may have written it",
                "remove it first",
            ) from None

    def __enter__(self) -> CidFile:
        return self

    def write(self, container_id: str) -> None:
        """The whole of its content."""
        os.write(self._fd, container_id.encode())

    def __exit__(self, kind: object, *_exc: object) -> None:
        os.close(self._fd)
        if kind is not None:
            os.unlink(self._path)
