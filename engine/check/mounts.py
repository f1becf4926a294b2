"""The mount API and overlayfs: detached mounts, their attributes, unions with each option.

Source: fsopen(2), open_tree(2), mount_setattr(2), openat2(2); overlayfs.rst of the kernel.
"""

from __future__ import annotations

import errno
import os

from engine.check.child import Refused, in_child
from engine.check.probe import Place, Probe
from kernel import mounts, namespaces, paths
from overlay import union
from overlay.union import Union

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_OVERLAY = "no containers: load the module (modprobe overlay), or choose a root folder (--root) on"
_OVERLAY += " ext4, xfs or btrfs"


def probes(_place: Place) -> tuple[Probe, ...]:
    """System calls first, then what is made of them."""
    return (
        Probe("fsopen", lambda _place: in_child(_new_tmpfs),
              "no containers: it needs Linux 5.2", True),
        Probe("open_tree", lambda _place: in_child(_cloned),
              "no volumes: detached bind mounts need Linux 5.2", True),
        Probe("mount_setattr", lambda _place: in_child(_read_only),
              "no read-only mounts: it needs Linux 5.12", True),
        Probe("openat2", lambda _place: _resolved(),
              "no containers: paths are resolved safely since Linux 5.6", True),
        Probe("idmapped mounts", _idmapped,
              "not needed yet: the root folder's file system cannot show other owners"),
        Probe("overlay", lambda place: _overlay(place, legacy=False), _OVERLAY, True),
        Probe("overlay by mount(2)", lambda place: _overlay(place, legacy=True),
              "older kernels than 6.5 need it", lesser=True),
        Probe("overlay lowerdir+", _detached,
              "unions are mounted by mount(2), in one string of options: Linux 6.5 has the other",
              lesser=True),
        Probe("overlay redirect_dir", _option("redirect_dir", "on"),
              "not needed: pyctr copies a renamed folder", lesser=True),
        Probe("overlay metacopy", _option("metacopy", "on"),
              "not needed: pyctr copies whole files", lesser=True),
        Probe("overlay userxattr", _option("userxattr", ""),
              "not needed yet: unions in user namespaces need it", lesser=True),
    )  # fmt: skip


def _new_tmpfs() -> str:
    context = mounts.fsopen("tmpfs")
    mounts.fsconfig_create(context)
    mounts.fsmount(context)
    return ""


def _cloned() -> str:
    """A detached copy of a mount, placed over the mount itself, for this child only."""
    _private()
    fd = mounts.open_tree(mounts.AT_FDCWD, "/proc", mounts.OPEN_TREE_CLONE)
    mounts.move_mount_at(fd, "/proc")
    return ""


def _read_only() -> str:
    fd = mounts.open_tree(mounts.AT_FDCWD, "/", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
    mounts.mount_setattr(
        fd,
        flags=mounts.AT_EMPTY_PATH | mounts.AT_RECURSIVE,
        attr_set=mounts.MOUNT_ATTR_RDONLY,
    )
    return "recursive"


def _resolved() -> str:
    root = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    try:
        os.close(paths.open_in_root(root, "../../sys"))
    finally:
        os.close(root)
    return ""


def _idmapped(place: Place) -> str:
    """An id-mapped view of the root folder's file system, detached: nobody ever sees it."""

    def map_it() -> str:
        ids = _user_namespace()
        fd = mounts.open_tree(mounts.AT_FDCWD, place.base, mounts.OPEN_TREE_CLONE)
        mounts.mount_setattr(fd, attr_set=mounts.MOUNT_ATTR_IDMAP, userns_fd=ids)
        return ""

    return in_child(map_it)


def _user_namespace() -> int:
    """A descriptor of a user namespace with a range of ids; its process ends with the caller."""
    ready, says = os.pipe()
    wait, ends = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ends)
        try:
            namespaces.unshare(namespaces.CLONE_NEWUSER)
            os.write(says, b"+")
            os.read(wait, 1)
        finally:
            os._exit(0)
    os.close(says)
    if not os.read(ready, 1):
        raise Refused("there are no user namespaces")
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write("0 100000 65536")
    fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    os.close(ends)
    os.waitpid(pid, 0)
    return fd


# -- overlayfs -----------------------------------------------------------------------------


def _stack(place: Place, name: str) -> tuple[Union, str]:
    """A small union in a folder of its own, not mounted yet, and a mount point for it."""
    folder = place.folder(name)
    for own in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{folder}/{own}")
    with open(f"{folder}/lower/file", "w") as file:
        file.write("lower")
    os.mkdir(f"{folder}/lower/sub")
    return Union((f"{folder}/lower",), f"{folder}/upper", f"{folder}/work"), f"{folder}/merged"


def _private() -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)


def _overlay(place: Place, *, legacy: bool) -> str:
    """A union as containers have it: copying up, hiding, and files that are whole above."""
    stack, merged = _stack(place, "overlay-legacy" if legacy else "overlay")

    def use() -> str:
        _private()
        union.attach(stack, merged, legacy=legacy)
        with open(f"{merged}/file", "a") as file:
            file.write(" and more")
        os.rmdir(f"{merged}/sub")
        with open(f"{stack.upper}/file") as file:
            if file.read() != "lower and more":
                raise Refused("a changed file is not whole in the upper folder")
        if os.stat(f"{stack.upper}/sub").st_rdev:
            raise Refused("a removed folder leaves no whiteout")
        return ""

    return in_child(use)


def _detached(place: Place) -> str:
    stack, _ = _stack(place, "overlay-detached")

    def mount() -> str:
        _private()
        try:
            union.mount_detached(stack)
        except OSError as error:
            if error.errno == errno.ENOSYS:
                raise Refused("this kernel lacks it") from None
            raise
        return ""

    return in_child(mount)


def _option(key: str, value: str) -> Callable[[Place], str]:
    """A probe that mounts a union with one more option."""

    def run(place: Place) -> str:
        _, merged = _stack(place, f"overlay-{key}")
        word = f"{key}={value}" if value else key

        def mount() -> str:
            _private()
            os.chdir(os.path.dirname(merged))
            data = f"lowerdir=lower,upperdir=upper,workdir=work,{word}"
            mounts.mount("pyctr", "merged", "overlay", 0, data)
            return ""

        return in_child(mount)

    return run
