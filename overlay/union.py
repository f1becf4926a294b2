"""Mounting a stack of layers with overlayfs.

Two ways, chosen by the kernel's age. Since Linux 6.5 each layer is its own ``lowerdir+``
parameter of a file system context, and the result is a *detached* mount: a descriptor that stands
in no mount table until somebody places it. Before, mount(2) takes all layers in one string of at
most a page; there each layer is named by the number of an open descriptor, relative to
/proc/self/fd, so that hundreds fit, and no character of a path needs escaping.

Options are chosen on purpose: ``metacopy=off`` (a layer's file is whole, so a commit may read it
alone), ``redirect_dir=nofollow`` (a renamed folder is copied, never a pointer that only this
kernel understands, and pointers planted in a layer are not followed), ``index=off`` (a layer may
be the lower of many unions at once).

Source: Documentation/filesystems/overlayfs.rst, fsopen(2), mount(2).
"""

from __future__ import annotations

import errno
import os

from kernel import mounts, tree
from kernel.record import Record

_OPTIONS = (("metacopy", "off"), ("redirect_dir", "nofollow"), ("index", "off"))
_FSCONFIG_STRING_MAX = 255
_KNOWS_LOWERDIR_PLUS = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (6, 5)
_FOLDER = os.O_PATH | os.O_DIRECTORY


class Union(Record):
    """A stack: ``lower`` folders, the topmost first, and a writable ``upper`` with its ``work``.

    Paths are absolute. Without ``upper`` the union is read-only. ``lower`` is never empty. What is
    written into a ``volatile`` one does not wait for the disk, whatever programs ask for, nor does
    its unmount: after a crash of the host the upperdir is worth nothing. The work folder can then
    not be used again before :func:`reuse`.
    """

    lower: tuple[str, ...]
    upper: str = ""
    work: str = ""
    volatile: bool = False


def mount_detached(union: Union) -> int:
    """A descriptor of the union as a detached mount.

    OSError(ENOSYS) where the kernel lacks ``lowerdir+``: use :func:`mount_at`.
    """
    if not union.upper and len(union.lower) == 1:  # overlayfs wants two layers or an upper
        return mounts.open_tree(mounts.AT_FDCWD, union.lower[0], mounts.OPEN_TREE_CLONE)
    if not _KNOWS_LOWERDIR_PLUS:  # asking would leave a line in the kernel's log each time
        raise OSError(errno.ENOSYS, "overlayfs takes lowerdir+ since Linux 6.5")
    context = mounts.fsopen("overlay")
    try:
        for layer in union.lower:
            _set_folder(context, "lowerdir+", layer)
        if union.upper:
            _set_folder(context, "upperdir", union.upper)
            _set_folder(context, "workdir", union.work)
        for key, value in _OPTIONS:
            mounts.fsconfig_string(context, key, value)
        if union.volatile:
            mounts.fsconfig_flag(context, "volatile")
        mounts.fsconfig_string(context, "source", "pyctr")
        mounts.fsconfig_create(context)
        return mounts.fsmount(context)
    finally:
        os.close(context)


def mount_at(union: Union, target: str) -> None:
    """Mounts the union on the folder ``target`` of the caller's mount namespace by mount(2)."""
    if not union.upper and len(union.lower) == 1:
        mounts.mount(union.lower[0], target, None, mounts.MS_BIND)
        return
    before = os.open(".", _FOLDER)
    opened: list[int] = []
    try:
        for folder in (*union.lower, *filter(None, (union.upper, union.work))):
            opened.append(os.open(folder, _FOLDER))
        layers = opened[: len(union.lower)]
        options = [f"lowerdir={':'.join(map(str, layers))}"]
        if union.upper:
            options += [f"upperdir={opened[-2]}", f"workdir={opened[-1]}"]
        options += [f"{key}={value}" for key, value in _OPTIONS]
        options += ["volatile"] if union.volatile else []
        os.chdir("/proc/self/fd")
        mounts.mount("pyctr", target, "overlay", 0, ",".join(options))
    finally:
        os.fchdir(before)
        for fd in (*opened, before):
            os.close(fd)


def attach(union: Union, target: str, *, legacy: bool = False) -> None:
    """Mounts the union on ``target``, detached first where the kernel can, by mount(2) elsewhere.

    ``legacy`` forces mount(2), which tests need on a new kernel.
    """
    if not legacy:
        try:
            fd = mount_detached(union)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
        else:
            mounts.move_mount_at(fd, target)
            os.close(fd)
            return
    mount_at(union, target)


def reuse(work: str) -> None:
    """Lets a work folder be mounted again that was part of a volatile union.

    For a caller who knows that the host has not crashed since, or that nothing is lost by it
    (overlayfs.rst, "Volatile mount").
    """
    tree.remove_tree(f"{work}/work/incompat/volatile")


def describe(union: Union) -> str:
    """The calls of :func:`mount_detached` in one line, layers counted."""
    call = f'fsopen("overlay") + {len(union.lower)} x fsconfig(lowerdir+)'
    if union.upper:
        call += f", upperdir={union.upper}" + (", volatile" if union.volatile else "")
    return call + " + fsmount()"


def shell(union: Union, target: str) -> str:
    """A mount(8) command that makes the same union on ``target``."""
    if not union.upper and len(union.lower) == 1:
        return f"mount --bind {_quote(union.lower[0])} {_quote(target)}"
    options = ["lowerdir=" + ":".join(_escape(layer) for layer in union.lower)]
    if union.upper:
        options += [f"upperdir={_escape(union.upper)}", f"workdir={_escape(union.work)}"]
    options += [f"{key}={value}" for key, value in _OPTIONS]
    options += ["volatile"] if union.volatile else []
    return f"mount -t overlay -o {_quote(','.join(options))} pyctr {_quote(target)}"


def _set_folder(context: int, key: str, folder: str) -> None:
    if len(os.fsencode(folder)) <= _FSCONFIG_STRING_MAX:
        mounts.fsconfig_string(context, key, folder)
        return
    fd = os.open(folder, _FOLDER)
    try:  # a path that is too long for the call is named by its descriptor instead
        mounts.fsconfig_string(context, key, f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def _escape(path: str) -> str:
    """Backslash before what overlayfs' option parser would take for itself."""
    return "".join(f"\\{char}" if char in "\\:," else char for char in path)


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\"'\"'") + "'"
