"""The volume commands, and what the document leaves to Docker's own documentation."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def test_volumes_are_made_listed_shown_and_removed(pyctr: Pyctr) -> None:
    assert pyctr.out("volume", "create", "-l", "a=b", "data") == "data"
    anonymous = pyctr.out("volume", "create")
    assert len(anonymous) == 64
    assert sorted(pyctr.out("volume", "ls", "-q").split()) == sorted([anonymous, "data"])
    assert pyctr.out("volume", "ls").splitlines()[0].split() == ["DRIVER", "VOLUME", "NAME"]
    (shown,) = json.loads(pyctr.out("volume", "inspect", "data"))
    assert shown["Labels"] == {"a": "b"} and shown["Mountpoint"].endswith("/data/_data")
    assert pyctr.out("volume", "ls", "-q", "--filter", "label=a=b") == "data"
    assert pyctr.out("volume", "rm", "data") == "data"
    assert "no such volume: data" in pyctr("volume", "rm", "data", code=1).stderr
    pyctr("volume", "rm", "-f", "data")
    assert "not supported" in pyctr("volume", "create", "-d", "nfs", "x1", code=125).stderr
    assert "invalid volume name" in pyctr("volume", "create", "../x", code=125).stderr


def test_a_volume_in_use_by_a_stopped_container_cannot_be_removed(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "user", "-v", "data:/data", "base", "true")
    said = pyctr("volume", "rm", "data", code=1).stderr
    assert "in use by user" in said and "pyctr rm user" in said
    assert pyctr.out("volume", "ls", "-q", "--filter", "dangling=true") == ""
    pyctr("rm", "-v", "user")
    assert pyctr.out("volume", "ls", "-q", "--filter", "dangling=true") == "data", "named ones stay"


def test_prune_takes_anonymous_volumes_and_the_trash(pyctr: Pyctr) -> None:
    pyctr("volume", "create", "named")
    pyctr("volume", "create")
    pyctr("create", "--name", "c", "-v", "/data", "base")
    used = pyctr.volume_of("c", "/data")[0]
    pyctr("create", "--name", "d", "-v", "/data", "base")
    retired = pyctr.volume_of("d", "/data")[0]
    pyctr("rm", "d")
    assert pyctr.out("volume", "ls", "--trash", "-q") == retired
    assert pyctr("volume", "prune", stdin="n\n").stdout.endswith("[y/N] ")
    said = pyctr.out("volume", "prune", "-f")
    assert said.splitlines()[0] == "Deleted Volumes:" and "Total reclaimed space:" in said
    assert sorted(pyctr.out("volume", "ls", "-q").split()) == sorted([used, "named"])
    assert pyctr.out("volume", "ls", "--trash", "-q") == ""
    pyctr("volume", "prune", "-a", "-f")
    assert pyctr.out("volume", "ls", "-q") == used


@pytest.mark.parametrize("how", [("rm", "-v"), ("run", "--rm")])
def test_explicit_removal_frees_at_once(pyctr: Pyctr, how: tuple[str, str]) -> None:
    if how[0] == "run":
        pyctr("run", "--rm", "-v", "/data", "base", "touch", "/data/x")
    else:
        pyctr("run", "--name", "c", "-v", "/data", "base", "touch", "/data/x")
        pyctr("rm", "-v", "c")
    assert pyctr.out("volume", "ls", "-q") == ""
    assert pyctr.out("volume", "ls", "--trash", "-q") == ""


def test_the_trash_can_be_switched_off(pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCTR_VOLUME_TRASH", "0")
    pyctr("create", "--name", "c", "-v", "/data", "base")
    pyctr("rm", "c")
    assert pyctr.out("volume", "ls", "--trash", "-q") == ""
    pyctr("create", "--name", "c", "-v", "/data", "base")
    monkeypatch.setenv("PYCTR_VOLUME_TRASH", "nonsense")
    assert "PYCTR_VOLUME_TRASH" in pyctr("rm", "c", code=125).stderr
    monkeypatch.delenv("PYCTR_VOLUME_TRASH")


def test_volumes_from_chains_and_keeps_read_only(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "one", "-v", "/data", "-v", "fixed:/fixed:ro", "base")
    pyctr("create", "--name", "two", "--volumes-from", "one", "-v", "/more", "base")
    pyctr("create", "--name", "three", "--volumes-from", "two:ro", "base")
    same = {pyctr.volume_of(name, "/data") for name in ("one", "two", "three")}
    assert len(same) == 1
    modes = "{{range .Mounts}}{{.Destination}}={{.RW}} {{end}}"
    assert pyctr.out("inspect", "-f", modes, "two").split() == [
        "/data=true", "/fixed=false", "/more=true",
    ]  # fmt: skip
    assert pyctr.out("inspect", "-f", modes, "three").split() == [
        "/data=false", "/fixed=false", "/more=false",
    ]  # fmt: skip
    script = "touch /data/x 2>/dev/null || echo refused"
    assert (
        pyctr.out("run", "--rm", "--volumes-from", "three", "base", "sh", "-c", script) == "refused"
    )


def test_who_wins_one_destination(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "early", "-v", "early:/data", "base")
    pyctr("create", "--name", "late", "-v", "late:/data", "base")
    both = ("--volumes-from", "early", "--volumes-from", "late")
    pyctr("create", "--name", "a", *both, "base")
    pyctr("create", "--name", "b", *both, "-v", "/data", "base")
    pyctr("create", "--name", "c", *both, "-v", "own:/data", "base")
    pyctr("create", "--name", "d", *both, "--mount", "target=/data", "base")
    assert pyctr.volume_of("a", "/data")[0] == "late"
    assert pyctr.volume_of("b", "/data")[0] == "late"
    assert pyctr.volume_of("c", "/data")[0] == "own"
    assert len(pyctr.volume_of("d", "/data")[0]) == 64


def test_volumes_below_volumes_are_mounted_in_the_right_order(pyctr: Pyctr) -> None:
    flags = ("-v", "inner:/a/b/c", "-v", "outer:/a", "--tmpfs", "/a/b/t")
    script = "touch /a/1 /a/b/c/2 /a/b/t/3; find /a -type f | sort"
    assert pyctr.out("run", "--rm", *flags, "base", "sh", "-c", script).split() == [
        "/a/1", "/a/b/c/2", "/a/b/t/3",
    ]  # fmt: skip
    assert os.listdir(f"{pyctr.root}/volumes/inner/_data") == ["2"]


def test_nocopy_leaves_a_volume_empty(pyctr: Pyctr) -> None:
    script = ("ls", "-A", "/etc")
    assert "passwd" in pyctr.out("run", "--rm", "-v", "copied:/etc", "base", *script)
    assert "passwd" not in pyctr.out("run", "--rm", "-v", "empty:/etc:nocopy", "base", *script)


def test_a_running_container_keeps_its_volume_whole(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "web", "-v", "shared:/x", "base", "sleep", "1000")
    said = pyctr("create", "--name", "c", "-v", "shared:/etc", "base").stderr
    assert "warning" in said and "running container web" in said
    pyctr("exec", "web", "touch", "/x/file")
    assert os.listdir(f"{pyctr.root}/volumes/shared/_data") == ["file"]


def test_backup_and_restore_through_a_further_container(pyctr: Pyctr, home_dir: str) -> None:
    """Docker's manual: "Back up, restore, or migrate data volumes"."""
    backup = f"{home_dir}/backup"
    pyctr("create", "-v", "/dbdata", "--name", "dbdata", "base")
    writer = ("run", "--rm", "--volumes-from", "dbdata", "base", "sh", "-c")
    for number in "12":
        pyctr(*writer, f"echo row {number} >> /dbdata/rows")
    helper = ("run", "--rm", "--volumes-from", "dbdata", "-v", f"{backup}:/backup", "base")
    pyctr(*helper, "tar", "cf", "/backup/backup.tar", "/dbdata")
    listed = subprocess.run(["tar", "tf", f"{backup}/backup.tar"], capture_output=True, text=True)
    assert "dbdata/rows" in listed.stdout.split()
    pyctr("create", "-v", "/dbdata", "--name", "dbstore2", "base")
    restore = ("run", "--rm", "--volumes-from", "dbstore2", "-v", f"{backup}:/backup", "base")
    pyctr(*restore, "sh", "-c", "cd / && tar xf /backup/backup.tar")
    reader = ("run", "--rm", "--volumes-from", "dbstore2:ro", "base", "cat", "/dbdata/rows")
    assert pyctr.out(*reader) == "row 1\nrow 2"


def test_a_volume_removed_by_hand_is_an_error_that_says_so(pyctr: Pyctr) -> None:
    """An empty one in its place would hide the loss."""
    pyctr("create", "--name", "c", "-v", "data:/data", "base", "ls", "/data")
    import shutil

    shutil.rmtree(f"{pyctr.root}/volumes/data")
    for command in (("start", "-a", "c"), ("run", "--rm", "-v", "data:/data", "base", "true")):
        said = pyctr(*command, code=None)
        assert said.returncode in (1, 125)
        assert "cannot use volume data: its data is gone" in said.stderr
        assert "system check --repair" in said.stderr
    assert not os.path.exists(f"{pyctr.root}/volumes/data")
    pyctr("system", "check", "--repair")
    assert pyctr.out("start", "-a", "c") == ""
