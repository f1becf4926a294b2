"""The image store: the same content once, the truth in the database, nothing half-made."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import time

import pytest

from images import archives, base, blobs, clock, commit, config, instructions, references, store
from images.errors import ImageError, ImageInUse, ImageNotFound
from kernel import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def images(home_dir: str) -> Iterator[store.Store]:
    db = sqlite3.connect(f"{home_dir}/state.db", isolation_level=None)
    db.execute("PRAGMA foreign_keys = ON")
    db.executescript(store.SCHEMA)
    yield store.Store(home_dir, db)
    db.close()


def rootfs(**files: str) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            made.addfile(entry, io.BytesIO(text.encode()))
    out.seek(0)
    return out


def imported(images: store.Store, name: str, **files: str) -> str:
    return archives.import_root(images, rootfs(**files), references.parse(name))


def test_base_is_made_on_first_use_and_has_the_same_digest_every_time(images: store.Store) -> None:
    image = images.resolve("base")
    assert image.id == base.add(images)
    folder = images.layer_folder(image.config.diff_ids[0])
    assert os.readlink(f"{folder}/bin/ls") == "/bin/busybox"
    assert not os.path.islink(f"{folder}/bin/busybox")
    assert os.stat(f"{folder}/tmp").st_mode & 0o7777 == 0o1777
    assert images.resolve(image.id[:12]).id == image.id
    assert images.resolve("sha256:" + image.id).id == image.id


def test_a_damaged_compressed_archive_leaves_nothing(images: store.Store) -> None:
    packed = gzip.compress(rootfs(file="text" * 1000).getvalue())
    with pytest.raises(ImageError, match="damaged"):
        archives.import_root(images, io.BytesIO(packed[:-20]), None)
    images.sweep(older_than=0)
    assert os.listdir(f"{images.root}/layers") == os.listdir(f"{images.root}/blobs/sha256") == []


def test_removal_unties_names_first_and_keeps_shared_layers(images: store.Store) -> None:
    one = imported(images, "one", file="text")
    images.tag(one, references.parse("two"))
    assert images.remove("one", lambda _: []) == (["one:latest"], [])
    with pytest.raises(ImageNotFound):
        images.resolve("one")
    names, ids = images.remove("two", lambda _: [])
    assert (names, ids) == (["two:latest"], [one])
    assert os.listdir(f"{images.root}/layers") == []
    assert os.listdir(f"{images.root}/blobs/sha256") == []


def test_an_image_in_use_cannot_be_removed(images: store.Store) -> None:
    one = imported(images, "one", file="text")
    with pytest.raises(ImageInUse, match="container c uses it"):
        images.remove("one", lambda _: ["c"])
    assert images.remove("one", lambda _: ["c"], force=True) == (["one:latest"], [])
    assert images.resolve(one).id == one


@pytest.mark.parametrize(
    "moment",
    ["unpacking.written", "unpacking.renamed", "adding.content_kept", "adding.recorded"],
)
def test_a_crash_while_an_image_is_added_costs_only_the_work(
    images: store.Store, moment: str
) -> None:
    pid = os.fork()
    if pid == 0:
        db = sqlite3.connect(f"{images.root}/state.db", isolation_level=None)
        trace.arm("kill", f"images.{moment}")
        archives.import_root(store.Store(images.root, db), rootfs(file="x"), None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -9
    assert len(images.listing()) == (1 if moment == "adding.recorded" else 0)
    again = imported(images, "again", file="x")
    assert images.resolve("again").id == again
    images.sweep(older_than=0)
    assert len(os.listdir(f"{images.root}/layers")) == 1


def test_a_commit_adds_one_layer_and_changes_the_configuration(images: store.Store) -> None:
    parent = images.get(imported(images, "parent", file="old"))
    upper = f"{images.root}/upper"
    os.mkdir(upper)
    with open(f"{upper}/new", "w") as file:
        file.write("new")
    changes = ["VOLUME /data /more", "ENV A=1 B='two words'", 'CMD ["x", "y"]', "WORKDIR app"]
    made = commit.commit(images, parent, upper, {}, references.parse("child"), changes=changes)
    child = images.get(made).config
    assert child.diff_ids[0] == parent.config.diff_ids[0] and len(child.diff_ids) == 2
    assert child.volumes == ("/data", "/more")
    assert child.env == ("A=1", "B=two words")
    assert child.cmd == ("x", "y") and child.working_dir == "/app"
    assert images.size(made) == 6
    assert os.listdir(images.lower(child)[0]) == ["new"]


def test_a_commit_that_cannot_be_read_to_the_end_leaves_nothing(
    images: store.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = images.get(imported(images, "parent", file="old"))
    kept = sorted(os.listdir(images.blobs.folder)), sorted(os.listdir(images.unpacked.folder))
    os.mkdir(f"{images.root}/upper")

    def pack(_fd: int, out: io.BytesIO, _newest: int | None) -> None:
        out.write(bytes(1 << 20))
        raise OSError("no more of it")

    monkeypatch.setattr("overlay.layers.pack", pack)
    with pytest.raises(OSError, match="no more of it"):
        commit.commit(images, parent, f"{images.root}/upper", {}, None)
    assert kept == (
        sorted(os.listdir(images.blobs.folder)),
        sorted(os.listdir(images.unpacked.folder)),
    )
    assert len(images.listing()) == 1


def blobs_of(folder: str) -> blobs.Blobs:
    os.makedirs(f"{folder}/blobs", exist_ok=True)
    return blobs.Blobs(f"{folder}/blobs")


def test_a_download_goes_on_where_it_stopped(home_dir: str) -> None:
    store_, content = blobs_of(home_dir), os.urandom(3 << 20)
    digest = hashlib.sha256(content).hexdigest()
    asked: list[int] = []

    def opened_at(offset: int) -> io.BytesIO:
        asked.append(offset)
        return io.BytesIO(content[offset : len(content) if len(asked) > 1 else 1 << 20])

    with pytest.raises(ImageError, match="not what was promised"):
        store_.fetch(digest, len(content), opened_at)
    store_.fetch(digest, len(content), opened_at).release()
    assert asked == [0, 1 << 20]
    assert store_.read(digest) == content
    store_.fetch(digest, len(content), opened_at).release()
    assert len(asked) == 2, "what is there is not fetched again"
    assert os.listdir(store_.folder) == [digest]


def test_content_of_another_digest_is_an_error_and_nothing_is_kept(home_dir: str) -> None:
    store_ = blobs_of(home_dir)
    with pytest.raises(ImageError, match="not what was promised"):
        store_.fetch("0" * 64, 3, lambda _offset: io.BytesIO(b"abc"))
    assert os.listdir(store_.folder) == []


def test_two_processes_share_the_work_of_one_download(home_dir: str) -> None:
    store_, content = blobs_of(home_dir), os.urandom(1 << 20)
    digest = hashlib.sha256(content).hexdigest()
    ready, go = os.pipe()

    def slowly(_offset: int) -> io.BytesIO:
        os.write(go, b"x")
        time.sleep(0.3)  # long enough for the other to come
        return io.BytesIO(content)

    pid = os.fork()
    if pid == 0:
        store_.fetch(digest, len(content), slowly)
        os._exit(0)
    os.read(ready, 1)

    def never(_offset: int) -> io.BytesIO:
        raise AssertionError("it was fetched twice")

    store_.fetch(digest, len(content), never).release()
    assert os.waitpid(pid, 0)[1] == 0
    assert store_.read(digest) == content


def test_content_that_is_held_is_not_taken_away(images: store.Store) -> None:
    one = imported(images, "one", file="text")
    (layer,) = images.layers(one)
    with images.adding() as adding:
        assert adding.has(layer.digest)
        images.remove("one", lambda _: [])
        assert os.path.exists(images.blobs.path(layer.digest))
        assert not os.path.exists(images.layer_folder(layer.diff_id))
    images.sweep(older_than=0)
    assert os.listdir(images.blobs.folder) == []


def docker_archive(diff_id: str = "") -> bytes:
    layer = rootfs(file="from an archive").getvalue()
    actual = hashlib.sha256(layer).hexdigest()
    raw = config.encode(config.new([diff_id or actual], clock.now(), {"Cmd": ["sh"]}, ""))
    manifest = [{"Config": "c.json", "RepoTags": ["loaded:1"], "Layers": ["l/layer.tar"]}]
    members = {"c.json": raw, "l/layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    return _tar(members)


def _tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def oci_archive() -> bytes:
    layer = gzip.compress(rootfs(file="from a layout").getvalue())
    diff_id = hashlib.sha256(gzip.decompress(layer)).hexdigest()
    raw = config.encode(config.new([diff_id], clock.now(), {}, ""))

    def descriptor(content: bytes) -> dict[str, object]:
        return {"digest": "sha256:" + hashlib.sha256(content).hexdigest(), "size": len(content)}

    manifest = json.dumps({"config": descriptor(raw), "layers": [descriptor(layer)]}).encode()
    named = {**descriptor(manifest), "annotations": {"io.containerd.image.name": "layout:2"}}
    blobs = {f"blobs/sha256/{hashlib.sha256(c).hexdigest()}": c for c in (layer, raw, manifest)}
    return _tar({**blobs, "index.json": json.dumps({"manifests": [named]}).encode()})


def test_load_reads_image_archives_of_both_kinds(images: store.Store) -> None:
    ((one, names),) = archives.load(images, io.BytesIO(docker_archive()))
    assert [name.familiar for name in names] == ["loaded:1"]
    assert images.resolve("loaded:1").id == one
    ((two, _),) = archives.load(images, io.BytesIO(gzip.compress(oci_archive())))
    folder = images.lower(images.get(two).config)[0]
    with open(f"{folder}/file") as file:
        assert file.read() == "from a layout"


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(images: store.Store) -> None:
    with pytest.raises(ImageError, match="not what the image's configuration says"):
        archives.load(images, io.BytesIO(docker_archive("0" * 64)))


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b'{"rootfs": 3}', b'{"rootfs": {"diff_ids": ["sha256:xx"]}}', b"[" * 100_000,
     b'{"config": {"Env": [1]}}', b'{"config": {"Volumes": ["/x"]}}', b'{"config": {"User": {}}}'],
)  # fmt: skip
def test_a_hostile_configuration_is_refused(raw: bytes) -> None:
    with pytest.raises(ImageError, match="configuration is refused"):
        config.parse(raw)


@pytest.mark.parametrize("line", ["", "RUN x", "VOLUME", "VOLUME data", "ENV A", "EXPOSE 0",
                                  "EXPOSE 80/x", "STOPSIGNAL NOPE", "LABEL 'a"])  # fmt: skip
def test_a_change_that_cannot_be_applied_is_refused(line: str) -> None:
    with pytest.raises(ImageError):
        instructions.apply({}, [line])
