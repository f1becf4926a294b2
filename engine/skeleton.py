"""The places where every container has something mounted, made once for each image.

/proc, /sys, /dev and the three files of /etc need a place in the root file system. Made in each
container's writable layer they would show in its diff and be in every commit; so they are a layer
of their own between the image and the container, made when an image is first used:

    skeletons/<image id>/     a lowerdir, on top of the image's layers
    skeletons/.new-...        one being made
    skeletons/.gone-...       one whose image is gone, being removed

It is made through a union with the image, so that a folder keeps the image's owner and mode. Most
starts find it made: what makes it is imported where it works.
"""

from __future__ import annotations

import os

from kernel import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.home import Home
    from images.store import Image

_made = trace.point("engine.skeleton.made")
_renamed = trace.point("engine.skeleton.renamed")
_set_aside = trace.point("engine.skeleton.set_aside")

_FOLDERS = ("/proc", "/sys", "/dev", "/etc")
_FILES = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")


def lower(home: Home, image: Image) -> tuple[str, ...]:
    """The lowerdirs of a container of an image, the topmost first."""
    folder = f"{home.root}/skeletons/{image.id}"
    layers = home.images.lower(image.config)
    if not os.path.isdir(folder):
        _make(home, image, folder, layers)
    return (folder, *layers)


def _make(home: Home, image: Image, folder: str, layers: tuple[str, ...]) -> None:
    from kernel import tree

    os.makedirs(f"{home.root}/skeletons", mode=0o711, exist_ok=True)
    staging = f"{home.root}/skeletons/.new-{image.id[:12]}-{os.getpid()}"
    tree.remove_tree(staging)
    try:
        made = over(layers, staging, ())
        _made()
        os.rename(made, folder)
        _renamed()
    except OSError:
        if not os.path.isdir(folder):  # otherwise another command was faster
            raise
    finally:
        tree.remove_tree(staging)


def over(layers: tuple[str, ...], staging: str, more: Iterable[tuple[str, bool]]) -> str:
    """Makes such a layer on top of ``layers`` in the folder ``staging``; returns where it is.

    ``more`` are further places, and whether each is a folder.
    """
    from kernel.paths import make_in_root
    from overlay import view
    from overlay.union import Union

    os.mkdir(staging, 0o700)
    for name in ("upper", "work", "root"):
        os.mkdir(f"{staging}/{name}", 0o755)
    view.like_root_of(layers[0], f"{staging}/upper")
    union = Union(layers, f"{staging}/upper", f"{staging}/work")
    places = [*((path, True) for path in _FOLDERS), *((path, False) for path in _FILES), *more]

    def make(root: int) -> None:
        for path, is_folder in places:
            os.close(make_in_root(root, path, directory=is_folder))

    view.change(union, f"{staging}/root", make)
    return f"{staging}/upper"


def sweep(home: Home, names: list[str]) -> None:
    """Removes those skeletons whose images are gone, and what a crash left half-made."""
    from kernel import process, tree

    folder = f"{home.root}/skeletons"
    for name in names:
        if name.startswith("."):  # being made, or being removed
            if not process.is_anybody(name.rpartition("-")[2]):
                tree.remove_tree(f"{folder}/{name}")
            continue
        moved = f"{folder}/.gone-{name}-{os.getpid()}"
        with home.db:  # nobody adds the image again meanwhile
            home.db.execute("BEGIN IMMEDIATE")
            query = "SELECT 1 FROM images WHERE id = ?"
            if home.db.execute(query, (name,)).fetchone() or not os.path.isdir(f"{folder}/{name}"):
                continue
            os.rename(f"{folder}/{name}", moved)
        _set_aside()
        tree.remove_tree(moved)
