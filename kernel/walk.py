"""Walking a tree of files that somebody may be changing: on descriptors, never through a link.

A name is opened once, with O_PATH and O_NOFOLLOW, and what was opened decides: a file that is
swapped for a link, a pipe or a device between a look and an open is not opened in its place
(CVE-2023-0778). The walk keeps one descriptor for each level of folders and resolves no path
twice, so a tree may be deeper than any path can say; the process's limit of descriptors is raised
where a tree needs more.
"""

from __future__ import annotations

import errno
import os
import stat

from kernel.paths import is_kernel_filesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_READABLE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_MANY = 100  # levels of folders: from here on a soft limit of 256 or 1024 descriptors may be near


class Visit:
    """One file or folder of a walk.

    ``path`` is relative to the walk's beginning. ``fd`` belongs to the walk: readable for a folder,
    O_PATH for anything else, if the walk is not asked for more or less (-1: not opened). A folder
    comes twice, the second time with ``leaving``, when all in it has been visited; ``skip`` set in
    between leaves its content out, and then it does not come again.
    """

    __slots__ = ("fd", "info", "leaving", "name", "path", "skip")

    def __init__(self, name: str, path: str, fd: int, info: os.stat_result) -> None:
        self.name = name
        self.path = path
        self.fd = fd
        self.info = info
        self.leaving = False
        self.skip = False

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, as it was opened."""
        return stat.S_ISDIR(self.info.st_mode)


def walk(
    folder_fd: int, *, files: bool = True, kernel: bool = True, readable: bool = False
) -> Iterator[Visit]:
    """Everything below a folder, parents first, in the order of names; what vanishes is left out.

    Without ``files`` only folders are opened. With ``readable`` regular files are opened for
    reading, which is faster than doing so later: only where nobody puts devices in their place
    meanwhile, for opening one acts. Without ``kernel`` the walk does not enter file
    systems that the kernel makes up (proc, sysfs, ...): such a folder is visited as if it were
    empty, and a single file of one not at all. OSError.
    """
    top = Visit("", "", folder_fd, os.fstat(folder_fd))
    list_folder = _entries_of if readable else _listed
    levels = [(top, iter(list_folder(folder_fd)))]
    try:
        while levels:
            above, names = levels[-1]
            name, regular = next(names, ("", False))
            if not name:
                levels.pop()
                if above is not top:
                    try:
                        above.leaving = True
                        yield above
                    finally:
                        os.close(above.fd)
                continue
            one = _visit(above, name, files, regular)
            if one is None:
                continue
            try:
                strange = one.fd >= 0 and one.info.st_dev != top.info.st_dev
                made_up = strange and not kernel and is_kernel_filesystem(one.fd)
                if made_up and not one.is_folder:
                    continue
                yield one
                if one.is_folder and not one.skip:
                    if len(levels) == _MANY:
                        _more_descriptors()
                    levels.append((one, iter([] if made_up else list_folder(one.fd))))
            finally:
                if levels[-1][0] is not one and one.fd >= 0:
                    os.close(one.fd)
    finally:
        for above, _ in levels[1:]:
            os.close(above.fd)


def names_of(folder: int) -> list[str]:
    """What a folder holds, sorted; nothing if it was removed meanwhile."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _listed(folder: int) -> list[tuple[str, bool]]:
    return [(name, False) for name in names_of(folder)]


def _entries_of(folder: int) -> list[tuple[str, bool]]:
    """What a folder holds, sorted, and of each whether it is said to be a regular file."""
    try:
        with os.scandir(folder) as entries:
            return sorted((one.name, one.is_file(follow_symlinks=False)) for one in entries)
    except FileNotFoundError:
        return []


def _visit(above: Visit, name: str, files: bool, regular: bool) -> Visit | None:
    """Opens one name of a folder; None if it is gone, or changed while it was opened."""
    path = f"{above.path}/{name}" if above.path else name
    try:
        return _opened(above.fd, name, path, files, regular)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _opened(parent: int, name: str, path: str, files: bool, regular: bool) -> Visit:
    if not files:
        info = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISDIR(info.st_mode):
            return Visit(name, path, -1, info)
        fd = os.open(name, _FOLDER, dir_fd=parent)
        return Visit(name, path, fd, os.fstat(fd))
    fd = os.open(name, _READABLE if regular else os.O_PATH | os.O_NOFOLLOW, dir_fd=parent)
    info = os.fstat(fd)
    if stat.S_ISDIR(info.st_mode):
        try:
            readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = readable
    return Visit(name, path, fd, info)


def _more_descriptors() -> None:
    """Raises the soft limit of open files to the hard one."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def reopen(fd: int, flags: int = os.O_RDONLY) -> int:
    """The very file of an O_PATH descriptor, opened for reading or writing.

    Only for what is known to be a regular file or a folder: opening a device or a pipe acts.
    """
    return os.open(f"/proc/self/fd/{fd}", flags | os.O_NOCTTY | os.O_CLOEXEC)
