"""`pyctr system check`: it finds what is damaged, lost or left over, and mends it on request."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess

import pytest

from tests.watch import monitor_of, state, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from tests.conftest import Pyctr
    from tests.registries import Served

    Start = Callable[..., Served]

PAGE = 4096


def found(pyctr: Pyctr, *flags: str) -> dict[str, dict[str, Any]]:
    """The findings by what they are about, and the exit code fits."""
    ran = pyctr("system", "check", "--format", "json", *flags, code=None)
    said = json.loads(ran.stdout)
    assert ran.returncode == (0 if said["Sound"] else 1), ran.stderr
    return {one["About"]: one for one in said["Findings"]}


def repaired(pyctr: Pyctr, *flags: str) -> dict[str, dict[str, Any]]:
    """What --repair has mended; afterwards everything is as it should be."""
    told = found(pyctr, "--repair", *flags)
    assert {one["State"] for one in told.values()} == {"mended"}, told
    assert found(pyctr, *flags) == {}
    return told


def data_of(pyctr: Pyctr, volume: str) -> str:
    return f"{pyctr.root}/volumes/{volume}/_data"


def dead_pid() -> int:
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


@pytest.fixture
def used(pyctr: Pyctr) -> Pyctr:
    """A root folder with an image, a volume with a file, and a container that has ended."""
    pyctr("run", "--name", "one", "-v", "keep:/data", "base", "sh", "-c",
          "echo kept > /data/f; echo written > /own")  # fmt: skip
    return pyctr


def database(pyctr: Pyctr) -> sqlite3.Connection:
    return sqlite3.connect(f"{pyctr.root}/state.db", isolation_level=None)


def damage(pyctr: Pyctr, table: str) -> None:
    """Overwrites the page where a table begins; the log is in the file by then."""
    db = database(pyctr)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    page = db.execute(query, (table,)).fetchone()[0]
    db.close()
    with open(f"{pyctr.root}/state.db", "r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xaa" * PAGE)


def without_log(pyctr: Pyctr) -> str:
    """The database's file, when its log is in it and gone."""
    db = database(pyctr)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    for end in ("-wal", "-shm"):
        if os.path.exists(f"{pyctr.root}/state.db{end}"):
            os.unlink(f"{pyctr.root}/state.db{end}")
    return f"{pyctr.root}/state.db"


def test_where_nothing_is_nothing_is_wrong_and_nothing_is_made(pyctr: Pyctr) -> None:
    root = f"{pyctr.root}/not/there"
    assert pyctr.out("--root", root, "system", "check") == "Everything is as it should be."
    assert not os.path.exists(root)


def test_what_is_used_as_it_should_be_is_sound(used: Pyctr) -> None:
    used("run", "-d", "--name", "up", "-v", "keep:/data", "base", "sleep", "3600")
    used("create", "--name", "ready", "-v", "/anonymous", "base")
    assert used.out("system", "check", "--all") == "Everything is as it should be."
    assert used.out("system", "check", "--quiet") == ""
    assert state(used, "up") == "running 0"


def test_volumes_are_compared_with_the_database(used: Pyctr) -> None:
    volumes = f"{used.root}/volumes"
    os.makedirs(f"{volumes}/stray/_data")
    with open(f"{volumes}/stray/_data/f", "w") as file:
        file.write("precious")
    used("volume", "create", "gone")
    shutil.rmtree(f"{volumes}/gone")
    used("volume", "create", "link")
    os.rmdir(data_of(used, "link"))
    os.symlink("/etc", data_of(used, "link"))
    os.unlink(f"{volumes}/keep/volume.json")
    os.makedirs(f"{volumes}/.new-x-{dead_pid()}/_data")
    assert set(found(used)) == {
        "volume stray", "volume gone", "volume link", "volume keep", "volumes",
    }  # fmt: skip
    assert "adopt" in used("system", "check", code=1).stdout
    repaired(used)
    with open(f"{volumes}/stray/_data/f") as file:
        assert file.read() == "precious"
    assert os.listdir(data_of(used, "gone")) == os.listdir(data_of(used, "link")) == []
    assert os.readlink(f"{volumes}/link/_data.strange") == "/etc"
    assert used.out("run", "--rm", "-v", "keep:/data", "base", "cat", "/data/f") == "kept"


def test_a_check_changes_nothing(used: Pyctr) -> None:
    os.makedirs(f"{used.root}/volumes/stray/_data")
    os.mkdir(f"{used.root}/containers/{'a' * 64}")

    def files() -> list[str]:
        argv = ["find", used.root, "-mindepth", "1", "-not", "-name", "state.db*"]
        argv += ["-printf", "%p %m %T@ %s\\n"]
        listed = subprocess.run(argv, capture_output=True, check=True)
        return sorted(listed.stdout.decode().split("\n"))

    before = files()
    assert len(found(used, "--all")) == 2
    assert files() == before
    repaired(used)


