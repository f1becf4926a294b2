"""A program in a default container looks for a way out, as root, and finds none.

Run as the first process, and joined by exec: the two ways into a container.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile

import pytest

from runtime import cgroups
from tests.security.adversary import Adversary, Canary
from tests.watch import monitor_of, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Pyctr

HERE = os.path.dirname(os.path.abspath(__file__))
ENTRIES = ["run", "exec"]
# Of all that probe.c tries. CAP_NET_RAW is among Docker's defaults; 32-bit programs have sockets.
ALLOWED = {"AF_PACKET", "AF_UNIX", "i386-socket-AF_UNIX"}


@pytest.fixture
def canary(home_dir: str) -> Iterator[Canary]:
    made = Canary(f"{home_dir}/canary")
    yield made
    made.check()


@pytest.fixture
def enter(pyctr: Pyctr) -> Callable[..., str]:
    """Runs a command in a default container in one of the two ways; what it printed."""

    def entered(way: str, *command: str, flags: tuple[str, ...] = (), image: str = "base") -> str:
        if way == "run":
            return pyctr.out("run", "--rm", *flags, image, *command)
        name = pyctr.out("run", "-d", *flags, image, "sleep", "1000")
        return pyctr.out("exec", name, *command)

    return entered


def compiled(source: str, program: str, *flags: str) -> str:
    argv = ["gcc", "-static", "-D_GNU_SOURCE", "-O1", *flags, f"{HERE}/{source}", "-o", program]
    subprocess.run(argv, check=True)
    return program


def image(pyctr: Pyctr, name: str, *changes: str, **files: str | bytes) -> str:
    """An image of busybox; text is where a symbolic link leads, bytes are a file's content."""
    from images.base import find_busybox

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.add(find_busybox(), "bin/sh")
        for path, content in {"bin/sleep": "sh", "bin/cat": "sh", **files}.items():
            entry = tarfile.TarInfo(path)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                made.addfile(entry)
            else:
                entry.size, entry.mode = len(content), 0o755
                made.addfile(entry, io.BytesIO(content))
    options = [word for change in changes for word in ("--change", change)]
    pyctr("import", *options, "-", name, stdin=out.getvalue())
    return name


@pytest.mark.parametrize("way", ENTRIES)
def test_the_kernel_refuses_whatever_is_no_business_of_a_container(
    enter: Callable[..., str], home_dir: str, way: str
) -> None:
    program = compiled("probe.c", f"{home_dir}/probe")
    shown = enter(way, "/probe", flags=("-v", f"{program}:/probe:ro"))
    said = dict(line.split() for line in shown.splitlines())
    assert len(said) > 40
    assert {name for name, answer in said.items() if answer == "allowed"} <= ALLOWED
    assert said["AF_UNIX"] == "allowed"
    assert said["clone3"] == "ENOSYS", "so that the C library falls back to clone"
    others = set(said.values()) - {"allowed"}
    assert others <= {"EPERM", "ENOSYS", "ENOTTY", "ETXTBSY", "EROFS"}, said


@pytest.mark.parametrize("way", ENTRIES)
def test_no_file_of_the_kernel_can_be_written(enter: Callable[..., str], way: str) -> None:
    """All of them are tried: core_pattern, sysrq-trigger, cgroup.procs, uevent_helper."""
    script = """
    find /proc/sys /proc/irq /proc/bus /proc/fs /sys -type f > /tried
    ls /proc/sysrq-trigger >> /tried
    while read f; do true >> $f && echo "wrote $f"; done < /tried
    for d in /sys/fs/cgroup /sys/fs/cgroup/*; do
        mkdir $d/new && echo "made $d/new"
    done
    mount -o remount,rw /proc/sys && echo "remounted"
    cat /proc/kcore /proc/keys /proc/timer_list /sys/firmware/* | wc -c
    grep -q cgroup.procs /tried && grep -q core_pattern /tried && echo tried
    """
    assert enter(way, "sh", "-c", f"exec 2>/dev/null; {script}") == "0\ntried"


@pytest.mark.parametrize("way", ENTRIES)
def test_no_process_of_the_host_can_be_reached(
    pyctr: Pyctr, enter: Callable[..., str], way: str
) -> None:
    numbers = f"{os.getpid()} {os.getppid()}"
    script = f"""
    for p in {numbers}; do kill -0 $p && echo "reached $p"; done 2>/dev/null
    for p in /proc/[0-9]*; do
        [ -e $p/root/etc/os-release ] && grep -q 'pyctr base' $p/root/etc/os-release || echo $p
        readlink $p/exe
    done | sort -u
    """
    seen = [line for line in enter(way, "sh", "-c", script).splitlines() if line]
    assert seen == ["/bin/busybox"]


