"""A file of the host that is there whole, or not at all: the output of `export -o` and its like."""

from __future__ import annotations

import errno
import os

from cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO


class WholeFile:
    """A context manager that yields a file to write, readable for its owner alone.

    It has no name until all is written (O_TMPFILE), so that a failure or a kill leaves what was
    there before. A device or a pipe is written as it is. UsageError if it cannot be made.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = -1
        self._temporary = f".{os.path.basename(path)}.{os.getpid()}.tmp"
        self._named = False
        self._file: IO[bytes] | None = None

    def __enter__(self) -> IO[bytes]:
        try:
            self._file = os.fdopen(self._open(), "wb", 1 << 18)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot write {self._path}", why, exit_code=1) from None
        return self._file

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CLOEXEC
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            return os.open(self._path, flags)
        folder = os.path.dirname(os.path.realpath(self._path))
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return os.open(".", flags | os.O_TMPFILE, 0o600, dir_fd=self._folder)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                raise
        fd = os.open(self._temporary, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._folder)
        self._named = True
        return fd

    def __exit__(self, kind: object, *_exc: object) -> None:
        assert self._file is not None
        try:
            if kind is None:
                self._file.flush()
                self._name(self._file.fileno())
        finally:
            if self._named:
                os.unlink(self._temporary, dir_fd=self._folder)
            try:
                self._file.close()
            finally:
                if self._folder >= 0:
                    os.close(self._folder)

    def _name(self, fd: int) -> None:
        if self._folder < 0:
            return
        if not self._named:  # with a folder's descriptor Python calls linkat(2), AT_SYMLINK_FOLLOW
            os.link(f"/proc/self/fd/{fd}", self._temporary, dst_dir_fd=self._folder)
            self._named = True
        own = os.path.basename(os.path.realpath(self._path))
        os.rename(self._temporary, own, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._named = False