def test_layers_are_unpacked_again_and_damaged_content_is_found(used: Pyctr) -> None:
    (layer,) = os.listdir(f"{used.root}/layers")
    shutil.rmtree(f"{used.root}/layers/{layer}")
    told = repaired(used)
    assert next(iter(told)).startswith(f"layer {layer[:12]} of image docker.io/library/base")
    assert used.out("start", "-a", "one") == ""
    with open(f"{used.root}/blobs/sha256/{layer}", "r+b") as file:
        file.seek(4000)
        file.write(b"flipped")
    assert found(used) == {}, "nothing is read without --all"
    (told_of,) = found(used, "--all").values()
    assert "damaged" in told_of["What"]
    used("system", "check", "--all", "--repair")
    (left,) = found(used).values()
    assert "gone" in left["What"] and not left["Mendable"] and "bring" in left["Remedy"]
    used("rmi", "-f", "base")
    used("create", "base")
    assert found(used) == {}, "the image came in again"


def test_what_no_row_names_is_removed(used: Pyctr) -> None:
    left = [
        f"{used.root}/containers/{'a' * 64}",
        f"{used.root}/containers/.gone-x-{dead_pid()}",
        f"{used.root}/skeletons/.new-x-{dead_pid()}",
        f"{os.environ['PYCTR_RUN']}/{'b' * 64}",
    ]
    for path in left:
        os.makedirs(path)
    said = used("system", "check", code=1).stdout
    assert all(f"({path})" in said for path in left)
    repaired(used)
    assert not any(map(os.path.exists, left))


def test_modes_that_let_others_in_are_found_and_mended(used: Pyctr) -> None:
    wrong = {used.root: 0o711, f"{used.root}/volumes": 0o711, f"{used.root}/state.db": 0o600}
    for path, mode in wrong.items():
        os.chmod(path, mode | 0o055)
    with open(f"{used.root}/volumes/keep/_data/f") as file:
        before = os.fstat(file.fileno()).st_mode
    repaired(used)
    for path, mode in wrong.items():
        assert os.stat(path).st_mode & 0o777 == mode or os.stat(path).st_mode & 0o777 == 0o700
    assert os.stat(f"{used.root}/volumes/keep/_data/f").st_mode == before


def test_a_container_whose_monitor_was_killed_is_found_without_being_mended(used: Pyctr) -> None:
    used("run", "-d", "--name", "up", "base", "sleep", "3600")
    pid = int(used.out("inspect", "-f", "{{.State.Pid}}", "up"))
    os.kill(monitor_of(used, "up"), 9)
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the kernel has killed the container")
    told = found(used)
    assert "recorded as running" in told["container up"]["What"]
    assert found(used).keys() == told.keys(), "a check mends nothing"
    repaired(used)
    assert state(used, "up") == "exited 137"


def test_of_a_container_without_files_only_the_row_is_left(used: Pyctr) -> None:
    identity = used.out("inspect", "-f", "{{.Id}}", "one")
    shutil.rmtree(f"{used.root}/containers/{identity}")
    told = found(used)["container one"]
    assert not told["Mendable"] and "pyctr rm one" in told["Remedy"]
    used("rm", "one")
    assert found(used) == {}


