"""The image commands."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def root_archive() -> bytes:
    from images.base import find_busybox

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.add(find_busybox(), "bin/sh")
    return out.getvalue()


def test_a_root_file_system_becomes_an_image(pyctr: Pyctr, home_dir: str) -> None:
    with open(f"{home_dir}/root.tar", "wb") as file:
        file.write(root_archive())
    change = ("-c", 'CMD ["sh", "-c", "echo hello"]', "-m", "mine")
    identity = pyctr.out("image", "import", *change, f"{home_dir}/root.tar", "my/root:1")
    assert identity.startswith("sha256:")
    assert pyctr.out("run", "--rm", "my/root:1") == "hello"
    pyctr("import", "-", "packed", stdin=gzip.compress(root_archive()))
    assert pyctr.out("run", "--rm", "packed", "sh", "-c", "echo $((1+1))") == "2"
    assert "cannot read" in pyctr("import", "/no/such", "x", code=1).stderr
    assert "damaged" in pyctr("import", "-", "x", stdin=b"no archive at all" * 100, code=1).stderr


def test_a_terminal_shows_how_far_an_import_is(pyctr: Pyctr, home_dir: str) -> None:
    from tests.cli.test_run import Terminal

    with open(f"{home_dir}/root.tar", "wb") as file:
        file.write(root_archive())
    terminal = Terminal(pyctr.argv("import", f"{home_dir}/root.tar", "mine"))
    terminal.expect(b"importing ")
    terminal.expect(b"sha256:")
    assert terminal.end() == 0


def test_images_are_listed_tagged_shown_and_removed(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base")
    pyctr("tag", "base", "other:2")
    lines = pyctr.out("images").splitlines()
    assert lines[0].split()[:2] == ["REPOSITORY", "TAG"]
    assert sorted(tuple(line.split()[:2]) for line in lines[1:]) == [
        ("base", "latest"), ("other", "2"),
    ]  # fmt: skip
    assert pyctr.out("image", "ls", "-q", "other").count("\n") == 0
    (shown,) = json.loads(pyctr.out("image", "inspect", "other:2"))
    assert shown["RepoTags"] == ["base:latest", "other:2"] and shown["Architecture"]
    assert pyctr.out("rmi", "other:2") == "Untagged: other:2"
    assert "container c uses it" in pyctr("rmi", "base", code=1).stderr
    pyctr("rm", "c")
    assert pyctr.out("rmi", "base").splitlines() == [
        "Untagged: base:latest", f"Deleted: {shown['Id']}",
    ]  # fmt: skip
    assert "no such image: base" in pyctr("rmi", "base", code=1).stderr
    assert "invalid reference" in pyctr("tag", "base", "Bad:Name", code=1).stderr


def test_a_commit_of_a_running_container_freezes_it_only_meanwhile(pyctr: Pyctr) -> None:
    script = "while :; do echo x >> /ticks; sleep 0.05; done"
    pyctr("run", "-d", "--name", "c", "base", "sh", "-c", script)
    pyctr("commit", "-a", "me", "-m", "message", "c", "snap")
    (shown,) = json.loads(pyctr.out("image", "inspect", "snap"))
    assert shown["Author"] == "me" and shown["Config"]["Cmd"] == ["sh", "-c", script]
    first = int(pyctr.out("exec", "c", "wc", "-c", "/ticks").split()[0])
    second = first
    while second == first:  # the container goes on
        second = int(pyctr.out("exec", "c", "wc", "-c", "/ticks").split()[0])
    assert "not an instruction" in pyctr("commit", "-c", "RUN x", "c", code=1).stderr


def test_diff_shows_the_changes_and_no_mount_points(pyctr: Pyctr) -> None:
    script = "rm /etc/shells; echo x > /etc/group; mkdir /new; touch /new/file /vol/in"
    pyctr("run", "--name", "c", "-v", "/vol", "base", "sh", "-c", script)
    assert pyctr.out("diff", "c").splitlines() == [
        "C /etc", "C /etc/group", "D /etc/shells", "A /new", "A /new/file", "A /vol",
    ]  # fmt: skip
