"""cp: Docker's rules, both ways, of running and stopped containers, in the union and past it."""

from __future__ import annotations

import importlib
import io
import os
import resource
import socket
import stat
import subprocess
import tarfile
import time

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tests.conftest import Pyctr

CAPABILITY = b"\x01\x00\x00\x02\x00\x20\x00\x00" + bytes(12)
STATES = pytest.mark.parametrize("state", ["running", "stopped", "created"])


@pytest.fixture
def here(home_dir: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder on the host, and the working folder."""
    folder = f"{home_dir}/here"
    os.mkdir(folder)
    monkeypatch.chdir(folder)
    return folder


def container(pyctr: Pyctr, state: str, *options: str, script: str = "") -> None:
    """A container ``c`` in that state; ``script`` has run in it, except in a created one."""
    command = ("base", "sh", "-c", f"{script}\ntouch /ready; exec sleep 10000")
    if state == "created":
        pyctr("create", "--name", "c", *options, *command)
        return
    pyctr("run", "-d", "--name", "c", *options, *command)
    wait_for(lambda: pyctr("exec", "c", "test", "-e", "/ready", code=None).returncode == 0)
    if state == "stopped":
        pyctr("stop", "-t", "0", "c")


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def write(path: str, content: str | bytes = "content", mode: int = 0o644) -> str:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    os.chmod(path, mode)
    return path


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def entries(pyctr: Pyctr, path: str, *options: str) -> dict[str, tarfile.TarInfo]:
    """What `cp CONTAINER:PATH -` writes, by name."""
    ran = subprocess.run(
        pyctr.argv("cp", *options, path, "-"), stdout=subprocess.PIPE, check=True, timeout=120
    )
    with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as archive:
        return {member.name: member for member in archive}


def content(pyctr: Pyctr, path: str) -> str:
    """The content of one file of a container."""
    ran = subprocess.run(
        pyctr.argv("cp", path, "-"), stdout=subprocess.PIPE, check=True, timeout=120
    )
    with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as archive:
        extracted = archive.extractfile(archive.getmembers()[0])
        assert extracted is not None
        return extracted.read().decode()


def archive(**files: Any) -> bytes:
    """A tar: name to content, or to the fields of an entry; a slash in a name is written "__"."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name, fields in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            fields = {"data": fields} if isinstance(fields, bytes) else dict(fields)
            data = fields.pop("data", b"")
            entry.size = len(data)
            for key, value in fields.items():
                setattr(entry, key, value)
            made.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@STATES
def test_a_file_and_a_folder_go_in_and_come_out(pyctr: Pyctr, here: str, state: str) -> None:
    container(pyctr, state)
    write("file")
    write("folder/sub/in", "in it")
    pyctr("cp", "file", "c:/new-name")
    pyctr("cp", "file", "c:/etc")
    pyctr("cp", "file", "c:tmp/")
    pyctr("cp", "folder", "c:/made")
    pyctr("cp", "folder", "c:/tmp")
    pyctr("cp", "folder/.", "c:/tmp")
    for path in ("/new-name", "/etc/file", "/tmp/file"):
        assert content(pyctr, f"c:{path}") == "content"
    for path in ("/made/sub/in", "/tmp/folder/sub/in", "/tmp/sub/in"):
        assert content(pyctr, f"c:{path}") == "in it"
    os.mkdir("out")
    pyctr("cp", "c:/new-name", "there")
    pyctr("cp", "c:/new-name", "out")
    pyctr("cp", "c:made", "copy")
    pyctr("cp", "c:/made", "out/")
    pyctr("cp", "c:/made/.", "out")
    assert read("there") == read("out/new-name") == "content"
    assert read("copy/sub/in") == read("out/made/sub/in") == read("out/sub/in") == "in it"
    if state == "running":
        assert pyctr.out("exec", "c", "cat", "/made/sub/in") == "in it"
    else:
        pyctr("start", "c")
        assert pyctr.out("exec", "c", "cat", "/made/sub/in", "/etc/file") == "in itcontent"


@STATES
def test_what_docker_refuses_is_refused(pyctr: Pyctr, here: str, state: str) -> None:
    container(pyctr, state)
    write("file")
    os.mkdir("folder")

    def refused(*words: str) -> str:
        return pyctr("cp", *words, code=1).stderr

    assert "no such file or folder" in refused("c:/none", "x")
    assert "no such file or folder" in refused("none", "c:/x")
    assert "it is not a folder" in refused("c:/etc/passwd/", "x")
    assert "no such folder" in refused("file", "c:/none/")
    assert "the folder that it would be in does not exist" in refused("file", "c:/none/x")
    assert "the folder that it would be in does not exist" in refused("c:/etc", "none/x")
    assert "folder is a folder, and this is a file" in refused("folder", "c:/etc/passwd")
    assert "c:/etc is a folder, and this is a file" in refused("c:/etc", "file")
    assert "it is not a folder" in refused("file", "c:/etc/passwd/")
    assert (
        "it is not a folder, and an archive needs one"
        in pyctr("cp", "-", "c:/etc/passwd", stdin=archive(x=b"x"), code=1).stderr
    )
    assert sorted(os.listdir(here)) == ["file", "folder"]


def test_a_file_does_not_take_the_place_of_a_folder_nor_the_other_way(
    pyctr: Pyctr, here: str
) -> None:
    container(pyctr, "created")
    write("tree/etc")  # a file where the container has a folder
    assert "cannot overwrite a folder with a file" in pyctr("cp", "tree/.", "c:/", code=1).stderr
    os.unlink("tree/etc")
    write("tree/etc/passwd/in")
    assert "cannot overwrite a file with a folder" in pyctr("cp", "tree/.", "c:/", code=1).stderr
    tar = archive(etc__passwd={"type": tarfile.DIRTYPE}, etc__passwd__x=b"x")
    said = pyctr("cp", "-", "c:/", stdin=tar, code=1).stderr
    assert "cannot overwrite a file with a folder" in said
    said = pyctr("cp", "-", "c:/", stdin=archive(etc=b"x"), code=1).stderr
    assert "cannot overwrite a folder with a file" in said
    assert "root:x:0:0" in content(pyctr, "c:/etc/passwd")


def test_the_words_of_the_command_line(pyctr: Pyctr, here: str) -> None:
    container(pyctr, "created")
    pyctr("create", "--name", "other", "base")
    write("file", "12345")
    ran = pyctr("cp", "file", "c:/x")
    assert (ran.stdout, ran.stderr) == ("", "Successfully copied 5B to c:/x\n")
    assert pyctr("cp", "c:/x", "y").stderr == f"Successfully copied 5B to {here}/y\n"
    ran = pyctr("cp", "-q", "c:/x", "y")
    assert (ran.stdout, ran.stderr) == ("", "")
    between = pyctr("cp", "c:/x", "other:/x", code=1).stderr
    assert "copying between containers is not supported" in between
    assert "must specify at least one container source" in pyctr("cp", "a", "b", code=1).stderr
    assert "must specify at least one container source" in pyctr("cp", "-", "-", code=1).stderr
    assert "no such container: nobody" in pyctr("cp", "nobody:/x", "y", code=1).stderr
    write("odd:name", "odd")
    assert "write ./odd:name" in pyctr("cp", "odd:name", "c:/odd", code=1).stderr
    pyctr("cp", "./odd:name", "c:/odd")
    pyctr("cp", f"{here}/odd:name", "c:/odd2")
    pyctr("cp", "c:/odd", "./a:b")
    assert read("a:b") == content(pyctr, "c:/odd2") == "odd"
    identity = pyctr.out("inspect", "-f", "{{.Id}}", "c")
    assert content(pyctr, f"{identity[:12]}:x") == "12345"
    assert "unknown flag" in pyctr("cp", "--nosuch", "c:/x", "y", code=125).stderr


@STATES
def test_volumes_binds_and_tmpfs_are_the_containers_files(
    pyctr: Pyctr, here: str, state: str
) -> None:
    write("bound/f", "bound")
    write("single", "single")
    options = ("-v", "vol:/vol", "-v", f"{here}/bound:/bound", "-v", f"{here}/single:/single")
    script = "echo from the volume > /vol/f; echo in memory > /mem/f"
    container(pyctr, state, *options, "--tmpfs", "/mem", script=script)
    if state != "created":
        assert content(pyctr, "c:/vol/f") == "from the volume\n"
    assert content(pyctr, "c:/bound/f") == "bound"
    assert content(pyctr, "c:/single") == "single"
    write("new", "new")
    pyctr("cp", "new", "c:/vol/new")
    pyctr("cp", "new", "c:/bound/new")
    pyctr("cp", "new", "c:/single")
    volume = pyctr.volume_of("c", "/vol")[1]
    assert read(f"{volume}/new") == read("bound/new") == read("single") == "new"
    assert os.stat("single").st_size == 3, "the file of the host itself, not another in its place"
    if state == "running":
        assert content(pyctr, "c:/mem/f") == "in memory\n"
        pyctr("cp", "new", "c:/mem/new")
        assert pyctr.out("exec", "c", "cat", "/mem/new") == "new"
    else:
        assert list(entries(pyctr, "c:/mem")) == ["mem"], "its content ended with its last process"
        said = pyctr("cp", "new", "c:/mem/new", code=1).stderr
        assert "only while the container runs" in said
    upper = pyctr.out("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "c")
    for folder in ("vol", "bound", "mem"):
        assert os.listdir(f"{upper}/{folder}") == [], "nothing went below a mount"


@STATES
def test_what_is_read_only_refuses_and_what_is_not_does_not(
    pyctr: Pyctr, here: str, state: str
) -> None:
    write("file")
    write("bound", "bound")
    write("open", "open")
    options = ["--read-only", "-v", "vol:/vol", "-v", "fixed:/fixed:ro"]
    options += ["-v", f"{here}/bound:/b:ro", "-v", f"{here}/open:/open"]
    pyctr("create", "--name", "c", *options, "base", "sleep", "10000")
    if state != "created":
        pyctr("start", "c")
    if state == "stopped":
        pyctr("stop", "-t", "0", "c")
    for target in ("c:/x", "c:/etc", "c:/etc/passwd"):
        said = pyctr("cp", "file", target, code=1).stderr
        assert "container rootfs is marked read-only" in said
    for target in ("c:/fixed", "c:/fixed/x", "c:/b"):
        assert "mounted volume is marked read-only" in pyctr("cp", "file", target, code=1).stderr
    tar = archive(x=b"x")
    assert "rootfs is marked read-only" in pyctr("cp", "-", "c:/etc", stdin=tar, code=1).stderr
    assert "volume is marked read-only" in pyctr("cp", "-", "c:/fixed", stdin=tar, code=1).stderr
    pyctr("cp", "file", "c:/vol/x")
    pyctr("cp", "file", "c:/open")
    assert content(pyctr, "c:/vol/x") == content(pyctr, "c:/open") == read("open") == "content"
    assert content(pyctr, "c:/b") == read("bound") == "bound"


@STATES
def test_a_file_that_is_mounted_is_overwritten_and_stays_mounted(
    pyctr: Pyctr, here: str, state: str
) -> None:
    """Removing it from outside would unmount it: the kernel protects only its own namespace."""
    container(pyctr, state)
    write("hosts", "127.0.0.1 replaced\n")
    pyctr("cp", "hosts", "c:/etc/hosts")
    assert content(pyctr, "c:/etc/hosts") == "127.0.0.1 replaced\n"
    pyctr("cp", "-", "c:/etc", stdin=archive(hosts=b"127.0.0.1 again\n"))
    assert content(pyctr, "c:/etc/hosts") == "127.0.0.1 again\n"
    said = pyctr("cp", "-", "c:/etc", stdin=archive(hosts={"type": tarfile.SYMTYPE}), code=1).stderr
    assert "something is mounted here" in said
    if state == "running":
        shown = pyctr.out(
            "exec", "c", "sh", "-c", "grep -c /etc/hosts /proc/mounts; cat /etc/hosts"
        )
        assert shown == "1\n127.0.0.1 again"
    assert "hosts" not in pyctr.out("diff", "c")


def test_owners_are_those_of_the_other_side_unless_kept(pyctr: Pyctr, here: str) -> None:
    container(pyctr, "running", script="mkdir /d; touch /d/f; chown -R 7:8 /d; mkdir -m 1777 /old")
    write("tree/f")
    for path in ("tree", "tree/f"):
        os.chown(path, 1000, 1001)
    os.chmod("tree", 0o750)
    pyctr("cp", "tree", "c:/in")
    pyctr("cp", "-a", "tree", "c:/kept")
    pyctr("cp", "-", "c:/tmp", stdin=archive(t={"data": b"x", "uid": 5, "gid": 6}))
    pyctr("cp", "-a", "-", "c:/tmp", stdin=archive(a={"data": b"x", "uid": 5, "gid": 6}))
    pyctr("cp", "tree/.", "c:/old")
    stats = "stat -c '%n %u:%g %a' /in /in/f /kept /kept/f /tmp/t /tmp/a /old"
    assert pyctr.out("exec", "c", "sh", "-c", stats).splitlines() == [
        "/in 0:0 750", "/in/f 0:0 644", "/kept 1000:1001 750", "/kept/f 1000:1001 644",
        "/tmp/t 0:0 644", "/tmp/a 5:6 644",
        "/old 0:0 1777",  # a folder that was there keeps what it has
    ]  # fmt: skip
    pyctr("cp", "-a", "tree/.", "c:/old")
    assert pyctr.out("exec", "c", "stat", "-c", "%u %a", "/old") == "1000 750"
    pyctr("cp", "c:/d", "out")
    pyctr("cp", "-a", "c:/d", "archived")
    for path, owner in (("out", (0, 0)), ("out/f", (0, 0)), ("archived/f", (7, 8))):
        info = os.stat(path)
        assert (info.st_uid, info.st_gid) == owner
    assert entries(pyctr, "c:/d")["d/f"].uid == 7, "an archive says what is there"


def test_privileges_do_not_come_out_of_a_container_unasked(pyctr: Pyctr, here: str) -> None:
    script = (
        "mkdir /d; cp /bin/busybox /d/suid; chmod 6755 /d/suid; mknod /d/disk b 8 0; mkfifo /d/p"
    )
    container(pyctr, "running", script=script)
    upper = pyctr.out("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "c")
    os.setxattr(f"{upper}/d/suid", "security.capability", CAPABILITY)
    said = pyctr("cp", "c:/d", "out").stderr
    assert "1 device nodes were left out" in said
    assert sorted(os.listdir("out")) == ["p", "suid"]
    assert stat.S_IMODE(os.stat("out/suid").st_mode) == 0o755
    assert "security.capability" not in os.listxattr("out/suid")
    assert "it is a device node" in pyctr("cp", "c:/d/disk", "x", code=1).stderr
    pyctr("cp", "-a", "c:/d", "all")
    assert stat.S_IMODE(os.stat("all/suid").st_mode) == 0o6755
    assert os.getxattr("all/suid", "security.capability") == CAPABILITY
    info = os.stat("all/disk")
    assert stat.S_ISBLK(info.st_mode) and info.st_rdev == os.makedev(8, 0)


def everything(folder: str) -> None:
    """All kinds of files that there are, below an existing folder."""
    write(f"{folder}/plain", "plain", 0o640)
    write(f"{folder}/suid", "x", 0o4711)
    os.link(f"{folder}/plain", f"{folder}/hard")
    os.symlink("/nowhere/at all", f"{folder}/soft")
    os.mkfifo(f"{folder}/fifo", 0o622)
    os.chmod(f"{folder}/fifo", 0o622)
    os.mknod(f"{folder}/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mkdir(f"{folder}/sticky")
    os.chmod(f"{folder}/sticky", 0o1777)
    os.setxattr(f"{folder}/plain", "user.note", b"noted")
    os.setxattr(f"{folder}/suid", "security.capability", CAPABILITY)
    with open(f"{folder}/sparse", "wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"middle")
    write(f"{folder}/na\u00efve \udcff name", "odd")
    for name in os.listdir(folder):
        os.utime(f"{folder}/{name}", (1_000_000_001, 1_000_000_002), follow_symlinks=False)
    os.utime(folder, (1_000_000_001, 1_000_000_002))
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{folder}/socket")
    os.utime(folder, (1_000_000_001, 1_000_000_002))


def facts(folder: str) -> dict[str, tuple[Any, ...]]:
    """What is below a folder and should have been copied."""
    found: dict[str, tuple[Any, ...]] = {}
    for name in ["", *os.listdir(folder)]:
        path = f"{folder}/{name}".rstrip("/")
        info = os.lstat(path)
        if stat.S_ISSOCK(info.st_mode):
            continue
        more: tuple[Any, ...] = ()
        if stat.S_ISREG(info.st_mode):
            with open(path, "rb") as file:
                more = (file.read(), info.st_size, info.st_nlink)
            more += tuple((key, os.getxattr(path, key)) for key in sorted(os.listxattr(path)))
        elif stat.S_ISLNK(info.st_mode):
            more = (os.readlink(path),)
        elif not stat.S_ISDIR(info.st_mode):
            more = (info.st_rdev,)
        found[name] = (info.st_mode, info.st_uid, info.st_gid, int(info.st_mtime), *more)
    return found


@STATES
@pytest.mark.parametrize("way", ["direct", "archive"])
def test_all_kinds_of_files_travel_whole(pyctr: Pyctr, here: str, state: str, way: str) -> None:
    container(pyctr, state, "-v", "vol:/vol")
    os.mkdir("tree")
    everything("tree")
    before = os.umask(0o077)
    try:
        for target in ("/union", "/vol/tree"):
            if way == "direct":
                pyctr("cp", "-a", "tree", f"c:{target}")
                pyctr("cp", "-a", f"c:{target}", "back")
            else:
                os.mkdir("empty")
                pyctr("cp", "-a", "tree/.", "c:/first")
                pyctr("cp", "empty", f"c:{target}")
                with open("tar", "w+b") as tar:
                    subprocess.run(pyctr.argv("cp", "c:/first/.", "-"), stdout=tar, check=True)
                    tar.seek(0)
                    subprocess.run(
                        pyctr.argv("cp", "-a", "-", f"c:{target}"), stdin=tar, check=True
                    )
                pyctr("cp", "-a", f"c:{target}", "back")
            assert facts("back") == facts("tree")
            assert os.stat("back/sparse").st_blocks * 512 < 1 << 20, "holes stay holes"
            assert os.stat("back/hard").st_ino == os.stat("back/plain").st_ino
            subprocess.run(["rm", "-rf", "back", "empty"], check=True)
    finally:
        os.umask(before)


def test_an_existing_tree_is_merged_and_its_files_replaced(pyctr: Pyctr, here: str) -> None:
    script = "mkdir -p /t/sub; echo old > /t/sub/f; ln -s f /t/sub/l; echo stays > /t/sub/other"
    container(pyctr, "running", script=script)
    write("t/sub/f", "new")
    write("t/sub/l", "a file where a link was")
    pyctr("cp", "t", "c:/")
    shown = pyctr.out(
        "exec", "c", "sh", "-c", "cd /t/sub; cat f; echo; cat other l; test -L l || echo file"
    )
    assert shown == "new\nstays\na file where a link wasfile"
    pyctr("cp", "c:/t/.", "t")
    assert read("t/sub/other") == "stays\n"


def test_links_at_the_end_are_followed_where_docker_follows_them(pyctr: Pyctr, here: str) -> None:
    script = """mkdir /real /real/sub; echo text > /real/f; ln -s /real /to-real; ln -s real/f /to-f
    ln -s /real/new /to-new; ln -s /to-new /to-to-new; ln -s loop /loop"""
    container(pyctr, "running", script=script)
    write("real/f", "local")
    os.symlink("real", "l")
    os.symlink("real/f", "lf")
    pyctr("cp", "c:/to-f", "a")
    assert os.readlink("a") == "real/f"
    pyctr("cp", "-L", "c:/to-f", "b")
    pyctr("cp", "--follow-link", "c:/to-real", "bb")
    assert read("b") == read("bb/f") == "text\n"
    os.mkdir("into")
    pyctr("cp", "c:/to-real/", "into")
    pyctr("cp", "c:/to-real/.", "into")
    assert read("into/to-real/f") == read("into/f") == "text\n"
    assert not os.path.islink("into/to-real")
    pyctr("cp", "l", "c:/copied")
    pyctr("cp", "-L", "l", "c:/followed")
    pyctr("cp", "l/", "c:/slash")
    pyctr("cp", "real/f", "c:/to-to-new")  # a link to a link to what is not there yet
    pyctr("cp", "real/f", "c:/to-real")
    pyctr("cp", "real/f", "c:/to-real/sub/")
    look = "cat /followed/f /slash/f /real/new /real/f /real/sub/f; readlink /copied /to-new"
    shown = pyctr.out("exec", "c", "sh", "-c", look.replace(" /to-new", "; readlink /to-new"))
    assert shown == "local" * 5 + "real\n/real/new"
    assert "too many links" in pyctr("cp", "-L", "c:/loop", "x", code=1).stderr
    assert "too many links" in pyctr("cp", "lf", "c:/loop", code=1).stderr
    os.symlink("real/made", "dangling")
    pyctr("cp", "c:/real/f", "dangling")
    assert read("real/made") == "local" and os.path.islink("dangling")


def test_links_of_a_container_stay_inside(pyctr: Pyctr, here: str, home_dir: str) -> None:
    write(f"{home_dir}/outside/secret", "of the host")
    up = "../" * 20
    script = f"""ln -s {home_dir}/outside /abs; ln -s {up}{home_dir[1:]}/outside /rel
    ln -s /proc/1/root /magic; mkdir -p {home_dir}/outside
    echo inside > {home_dir}/outside/secret"""
    for state in ("running", "stopped"):
        if state == "running":
            container(pyctr, state, script=script)
        else:
            pyctr("stop", "-t", "0", "c")
        for path in ("/abs/secret", "/rel/secret", f"{up}abs/secret", f"/etc/{up}rel/secret"):
            assert content(pyctr, f"c:{path}") == "inside\n"
        assert {"abs", "abs/secret"} <= entries(pyctr, "c:/abs/").keys()
        write("file")
        pyctr("cp", "file", "c:/abs/new")
        pyctr("cp", "file", "c:/rel/new")
        pyctr("cp", "-", "c:/", stdin=archive(abs__tar=b"x", rel__tar=b"x"))
        assert os.listdir(f"{home_dir}/outside") == ["secret"]
        assert read(f"{home_dir}/outside/secret") == "of the host"
    pyctr("start", "c")
    said = pyctr("cp", f"c:/magic/{home_dir}/outside/secret", "x", code=1).stderr
    assert "one that the kernel makes up" in said


def test_an_archive_cannot_leave_its_folder(pyctr: Pyctr, here: str, home_dir: str) -> None:
    container(pyctr, "running", script="mkdir /d")
    outside = f"{home_dir}/outside"
    os.mkdir(outside)
    said = pyctr("cp", "-", "c:/d", stdin=archive(**{"..__out": b"x"}), code=1).stderr
    assert "leaves the folder" in said
    link = {"type": tarfile.SYMTYPE, "linkname": f"../../../../../../..{outside}"}
    said = pyctr("cp", "-", "c:/d", stdin=archive(up=link, up__f=b"x"), code=1).stderr
    assert "link to nowhere" in said
    hard = {"type": tarfile.LNKTYPE, "linkname": f"/{outside}/../../etc/passwd"}
    assert "refused" in pyctr("cp", "-", "c:/d", stdin=archive(h=hard), code=1).stderr
    pyctr("cp", "-", "c:/d", stdin=archive(__etc__shadow=b"x"))
    assert content(pyctr, "c:/d/etc/shadow") == "x"
    assert os.listdir(outside) == []
    said = pyctr("cp", "-", "c:/d", stdin=b"no tar at all" * 100, code=1).stderr
    assert "the archive is damaged" in said
    cut = archive(f=bytes(range(256)) * 100)[:5000]
    assert "damaged" in pyctr("cp", "-", "c:/d", stdin=cut, code=1).stderr
    assert "d/f" not in entries(pyctr, "c:/d"), "half a file is not kept"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_an_archive_may_be_compressed(pyctr: Pyctr, here: str, kind: str) -> None:
    """By our own code: no program of the container or the host is called (CVE-2026-41567)."""
    container(pyctr, "running")
    packed = importlib.import_module({"gzip": "gzip", "bzip2": "bz2", "xz": "lzma"}[kind]).compress
    tar = archive(f=b"content")
    pyctr("cp", "-", "c:/tmp", stdin=packed(tar))
    assert content(pyctr, "c:/tmp/f") == "content"
    said = pyctr("cp", "-", "c:/tmp", stdin=packed(tar)[: len(packed(tar)) // 2], code=1).stderr
    assert "damaged" in said


def test_what_the_kernel_makes_up_is_neither_read_nor_written(pyctr: Pyctr, here: str) -> None:
    script = "ln -s /proc/sys/kernel/domainname /a; ln -s /sys/fs /b; echo x > /visible"
    container(pyctr, "running", script=script)
    write("file")
    write("tree/proc/x")
    os.makedirs("empty/proc")
    os.makedirs("empty/sys")
    for source in ("c:/proc/1/status", "c:/proc", "c:/a", "c:/sys/kernel"):
        said = pyctr("cp", "-L", source, "x", code=1).stderr
        assert "the kernel makes it up" in said and "pyctr exec c cat" in said
    for target in ("c:/a", "c:/b/x", "c:/proc/self/attr/current", "c:/proc", "c:/dev/pts"):
        said = pyctr("cp", "file", target, code=1).stderr
        assert "the kernel makes up the files there" in said or "does not exist" in said
    assert "the kernel makes up" in pyctr("cp", "tree/.", "c:/", code=1).stderr
    said = pyctr("cp", "-", "c:/", stdin=archive(proc__sys__x=b"x"), code=1).stderr
    assert "the kernel makes up" in said
    pyctr("cp", "empty/.", "c:/")
    pyctr("cp", "-", "c:/", stdin=archive(proc={"type": tarfile.DIRTYPE, "mode": 0o755}))
    names = set(entries(pyctr, "c:/"))
    assert {".", "./visible", "./proc", "./sys", "./dev/null"} <= names
    assert not any(name.startswith(("./proc/", "./sys/", "./dev/pts/")) for name in names)
    pyctr("cp", "c:/", "all")
    assert os.listdir("all/proc") == os.listdir("all/sys") == []
    assert read("all/visible") == "x\n"
    said = pyctr("cp", "file", "c:/dev/null", code=1).stderr
    assert "it is a device, a pipe or a socket" in said
    assert "it is a device" in pyctr("cp", "c:/visible", "/dev/null", code=1).stderr


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))


def test_large_files_pass_in_little_memory(pyctr: Pyctr, here: str) -> None:
    container(pyctr, "running")
    size = 700 << 20
    with open("large", "wb") as file:
        file.truncate(size)
        file.seek(size - 5)
        file.write(b"end\n\n")

    def run(*words: str, **more: Any) -> None:
        subprocess.run(pyctr.argv(*words), preexec_fn=limited, check=True, timeout=300, **more)

    run("cp", "large", "c:/tmp/large")
    run("cp", "c:/tmp/large", "back")
    with open("tar", "w+b") as tar:
        run("cp", "c:/tmp/large", "-", stdout=tar)
        tar.seek(0)
        run("cp", "-", "c:/", stdin=tar)
    os.unlink("tar")
    assert os.stat("back").st_size == size
    assert os.stat("back").st_blocks * 512 < 1 << 20
    assert (
        pyctr.out("exec", "c", "sh", "-c", "stat -c %s /large; tail -c 5 /large") == f"{size}\nend"
    )
    subprocess.run(["cmp", "large", "back"], check=True)


def test_a_tree_deeper_than_any_path_comes_out_and_goes_in(pyctr: Pyctr, here: str) -> None:
    script = """mkdir /deep; cd /deep; i=0
    while [ $i -lt 1200 ]; do mkdir folder && cd -P folder || exit; i=$((i+1)); done
    echo end > f"""
    container(pyctr, "running", script=script)

    def few() -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))

    subprocess.run(pyctr.argv("cp", "c:/deep", "out"), preexec_fn=few, check=True)
    subprocess.run(pyctr.argv("cp", "out", "c:/again"), preexec_fn=few, check=True)
    with open("tar", "wb") as tar:
        subprocess.run(pyctr.argv("cp", "c:/again", "-"), preexec_fn=few, stdout=tar, check=True)
    with tarfile.open("tar") as archived:
        names = archived.getnames()
    assert len(names) == 1202 and names[-1].endswith("folder/f")
    from kernel.tree import content_size

    assert content_size("out") == 4
    pyctr("rm", "-f", "c")


@pytest.fixture
def feeding(pyctr: Pyctr) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `cp - ...` and gives it the beginning of an archive; the test gives it the rest."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        made = subprocess.Popen(
            pyctr.argv("cp", *words), stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        running.append(made)
        assert made.stdin is not None
        made.stdin.write(archive(first=b"x" * (1 << 20))[: 1 << 20])
        made.stdin.flush()
        return made

    yield start
    for one in running:
        one.kill()
        one.wait()
        for stream in (one.stdin, one.stderr):
            if stream is not None:
                stream.close()


def test_a_container_is_not_started_while_its_layer_is_written(
    pyctr: Pyctr, feeding: Callable[..., subprocess.Popen[bytes]], here: str
) -> None:
    container(pyctr, "stopped")
    upper = pyctr.out("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "c")
    copying = feeding("-", "c:/tmp")
    wait_for(lambda: os.path.exists(f"{upper}/tmp/first"))
    with open("/proc/self/mountinfo") as table:
        assert pyctr.root not in table.read(), "the mounts are nobody else's"
    starting = subprocess.Popen(pyctr.argv("start", "c"), stdout=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        starting.wait(1)
    assert pyctr.out("ps", "-a", "--format", "{{.State}}") == "exited"
    assert copying.stdin is not None
    copying.stdin.write(archive(first=b"x" * (1 << 20))[1 << 20 :])
    copying.stdin.close()
    assert copying.wait(60) == 0
    assert starting.wait(60) == 0
    assert pyctr.out("exec", "c", "stat", "-c", "%s", "/tmp/first") == str(1 << 20)


def test_a_killed_copy_leaves_no_mount_and_no_lock(
    pyctr: Pyctr, feeding: Callable[..., subprocess.Popen[bytes]], here: str
) -> None:
    container(pyctr, "stopped", "-v", "vol:/vol")
    copying = feeding("-", "c:/vol")
    wait_for(lambda: os.path.exists(f"{pyctr.volume_of('c', '/vol')[1]}/first"))
    copying.kill()
    copying.wait()
    pyctr("start", "c")
    pyctr("stop", "-t", "0", "c")
    pyctr("rm", "c")
    pyctr("volume", "rm", "vol")


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_kill_while_the_files_are_mounted_leaves_nothing(
    pyctr: Pyctr, here: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    container(pyctr, "stopped", "-v", "vol:/vol")
    write("file")
    words = ("cp", "file", "c:/vol/x") if way == "in" else ("cp", "c:/etc/passwd", "out")
    monkeypatch.setenv("PYCTR_TRACE", "kill:runtime.rootfs.assembled")
    assert "was killed" in pyctr(*words, code=125).stderr
    monkeypatch.delenv("PYCTR_TRACE")
    with open("/proc/self/mountinfo") as table:
        assert pyctr.root not in table.read()
    pyctr(*words)
    pyctr("start", "c")


def test_a_container_is_not_removed_while_it_is_read(pyctr: Pyctr, here: str) -> None:
    container(pyctr, "running", script="head -c 3000000 /dev/zero > /big")
    reading = subprocess.Popen(pyctr.argv("cp", "c:/big", "-"), stdout=subprocess.PIPE)
    assert reading.stdout is not None
    beginning = reading.stdout.read(1024)
    removing = subprocess.Popen(pyctr.argv("rm", "-f", "c"), stdout=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        removing.wait(1)
    assert len(beginning + reading.stdout.read()) > 3000000
    reading.stdout.close()
    assert reading.wait(60) == removing.wait(60) == 0


def test_a_stopped_container_can_be_started_while_it_is_read(pyctr: Pyctr, here: str) -> None:
    container(pyctr, "stopped", script="head -c 3000000 /dev/zero > /big")
    reading = subprocess.Popen(pyctr.argv("cp", "c:/big", "-"), stdout=subprocess.PIPE)
    assert reading.stdout is not None
    beginning = reading.stdout.read(1024)
    pyctr("start", "c")
    pyctr("exec", "c", "touch", "/new")
    assert len(beginning + reading.stdout.read()) > 3000000
    reading.stdout.close()
    assert reading.wait(60) == 0


def test_a_container_that_ends_is_read_to_the_end_and_written_no_more(
    pyctr: Pyctr, feeding: Callable[..., subprocess.Popen[bytes]], here: str
) -> None:
    container(pyctr, "running", "-v", "vol:/vol", script="head -c 3000000 /dev/zero > /vol/big")
    reading = subprocess.Popen(pyctr.argv("cp", "c:/vol/big", "-"), stdout=subprocess.PIPE)
    assert reading.stdout is not None
    beginning = reading.stdout.read(1024)
    writing = feeding("-", "c:/vol")
    wait_for(lambda: os.path.exists(f"{pyctr.volume_of('c', '/vol')[1]}/first"))
    pyctr("stop", "-t", "0", "c")
    assert writing.wait(60) == 1
    assert writing.stderr is not None and b"container c has ended" in writing.stderr.read()
    assert len(beginning + reading.stdout.read()) > 3000000
    reading.stdout.close()
    assert reading.wait(60) == 0
    assert "first" not in os.listdir(pyctr.volume_of("c", "/vol")[1])


def test_a_socket_is_no_file_to_copy(pyctr: Pyctr, here: str) -> None:
    container(pyctr, "created", "-v", f"{here}:/here")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for words in (("c:/here/socket", "x"), ("socket", "c:/x"), ("c:/here/socket", "-")):
            assert "it is a socket" in pyctr("cp", *words, code=1).stderr
        assert list(entries(pyctr, "c:/here")) == ["here"]


def test_a_paused_container_can_be_read_and_written(pyctr: Pyctr, here: str) -> None:
    container(pyctr, "running")
    pyctr("pause", "c")
    write("file")
    pyctr("cp", "file", "c:/tmp/f")
    assert content(pyctr, "c:/tmp/f") == "content"


def test_a_process_that_changed_its_root_changes_nothing(pyctr: Pyctr, here: str) -> None:
    script = "mkdir -p /jail/bin; cp /bin/busybox /jail/bin/sleep; touch /ready"
    pyctr(
        "run", "-d", "--name", "c", "base", "sh", "-c", f"{script}; exec chroot /jail sleep 10000"
    )
    wait_for(lambda: pyctr("cp", "c:/ready", "-q", "ready", code=None).returncode == 0)
    assert "bin/busybox" in entries(pyctr, "c:/bin/.") or "./busybox" in entries(pyctr, "c:/bin/.")


def test_reading_changes_nothing(pyctr: Pyctr, here: str) -> None:
    pyctr("create", "--name", "c", "-v", "vol:/vol", "--tmpfs", "/mem", "base")
    entries(pyctr, "c:/")
    pyctr("cp", "c:/etc", "etc")
    assert pyctr.out("diff", "c") == ""


def test_what_is_missing_on_the_host_does_not_keep_the_rest_inside(pyctr: Pyctr, here: str) -> None:
    os.mkdir("bound")
    container(pyctr, "stopped", "-v", f"{here}/bound:/bound", script="echo kept > /kept")
    os.rmdir("bound")
    assert content(pyctr, "c:/kept") == "kept\n"
    write("file")
    assert "does not exist on the host" in pyctr("cp", "file", "c:/x", code=None).stderr


def test_a_copy_of_a_folder_into_itself_ends(pyctr: Pyctr, here: str) -> None:
    container(pyctr, "running", "-v", f"{here}:/here")
    write("tree/f")
    pyctr("cp", "tree", "c:/here/tree")
    pyctr("cp", ".", "c:/here/tree")
    assert os.path.exists("tree/tree/f")


def test_copies_are_events(pyctr: Pyctr, here: str) -> None:
    from kernel import quickjson

    container(pyctr, "created")
    write("file")
    pyctr("cp", "file", "c:/x")
    pyctr("cp", "c:/x", "y")
    entries(pyctr, "c:/x")
    with open(f"{pyctr.root}/events.log") as lines:
        said = [quickjson.loads(line) for line in lines]
    actions = [one["Action"] for one in said if one["Actor"]["Attributes"].get("name") == "c"]
    assert actions.count("copy") == 3
