"""stats: what running containers use, once or drawn anew until ctrl-c."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.container import stats as shown
from engine import stats
from kernel import process, units
from runtime.cgroups import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Pyctr

BUSY = ("sh", "-c", "while :; do :; done")


def rows(pyctr: Pyctr, *args: str) -> list[dict[str, str]]:
    """One look, as a list of the fields."""
    lines = pyctr.out("stats", "--no-stream", "--format", "json", *args).splitlines()
    return [json.loads(line) for line in lines]


def test_one_look_has_dockers_columns(pyctr: Pyctr) -> None:
    identity = pyctr.out("run", "-d", "--name", "c", "-m", "64m", "--cpus", "0.5", "base", *BUSY)
    pyctr("create", "--name", "d", "base", "true")
    heading, line = pyctr.out("stats", "--no-stream").splitlines()
    assert [word.strip() for word in heading.split("   ") if word] == [
        "CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O",
        "PIDS",
    ]  # fmt: skip
    words = line.split()
    assert words[:2] == [identity[:12], "c"] and words[-1] == "1"
    assert " / 64MiB " in line and words.count("/") == 3
    assert words[2].endswith("%") and 1 < float(words[2][:-1]) < 150


def test_fields_and_names(pyctr: Pyctr) -> None:
    identity = pyctr.out("run", "-d", "--name", "c", "base", "sleep", "1000")
    pyctr("create", "--name", "d", "base", "true")
    (one,) = rows(pyctr)
    assert one.keys() == {
        "Container", "ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs",
    }  # fmt: skip
    assert (one["Container"], one["ID"], one["Name"]) == (identity[:12], identity[:12], "c")
    assert one["PIDs"] == "1"
    (one,) = rows(pyctr, "--no-trunc", identity[:5])
    assert (one["Container"], one["ID"]) == (identity[:5], identity)
    assert [one["Name"] for one in rows(pyctr, "-a")] == ["d", "c"]
    assert [one["Name"] for one in rows(pyctr, "d", "c")] == ["d", "c"], "in the order given"
    table = pyctr.out("stats", "--no-stream", "--format", "table {{.Container}}\\t{{.PIDs}}", "c")
    assert [line.split() for line in table.splitlines()] == [["CONTAINER", "PIDS"], ["c", "1"]]
    assert pyctr.out("stats", "--no-stream", "--format", "{{.Name}}={{.PIDs}}") == "c=1"
    assert (
        'no entry for key "Nope"'
        in pyctr("stats", "--no-stream", "--format", "{{.Nope}}", code=1).stderr
    )
    assert "no such container: nosuch" in pyctr("stats", "--no-stream", "nosuch", code=1).stderr


def test_what_does_not_run_has_dashes(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base", "true")
    for args in (("c",), ("-a",)):
        (one,) = rows(pyctr, *args)
        assert one["MemUsage"] == "-- / --"
        assert {one[key] for key in ("CPUPerc", "MemPerc", "NetIO", "BlockIO", "PIDs")} == {"--"}
    assert rows(pyctr) == []
    assert len(pyctr.out("stats", "--no-stream").splitlines()) == 1, "the heading alone"


def megabytes(text: str) -> float:
    """The first number of ``12.5MiB / 64MiB``."""
    return units.parse_bytes(text.partition(" ")[0].replace("iB", "")) / (1 << 20)


def test_memory_is_without_files_that_were_read_once(pyctr: Pyctr) -> None:
    script = "dd if=/dev/zero of=/file bs=1M count=40 2>/dev/null; echo ready; sleep 1000; true"
    identity = pyctr.out("run", "-d", "--name", "c", "-m", "128m", "base", "sh", "-c", script)
    script = "x=x; while [ ${#x} -lt 20000000 ]; do x=$x$x; done; echo ready; sleep 1000; true"
    pyctr("run", "-d", "--name", "d", "-m", "128m", "base", "sh", "-c", script)
    deadline = time.monotonic() + 60
    while any(pyctr.out("logs", name) != "ready" for name in "cd"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    file, memory = rows(pyctr, "c", "d")
    assert megabytes(file["MemUsage"]) < 30, "the 40 MB file in the page cache does not count"
    assert megabytes(memory["MemUsage"]) > 20
    assert float(memory["MemPerc"][:-1]) == pytest.approx(
        megabytes(memory["MemUsage"]) / 1.28, 0.01
    )
    assert identity[:12] == file["ID"]


def pid_of(pyctr: Pyctr, name: str) -> int:
    return int(pyctr.out("inspect", "-f", "{{.State.Pid}}", name))


def test_traffic_is_that_of_the_containers_own_interfaces(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "own", "base", "sleep", "1000")
    pyctr("run", "-d", "--name", "host", "--network", "host", "base", "sleep", "1000")
    inside = ["nsenter", f"--net=/proc/{pid_of(pyctr, 'own')}/ns/net"]
    ping = [*inside, "ip", "link", "set", "lo", "up"]
    subprocess.run(ping, check=True, timeout=60)
    for command in (
        "ip link add one type veth peer name two",
        "ip address add 10.11.12.1/24 dev one",
        "ip link set one up",
        "ip link set two up",
        "ip neighbour add 10.11.12.9 lladdr 02:00:00:00:00:01 dev one",
    ):
        subprocess.run([*inside, *command.split()], check=True, timeout=60)
    code = "import socket; s = socket.socket(2, 2); s.sendto(b'x' * 1000, ('10.11.12.9', 9))"
    subprocess.run([*inside, "python3", "-c", code], check=True, timeout=60)
    own, host = rows(pyctr, "own", "host")
    assert host["NetIO"] == "0B / 0B", "the host's interfaces are not the container's"
    received, sent = own["NetIO"].split(" / ")
    assert received.endswith("kB") and sent.endswith("kB")
    assert float(sent[:-2]) >= 1


def test_block_devices_are_counted(pyctr: Pyctr, loop_device: str) -> None:
    subprocess.run(["mkfs.ext4", "-q", loop_device], check=True, capture_output=True, timeout=60)
    folder = f"{pyctr.root}/mounted"
    os.mkdir(folder)
    subprocess.run(["mount", loop_device, folder], check=True, timeout=60)
    try:
        with open(f"{folder}/file", "wb") as file:
            file.write(os.urandom(2 << 20))
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        # A limit that limits nothing: version 1 counts for devices that have one.
        flags = ("--device-read-bps", f"{loop_device}:100g", "-v", f"{folder}:/in:ro")
        script = "cat /in/file > /dev/null; echo ready; exec sleep 1000"
        pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
        deadline = time.monotonic() + 60
        while pyctr.out("logs", "c") != "ready":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (one,) = rows(pyctr, "c")
        pyctr("rm", "-f", "c")
    finally:
        subprocess.run(["umount", folder], check=True, timeout=60)
    read = one["BlockIO"].split(" / ")[0]
    assert read.endswith("MB") and float(read[:-2]) >= 2


def test_without_a_terminal_one_table_follows_the_other(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    argv = pyctr.argv("stats", "--format", "{{.Name}} {{.PIDs}}")
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == running.stdout.readline() == b"c 1\n"
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 0
    assert running.stdout.read().strip(b"c 1\n") == b"", "no escapes where nobody sees them"


class Terminal:
    """A command on a terminal of its own, which a person looks at."""

    def __init__(self, argv: list[str], columns: int = 120, lines: int = 20) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.output = b""

    def read(self) -> bool:
        """A little more of the output; False if there will be no more."""
        if select.select([self.fd], [], [], 0.2)[0]:
            try:
                chunk = os.read(self.fd, 65536)
            except OSError:  # EIO: the other side is closed
                return False
            self.output += chunk
            return bool(chunk)
        return True

    def await_frame(self, fits: str, without: str = "\0") -> str:
        """The first whole frame from now on that has one text and not the other."""
        self.output = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            frames = self.output.decode().split("\x1b[H")[1:]
            for frame in frames:
                if frame.endswith("\x1b[J") and fits in frame and without not in frame:
                    return frame
            assert self.read(), self.output
        raise AssertionError(self.output)

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def end(self) -> int:
        """The exit code, after all output."""
        deadline = time.monotonic() + 60
        while self.read() and time.monotonic() < deadline:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal(pyctr: Pyctr) -> Iterator[list[Terminal]]:
    """Terminals that are closed afterwards, whatever happened."""
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        os.close(one.fd)
        try:
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue


def test_on_a_terminal_the_table_is_drawn_anew_until_ctrl_c(
    pyctr: Pyctr, terminal: list[Terminal]
) -> None:
    pyctr("run", "-d", "--name", "first", "base", "sleep", "1000")
    terminal.append(screen := Terminal(pyctr.argv("stats")))
    before = termios.tcgetattr(screen.fd)
    frame = screen.await_frame("first")
    assert "CONTAINER ID" in frame and frame.count("\x1b[K") == 2
    pyctr("run", "-d", "--name", "second", "base", "sleep", "1000")
    screen.await_frame("second")
    pyctr("rm", "-f", "first")
    screen.await_frame("second", without="first")
    assert termios.tcgetattr(screen.fd) == before, "nothing was switched"
    screen.output = b""
    screen.type(b"\x03")
    assert screen.end() == 0
    assert screen.output.endswith(b"\r\n"), "the prompt has a line of its own"
    assert b"Traceback" not in screen.output
    assert b"\x1b[?25l" not in screen.output, "the cursor was never hidden"


def test_a_container_that_ends_while_one_looks(pyctr: Pyctr, terminal: list[Terminal]) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    terminal.append(screen := Terminal(pyctr.argv("stats", "c")))
    screen.await_frame("0B / 0B")
    pyctr("kill", "c")
    screen.await_frame("-- / --")
    pyctr("start", "c")
    screen.await_frame("0B / 0B", without="-- / --")
    pyctr("rm", "-f", "c")
    assert screen.end() == 0, "there is nothing more to see"
    assert b"-- / --" in screen.output


def test_a_small_terminal_does_not_scroll(pyctr: Pyctr, terminal: list[Terminal]) -> None:
    for name in ("one", "two", "three", "four", "five"):
        pyctr("create", "--name", name, "base", "true")
    terminal.append(screen := Terminal(pyctr.argv("stats", "-a"), columns=30, lines=5))
    frame = screen.await_frame("more; the terminal")
    lines = frame.split("\r\n")
    assert len(lines) == 5 and lines[-1] == "\x1b[J"
    assert all(len(line.removesuffix("\x1b[K")) <= 30 for line in lines)
    screen.type(b"\x03")
    assert screen.end() == 0


@given(st.lists(st.text("ab -", max_size=40), min_size=1, max_size=12), st.integers(0, 50),
       st.integers(0, 10))  # fmt: skip
def test_a_frame_fits_the_terminal(lines: list[str], columns: int, height: int) -> None:
    drawn = shown.frame(lines, columns, height).removeprefix("\x1b[H").removesuffix("\x1b[J")
    kept = drawn.split("\x1b[K\n")[:-1]
    if columns:
        assert all(len(line) <= columns for line in kept)
    if height > 2:
        assert len(kept) < height
    if not height:
        assert len(kept) == len(lines)


DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    7000      1    0    0    0     0          0         0     7000       1    0    0    0     0       0          0
  eth0:     100      1    0    0    0     0          0         0       20       2    0    0    0     0       0          0
eth1:1000 1 0 0 0 0 0 0 200 2 0 0 0 0 0 0
"""  # noqa: E501 - as the kernel writes it


