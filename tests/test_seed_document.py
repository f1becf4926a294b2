"""Managing Data in Containers: each sentence of the document is a test, named after it.

The document says `docker`; here the same command lines are said to `pyctr`.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def test_volumes_are_for_persistence(pyctr: Pyctr) -> None:
    pyctr("run", "--rm", "-v", "keep:/data", "base", "sh", "-c", "echo kept > /data/file")
    assert pyctr.out("run", "--rm", "-v", "keep:/data", "base", "cat", "/data/file") == "kept"


def test_containers_persist_until_you_remove_them(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "c", "base", "true")
    assert pyctr.out("ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("c Exited (0)")
    pyctr("rm", "c")
    assert pyctr.out("ps", "-aq") == ""
    assert "c" in pyctr("start", "c", code=1).stderr


def test_until_then_the_container_can_be_started_stopped_restarted(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base", "sleep", "1000")
    state = ("inspect", "--format", "{{.State.Status}}", "c")
    assert pyctr.out(*state) == "created"
    assert pyctr.out("start", "c") == "c"
    assert pyctr.out(*state) == "running"
    assert pyctr.out("stop", "-t", "0", "c") == "c"
    assert pyctr.out(*state) == "exited"
    pyctr("start", "c")
    first = pyctr.out("inspect", "--format", "{{.State.Pid}}", "c")
    pyctr("restart", "-t", "0", "c")
    assert pyctr.out(*state) == "running"
    assert pyctr.out("inspect", "--format", "{{.State.Pid}}", "c") != first


def test_even_if_a_container_is_stopped_its_data_is_still_persisted(pyctr: Pyctr) -> None:
    script = "cat /own /data/file 2>/dev/null; echo inside > /own; echo volume > /data/file"
    pyctr("run", "--name", "c", "-v", "/data", "base", "sh", "-c", script)
    assert pyctr.out("inspect", "--format", "{{.State.Running}}", "c") == "false"
    _, folder = pyctr.volume_of("c", "/data")
    with open(f"{folder}/file") as file:
        assert file.read() == "volume\n"
    assert pyctr.out("start", "-a", "c") == "inside\nvolume"


def test_run_actually_creates_a_container_then_activates_it(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "one", "base", "echo", "hello")
    assert pyctr.out("start", "-a", "one") == pyctr.out(
        "run", "--name", "two", "base", "echo", "hello"
    )
    shown = pyctr.out("ps", "-a", "--format", "{{.Names}} {{.Command}}").splitlines()
    assert sorted(shown) == ['one "echo hello"', 'two "echo hello"']


def test_there_are_two_ways_data_volumes_and_data_volume_containers(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "dbdata", "-v", "/dbdata", "base")
    pyctr("run", "--rm", "--volumes-from", "dbdata", "base", "sh", "-c", "echo 1 > /dbdata/a")
    assert pyctr.out("run", "--rm", "--volumes-from", "dbdata", "base", "cat", "/dbdata/a") == "1"


def test_a_data_volume_bypasses_the_union_file_system(pyctr: Pyctr) -> None:
    script = "echo x > /data/in-volume; echo y > /in-union; cat /proc/self/mountinfo"
    pyctr_out = pyctr.out("run", "--name", "c", "-v", "/data", "base", "sh", "-c", script)
    types = {line.split()[4]: line.split(" - ")[1].split()[0] for line in pyctr_out.splitlines()}
    assert types["/"] == "overlay"
    assert types["/data"] != "overlay"
    _, folder = pyctr.volume_of("c", "/data")
    assert os.listdir(folder) == ["in-volume"]
    upper = pyctr.out("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", "c")
    assert os.path.exists(f"{upper}/in-union")
    assert not os.path.exists(f"{upper}/data/in-volume")


def test_volumes_are_initialized_when_a_container_is_created(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "maker", "base", "sh", "-c", "mkdir /site; echo index > /site/page")
    pyctr("commit", "maker", "site")
    pyctr("create", "--name", "c", "-v", "/site", "site")
    name, folder = pyctr.volume_of("c", "/site")
    with open(f"{folder}/page") as page:
        assert page.read() == "index\n", "the content is there before the container ever started"
    assert name in pyctr.out("volume", "ls", "-q").splitlines()


def test_data_volumes_can_be_shared_and_reused_between_containers(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "first", "-v", "/data", "base", "sleep", "1000")
    pyctr("run", "--rm", "--volumes-from", "first", "base", "sh", "-c", "echo shared > /data/f")
    assert pyctr.out("exec", "first", "cat", "/data/f") == "shared"
    pyctr("rm", "-f", "first")
    pyctr("volume", "create", "named")
    pyctr("run", "--rm", "-v", "named:/a", "base", "sh", "-c", "echo reused > /a/f")
    assert pyctr.out("run", "--rm", "-v", "named:/b", "base", "cat", "/b/f") == "reused"


def test_changes_to_a_data_volume_are_made_directly(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "-v", "/data", "base", "sleep", "1000")
    _, folder = pyctr.volume_of("c", "/data")
    pyctr("exec", "c", "sh", "-c", "echo inside > /data/f")
    with open(f"{folder}/f") as file:
        assert file.read() == "inside\n"
    with open(f"{folder}/g", "w") as file:
        file.write("outside")
    assert pyctr.out("exec", "c", "cat", "/data/g") == "outside"


def test_changes_to_a_data_volume_are_not_included_when_you_update_an_image(pyctr: Pyctr) -> None:
    script = "echo v > /data/in-volume; echo u > /in-union"
    pyctr("run", "--name", "c", "-v", "/data", "base", "sh", "-c", script)
    pyctr("commit", "c", "updated")
    seen = pyctr.out("run", "--rm", "updated", "sh", "-c", "cat /in-union; ls /data 2>/dev/null")
    assert seen == "u"
    again = ("run", "--rm", "--volumes-from", "c", "updated", "cat", "/data/in-volume")
    assert pyctr.out(*again) == "v", "the old volume serves a container of the new image"


def test_volumes_persist_until_no_containers_use_them(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "one", "-v", "/data", "base")
    pyctr("create", "--name", "two", "--volumes-from", "one", "base")
    name, folder = pyctr.volume_of("one", "/data")
    pyctr("rm", "one")
    assert os.path.isdir(folder)
    assert "two" in pyctr("volume", "rm", name, code=1).stderr
    pyctr("rm", "two")
    assert not os.path.exists(folder)
    assert name not in pyctr.out("volume", "ls", "-q").splitlines()
    pyctr("volume", "restore", name)
    assert os.path.isdir(folder), "the last plain rm can be undone for a day"


def test_the_v_flag_adds_a_data_volume_with_create_and_with_run(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "created", "-v", "/webapp", "base")
    pyctr("run", "--name", "ran", "-v", "/webapp", "base", "true")
    assert pyctr.volume_of("created", "/webapp") != pyctr.volume_of("ran", "/webapp")


def test_v_can_be_used_multiple_times_to_mount_multiple_data_volumes(pyctr: Pyctr) -> None:
    volumes = ("-v", "/one", "-v", "/two", "-v", "three:/three")
    pyctr("run", "--name", "c", *volumes, "base", "sh", "-c", "touch /one/1 /two/2 /three/3")
    for destination, file in (("/one", "1"), ("/two", "2"), ("/three", "3")):
        assert os.listdir(pyctr.volume_of("c", destination)[1]) == [file]


def test_the_example_creates_a_new_volume_inside_a_container_at_webapp(pyctr: Pyctr) -> None:
    pyctr("tag", "base", "training/webapp")
    script = "echo started > /webapp/log; sleep 1000"
    name = ("--name", "web", "-v", "/webapp", "training/webapp")
    identity = pyctr.out("run", "-d", *name, "sh", "-c", script)
    assert len(identity) == 64
    volume, folder = pyctr.volume_of("web", "/webapp")
    assert len(volume) == 64
    assert os.path.isdir(folder)
    assert pyctr.out("ps", "--format", "{{.Names}} {{.Image}}") == "web training/webapp"


def test_the_volume_instruction_adds_volumes_to_any_container_of_that_image(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "c", "base", "sh", "-c", "mkdir /data; echo first > /data/f")
    pyctr("commit", "-c", "VOLUME /data /more", "c", "with-volumes")
    pyctr("create", "--name", "one", "with-volumes")
    pyctr("create", "--name", "two", "with-volumes")
    assert pyctr.volume_of("one", "/data")[0] != pyctr.volume_of("two", "/data")[0]
    assert os.listdir(pyctr.volume_of("one", "/data")[1]) == ["f"]
    assert os.path.isdir(pyctr.volume_of("one", "/more")[1])


def test_a_data_only_container_does_nothing_except_exposing_a_data_volume(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "data", "-v", "/data", "base")
    assert pyctr.out("inspect", "--format", "{{.State.Status}}", "data") == "created"
    pyctr("run", "--rm", "--volumes-from", "data", "base", "sh", "-c", "echo x > /data/x")
    assert pyctr.out("run", "--rm", "--volumes-from", "data", "base", "cat", "/data/x") == "x"
    assert pyctr.out("inspect", "--format", "{{.State.Status}}", "data") == "created"


def test_a_named_data_volume_container_serves_non_persistent_containers(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "dbdata", "-v", "/dbdata", "base")
    using = ("run", "--rm", "--volumes-from", "dbdata", "base", "sh", "-c")
    for number in "12":
        pyctr(*using, f"echo {number} >> /dbdata/rows")
    assert pyctr.out(*using, "cat /dbdata/rows") == "1\n2"
    _, folder = pyctr.volume_of("dbdata", "/dbdata")
    assert os.listdir(folder) == ["rows"], "no --rm of a user took the volume along"


def test_run_volumes_from_data_container_some_other_container_command(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "data-container", "-v", "/data", "base")
    pyctr("tag", "base", "some-other")
    ran = ("run", "--volumes-from", "data-container", "some-other", "ls", "-d", "/data")
    assert pyctr.out(*ran) == "/data"
