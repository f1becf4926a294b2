"""What `diff` tells is what a comparison of the two whole trees finds."""

from __future__ import annotations

import json
import os
import shutil
import stat

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel import mounts, namespaces
from kernel.tree import remove_tree
from overlay.changes import changes
from overlay.union import Union, attach

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

Tree = dict[str, os.stat_result]


def below(home_dir: str) -> None:
    """The image: a few files and folders with everything that can be changed."""
    for name in ("below/a/b/c", "below/e", "upper", "work", "at"):
        os.makedirs(f"{home_dir}/{name}")
    for name in ("f", "a/f", "a/b/f", "a/b/c/f", "e/f", "e/g"):
        with open(f"{home_dir}/below/{name}", "w") as file:
            file.write(name)
    os.symlink("a", f"{home_dir}/below/l")
    os.utime(f"{home_dir}/below/f", (1000, 1000))


def change(home_dir: str, action: Callable[[], None]) -> list[str]:
    """Does something in the union; what `diff` tells, after a look at the naive comparison."""
    pid = os.fork()
    if pid == 0:
        try:
            namespaces.unshare(namespaces.CLONE_NEWNS)
            mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            union = Union((f"{home_dir}/below",), f"{home_dir}/upper", f"{home_dir}/work")
            attach(union, f"{home_dir}/at")
            os.chdir(f"{home_dir}/at")
            action()
            expected = compared(tree(f"{home_dir}/below"), tree(f"{home_dir}/at"))
            with open(f"{home_dir}/expected", "w") as file:
                json.dump(expected, file)
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    upper = os.open(f"{home_dir}/upper", os.O_RDONLY)
    lower = os.open(f"{home_dir}/below", os.O_RDONLY)
    try:
        told = [f"{one.kind} {one.path}" for one in changes(upper, lower)]
    finally:
        os.close(upper)
        os.close(lower)
    with open(f"{home_dir}/expected") as file:
        assert sorted(told) == sorted(json.load(file))
    paths = [line[2:] for line in told]
    for path in paths:
        parent = os.path.dirname(path)
        assert parent == "/" or paths.index(parent) < paths.index(path), "parents come first"
    return told


def tree(top: str) -> Tree:
    found: Tree = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = f"{folder}/{name}"
            found[path.removeprefix(top)] = os.lstat(path)
    return found


def compared(old: Tree, new: Tree) -> list[str]:
    """Docker's comparison of two trees: a deleted folder is told alone, a changed one with all."""
    told = {path: "A" for path in new if path not in old}
    told |= {path: "C" for path in new if path in old and seen(old[path]) != seen(new[path])}
    told |= {path: "D" for path in old if path not in new and parent_stays(path, new)}
    for path in list(told):
        while (path := os.path.dirname(path)) != "/":
            told.setdefault(path, "C")
    return [f"{kind} {path}" for path, kind in told.items()]


def parent_stays(path: str, new: Tree) -> bool:
    return os.path.dirname(path) == "/" or os.path.dirname(path) in new


def seen(info: os.stat_result) -> tuple[int, ...]:
    own = (info.st_mode, info.st_uid, info.st_gid)
    return own if stat.S_ISDIR(info.st_mode) else (*own, info.st_size, info.st_mtime_ns)


def test_only_what_a_person_changed_is_told(home_dir: str) -> None:
    below(home_dir)

    def action() -> None:
        os.close(os.open("a/b/f", os.O_RDWR))  # copied up, and the same as before
        os.chmod("a/b/c/f", 0o600)
        os.chown("e/g", 5, 5)
        os.mkdir("e/new")
        os.rmdir("e/new")

    assert change(home_dir, action) == [
        "C /a",
        "C /a/b",
        "C /a/b/c",
        "C /a/b/c/f",
        "C /e",
        "C /e/g",
    ]


