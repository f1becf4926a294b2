"""Fixtures for all rooms: a root folder of one's own, the command, and a check for leaks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import hypothesis
import pytest

from tests.registries import serve as serve
from tests.scripted import scripted as scripted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# A slow, busy machine is no failure of what is tested.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# What nohup(1), or a shell in the background, has ignored, whatever is tested would ignore as well.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests build real namespaces and mounts; without root they would prove nothing."""
    if os.geteuid() != 0:
        raise pytest.UsageError("these tests need root: run `sudo make test`")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The parent of all containers' control groups goes, unless somebody still has one in it."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return
    from runtime import cgroups

    for path in ("/pyctr/monitors", "/pyctr"):
        for folder in cgroups.of(path).folders:
            try:
                os.rmdir(folder)
            except OSError:
                continue


@pytest.fixture
def home_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A private root folder (and run folder) for pyctr, removed after the test."""
    from kernel.tree import remove_tree

    root = tempfile.mkdtemp(prefix="pyctr-test-")
    run = f"/run/pyctr-test-{os.path.basename(root)}"
    os.chmod(root, 0o711)
    monkeypatch.setenv("PYCTR_ROOT", root)
    monkeypatch.setenv("PYCTR_RUN", run)
    monkeypatch.setenv("PYCTR_CONFIG", "/dev/null")  # not that of the host
    monkeypatch.setenv("PYCTR_NETWORK", "none")  # networks have tests of their own
    yield root
    _end_agent(run)
    left = [line for line in _mount_points() if root in line or run in line]
    remove_tree(root)
    if os.path.isdir(run):
        remove_tree(run)
    assert not left, f"mounts left on the host: {left}"


def _end_agent(run: str) -> None:
    """A test that started a network agent leaves neither it nor a bridge; most start none."""
    from network import client

    def start(_listener: object) -> None:
        raise OSError("none is to be started")

    if client.is_there(run):
        client.ask(run, start, do="leave")


def _mount_points() -> list[str]:
    with open("/proc/self/mountinfo") as table:
        return [line.split()[4] for line in table]


@pytest.fixture
def loop_device(home_dir: str) -> Iterator[str]:
    """A block device of 8 MB that nobody else uses, backed by a file."""
    path = f"{home_dir}/disk"
    with open(path, "wb") as file:
        file.truncate(8 << 20)
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "loop"], timeout=60)
    made = subprocess.run(
        ["losetup", "--find", "--show", "--partscan", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if made.returncode:
        pytest.skip(f"this host has no loop devices: {made.stderr.strip()}")
    device = made.stdout.strip()
    yield device
    subprocess.run(["losetup", "--detach", device], check=True, timeout=60)


class Pyctr:
    """The `pyctr` command on a root folder of its own."""

    def __init__(self, root: str) -> None:
        self.root = root

    def __call__(
        self, *args: str, stdin: str | bytes | None = None, code: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Runs one command; ``code`` is the exit status it must have, None for any."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        ran = subprocess.run(
            self.argv(*args),
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=120,
        )
        shown = subprocess.CompletedProcess(
            args, ran.returncode, ran.stdout.decode(), ran.stderr.decode()
        )
        if code is not None:
            assert shown.returncode == code, (
                f"pyctr {' '.join(args)}: exit {shown.returncode}, not {code}\n"
                f"stdout: {shown.stdout}\nstderr: {shown.stderr}"
            )
        return shown

    def argv(self, *args: str) -> list[str]:
        """The command line, for tests that start the process themselves."""
        return [sys.executable, "-m", "cli.main", *args]

    def out(self, *args: str, stdin: str | bytes | None = None) -> str:
        """The standard output of a command that succeeds, without the last newline."""
        return self(*args, stdin=stdin).stdout.rstrip("\n")

    def volume_of(self, container: str, destination: str) -> tuple[str, str]:
        """(name, folder on the host) of the volume that a container has at a destination."""
        template = (
            '{{range .Mounts}}{{if eq .Destination "' + destination + '"}}'
            "{{.Name}} {{.Source}}{{end}}{{end}}"
        )
        name, source = self.out("inspect", "--format", template, container).split()
        return name, source


@pytest.fixture
def pyctr(home_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pyctr]:
    """The command, and afterwards: all containers removed, and nothing of them left running."""
    monkeypatch.setenv("PYTHONPATH", PROJECT)
    command = Pyctr(home_dir)
    yield command
    ids = command("ps", "-aq", "--no-trunc").stdout.split()
    if ids:
        command("rm", "-f", "-v", *ids)
    assert command.out("ps", "-aq") == ""
    deadline = time.monotonic() + 5
    while (left := _left_behind(ids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left, f"left behind: {left}"


def _left_behind(ids: list[str]) -> list[str]:
    """cgroups of these containers, wherever they are mounted."""
    found = []
    for folder in _mount_points():
        if folder.startswith("/sys/fs/cgroup"):
            found += [path for name in ids if os.path.isdir(path := f"{folder}/pyctr/{name}")]
    return found
