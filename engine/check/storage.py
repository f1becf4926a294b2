"""Where pyctr keeps things: the file systems of the root folder and of the run folder.

Files that are tried have no name (O_TMPFILE), so nothing is left of them whatever happens.
"""

from __future__ import annotations

import os

from engine.check.probe import Limited, Place, Probe
from kernel import copying, paths, units
from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SCARCE = 1 << 30  # bytes
_SHARE = 50  # one part in so many is little
_FEW = 10_000  # inodes


def probes(_place: Place) -> tuple[Probe, ...]:
    """File systems, space, and what files can do there."""
    return (
        Probe("root folder", _root_folder, "choose another one: --root or config.toml", True),
        Probe("space", _space, "make room: pyctr container prune, pyctr volume prune"),
        Probe("run folder", _run_folder,
              "mount a tmpfs on /run: pyctr knows a reboot by an empty run folder"),
        Probe("extended attributes", _with_file(_attributes),
              "no containers: overlayfs keeps its marks in trusted.* attributes", True),
        Probe("rename without replacing", _renamed,
              "no volumes: choose a root folder on ext4, xfs or btrfs", True),
        Probe("reflinks", _with_file(_reflink),
              "the first content of volumes is copied byte by byte; xfs and btrfs share blocks",
              lesser=True),
    )  # fmt: skip


def _root_folder(place: Place) -> str:
    there = "" if os.path.isdir(place.home.root) else ", made when it is first needed"
    if not os.access(place.base, os.W_OK):
        raise PermissionError(13, f"{place.base} cannot be written to")
    return f"{place.home.root} on {_file_system(place.base)}{there}"


def _space(place: Place) -> str:
    found = os.statvfs(place.base)
    free, size = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    said = f"{units.show_bytes(free)} of {units.show_bytes(size)} free"
    if free < min(_SCARCE, size // _SHARE):
        raise Limited(said)
    if found.f_files and found.f_favail < _FEW:
        raise Limited(f"{said}, but only {found.f_favail} inodes")
    return said


def _run_folder(place: Place) -> str:
    folder = place.home.run
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        is_tmpfs = paths.fs_magic(fd) == paths.TMPFS_MAGIC
    finally:
        os.close(fd)
    said = f"{place.home.run} on {_file_system(folder)}"
    if not is_tmpfs:
        raise Limited(f"{said}: it is not empty after a reboot")
    return said


def _file_system(path: str) -> str:
    """The type of the file system that holds a path, as the mount table calls it."""
    path = os.path.realpath(path)
    best, kind = "", ""
    with open("/proc/self/mountinfo") as table:
        for line in table:
            left, _, right = line.partition(" - ")
            point = cgroups.unescape(left.split()[4])
            below = path == point or path.startswith(f"{point.rstrip('/')}/")
            if below and len(point) >= len(best):  # of two on one place the later one counts
                best, kind = point, right.split()[0]
    return kind


def _with_file(action: Callable[[int, Place], str]) -> Callable[[Place], str]:
    """A probe on a file without a name in the root folder's file system."""

    def run(place: Place) -> str:
        fd = _nameless(place)
        try:
            return action(fd, place)
        finally:
            os.close(fd)

    return run


def _nameless(place: Place) -> int:
    return os.open(place.base, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)


def _attributes(fd: int, _place: Place) -> str:
    path = f"/proc/self/fd/{fd}"
    for name in ("trusted.pyctr", "user.pyctr"):
        os.setxattr(path, name, b"x")
    return "trusted and user"


def _reflink(fd: int, place: Place) -> str:
    os.write(fd, bytes(4096))
    other = _nameless(place)
    try:
        copying.clone(fd, other)
    finally:
        os.close(other)
    return ""


def _renamed(place: Place) -> str:
    folder = place.folder("rename")
    os.mkdir(f"{folder}/a")
    paths.renameat2(
        paths.AT_FDCWD, f"{folder}/a", paths.AT_FDCWD, f"{folder}/b", paths.RENAME_NOREPLACE
    )
    return ""