def test_a_folder_that_was_only_copied_up_is_no_change(home_dir: str) -> None:
    below(home_dir)

    def action() -> None:
        open("a/b/new", "w").close()
        os.unlink("a/b/new")
        os.close(os.open("f", os.O_RDWR))

    assert change(home_dir, action) == []


def test_a_renamed_folder_is_one_deleted_and_one_added(home_dir: str) -> None:
    below(home_dir)

    def action() -> None:
        shutil.move("a/b", "moved")

    assert change(home_dir, action) == [
        "C /a", "D /a/b", "A /moved", "A /moved/c", "A /moved/c/f", "A /moved/f",
    ]  # fmt: skip


def test_a_folder_made_anew_hides_all_that_it_held(home_dir: str) -> None:
    below(home_dir)

    def action() -> None:
        remove_tree("a")
        os.makedirs("a/b/c")
        open("a/b/c/other", "w").close()

    assert change(home_dir, action) == [
        "C /a", "D /a/f", "C /a/b", "D /a/b/f", "C /a/b/c", "D /a/b/c/f", "A /a/b/c/other",
    ]  # fmt: skip


def test_changes_of_kind_tell_what_went_and_what_came(home_dir: str) -> None:
    below(home_dir)

    def action() -> None:
        remove_tree("a")
        os.symlink("e", "a")
        os.unlink("f")
        os.mkdir("f")
        open("f/in", "w").close()
        os.unlink("l")
        os.mkfifo("l")

    assert change(home_dir, action) == ["C /a", "D /a/b", "D /a/f", "C /f", "A /f/in", "C /l"]


def test_a_change_of_mode_or_owner_alone_is_a_change(home_dir: str) -> None:
    below(home_dir)

    def action() -> None:
        os.chmod("e", 0o700)
        os.chmod("f", 0o4755)
        os.chown("l", 7, 7, follow_symlinks=False)

    assert change(home_dir, action) == ["C /e", "C /f", "C /l"]


def test_a_capability_alone_is_a_change(home_dir: str) -> None:
    below(home_dir)
    value = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
    pid = os.fork()
    if pid == 0:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        union = Union((f"{home_dir}/below",), f"{home_dir}/upper", f"{home_dir}/work")
        attach(union, f"{home_dir}/at")
        os.setxattr(f"{home_dir}/at/f", "security.capability", value)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    upper, lower = (os.open(f"{home_dir}/{name}", os.O_RDONLY) for name in ("upper", "below"))
    assert [one.path for one in changes(upper, lower)] == ["/f"]
    os.close(upper)
    os.close(lower)


PATHS = st.sampled_from(["a", "a/b", "a/b/c", "a/b/c/f", "a/f", "e", "e/f", "f", "l", "n", "e/n"])
OPERATIONS = st.tuples(
    st.sampled_from(["write", "folder", "remove", "move", "link", "chmod", "touch"]), PATHS, PATHS
)


def perform(kind: str, one: str, other: str) -> None:
    if kind == "write":
        with open(one, "a") as file:
            file.write("more")
    elif kind == "folder":
        os.mkdir(one)
    elif kind == "remove":
        shutil.rmtree(one) if os.path.isdir(one) and not os.path.islink(one) else os.unlink(one)
    elif kind == "move":
        shutil.move(one, other)
    elif kind == "link":
        os.symlink(other, one)
    elif kind == "chmod":
        os.chmod(one, 0o711)
    elif not os.path.isdir(one):
        os.close(os.open(one, os.O_RDWR))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(OPERATIONS, max_size=12))
def test_whatever_is_done_the_whole_trees_differ_in_what_is_told(
    home_dir: str, operations: list[tuple[str, str, str]]
) -> None:
    for name in os.listdir(home_dir):
        remove_tree(f"{home_dir}/{name}")
    below(home_dir)

    def action() -> None:
        for operation in operations:
            try:
                perform(*operation)
            except (OSError, shutil.Error):
                continue

    change(home_dir, action)
