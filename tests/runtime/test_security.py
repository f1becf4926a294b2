"""A hostile container, image or volume: each test tries an attack of SECURITY for real."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
import time

import pytest

from runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Pyctr


def test_no_descriptor_of_the_host_is_inside(pyctr: Pyctr) -> None:
    script = "ls -l /proc/self/fd | sed -n 's/.* -> //p'"
    for run in (("run", "--rm", "base"), ("exec", "c")):
        if run[0] == "exec":
            pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
        shown = pyctr.out(*run, "sh", "-c", script).splitlines()
        assert len(shown) in (3, 4), shown  # stdio, and the folder that ls reads
        assert all(name.startswith(("pipe:", "/dev/null", "/proc/")) for name in shown), shown


def test_the_working_folder_cannot_be_a_descriptor_of_the_host(pyctr: Pyctr) -> None:
    """CVE-2024-21626."""
    for number in range(3, 12):
        ran = pyctr("run", "--rm", "-w", f"/proc/self/fd/{number}", "base", "ls", "/", code=None)
        assert ran.returncode != 0 or "bin" in ran.stdout.split()
        ran = pyctr(
            "run", "--rm", "-w", f"/proc/self/fd/{number}", "base", "ls", "../../../work", code=None
        )
        assert ran.returncode != 0


def with_links(**links: str) -> bytes:
    """An image of busybox in which some paths are symbolic links."""
    from images.base import find_busybox

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.add(find_busybox(), "bin/sh")
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            made.addfile(entry)
    return out.getvalue()


def test_a_mount_is_not_led_outside_by_a_link_of_the_image(pyctr: Pyctr, home_dir: str) -> None:
    """CVE-2019-19921 and its family."""
    victim = f"{home_dir}/victim"
    os.mkdir(victim)
    pyctr("import", "-", "evil", stdin=with_links(data=f"../../../../../../..{victim}"))
    script = "echo x > /data/f"
    said = pyctr("run", "--rm", "-v", "vol:/data", "evil", "sh", "-c", script, code=None)
    assert os.listdir(victim) == []
    assert os.listdir(home_dir + "/volumes/vol/_data") == (["f"] if said.returncode == 0 else [])


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_the_kernels_folders_cannot_be_links(pyctr: Pyctr, home_dir: str, name: str) -> None:
    """CVE-2023-27561: an image whose /proc is a link."""
    victim = f"{home_dir}/victim"
    os.mkdir(victim)
    pyctr("import", "-", "evil", stdin=with_links(**{name: f"../../../../..{victim}"}))
    pyctr("run", "--rm", "evil", "sh", "-c", "echo x > /proc/sys/kernel/domainname", code=None)
    assert os.listdir(victim) == []


def test_python_files_of_the_container_are_never_imported(pyctr: Pyctr, home_dir: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        from images.base import find_busybox

        made.add(find_busybox(), "bin/sh")
        text = f"open({home_dir + '/escaped'!r}, 'w')".encode()
        for folder in ("", "usr/lib/python3/dist-packages/", "usr/lib/python3.11/", "work/main/"):
            for module in ("pwd", "grp", "json/__init__", "errno", "encodings/idna", "subprocess"):
                entry = tarfile.TarInfo(f"{folder}{module}.py")
                entry.size = len(text)
                made.addfile(entry, io.BytesIO(text))
    pyctr("import", "-", "evil", stdin=out.getvalue())
    for command in (("sh", "-c", "exit 3"), ("nosuch",), ("/usr/lib/python3.11/pwd.py",)):
        pyctr("run", "--rm", "-u", "nosuch", "evil", *command, code=125)
        pyctr("run", "--rm", "-w", "/", "evil", *command, code=None)
    assert not os.path.exists(f"{home_dir}/escaped")


def test_a_program_cannot_be_the_runtime_itself(pyctr: Pyctr) -> None:
    """CVE-2019-5736: /proc/self/exe as the program would run the host's interpreter inside."""
    assert "leads out" in pyctr("run", "--rm", "base", "/proc/self/exe", code=126).stderr
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    pyctr("exec", "c", "/proc/self/exe", code=126)