def test_a_damaged_page_costs_what_was_on_it(used: Pyctr) -> None:
    damage(used, "image_refs")
    ran = used("run", "--rm", "base", "true", code=125)
    assert "malformed" in ran.stderr and "pyctr system check --repair" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(found(used)) == ["the database"]
    repaired(used)
    assert used.out("ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("one Exited (0)")
    assert used.volume_of("one", "/data")[0] == "keep"
    used("start", "one")
    assert used.out("run", "--rm", "-v", "keep:/data", "base", "cat", "/data/f") == "kept"
    kept = [name for name in os.listdir(used.root) if name.startswith("state.db.damaged-")]
    assert kept and {os.stat(f"{used.root}/{name}").st_mode & 0o777 for name in kept} == {0o600}


def test_containers_outlive_the_loss_of_volumes_and_mounts_in_the_database(used: Pyctr) -> None:
    for table in ("volumes", "images"):
        damage(used, table)
    repaired(used)
    assert used.volume_of("one", "/data")[0] == "keep"
    assert used("start", "-a", "one").returncode == 0


@pytest.mark.parametrize("how", ["header", "words", "page"])
def test_without_the_description_of_its_tables_all_rows_are_found(used: Pyctr, how: str) -> None:
    path = without_log(used)
    with open(path, "r+b") as file:
        content = file.read()
        at = {"header": 0, "words": content.index(b"CREATE TABLE containers"), "page": 0}[how]
        file.seek(at)
        file.write(b"\xee" * {"header": 100, "words": 40, "page": PAGE}[how])
    ran = used("ps", code=125)
    assert "database" in ran.stderr and "--repair" in ran.stderr and "Traceback" not in ran.stderr
    repaired(used)
    assert used.out("ps", "-a", "--format", "{{.Names}}") == "one"
    assert used.volume_of("one", "/data")[0] == "keep"
    assert used.out("run", "--rm", "--volumes-from", "one", "base", "cat", "/data/f") == "kept"


def test_rows_that_cannot_be_read_are_told_of_and_left_out(used: Pyctr) -> None:
    """Damage that SQLite does not see: what a row says is no JSON any more."""
    used("volume", "create", "--label", "a=b", "other")
    used("create", "--name", "two", "base")
    db = database(used)
    db.execute("UPDATE containers SET settings = '{' WHERE name = 'two'")
    db.execute("UPDATE volumes SET labels = ',' WHERE name = 'other'")
    db.close()
    for command in (("ps", "-a"), ("volume", "ls")):
        ran = used(*command, code=None)
        assert ran.returncode != 0 and "system check --repair" in ran.stderr
        assert "Traceback" not in ran.stderr
    repaired(used)
    assert used.out("ps", "-a", "--format", "{{.Names}}") == "one"
    assert used.out("volume", "inspect", "-f", "{{.Labels}}", "other") == "map[a:b]", "volume.json"


@pytest.mark.parametrize("how", ["truncated", "zeros", "noise", "empty", "removed"])
def test_whatever_happens_to_the_database_volumes_and_images_stay(used: Pyctr, how: str) -> None:
    identity = used.out("inspect", "-f", "{{.Id}}", "one")
    image = used.out("images", "-q", "--no-trunc")
    path = without_log(used)
    size = os.path.getsize(path)
    if how == "removed":
        os.unlink(path)
    else:
        left = {"truncated": 3 * PAGE, "empty": 0}.get(how, size)
        os.truncate(path, left)
        if how in ("zeros", "noise"):
            with open(path, "r+b") as file:
                file.write(b"\0" * size if how == "zeros" else os.urandom(size))
    told = found(used)
    assert list(told) == ["the database"], told
    told = found(used, "--repair")
    assert told["the database"]["State"] == "mended"
    lost = told[f"container {identity[:12]}"]
    assert not lost["Mendable"] and lost["Path"] == f"{used.root}/lost/{identity}"
    with open(f"{lost['Path']}/upper/own") as file:
        assert file.read() == "written\n"
    assert used.out("volume", "ls", "-q") == "keep"
    assert used.out("images", "-aq", "--no-trunc") == image, "it is known again, without a name"
    assert used.out("run", "--rm", "-v", "keep:/data", image, "cat", "/data/f") == "kept"
    shutil.rmtree(lost["Path"])
    assert found(used) == {}


def test_a_lost_database_costs_no_file_that_a_container_has_written(used: Pyctr) -> None:
    """Also if nobody asks for a check: the next command would sweep what no row names."""
    identity = used.out("inspect", "-f", "{{.Id}}", "one")
    os.unlink(without_log(used))
    assert used.out("ps", "-aq") == ""
    assert os.path.exists(f"{used.root}/lost/{identity}/upper/own")
    assert "to do" in used("system", "check", code=1).stdout
    shutil.rmtree(f"{used.root}/lost")


def test_a_pulled_image_is_known_again_with_its_archives(pyctr: Pyctr, serve: Start) -> None:
    """Its archive is compressed, so that only the manifest says which layer it is."""
    name = f"{serve().host}/team/base:1"
    pyctr("create", "--name", "x", "base")
    pyctr("tag", "base", name)
    pyctr("push", name)
    pyctr("rm", "x")
    pyctr("rmi", name, "base")
    pyctr("pull", name)

    def rows() -> list[Any]:
        return database(pyctr).execute("SELECT diff_id, digest FROM image_layers").fetchall()

    before = rows()
    assert before[0][0] != before[0][1]
    os.unlink(without_log(pyctr))
    pyctr("ps")
    assert rows() == before
    assert found(pyctr, "--all") == {}


def test_a_container_that_runs_does_not_notice_that_its_database_is_made_anew(used: Pyctr) -> None:
    used("run", "-d", "--name", "up", "-v", "keep:/data", "base",
         "sh", "-c", "while [ ! -e /data/go ]; do sleep 0.05; done; exit 7")  # fmt: skip
    damage(used, "image_refs")
    repaired(used)
    assert state(used, "up") == "running 0"
    assert used.out("exec", "up", "cat", "/data/f") == "kept"
    with open(f"{data_of(used, 'keep')}/go", "w"):
        pass
    until(lambda: state(used, "up") == "exited 7", "its end is recorded in the new one")


def test_what_still_runs_of_a_lost_container_is_ended(used: Pyctr) -> None:
    used("run", "-d", "--name", "up", "base", "sh", "-c", "echo x > /own; sleep 3600")
    pid = int(used.out("inspect", "-f", "{{.State.Pid}}", "up"))
    identity = used.out("inspect", "-f", "{{.Id}}", "up")
    own = f"{used.root}/containers/{identity}/upper/own"
    until(lambda: os.path.exists(own), "it has written its file")
    os.unlink(without_log(used))
    assert used.out("ps", "-aq") == ""
    assert os.path.exists(f"/proc/{pid}"), "who lists containers ends none"
    used("system", "check", "--repair", code=1)
    until(lambda: not os.path.exists(f"/proc/{pid}"), "it has ended")
    assert os.path.exists(f"{used.root}/lost/{identity}/upper/own")
    until(lambda: used("system", "check", "--repair", code=None).stdout.count("\n") == 3,
          "only the two lost containers are told of")  # fmt: skip
    shutil.rmtree(f"{used.root}/lost")