@pytest.mark.parametrize("way", ENTRIES)
def test_every_set_of_rights_is_what_was_asked_for(
    pyctr: Pyctr, enter: Callable[..., str], way: str
) -> None:
    """CVE-2022-29162, CVE-2022-36109, CVE-2023-25173; labels of an image give nothing either."""
    labels = ("LABEL run.oci.keep_original_groups=1", "LABEL capabilities=CAP_SYS_ADMIN")
    evil = image(pyctr, "evil", *labels)
    default = "00000000a80425fb"
    for user, own in (("0", default), ("1000:1001", "0" * 16)):
        shown = enter(way, "cat", "/proc/self/status", flags=("-u", user), image=evil)
        said = dict(line.split(":", 1) for line in shown.splitlines())
        found = {name: said[f"Cap{name}"].strip() for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}
        assert found == {"Inh": "0" * 16, "Prm": own, "Eff": own, "Bnd": default, "Amb": "0" * 16}
        assert said["Groups"].split() in ([], [user.rpartition(":")[2]])
        assert said["Seccomp"].strip() == "2"
    shown = enter(way, "cat", "/proc/self/status", flags=("--cap-drop", "ALL"), image=evil)
    assert [line.split()[1] for line in shown.splitlines() if "Cap" in line] == ["0" * 16] * 5


def test_a_working_folder_cannot_be_a_descriptor_of_the_host(pyctr: Pyctr, home_dir: str) -> None:
    """CVE-2024-21626, of exec; :mod:`tests.runtime.test_security` has that of run."""
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    outside = os.path.relpath(home_dir, "/")
    looks = "; ".join(f"ls {up}/{outside}" for up in (".", "..", "../..", "../../.."))
    for number in range(3, 12):
        ran = pyctr("exec", "-w", f"/proc/self/fd/{number}", "c", "sh", "-c", looks, code=None)
        assert ran.returncode != 0 and not ran.stdout


def test_a_volume_never_hides_what_is_the_runtimes_own(pyctr: Pyctr) -> None:
    """CVE-2019-16884: by a link of the image, which nobody who asks for /data can see."""
    evil = image(pyctr, "evil", root="/", proc1="/proc", proc2="/proc/1", sys1="/sys", dev1="/dev")
    for name in ("root", "proc1", "proc2", "sys1", "dev1"):
        ran = pyctr("run", "--rm", "-v", f"vol:/{name}", evil, "sh", "-c", ":", code=125)
        assert (
            "it lies on the container's /" in ran.stderr or "in the container's /proc" in ran.stderr
        )
    assert (
        "would hide" in pyctr("run", "--rm", "-v", "vol:/x/../sys", "base", "true", code=125).stderr
    )


def test_nodes_of_the_image_are_nothing(pyctr: Pyctr, canary: Canary) -> None:
    """CVE-2025-31133, CVE-2025-52565: /dev/null and the console are links of the image; nor is
    there a /proc in it that a parameter would be written to (CVE-2025-52881)."""
    secret = f"{'../' * 12}{canary.folder}/secret"
    nodes = ("null", "console", "tty", "ptmx", "pts", "shm", "mqueue")
    files: dict[str, str | bytes] = {f"dev/{name}": secret for name in nodes}
    files["proc/sys/net/ipv4/ip_forward"] = b"of the image"
    evil = image(pyctr, "evil", **files)
    script = "[ -c /dev/null ] && echo x > /dev/null; cat /proc/sys/net/ipv4/ip_forward"
    flags = ("--rm", "--sysctl", "net.ipv4.ip_forward=1")
    assert pyctr.out("run", *flags, evil, "sh", "-c", script) == "1"
    assert (
        pyctr.out("run", "-t", *flags, evil, "sh", "-c", f"{script}; [ -c /dev/console ]").strip()
        == "1"
    )


def test_python_files_of_the_container_are_not_imported_by_who_joins(
    pyctr: Pyctr, home_dir: str
) -> None:
    text = f"open({home_dir + '/escaped'!r}, 'w')".encode()
    modules = ("pwd", "grp", "json/__init__", "errno", "encodings/idna", "_socket", "resource")
    folders = ("", "usr/lib/python3/dist-packages/", "usr/lib/python3.11/", "usr/lib/python3.13/")
    files = {f"{folder}{module}.py": text for folder in folders for module in modules}
    name = pyctr.out("run", "-d", image(pyctr, "evil", **files), "sleep", "1000")
    for words in (("-u", "nosuch", name, "sh"), (name, "nosuch"), (name, "/pwd.py")):
        assert "Traceback" not in pyctr("exec", "-e", "PYTHONPATH=/", *words, code=None).stderr
    pyctr("exec", "-e", "PYTHONPATH=/", "-w", "/new", name, "/bin/sh", "-c", "exit 3", code=3)
    assert not os.path.exists(f"{home_dir}/escaped")


