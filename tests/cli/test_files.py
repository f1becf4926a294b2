"""diff and export, and what cp and export do with a terminal."""

from __future__ import annotations

import io
import os
import pty
import stat
import subprocess
import tarfile
import time

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def started(pyctr: Pyctr, *options: str, script: str) -> None:
    """A running container ``c`` in which the script has run."""
    command = f"{script}\n: > /dev/shm/ready; exec sleep 10000"
    pyctr("run", "-d", "--name", "c", *options, "base", "sh", "-c", command)
    deadline = time.monotonic() + 30
    while pyctr("exec", "c", "test", "-e", "/dev/shm/ready", code=None).returncode:
        assert time.monotonic() < deadline


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: member for member in archive}


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_diff_tells_what_the_container_did_and_nothing_of_ours(
    pyctr: Pyctr, running: bool
) -> None:
    pyctr("create", "--name", "plain", "base")
    assert pyctr.out("diff", "plain") == ""
    script = """
    mkdir /new; echo x > /new/f; rm /etc/shells; chmod 600 /etc/group; mv /home /moved
    : >> /etc/passwd; rm -r /root; mkdir -m 700 /root; rm /etc/os-release; mkdir /etc/os-release
    """
    started(pyctr, script=script)
    if not running:
        pyctr("stop", "-t", "0", "c")
    assert pyctr.out("diff", "c").splitlines() == [
        "C /etc", "C /etc/group", "C /etc/os-release", "D /etc/shells", "D /home", "A /moved",
        "A /new", "A /new/f",
    ]  # fmt: skip


def test_what_a_program_opens_and_leaves_alone_is_no_change(pyctr: Pyctr) -> None:
    started(pyctr, script="exec 3<>/etc/passwd; exec 3>&-; touch /tmp/x; rm /tmp/x")
    upper = pyctr.out("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "c")
    assert os.path.exists(f"{upper}/etc/passwd"), "it was copied up"
    assert pyctr.out("diff", "c") == ""


def test_an_export_is_the_whole_file_system_without_volumes(pyctr: Pyctr, home_dir: str) -> None:
    script = "rm /etc/shells; echo new > /etc/new; echo v > /vol/in"
    started(pyctr, "-v", "/vol", script=script)
    ran = subprocess.run(pyctr.argv("export", "c"), capture_output=True, check=True)
    found = members(ran.stdout)
    assert {"bin/busybox", "etc/new", "vol"} <= found.keys()
    assert not {"etc/shells", "vol/in"} & found.keys()
    for name in ("proc", "sys", "dev", "vol"):
        assert found[name].isdir()
        assert not any(other.startswith(f"{name}/") for other in found)
    assert found["etc/hosts"].size == 0
    again = subprocess.run(pyctr.argv("export", "c"), capture_output=True, check=True)
    assert again.stdout == ran.stdout, "the same files are the same archive"
    walked = [name.split("/") for name in found]
    assert walked == sorted(walked)
    pyctr("export", "-o", f"{home_dir}/flat.tar", "c")
    with open(f"{home_dir}/flat.tar", "rb") as file:
        assert file.read() == ran.stdout
    pyctr("import", f"{home_dir}/flat.tar", "flat")
    assert pyctr.out("run", "--rm", "flat", "cat", "/etc/new") == "new"
    assert pyctr.out("exec", "c", "cat", "/etc/new") == "new", "it goes on"


def test_a_running_container_stands_still_while_it_is_exported(pyctr: Pyctr) -> None:
    """Two files that are always written one after the other are never two steps apart."""
    script = "n=0; while :; do n=$((n+1)); echo $n > /a; echo $n > /z; done &"
    started(pyctr, script=script)
    for _ in range(3):
        ran = subprocess.run(pyctr.argv("export", "c"), capture_output=True, check=True)
        with tarfile.open(fileobj=io.BytesIO(ran.stdout)) as archive:
            values = []
            for name in ("a", "z"):
                file = archive.extractfile(name)
                assert file is not None
                values.append(int(file.read() or b"-1"))
        if -1 not in values:  # frozen between the opening of a file and the writing
            assert values[0] - values[1] in (0, 1)


def test_a_file_that_is_exported_to_is_whole_or_as_before(pyctr: Pyctr, home_dir: str) -> None:
    pyctr("create", "--name", "c", "base")
    target = f"{home_dir}/out.tar"
    with open(target, "w") as file:
        file.write("before")
    ran = subprocess.Popen(pyctr.argv("export", "-o", target, "c"), stderr=subprocess.DEVNULL)
    while ran.poll() is None:
        with open(target, "rb") as file:
            assert file.read(6) in (b"before", b"bin\0\0\0", b"bin/\0\0")
    assert "bin/busybox" in members(open(target, "rb").read())
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o600
    os.symlink("out.tar", f"{home_dir}/link")
    pyctr("export", "-o", f"{home_dir}/link", "c")
    assert os.path.islink(f"{home_dir}/link")
    pyctr("export", "-o", "/dev/null", "c")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    said = pyctr("export", "-o", f"{home_dir}/none/x", "c", code=1).stderr
    assert "cannot write" in said and "no such file or directory" in said
    assert sorted(name for name in os.listdir(home_dir) if "tmp" in name) == []


def on_terminal(argv: list[str], *streams: str, stdin: bytes | None = None) -> tuple[int, str]:
    """Runs a command with these of its streams on a terminal; (exit code, what it showed)."""
    ours, theirs = pty.openpty()
    given = dict.fromkeys(streams, theirs)
    ran = subprocess.Popen(argv, **given)  # type: ignore[call-overload]
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return ran.wait(60), shown.decode()


def test_archives_and_terminals_do_not_meet(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base")
    for words in (("export", "c"), ("cp", "c:/etc", "-")):
        code, shown = on_terminal(pyctr.argv(*words), "stdout", "stderr")
        assert code == 1 and "an archive is not for a terminal" in shown
    code, shown = on_terminal(pyctr.argv("cp", "-", "c:/etc"), "stdin", "stderr")
    assert code == 1 and "an archive does not come from a terminal" in shown


def test_a_copy_shows_how_far_it_is_on_a_terminal(pyctr: Pyctr, home_dir: str) -> None:
    pyctr("create", "--name", "c", "base")
    with open(f"{home_dir}/large", "wb") as file:
        file.write(os.urandom(3 << 20))
    code, shown = on_terminal(pyctr.argv("cp", f"{home_dir}/large", "c:/x"), "stderr")
    assert code == 0
    assert "\rCopying" in shown.replace("\x1b[K", "")
    assert shown.endswith("Successfully copied 3.15MB to c:/x\r\n")
    code, shown = on_terminal(pyctr.argv("cp", "-q", f"{home_dir}/large", "c:/x"), "stderr")
    assert (code, shown) == (0, "")
