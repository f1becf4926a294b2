"""commit and export: the union's changes alone, and the same bytes for the same files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import time

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

EPOCH = "1000000000"
MOMENT = "2001-09-09T01:46:40Z"


def top_layer(pyctr: Pyctr, name: str) -> dict[str, tarfile.TarInfo]:
    """The entries of the newest layer of an image, by name."""
    from images.store import Store

    identity = pyctr.out("image", "inspect", "-f", "{{.Id}}", name).removeprefix("sha256:")
    import sqlite3

    db = sqlite3.connect(f"{pyctr.root}/state.db")
    path = Store(pyctr.root, db).blobs.path(Store(pyctr.root, db).layers(identity)[-1].digest)
    db.close()
    with tarfile.open(path) as archive:
        return {entry.name: entry for entry in archive}


def test_a_commit_holds_the_changes_and_tells_which_mounts_it_leaves_out(
    pyctr: Pyctr, home_dir: str
) -> None:
    os.mkdir(f"{home_dir}/source")
    with open(f"{home_dir}/source/file", "wb") as file:
        file.write(bytes(2000))
    script = (
        "echo x > /added; rm /etc/shells; head -c 3000 /dev/zero > /data/big;"
        " head -c 1000 /dev/zero > /scratch/in-memory; touch /ready; exec sleep 600"
    )
    pyctr("run", "-d", "--name", "c", "-v", "named:/data", "-v", f"{home_dir}/source:/source",
          "-v", "/anonymous", "--tmpfs", "/scratch", "base", "sh", "-c", script)  # fmt: skip
    deadline = time.monotonic() + 60
    while pyctr("exec", "c", "test", "-e", "/ready", code=None).returncode:
        assert time.monotonic() < deadline
    said = pyctr("commit", "c", "mine:1")
    assert said.stdout.startswith("sha256:") and said.stdout.count("\n") == 1
    lines = said.stderr.splitlines()
    assert lines[0] == "pyctr: warning: these mounts are not in the image:"
    shown = [line.split() for line in lines[1:]]
    volume, _ = pyctr.volume_of("c", "/anonymous")
    assert shown == [
        ["/anonymous", "volume", volume[:12], "0B"],
        ["/data", "volume", "named", "3kB"],
        ["/scratch", "tmpfs", "1kB"],
        ["/source", "bind", "mount", "of", f"{home_dir}/source", "2kB"],
    ]
    entries = top_layer(pyctr, "mine:1")
    assert set(entries) == {
        "added", "anonymous", "data", "etc", "etc/.wh.shells", "ready", "scratch", "source",
    }  # fmt: skip
    assert all(entries[name].isdir() for name in ("anonymous", "data", "scratch", "source"))
    pyctr("stop", "-t", "0", "c")
    stopped = pyctr("commit", "c").stderr.splitlines()
    assert stopped[3].split() == ["/scratch", "tmpfs", "0B"]
    os.rename(f"{home_dir}/source", f"{home_dir}/gone")
    assert "not there" in pyctr("commit", "c").stderr
    pyctr("create", "--name", "plain", "base")
    assert pyctr("commit", "plain").stderr == ""


def test_two_commits_of_the_same_files_are_one_image_with_source_date_epoch(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo x > /new; mkdir /folder; ln -s /new /link; touch -d '1990-01-01 00:00:00' /old"
    for name in ("one", "two"):
        pyctr("run", "--name", name, "base", "sh", "-c", script)
        time.sleep(1.1)  # the two have other times: tar's have whole seconds
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    first = pyctr.out("commit", "-m", "said", "-a", "me", "-c", "ENV A=1", "one", "first")
    assert pyctr.out("commit", "-m", "said", "-a", "me", "-c", "ENV A=1", "two", "second") == first
    (shown,) = json.loads(pyctr.out("image", "inspect", first))
    assert shown["Created"] == MOMENT and shown["RepoTags"] == ["first:latest", "second:latest"]
    newest = pyctr.out("history", "--format", "{{.CreatedAt}}", first).splitlines()[0]
    assert newest == MOMENT
    times = {name: int(entry.mtime) for name, entry in top_layer(pyctr, first).items()}
    assert times.pop("old") < int(EPOCH)
    assert set(times.values()) == {int(EPOCH)}
    exported = [
        subprocess.run(pyctr.argv("export", name), capture_output=True, check=True, timeout=120)
        for name in ("one", "two")
    ]
    digests = {hashlib.sha256(one.stdout).hexdigest() for one in exported}
    assert len(digests) == 1
    with tarfile.open(fileobj=io.BytesIO(exported[0].stdout)) as archive:
        names = archive.getnames()
        assert max(int(entry.mtime) for entry in archive) == int(EPOCH)
    assert [n.split("/") for n in names] == sorted(n.split("/") for n in names)
    imported = [pyctr.out("import", "-", stdin=one.stdout) for one in exported]
    assert imported[0] == imported[1]


def test_without_it_an_image_was_made_now(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base")
    before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made = pyctr.out("image", "inspect", "-f", "{{.Created}}", pyctr.out("commit", "c"))
    assert before <= made <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@pytest.mark.parametrize("wrong", ["soon", "-1", "1.5", "9" * 20, "٣"])
def test_an_epoch_that_is_none_is_an_error(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    pyctr("create", "--name", "c", "base")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", wrong)
    assert "SOURCE_DATE_EPOCH is wrong" in pyctr("commit", "c", "mine", code=1).stderr
    assert "SOURCE_DATE_EPOCH is wrong" in pyctr("export", "-o", "/dev/null", "c", code=1).stderr
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    pyctr("commit", "c", "mine")


@pytest.mark.parametrize(
    ("flags", "frozen"),
    [((), True), (("-p",), True), (("--pause=false",), False), (("--pause=0",), False)],
)
def test_a_running_container_is_frozen_meanwhile_unless_it_shall_not_be(
    pyctr: Pyctr, flags: tuple[str, ...], frozen: bool
) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "600")
    argv = pyctr.argv("commit", *flags, "c", "mine")
    stopped = {**os.environ, "PYCTR_TRACE": "pause:engine.still.held"}
    committing = subprocess.Popen(argv, env=stopped, stdout=subprocess.DEVNULL)
    identity = pyctr.out("inspect", "-f", "{{.Id}}", "c")
    try:
        deadline = time.monotonic() + 60
        while _state(committing.pid) != "T":  # it stands at the trace point
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert _is_frozen(identity) == frozen
    finally:
        os.kill(committing.pid, 18)  # SIGCONT
        assert committing.wait(60) == 0
    assert pyctr.out("exec", "c", "echo", "on") == "on"


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def _is_frozen(identity: str) -> bool:
    from runtime import cgroups

    for folder in cgroups.of(f"/pyctr/{identity}").folders:
        for name, word in (("freezer.state", "FROZEN"), ("cgroup.freeze", "1")):
            if os.path.exists(f"{folder}/{name}"):
                with open(f"{folder}/{name}") as file:
                    if file.read().strip() == word:
                        return True
    return False


def test_an_image_may_have_the_same_layer_several_times(pyctr: Pyctr, home_dir: str) -> None:
    """overlayfs takes no folder twice (ELOOP); the topmost hides all that the lower ones say."""
    path = f"{home_dir}/file"
    with open(path, "w") as file:
        file.write("kept\n")
    below = "base"
    for name in ("one", "two", "three"):
        change = ("rm", "/file") if name == "two" else ("true",)
        pyctr("create", "--name", name, below, *change)
        if name == "two":
            pyctr("start", "-a", name)
        else:
            pyctr("cp", path, f"{name}:/file")
        pyctr("commit", name, name)
        below = name
    layers = json.loads(pyctr.out("image", "inspect", "-f", "{{json .RootFS.Layers}}", "three"))
    assert len(layers) == 4 and layers[1] == layers[3]
    assert pyctr.out("run", "--rm", "three", "cat", "/file") == "kept"
    assert pyctr("run", "--rm", "two", "cat", "/file", code=None).returncode == 1