def test_python_files_of_where_a_person_stands_are_not_imported(
    pyctr: Pyctr, home_dir: str
) -> None:
    """In a folder that was unpacked from an image, say; nor does the environment lead there."""
    for module in ("cli", "encodings", "gc", "json", "kernel", "os", "sitecustomize", "sqlite3"):
        with open(f"{home_dir}/{module}.py", "w") as file:
            file.write("raise SystemExit('imported')")
    command = f"{os.path.dirname(sys.executable)}/pyctr"
    for path in (home_dir, "."):
        env = os.environ | {"PYTHONPATH": path}
        for words in (("ps", "-a"), ("run", "--rm", "base", "true")):
            ran = subprocess.run([command, *words], cwd=home_dir, env=env, capture_output=True)
            assert ran.returncode == 0, ran.stderr


def test_the_interpreter_cannot_be_overwritten(pyctr: Pyctr, home_dir: str) -> None:
    """CVE-2019-5736: the program of an exec changes places with a link to /proc/self/exe.

    It is looked at before it is executed, and mostly refused. Between the two it may change: then
    the interpreter does run inside. But nobody can write a file that is being executed (ETXTBSY),
    and the monitor executes this one for as long as the container runs.
    """
    compiled("loader.c", f"{home_dir}/loader", "-nostdlib", "-fno-stack-protector")
    monitors = os.path.realpath("/proc/self/exe")
    loader = interpreter_of(monitors)
    place = (
        f"mkdir -p {os.path.dirname(loader)} /p && cp /loader {loader} && cp /bin/busybox /p/true"
    )
    script = f"{place} && ln -s /proc/self/exe /p/link && echo ready; sleep 1000"
    pyctr(
        "run",
        "-d",
        "--name",
        "c",
        "-v",
        f"{home_dir}/loader:/loader:ro",
        "base",
        "sh",
        "-c",
        script,
    )
    until(lambda: pyctr.out("logs", "c") == "ready", "the container was ready")
    pid = pyctr.out("inspect", "-f", "{{.State.Pid}}", "c")
    assert os.path.realpath(f"/proc/{monitor_of(pyctr, 'c')}/exe") == monitors
    said: list[str] = []

    def attempt() -> None:
        ran = pyctr("exec", "c", "/p/true", code=None)
        said.append(ran.stdout or ran.stderr)

    with Adversary(f"/proc/{pid}/root/p", "true", "link") as adversary:
        while not any("leads out of the container" in answer for answer in said):
            adversary.attack(attempt, 6)
    assert "WRITABLE" not in "".join(said)


def interpreter_of(program: str) -> str:
    """The dynamic loader that a program names (readelf -l)."""
    shown = subprocess.run(["readelf", "-l", program], capture_output=True, text=True, check=True)
    return shown.stdout.partition("interpreter: ")[2].partition("]")[0]


def test_what_is_explained_runs_nothing_of_the_image(pyctr: Pyctr, home_dir: str) -> None:
    """A path with a line end would be a command of the script that a person runs as root."""
    shown = r"\n\u001b[2J touch " + f"{home_dir}/escaped" + r"\n"
    changes = (f'VOLUME ["/v{shown}"]', f'CMD ["/bin/sh", "-c", "echo ran", "{shown}"]')
    evil = image(pyctr, "evil", *changes, **{"bin/env": "sh", "bin/chroot": "sh"})
    text = pyctr.out("create", "--name", "c", "--explain=sh", evil)
    comments = [line for line in text.splitlines() if line.startswith("# bind the volume")]
    assert len(comments) == 1 and "past the union" in comments[0] and "\x1b" not in comments[0]
    said = pyctr("start", "--explain", "-a", "c").stderr
    assert "bind the volume on /v" in said and "\x1b" not in said
    subprocess.run(["sh", "-c", text], capture_output=True, timeout=60)
    assert not os.path.exists(f"{home_dir}/escaped")
    identity = pyctr.out("inspect", "--format", "{{.Id}}", "c")
    cgroups.of(f"/pyctr/{identity}").remove()


def test_an_error_is_no_command_of_the_terminal(pyctr: Pyctr) -> None:
    evil = image(pyctr, "evil", r'VOLUME ["/\u001b[2Jd"]', **{"\x1b[2Jd": "/proc"})
    said = pyctr("run", "--rm", evil, "sh", "-c", ":", code=125).stderr
    assert r"cannot mount on /\x1b[2Jd" in said and "\x1b" not in said
