"""What is wrong with volumes: folders against rows, and what a crash has left of either.

The data of a volume is never removed here. A folder that stands where ``_data`` should be, but is
none, is set aside beside it.
"""

from __future__ import annotations

import os

from kernel import paths, process, tree
from kernel.finding import Finding, wrong_mode
from kernel.locks import Lock
from volumes.requests import is_name
from volumes.store import is_folder, leaving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from volumes.store import Store, Volume


def check(store: Store) -> Iterator[Finding]:
    """All findings about the volumes of a store."""
    yield from wrong_mode("the folder of volumes", store.root, 0o711)
    yield from wrong_mode("the trash of volumes", f"{store.root}/.trash", 0o700)
    names = _names(store.root)
    known = {volume.name for volume in store.rows()}
    for name in sorted(filter(is_name, set(names) - known)):
        yield from _stranger(store, name)
    for volume in store.rows():
        yield from _volume(store, volume)
    yield from _leftovers(store.root, [name for name in names if name.startswith(".new-")])
    trash = f"{store.root}/.trash"
    yield from _leftovers(trash, [name for name in _names(trash) if name.startswith(".gone-")])


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _stranger(store: Store, name: str) -> Iterator[Finding]:
    """A folder without a row."""
    folder = store.folder(name)
    if leaving(folder):
        what, remedy = "its removal was interrupted", "finish the removal"
    elif is_folder(store.data(name)):
        what, remedy = "the database does not know it", "adopt it"
    else:
        yield Finding(f"volume {name}", "it is no volume: it has no _data", folder,
                      "look what it is and move it away")  # fmt: skip
        return
    yield Finding(f"volume {name}", what, folder, remedy, lambda: store.adopt(name, empty=True))


def _volume(store: Store, volume: Volume) -> Iterator[Finding]:
    """A row, with the folder that it promises."""
    about, folder, data = (
        f"volume {volume.name}",
        store.folder(volume.name),
        store.data(volume.name),
    )
    yield from wrong_mode(about, folder, 0o711)
    if not is_folder(data):
        what, remedy = "its data is gone", "make it anew, empty"
        if os.path.lexists(data):
            what = "its _data is no folder"
            remedy = "set that aside as _data.strange, and make an empty folder"
        yield Finding(about, what, data, remedy, lambda: _remake(store, volume))
        return
    if store.described(volume.name) != volume:
        yield Finding(about, "volume.json does not say what the database knows",
                      f"{folder}/volume.json", "write it again",
                      lambda: store.describe(volume))  # fmt: skip


def _leftovers(folder: str, names: list[str]) -> Iterator[Finding]:
    """What was being made or removed by a process that is gone."""
    for name in names:
        if process.is_anybody(name.rpartition("-")[2]):
            continue
        path = f"{folder}/{name}"
        yield Finding("volumes", "a command that was killed left this", path, "remove it",
                      lambda path=path: tree.remove_tree(path))  # type: ignore[misc]  # fmt: skip


def _remake(store: Store, volume: Volume) -> None:
    """Gives a volume whose row is all that is left an empty folder.

    What stands in the place of its ``_data`` and is no folder is set aside.
    """
    folder, data = store.folder(volume.name), store.data(volume.name)
    os.makedirs(folder, mode=0o711, exist_ok=True)
    with Lock(f"{folder}/lock"):
        if os.path.lexists(data):
            aside = f"{folder}/_data.strange"
            paths.renameat2(paths.AT_FDCWD, data, paths.AT_FDCWD, aside, paths.RENAME_NOREPLACE)
        os.mkdir(data, 0o755)
        os.chmod(data, 0o755)
        store.describe(volume)
