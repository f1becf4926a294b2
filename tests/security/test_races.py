"""Paths that change while we look at them: an adversary swaps folders and files for links.

Each link leads to files of the host that may be neither seen nor changed (:mod:`adversary`). An
attempt counts only if names were swapped while it lasted, and of each kind some must succeed: a
program that refused everything would prove nothing.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile

import pytest

from images.build import context, select
from images.build.place import Place
from kernel import copying, paths, tree
from overlay import packing
from tests.security.adversary import HOST, Adversary, Canary
from volumes import populate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Pyctr


@pytest.fixture
def canary(home_dir: str) -> Iterator[Canary]:
    made = Canary(f"{home_dir}/canary")
    yield made
    made.check()


@pytest.fixture
def ground(home_dir: str, canary: Canary) -> str:
    """A folder in which folder and file can change places with links to the canary."""
    return arena(f"{home_dir}/ground", canary)


def arena(top: str, canary: Canary) -> str:
    """Makes such a folder: what belongs there says "inside"."""
    for folder in (top, f"{top}/folder", f"{top}/folder/sub"):
        os.makedirs(folder, exist_ok=True)
    for name in ("file", "folder/secret", "folder/sub/secret"):
        with open(f"{top}/{name}", "w") as file:
            file.write("inside")
    os.symlink(canary.folder, f"{top}/to-folder")
    os.symlink(f"{canary.folder}/secret", f"{top}/to-file")
    return top


PAIRS = ("folder", "to-folder", "file", "to-file")


def contents(top: str) -> set[bytes]:
    """What the regular files of a tree hold."""
    found = set()
    for folder, _, names in os.walk(top):
        for name in names:
            if stat.S_ISREG(os.lstat(f"{folder}/{name}").st_mode):
                with open(f"{folder}/{name}", "rb") as file:
                    found.add(file.read())
    return found


def test_who_walks_paths_would_be_caught(ground: str) -> None:
    """Otherwise this file would prove nothing."""
    seen: set[bytes] = set()

    def attempt() -> None:
        for name in ("folder/secret", "file"):
            with open(f"{ground}/{name}", "rb") as file:
                seen.add(file.read())

    with Adversary(ground, *PAIRS) as adversary:
        while seen != {HOST, b"inside"}:
            adversary.attack(attempt, 10)


def test_an_archive_holds_what_was_opened(ground: str) -> None:
    """CVE-2023-0778: export, commit, cp - and the context of a build are packed by this walk."""
    seen: set[bytes] = set()
    links: set[str] = set()
    top = os.open(ground, os.O_RDONLY)

    def attempt() -> None:
        out = io.BytesIO()
        packing.pack(top, out)
        out.seek(0)
        with tarfile.open(fileobj=out) as archive:
            for entry in archive:
                if entry.isreg():
                    content = archive.extractfile(entry)
                    assert content is not None
                    seen.add(content.read())
                elif entry.issym():
                    links.add(entry.name)

    with Adversary(ground, *PAIRS) as adversary:
        adversary.attack(attempt, 100)
    os.close(top)
    assert seen == {b"inside"}
    assert {"folder", "file"} & links, "links were met, and packed as links"


def test_a_copy_holds_what_was_opened(ground: str, home_dir: str) -> None:
    """CVE-2022-23648: the first content of a volume is copied by this walk."""
    source = os.open(ground, os.O_RDONLY)
    turn = 0

    def attempt() -> None:
        nonlocal turn
        turn += 1
        os.mkdir(f"{home_dir}/copies/{turn}")
        target = os.open(f"{home_dir}/copies/{turn}", os.O_RDONLY)
        try:
            copying.copy_tree(source, target)
        finally:
            os.close(target)

    os.mkdir(f"{home_dir}/copies")
    with Adversary(ground, *PAIRS) as adversary:
        adversary.attack(attempt, 30)
    os.close(source)
    assert contents(f"{home_dir}/copies") == {b"inside"}


def test_a_copy_lands_in_what_was_opened(ground: str, home_dir: str, canary: Canary) -> None:
    """The same the other way: the target is what changes (cp into a container)."""
    source = arena(f"{home_dir}/source", canary)
    os.unlink(f"{source}/to-folder")
    os.unlink(f"{source}/to-file")
    from_fd, target = os.open(source, os.O_RDONLY), os.open(ground, os.O_RDONLY)
    manner = copying.Manner(owner=(7, 7), merge=True, renew=True)

    with Adversary(ground, *PAIRS) as adversary:
        adversary.attack(lambda: copying.Copy(target, manner).content(from_fd), 100)
    os.close(from_fd)
    os.close(target)


def test_what_a_build_copies_is_what_was_opened(ground: str, home_dir: str) -> None:
    """COPY from a context, and COPY --from another stage, while the source changes."""
    os.mkdir(f"{home_dir}/copies")
    root = os.open(f"{home_dir}/copies", os.O_RDONLY)
    tree_of = context.folder(ground)
    turn = 0

    def attempt() -> None:
        nonlocal turn
        turn += 1
        source = (".", "folder", "folder/secret", "file")[turn % 4]
        chosen = select.select(tree_of, [source])
        Place(root, f"/{turn}/").selection(chosen, unpack=False)

    with Adversary(ground, *PAIRS) as adversary:
        adversary.attack(attempt, 120)
    os.close(root)
    assert contents(f"{home_dir}/copies") == {b"inside"}


def test_a_volumes_source_stays_in_the_image(ground: str, home_dir: str) -> None:
    """The path itself changes while the folder that a new volume starts with is looked up."""
    root = os.open(ground, os.O_PATH)
    turn = 0

    def attempt() -> None:
        nonlocal turn
        turn += 1
        os.makedirs(f"{home_dir}/filled/{turn}/_data")
        populate.populate(f"{home_dir}/filled/{turn}", root, "/folder/sub", str)

    with Adversary(ground, *PAIRS) as adversary:
        adversary.attack(attempt, 20)
    os.close(root)
    assert contents(f"{home_dir}/filled") == {b"inside", b""}  # and the empty lock files


@pytest.mark.parametrize("directory", [True, False])
def test_a_mount_point_is_made_inside(ground: str, canary: Canary, directory: bool) -> None:
    """CVE-2024-45310. The link's way exists inside as well, so that following it can succeed."""
    os.makedirs(f"{ground}{canary.folder}")
    root = os.open(ground, os.O_PATH)
    turn = 0

    def attempt() -> None:
        nonlocal turn
        turn += 1
        place = f"/folder/new-{turn}/deeper"
        os.close(paths.make_in_root(root, place, directory=directory))

    with Adversary(ground, *PAIRS) as adversary:
        adversary.attack(attempt, 60)
    os.close(root)


