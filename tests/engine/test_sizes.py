"""What `ps --size` shows: bytes of the writable layer, and of the image below."""

from __future__ import annotations

import os
import resource

from engine import containers, home, sizes
from kernel import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def test_a_container_has_the_size_of_what_it_wrote(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "fresh", "base")
    script = "head -c 5000 /dev/zero > /a; ln /a /b; mkdir /d; echo 1234 > /d/c; rm /etc/shells"
    pyctr("run", "--name", "wrote", "-v", "/vol", "base", "sh", "-c", f"{script}; cp /a /vol")
    here = home.find()
    fresh = sizes.of(here, containers.search(here, "fresh"))
    wrote = sizes.of(here, containers.search(here, "wrote"))
    assert fresh.writable == 0
    assert wrote.writable == 5005, "a hard link counts once, a deletion and a volume nothing"
    assert wrote.image == fresh.image > 0
    assert wrote.virtual == wrote.image + 5005
    here.close()


def test_usage_counts_hard_links_once_and_follows_no_link(home_dir: str) -> None:
    outside, folder = f"{home_dir}/outside", f"{home_dir}/folder"
    os.makedirs(f"{folder}/deep")
    os.mkdir(outside)
    for path in (f"{outside}/big", f"{folder}/deep/file"):
        with open(path, "wb") as file:
            file.write(b"x" * 10000)
    os.link(f"{folder}/deep/file", f"{folder}/again")
    os.symlink(outside, f"{folder}/link")
    assert tree.content_size(folder) == 10000
    assert 10000 <= tree.disk_usage(folder) < 20000 + 4096
    assert tree.content_size(f"{home_dir}/nowhere") == tree.disk_usage(f"{home_dir}/nowhere") == 0


def test_a_tree_deeper_than_any_path_is_measured_and_removed(home_dir: str) -> None:
    top = f"{home_dir}/deep"
    os.mkdir(top)
    fd = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("folder", dir_fd=fd)
        below = os.open("folder", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    end = os.open("end", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.write(end, b"12345")
    os.close(end)
    os.close(fd)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert tree.content_size(top) == 5
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        tree.remove_tree(top)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert not os.path.exists(top)
