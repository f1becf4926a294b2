"""Hundreds of layers are mounted, detached on new kernels and by mount(2) on older ones."""

from __future__ import annotations

import os

import pytest

from kernel import mounts, namespaces
from overlay import view
from overlay.union import Union, attach

LAYERS = 300


def many(home_dir: str) -> tuple[str, ...]:
    made = []
    for number in range(LAYERS):
        folder = f"{home_dir}/a folder, with:odd\\characters/{number}"
        os.makedirs(folder)
        with open(f"{folder}/file", "w") as file:
            file.write(str(number))
        open(f"{folder}/own-{number}", "w").close()
        made.append(folder)
    return tuple(reversed(made))


@pytest.mark.parametrize("legacy", [False, True], ids=["fsopen", "mount"])
def test_hundreds_of_layers_with_odd_names(home_dir: str, legacy: bool) -> None:
    lower = many(home_dir)
    os.mkdir(f"{home_dir}/scratch")
    root = view.opened(lower, f"{home_dir}/scratch", legacy=legacy)
    try:
        fd = os.open("file", os.O_RDONLY, dir_fd=root)
        assert os.read(fd, 10) == str(LAYERS - 1).encode(), "the topmost layer wins"
        os.close(fd)
        folder = os.open(".", os.O_RDONLY, dir_fd=root)
        assert len(os.listdir(folder)) == LAYERS + 1
        os.close(folder)
    finally:
        os.close(root)


@pytest.mark.parametrize("volatile", [False, True], ids=["", "volatile"])
@pytest.mark.parametrize("legacy", [False, True], ids=["fsopen", "mount"])
def test_writes_go_to_the_upper_layer_alone(home_dir: str, legacy: bool, volatile: bool) -> None:
    lower = many(home_dir)[:3]
    for name in ("upper", "work", "at"):
        os.mkdir(f"{home_dir}/{name}")
    pid = os.fork()
    if pid == 0:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        union = Union(lower, f"{home_dir}/upper", f"{home_dir}/work", volatile)
        attach(union, f"{home_dir}/at", legacy=legacy)
        with open(f"{home_dir}/at/file", "w") as file:
            file.write("changed")
            os.fsync(file.fileno())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    with open(f"{home_dir}/upper/file") as file:
        assert file.read() == "changed"
    with open(f"{lower[0]}/file") as file:
        assert file.read() == str(LAYERS - 1)
    assert os.path.isdir(f"{home_dir}/work/work/incompat/volatile") == volatile
    assert os.listdir(f"{home_dir}/at") == [], "the mount was the child's alone"