def test_a_removal_takes_links_and_not_what_they_lead_to(home_dir: str, canary: Canary) -> None:
    """rm -v, and layers that go, while somebody still changes what is there."""
    top = f"{home_dir}/ground"

    def attempt() -> None:
        if not os.path.exists(top):  # otherwise what a refusal left
            os.rename(arena(f"{home_dir}/next", canary), top)
            adversary.wait()
        tree.remove_tree(top)

    with Adversary(top, *PAIRS) as adversary:
        adversary.attack(attempt, 60)


def test_a_volume_lands_inside(pyctr: Pyctr, home_dir: str, canary: Canary) -> None:
    """CVE-2021-30465: the folder of a shared volume on which another volume is mounted changes,
    and the mount point in it is missing at first."""
    shared = pyctr.out("volume", "create", "shared")
    data = arena(f"{home_dir}/volumes/{shared}/_data", canary)
    turn = 0

    def attempt() -> None:
        nonlocal turn
        turn += 1
        place = f"/s/folder/{'sub' if turn % 3 else f'new-{turn}'}"
        mounts = ("-v", "shared:/s", "-v", f"other:{place}", "-v", f"decoy:{canary.folder}")
        look = ("grep", "-c", "/volumes/other/_data ", "/proc/self/mountinfo")
        ran = pyctr("run", "--rm", *mounts, "base", *look, code=None)
        if ran.returncode == 125:
            raise OSError(ran.stderr)
        assert ran.stdout == "1\n", "it is mounted, and nowhere else than in the container"

    with Adversary(data, "folder", "to-folder") as adversary:
        adversary.attack(attempt, 8)
    assert HOST not in contents(f"{home_dir}/volumes")


def test_a_commit_and_an_export_hold_nothing_of_the_host(
    pyctr: Pyctr, home_dir: str, canary: Canary
) -> None:
    """CVE-2023-0778, of a container that is not even frozen meanwhile."""
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    pid = pyctr.out("inspect", "-f", "{{.State.Pid}}", "c")
    inside = arena(f"/proc/{pid}/root/ground", canary)

    def attempt() -> None:
        if pyctr("commit", "--pause=false", "c", "made", code=None).returncode:
            raise OSError
        pyctr("diff", "c")

    with Adversary(inside, *PAIRS) as adversary:
        adversary.attack(attempt, 3)
    layers = contents(f"{home_dir}/layers")
    assert b"inside" in layers and HOST not in layers
