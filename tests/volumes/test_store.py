"""Volumes on disk: atomic first content, no removal while in use, nothing lost in a crash."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess

import pytest

from kernel import trace
from volumes import populate
from volumes.errors import VolumeError, VolumeInUse, VolumeNotFound
from volumes.plan import Mount
from volumes.store import SCHEMA, Store, new_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def opened(root: str) -> Store:
    db = sqlite3.connect(f"{root}/state.db", isolation_level=None)
    db.execute("PRAGMA foreign_keys = ON")
    db.executescript(f"CREATE TABLE IF NOT EXISTS containers (id TEXT PRIMARY KEY); {SCHEMA}")
    return Store(root, db)


@pytest.fixture
def store(home_dir: str) -> Iterator[Store]:
    made = opened(home_dir)
    yield made
    made._db.close()


def use(store: Store, container: str, *names: str) -> None:
    with store._db:
        store._db.execute("INSERT INTO containers VALUES (?)", (container,))
        store.attach(container, [Mount("volume", f"/{name}", name) for name in names])


def forget(store: Store, container: str) -> None:
    with store._db:
        store._db.execute("DELETE FROM containers WHERE id = ?", (container,))


def killed(action: Callable[[], object], point: str) -> bool:
    """Runs ``action`` in a child that is killed at a trace point; whether it was."""
    pid = os.fork()
    if pid == 0:
        trace.arm("kill", point)
        action()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9


def test_a_volume_in_use_cannot_be_removed(store: Store) -> None:
    store.create("data", {}, anonymous=False)
    use(store, "c1", "data")
    with pytest.raises(VolumeInUse, match="in use by name-of-c1"):
        store.remove("data", lambda ids: [f"name-of-{i}" for i in ids])
    assert os.path.isdir(store.data("data"))
    forget(store, "c1")
    store.remove("data", list)
    assert not os.path.exists(store.folder("data"))
    with pytest.raises(VolumeNotFound):
        store.get("data")


def test_a_retired_volume_can_be_restored_with_its_content_and_labels(store: Store) -> None:
    volume = store.create(new_name(), {"a": 'quote " and \n'}, anonymous=True)
    with open(f"{store.data(volume.name)}/file", "w") as file:
        file.write("kept")
    retire(store, volume.name)
    assert not os.path.exists(store.folder(volume.name))
    assert store.empty_trash() == 0
    assert store.restore(volume.name) == volume
    assert os.listdir(store.data(volume.name)) == ["file"]
    retire(store, volume.name)
    assert store.empty_trash(older_than=0) > 0
    with pytest.raises(VolumeNotFound, match="in the trash"):
        store.restore(volume.name)


def test_an_empty_anonymous_volume_is_restored_too(store: Store) -> None:
    store.create("data", {}, anonymous=True)
    retire(store, "data")
    assert store.restore("data").anonymous
    assert [one.name for one in store.listing()] == ["data"]


def test_a_volume_is_not_restored_over_another(store: Store) -> None:
    store.create("data", {}, anonymous=True)
    retire(store, "data")
    store.create("data", {}, anonymous=False)
    with pytest.raises(VolumeError, match="another volume has that name"):
        store.restore("data")


def test_without_the_database_every_volume_is_known_again(home_dir: str) -> None:
    first = opened(home_dir)
    made = [first.create("named", {"x": "y"}, anonymous=False)]
    made.append(first.create(new_name(), {}, anonymous=True))
    with open(f"{first.data(made[1].name)}/file", "w") as file:
        file.write("kept")
    first._db.close()
    for name in os.listdir(home_dir):
        if name.startswith("state.db"):
            os.unlink(f"{home_dir}/{name}")
    again = opened(home_dir)
    assert sorted(v.name for v in again.listing()) == sorted(v.name for v in made)
    assert again.get("named") == made[0]


def test_an_empty_volume_that_was_made_for_a_container_that_never_was_goes(store: Store) -> None:
    name = new_name()
    assert killed(lambda: store.ensure(name, anonymous=True), "volumes.store.there")
    assert store.listing() == []
    assert not os.path.exists(store.folder(name))


@pytest.mark.parametrize("moment", ["marked", "written", "row_removed", "moved"])
@pytest.mark.parametrize("how", ["retire", "free"])
def test_a_removal_that_is_killed_is_finished_by_the_next_list(
    store: Store, moment: str, how: str
) -> None:
    store.create("data", {}, anonymous=True)
    with open(f"{store.data('data')}/file", "w") as file:
        file.write("x")
    assert killed(lambda: remove(store, how), f"volumes.store.{moment}")
    assert store.listing() == []
    assert not os.path.exists(store.folder("data"))
    if how == "retire":
        store.restore("data")
        assert os.path.exists(f"{store.data('data')}/file")
    else:
        assert os.listdir(f"{store.root}/.trash") == []


def remove(store: Store, how: str) -> None:
    """As the end of the last container does it, in another command with its own connection."""
    retire(opened(os.path.dirname(store.root)), "data", free=how == "free")


def retire(store: Store, name: str, *, free: bool = False) -> None:
    store.finish(store.dismiss([name], free=free))


@pytest.mark.parametrize("moment", ["marked", "written"])
def test_whoever_takes_a_volume_up_whose_removal_was_killed_keeps_it(
    store: Store, moment: str
) -> None:
    store.create("data", {}, anonymous=True)
    assert killed(lambda: remove(store, "free"), f"volumes.store.{moment}")
    store.create("data", {}, anonymous=False)
    assert [one.name for one in store.listing()] == ["data"]
    assert set(os.listdir(store.folder("data"))) == {"_data", "lock", "volume.json"}


def test_a_list_that_finishes_a_removal_leaves_who_takes_the_volume_up_meanwhile(
    store: Store,
) -> None:
    store.create("data", {}, anonymous=True)
    assert killed(lambda: remove(store, "free"), "volumes.store.marked")
    with held(lambda: opened(os.path.dirname(store.root)).mend(), "volumes.store.found"):
        store.create("data", {}, anonymous=False)
        with open(f"{store.data('data')}/file", "w") as file:
            file.write("mine")
    with open(f"{store.data('data')}/file") as file:
        assert file.read() == "mine"
    assert [one.name for one in store.listing()] == ["data"]


def test_what_the_last_container_had_stays_with_whoever_takes_it_up_before_it_goes(
    store: Store,
) -> None:
    store.create("data", {}, anonymous=True)
    going = store.dismiss(["data"], free=True)
    store.create("data", {}, anonymous=False)
    store.finish(going)
    assert [one.name for one in store.listing()] == ["data"]


@contextlib.contextmanager
def held(work: Callable[[], object], point: str) -> Iterator[None]:
    """A process that stands at a trace point during the block, and has ended after it."""
    child = os.fork()
    if child == 0:
        trace.arm("pause", point)
        work()
        os._exit(0)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1]), "it came to the point"
    try:
        yield
    finally:
        os.kill(child, signal.SIGCONT)
        assert os.waitpid(child, 0)[1] == 0


def test_a_new_database_keeps_empty_volumes_whose_containers_it_may_know_again(
    store: Store,
) -> None:
    from engine import lost

    name = new_name()
    store.create(name, {}, anonymous=True)
    store._db.execute("DELETE FROM volumes")
    lost.recover(os.path.dirname(store.root), store._db)
    assert [one.name for one in store.listing()] == [name]
    assert os.path.isdir(store.data(name))


def image(root: str, **files: str) -> int:
    folder = f"{root}/image"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(f"{folder}/data/sub")
    for name, text in files.items():
        with open(f"{folder}/data/{name}", "w") as file:
            file.write(text)
    return os.open(folder, os.O_RDONLY)


def nobody() -> str:
    return ""


def test_first_content_keeps_owner_mode_links_and_attributes(home_dir: str, store: Store) -> None:
    root = image(home_dir, a="text")
    data = f"{home_dir}/image/data"
    os.chown(f"{data}/a", 7, 8)
    os.chmod(f"{data}/a", 0o4750)
    os.link(f"{data}/a", f"{data}/sub/hard")
    os.symlink("/etc/passwd", f"{data}/soft")
    os.mkfifo(f"{data}/pipe")
    os.setxattr(f"{data}/a", "user.x", b"y")
    with open(f"{data}/sparse", "wb") as file:
        file.seek(1 << 22)
        file.write(b"end")
    os.chown(data, 1000, 100)
    os.chmod(data, 0o2770)
    store.create("data", {}, anonymous=False)
    assert populate.populate(store.folder("data"), root, "/data", nobody) == ""
    made = store.data("data")
    assert sorted(os.listdir(made)) == ["a", "pipe", "soft", "sparse", "sub"]
    info = os.stat(f"{made}/a")
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (7, 8, 0o4750)
    assert os.path.samefile(f"{made}/a", f"{made}/sub/hard")
    assert os.readlink(f"{made}/soft") == "/etc/passwd"
    assert stat.S_ISFIFO(os.stat(f"{made}/pipe").st_mode)
    assert os.getxattr(f"{made}/a", "user.x") == b"y"
    assert os.stat(f"{made}/sparse").st_blocks * 512 < 1 << 20
    top = os.stat(made)
    assert (top.st_uid, top.st_gid, stat.S_IMODE(top.st_mode)) == (1000, 100, 0o2770)
    assert os.stat(f"{made}/sub").st_mtime_ns == os.stat(f"{data}/sub").st_mtime_ns
    os.close(root)


def test_a_volume_that_holds_anything_is_left_alone(home_dir: str, store: Store) -> None:
    root = image(home_dir, a="image")
    store.create("data", {}, anonymous=False)
    with open(f"{store.data('data')}/mine", "w") as file:
        file.write("mine")
    populate.populate(store.folder("data"), root, "/data", nobody)
    assert os.listdir(store.data("data")) == ["mine"]
    os.close(root)


def test_a_volume_of_a_running_container_is_left_alone_and_said_so(
    home_dir: str, store: Store
) -> None:
    root = image(home_dir, a="image")
    store.create("data", {}, anonymous=False)
    said = populate.populate(store.folder("data"), root, "/data", lambda: "web")
    assert "running container web" in said
    assert os.listdir(store.data("data")) == []
    os.close(root)


@pytest.mark.parametrize("moment", ["staged", "synced", "renamed"])
def test_after_a_crash_the_first_content_is_absent_or_complete(
    home_dir: str, store: Store, moment: str
) -> None:
    root = image(home_dir, a="1", b="2")
    store.create("data", {}, anonymous=False)

    def fill() -> None:
        populate.populate(store.folder("data"), root, "/data", nobody)

    assert killed(fill, f"volumes.populate.{moment}")
    seen = sorted(os.listdir(store.data("data")))
    assert seen == (["a", "b", "sub"] if moment == "renamed" else [])
    fill()
    assert sorted(os.listdir(store.data("data"))) == ["a", "b", "sub"]
    assert not os.path.exists(f"{store.folder('data')}/{populate.STAGING}")
    os.close(root)


def test_on_a_full_disk_the_volume_is_untouched(home_dir: str) -> None:
    full = f"{home_dir}/full"
    os.mkdir(full)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", full], check=True)
    try:
        store = opened(full)
        store.create("data", {}, anonymous=False)
        root = image(home_dir, a="x" * (1 << 20))
        with pytest.raises(VolumeError, match="no space left"):
            populate.populate(store.folder("data"), root, "/data", nobody)
        assert os.listdir(store.data("data")) == []
        assert not os.path.exists(f"{store.folder('data')}/{populate.STAGING}")
        os.close(root)
        store._db.close()
    finally:
        subprocess.run(["umount", full], check=True)


def test_two_populations_at_once_both_end_with_the_whole(home_dir: str, store: Store) -> None:
    root = image(home_dir, **{f"f{n}": str(n) for n in range(300)})
    store.create("data", {}, anonymous=False)
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            populate.populate(store.folder("data"), root, "/data", nobody)
            os._exit(0 if len(os.listdir(store.data("data"))) == 301 else 1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4
    os.close(root)


def test_the_source_is_resolved_inside_the_image(home_dir: str, store: Store) -> None:
    root = image(home_dir)
    os.mkdir(f"{home_dir}/secret")
    with open(f"{home_dir}/secret/file", "w") as file:
        file.write("host")
    os.symlink(f"../../../../../..{home_dir}/secret", f"{home_dir}/image/evil")
    store.create("data", {}, anonymous=False)
    populate.populate(store.folder("data"), root, "/evil", nobody)
    populate.populate(store.folder("data"), root, "/evil/..", nobody)
    assert "file" not in os.listdir(store.data("data"))
    os.close(root)