def test_huge_and_odd_user_files_are_bounded(pyctr: Pyctr) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        from images.base import find_busybox

        made.add(find_busybox(), "bin/sh")
        entry = tarfile.TarInfo("etc/passwd")
        text = b"x" * (8 << 20) + b"\nlate:x:5:5::/:/bin/sh\n"
        entry.size = len(text)
        made.addfile(entry, io.BytesIO(text))
        entry = tarfile.TarInfo("etc/group")
        entry.type = tarfile.FIFOTYPE
        made.addfile(entry)
    pyctr("import", "-", "evil", stdin=out.getvalue())
    assert (
        "unable to find user late"
        in pyctr("run", "--rm", "-u", "late", "evil", "sh", code=125).stderr
    )
    assert (
        "unable to find group g" in pyctr("run", "--rm", "-u", "0:g", "evil", "sh", code=125).stderr
    )
    pyctr("run", "--rm", "-u", "7:8", "evil", "sh", "-c", "exit 0")


def test_state_folders_are_closed_to_others(pyctr: Pyctr) -> None:
    """CVE-2021-41091: setuid files in layers or volumes must not be reachable for host users."""
    pyctr("run", "-d", "--name", "c", "-v", "vol:/data", "base", "sleep", "1000")
    assert os.stat(pyctr.root).st_mode & 0o077 == 0
    identity = pyctr.out("inspect", "--format", "{{.Id}}", "c")
    assert os.stat(f"{pyctr.root}/state.db").st_mode & 0o077 == 0
    for folder in ("layers", "volumes", "containers", "volumes/vol", f"containers/{identity}"):
        mode = os.stat(f"{pyctr.root}/{folder}").st_mode
        assert mode & 0o066 == 0, folder
    socket = f"{os.environ['PYCTR_RUN']}/{identity}/attach.sock"
    assert os.stat(socket).st_mode & 0o077 == 0
    assert os.stat(os.path.dirname(socket)).st_mode & 0o077 == 0


PEEK = """
for p in /proc/[0-9]*; do
    grep -q ' T ' $p/stat && echo stopped
    [ -e $p/root/proc ] || echo "no root"
    readlink $p/exe
done
"""


@pytest.mark.parametrize("entering", ["start", "exec"])
def test_who_enters_a_shared_pid_namespace_cannot_be_looked_into(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch, entering: str
) -> None:
    """CVE-2016-9962, CVE-2019-5736: just before the program, with the rights of a neighbour."""
    identity = pyctr.out("run", "-d", "--name", "x", "base", "sleep", "1000")
    command = ["run", "--name", "y", "--pid", "container:x", "base"]
    argv = pyctr.argv(*(command if entering == "start" else ["exec", "x"]), "echo", "went on")
    with monkeypatch.context() as armed:
        armed.setenv("PYCTR_TRACE", "pause:runtime.step.Execute.before")
        entered = subprocess.Popen(argv, stdout=subprocess.PIPE)
    if entering == "start":
        wait_for(lambda: "y" in pyctr.out("ps", "-a", "--format", "{{.Names}}").split())
        identity = pyctr.out("inspect", "--format", "{{.Id}}", "y")
    cgroup = cgroups.of(f"/pyctr/{identity}")
    stopped: list[int] = []

    def has_stopped() -> bool:
        stopped[:] = [pid for pid in cgroup.pids() if b") T " in status(pid)]
        return bool(stopped)

    wait_for(has_stopped)
    seen = pyctr.out("exec", "x", "sh", "-c", PEEK).splitlines()
    os.kill(stopped[0], signal.SIGCONT)
    assert entered.communicate(timeout=60)[0] == b"went on\n"
    assert seen.count("stopped") == 1 and seen[seen.index("stopped") + 1] == "no root"
    assert {name for name in seen if "/" in name} == {"/bin/busybox"}