def test_traffic_is_read_from_the_kernels_table() -> None:
    assert stats.parse_traffic(DEV) == (1100, 220)
    assert stats.parse_traffic("") == (0, 0)


def test_shares_are_of_the_time_between_two_samples() -> None:
    def at(second: float, cpu: int) -> stats.Sample:
        return stats.Sample(second, Usage(cpu=cpu, memory=25), 100, 0, 0)

    assert stats.cpu_percent(at(10, 5_000_000_000), at(12, 6_000_000_000)) == 50
    assert stats.cpu_percent(at(10, 0), at(11, 1_500_000_000)) == 150, "more than one CPU"
    assert stats.cpu_percent(at(10, 5), at(10, 5)) == 0
    assert stats.cpu_percent(at(10, 9), at(11, 5)) == 0, "it was started again"
    assert stats.memory_percent(at(1, 1)) == 25


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1 << 10, "1KiB"), (1536 << 10, "1.5MiB"), (5 << 30, "5GiB")],
)
def test_memory_is_shown_in_powers_of_1024(size: int, text: str) -> None:
    assert units.show_binary(size) == text


def test_a_folder_of_proc_belongs_to_one_process_for_ever() -> None:
    child = subprocess.Popen(["sleep", "1000"])
    started = process.start_time(child.pid)
    with pytest.raises(ProcessLookupError):
        process.open_folder(child.pid, started + 1)
    folder = process.open_folder(child.pid, started)
    child.kill()
    child.wait()
    with pytest.raises(ProcessLookupError):
        os.open("stat", os.O_RDONLY, dir_fd=folder)
    os.close(folder)
    with pytest.raises(ProcessLookupError):
        process.open_folder(child.pid, started)