def status(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


SEIZE = r"""
#include <errno.h>
#include <stdio.h>
#include <sys/ptrace.h>
int main(void) {
    for (int pid = 1; pid < 200000; pid++) {
        if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) printf("seized %d\n", pid);
        else if (errno != ESRCH) printf("refused %d\n", pid);
    }
    return 0;
}
"""


def test_who_shares_a_pid_namespace_reaches_nobody_beyond_it(pyctr: Pyctr, home_dir: str) -> None:
    program = f"{home_dir}/seize"
    command = ["gcc", "-static", "-x", "c", "-", "-o", program]
    subprocess.run(command, input=SEIZE, text=True, check=True)
    pyctr("run", "-d", "--name", "x", "base", "sleep", "1000")
    pyctr("run", "-d", "--name", "strong", "--privileged", "base", "sleep", "1000")
    flags = ("--rm", "-v", f"{program}:/seize:ro")
    shown = pyctr.out("run", *flags, "--pid", "container:x", "base", "/seize")
    assert shown.split()[:2] == ["seized", "1"], "the other container, as it was asked for"
    assert len(shown.splitlines()) == 2, "and itself, but nobody of the host"
    shown = pyctr.out("run", *flags, "--pid", "container:strong", "base", "/seize")
    assert shown.split()[:2] == ["refused", "1"], "that one has more capabilities"
    shown = pyctr.out("run", *flags, "base", "/seize")
    assert len(shown.splitlines()) == 1


def test_a_namespace_is_never_taken_from_another_process(pyctr: Pyctr) -> None:
    from kernel import process
    from runtime.errors import RuntimeFailure
    from runtime.peers import Peer

    started = process.start_time(os.getpid())
    os.close(Peer(os.getpid(), started).open())
    with pytest.raises(RuntimeFailure, match="x has ended"):
        Peer(os.getpid(), started - 1, "x").open()


def test_shared_memory_that_was_swapped_for_a_link_is_not_followed(pyctr: Pyctr) -> None:
    rights = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")
    swap = "umount /dev/shm && rmdir /dev/shm && ln -s /proc /dev/shm && echo swapped; sleep 1000"
    pyctr("run", "-d", "--name", "x", "--ipc", "shareable", *rights, "base", "sh", "-c", swap)
    wait_for(lambda: pyctr.out("logs", "x") == "swapped")
    said = pyctr("run", "--rm", "--ipc", "container:x", "base", "true", code=125).stderr
    assert "/dev/shm" in said


def test_a_device_is_not_led_elsewhere_by_a_link_of_the_image(pyctr: Pyctr, home_dir: str) -> None:
    victim = f"{home_dir}/victim"
    os.mkdir(victim)
    up = "../../../../../../.."
    links = {"node": f"{up}{victim}/node", "out": f"{up}{victim}", "in": f"{up}/bin"}
    pyctr("import", "-", "evil", stdin=with_links(**links))
    for place in ("/node", "/out/node"):
        pyctr("run", "--rm", "--device", f"/dev/zero:{place}", "evil", "sh", "-c", ":", code=125)
    assert os.listdir(victim) == []
    script = "[ -c /bin/node ] && echo inside"
    flags = ("--rm", "--device", "/dev/zero:/in/node")
    assert pyctr.out("run", *flags, "evil", "sh", "-c", script) == "inside"


def test_a_device_node_alone_opens_nothing(pyctr: Pyctr) -> None:
    """Also when a container keeps the node that an earlier start with --device made."""
    pyctr(
        "run", "--name", "c", "--device", "/dev/loop0:/node:r", "base", "head", "-c", "1", "/node"
    )
    pyctr("commit", "c", "kept")
    pyctr("run", "--rm", "kept", "sh", "-c", "head -c 1 /node", code=1)
    pyctr("run", "--rm", "--device", "/dev/loop0:/node:r", "kept", "sh", "-c", ": > /node", code=1)


def test_the_init_of_the_host_cannot_be_changed_from_inside(pyctr: Pyctr) -> None:
    from engine import inits

    path = inits.find()
    with open(path, "rb") as file:
        before = file.read()
    script = (
        "for f in /dev/init /proc/1/exe; do (echo x > $f) 2>/dev/null && echo wrote; done;"
        "rm /dev/init 2>/dev/null && echo removed; mount -o remount,rw /dev/init 2>/dev/null;"
        "chmod 777 /dev/init 2>/dev/null && echo changed; echo end"
    )
    assert pyctr.out("run", "--rm", "--init", "base", "sh", "-c", script) == "end"
    with open(path, "rb") as file:
        assert file.read() == before
