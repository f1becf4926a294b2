"""Standard streams without a terminal: every byte, in order, whoever is slow or leaves."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import subprocess
import threading
import time

import pytest

from tests.watch import (
    catches,
    descriptors,
    fields,
    is_gone,
    monitor_of,
    state,
    status,
    ticks,
    until,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

MIB = 1 << 20


class Session:
    """A command with pipes at its streams; what it writes is collected."""

    def __init__(self, argv: list[str], stdin: int | None = subprocess.PIPE) -> None:
        self.process = subprocess.Popen(
            argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.out = bytearray()
        self.err = bytearray()
        self._readers = [
            threading.Thread(target=self._collect, args=(file, into))
            for file, into in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _collect(self, file: object, into: bytearray) -> None:
        while chunk := os.read(file.fileno(), 1 << 16):  # type: ignore[attr-defined]
            into.extend(chunk)

    def expect(self, text: bytes) -> None:
        until(lambda: text in self.out, f"{text!r} is written")

    def type(self, text: bytes) -> None:
        assert self.process.stdin is not None
        os.write(self.process.stdin.fileno(), text)

    def close_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def code(self) -> int:
        code = self.process.wait(timeout=60)
        for reader in self._readers:
            reader.join()
        for file in (self.process.stdin, self.process.stdout, self.process.stderr):
            if file is not None:
                file.close()
        return code


# -- all of it -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hundred_megabytes() -> bytes:
    """Lines of text, so that the log of them is no larger than need be."""
    return (base64.encodebytes(os.urandom(MIB)) * 75)[: 100 * MIB]


SUM = "mkfifo /p; sha256sum < /p >&2 & tee /p; wait"  # back on stdout, the checksum on stderr


@pytest.mark.parametrize("way", ["run", "exec", "attach"])
def test_a_hundred_megabytes_go_in_and_come_out(
    pyctr: Pyctr, hundred_megabytes: bytes, way: str
) -> None:
    if way == "run":
        command = ["run", "-i", "--name", "c", "base", "sh", "-c", SUM]
    elif way == "exec":
        pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
        command = ["exec", "-i", "c", "sh", "-c", SUM]
    else:
        pyctr("create", "-i", "--name", "c", "base", "sh", "-c", SUM)
        pyctr("start", "c")
        command = ["attach", "c"]
    ran = subprocess.run(
        pyctr.argv(*command), input=hundred_megabytes, capture_output=True, timeout=300
    )
    checksum = hashlib.sha256(hundred_megabytes).hexdigest()
    assert ran.returncode == 0
    assert ran.stderr.decode().split()[0] == checksum
    assert len(ran.stdout) == len(hundred_megabytes)
    assert hashlib.sha256(ran.stdout).hexdigest() == checksum


def test_who_writes_all_before_reading_anything_is_not_stuck(pyctr: Pyctr) -> None:
    data = os.urandom(30 * MIB)
    running = subprocess.Popen(
        pyctr.argv("run", "-i", "--name", "c", "base", "cat"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert running.stdin is not None
    running.stdin.write(data)  # the monitor keeps meanwhile what comes back
    assert running.communicate(timeout=120)[0] == data


def test_input_may_be_a_file_nothing_or_closed(pyctr: Pyctr, home_dir: str) -> None:
    with open(f"{home_dir}/data", "wb") as file:
        file.write(b"line\n" * 100_000)
    argv = pyctr.argv("run", "--rm", "-i", "base", "sha256sum")
    with open(f"{home_dir}/data") as file:
        ran = subprocess.run(argv, stdin=file, capture_output=True, timeout=60)
    assert ran.stdout.split()[0].decode() == hashlib.sha256(b"line\n" * 100_000).hexdigest()
    command = " ".join(map(_quoted, argv))
    for stdin in ("< /dev/null", "<&-"):
        ran = subprocess.run(["sh", "-c", f"{command} {stdin}"], capture_output=True, timeout=60)
        assert ran.stdout.split()[0].decode() == hashlib.sha256(b"").hexdigest(), stdin
    closed = f"{' '.join(map(_quoted, pyctr.argv('run', 'base', 'sh', '-c', 'echo x; exit 4')))}"
    for streams in (">&-", "2>&-", ">&- 2>&- <&-"):
        assert subprocess.run(["sh", "-c", f"{closed} {streams}"], timeout=60).returncode == 4


def _quoted(word: str) -> str:
    return f"'{word}'"


def test_output_that_cannot_be_written_is_an_error(pyctr: Pyctr) -> None:
    script = "echo out; echo err >&2; sleep 1000"
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            pyctr.argv("run", "--name", "c", "base", "sh", "-c", script),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert ran.returncode == 125
    assert b"cannot write to standard output: No space left on device" in ran.stderr
    assert state(pyctr, "c") == "running 0"
    assert pyctr("logs", "c").stdout == "out\n"


def test_a_closed_pipe_ends_the_command_as_sigpipe_would(pyctr: Pyctr) -> None:
    for command in (("run", "--name", "c", "base", "yes"), ("attach", "c"), ("exec", "c", "yes")):
        running = subprocess.Popen(pyctr.argv(*command), stdout=subprocess.PIPE)
        assert running.stdout is not None
        assert running.stdout.read(2) == b"y\n"
        running.stdout.close()
        assert running.wait(timeout=60) == 128 + signal.SIGPIPE
    assert state(pyctr, "c") == "running 0"


# -- slow readers --------------------------------------------------------------------------


def memory(pid: int) -> int:
    """Bytes of private memory."""
    return int(status(pid, "RssAnon")) << 10


WRITE_50 = "i=0; while [ $i -lt 50 ]; do cat /block; i=$((i + 1)); done; exit 3"


def _fifty_megabytes(home_dir: str) -> tuple[bytes, list[str]]:
    """(what WRITE_50 writes, the arguments of `sh -c` in a container that can)"""
    block = base64.encodebytes(os.urandom(MIB))[:MIB]
    with open(f"{home_dir}/block", "wb") as file:
        file.write(block)
    return block * 50, ["-v", f"{home_dir}/block:/block", "base", "sh", "-c"]


def test_a_reader_that_stands_still_stops_neither_the_container_nor_its_log(
    pyctr: Pyctr, home_dir: str
) -> None:
    data, args = _fifty_megabytes(home_dir)
    pyctr("create", "-i", "--name", "c", *args, f"read x; {WRITE_50}")
    pyctr("start", "c")
    reader = Session(pyctr.argv("attach", "--no-stdin", "c"))
    other = Session(pyctr.argv("attach", "c"))
    monitor = monitor_of(pyctr, "c")
    attached(monitor, reader, other)
    before = memory(monitor)
    folder = pyctr.out("inspect", "-f", "{{.LogPath}}", "c").rpartition("/")[0]
    files = os.listdir(folder)
    os.kill(reader.process.pid, signal.SIGSTOP)
    other.type(b"\n")
    most = 0
    deadline = time.monotonic() + 120
    while state(pyctr, "c") != "exited 3":
        assert time.monotonic() < deadline, "the container does not end"
        most = max(most, memory(monitor))
    assert most - before < 12 * MIB, "what waits is not kept in memory"
    assert other.code() == 3
    assert bytes(other.out) == data, "nobody else is held up"
    logged = subprocess.run(pyctr.argv("logs", "c"), capture_output=True, timeout=120)
    assert logged.stdout == data
    assert not is_gone(monitor), "it still has something for the one who stands still"
    assert os.listdir(folder) == files, "what waits has no name"
    os.kill(reader.process.pid, signal.SIGCONT)
    assert reader.code() == 3
    assert bytes(reader.out) == data
    until(lambda: is_gone(monitor), "the monitor ends")


def attached(monitor: int, *sessions: Session) -> None:
    """Waits until these are the clients of a monitor, and have said what they want."""

    def connections() -> int:
        links = descriptors(monitor).values()
        return sum(link.startswith("socket:") for link in links) - 1  # one of them listens

    def follow() -> bool:
        return all(catches(session.process.pid, signal.SIGWINCH) for session in sessions)

    until(lambda: connections() == len(sessions) and follow(), f"{len(sessions)} are attached")


def test_a_reader_that_is_killed_frees_what_waited_for_it(pyctr: Pyctr, home_dir: str) -> None:
    _, args = _fifty_megabytes(home_dir)
    reader = subprocess.Popen(
        pyctr.argv("run", "--name", "c", *args, f"({WRITE_50}); exec sleep 1000"),
        stdout=subprocess.PIPE,
    )
    until(lambda: pyctr("ps", "-q").stdout, "the container runs")
    monitor = monitor_of(pyctr, "c")

    def waiting() -> int:
        nameless = [fd for fd, path in descriptors(monitor).items() if "/#" in path]
        return sum(os.stat(f"/proc/{monitor}/fd/{fd}").st_size for fd in nameless)

    until(lambda: waiting() > 40 * MIB, "it waits on the disk")
    reader.kill()
    reader.wait()
    assert reader.stdout is not None
    reader.stdout.close()
    until(lambda: waiting() == 0, "it is freed")
    assert state(pyctr, "c") == "running 0"


def test_a_slow_reader_can_still_be_interrupted(pyctr: Pyctr) -> None:
    script = "trap 'exit 5' TERM; yes & while :; do sleep 0.1; done"
    running = subprocess.Popen(
        pyctr.argv("run", "--name", "c", "base", "sh", "-c", script), stdout=subprocess.PIPE
    )
    assert running.stdout is not None
    assert running.stdout.read(2) == b"y\n"
    time.sleep(0.5)  # now its pipe is full
    running.send_signal(signal.SIGTERM)
    until(lambda: state(pyctr, "c") == "exited 5", "the program got the signal")
    assert running.poll() is None, "not all is shown yet"
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=60) == -signal.SIGTERM
    running.stdout.close()


# -- several clients -----------------------------------------------------------------------


def test_two_clients_share_input_and_output_and_leave_without_disturbing(pyctr: Pyctr) -> None:
    pyctr("create", "-i", "--name", "c", "base", "cat")
    pyctr("start", "c")
    one, two, three = (Session(pyctr.argv("attach", "c")) for _ in range(3))
    attached(monitor_of(pyctr, "c"), one, two, three)
    one.type(b"one\n")
    for session in (one, two, three):
        session.expect(b"one\n")
    two.type(b"two\n")
    for session in (one, two, three):
        session.expect(b"two\n")
    one.process.kill()
    one.code()
    two.close_input()  # the end of one's input is not the end of the container's
    three.type(b"three\n")
    for session in (two, three):
        session.expect(b"three\n")
    three.close_input()
    assert (two.code(), three.code()) == (0, 0), "now nobody is left who could type"
    assert two.out == three.out == b"one\ntwo\nthree\n"


def test_input_of_a_detached_container_stays_open_for_others(pyctr: Pyctr) -> None:
    pyctr("run", "-di", "--name", "c", "base", "cat")
    first = Session(pyctr.argv("attach", "c"))
    first.type(b"first\n")
    first.close_input()
    first.expect(b"first\n")
    second = Session(pyctr.argv("attach", "c"))
    second.type(b"second\n")
    for session in (first, second):
        session.expect(b"second\n")
    pyctr("kill", "c")
    assert (first.code(), second.code()) == (137, 137)
    shown = pyctr.out("inspect", "-f", "{{.Config.OpenStdin}} {{.State.ExitCode}}", "c")
    assert shown == "true 137"


def test_the_input_of_run_ends_when_it_is_killed(pyctr: Pyctr) -> None:
    running = Session(pyctr.argv("run", "-i", "--name", "c", "base", "sh", "-c", "cat; exit 6"))
    running.type(b"x\n")
    running.expect(b"x\n")
    running.process.kill()
    running.code()
    until(lambda: state(pyctr, "c") == "exited 6", "cat sees the end of its input")


def test_a_producer_is_told_when_the_program_closes_its_input(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "other", "base", "sleep", "1000")
    for command in (("run", "-i", "--name", "c", "base"), ("exec", "-i", "other")):
        producer = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
        assert producer.stdout is not None
        script = "exec 0<&-; echo closed; exec sleep 1000"
        session = Session(pyctr.argv(*command, "sh", "-c", script), producer.stdout.fileno())
        producer.stdout.close()
        assert producer.wait(timeout=60) == -signal.SIGPIPE, command
        session.expect(b"closed\n")
        assert session.process.poll() is None
        session.process.kill()
        session.code()


# -- which streams -------------------------------------------------------------------------


BOTH = "echo out; echo err >&2"


def test_only_the_streams_that_are_named_are_attached(pyctr: Pyctr) -> None:
    def run(*flags: str, script: str = BOTH, stdin: str | None = None) -> tuple[str, str]:
        ran = pyctr("run", "--rm", *flags, "base", "sh", "-c", script, stdin=stdin)
        return ran.stdout, ran.stderr

    assert run() == ("out\n", "err\n")
    assert run("-a", "stdout") == ("out\n", "")
    assert run("-a", "STDERR") == ("", "err\n")
    assert run("--attach", "stdout", "--attach=stderr") == ("out\n", "err\n")
    both = ("-i", "-a", "stdin", "-a", "stdout")
    assert run(*both, script="cat; echo err >&2", stdin="in\n") == ("in\n", "")


def test_only_standard_input_prints_the_id_and_ends_with_the_input(pyctr: Pyctr) -> None:
    script = "cat > /in; echo out; exit 7"
    data = b"x" * MIB
    printed = pyctr.out("run", "-i", "-a", "stdin", "--name", "c", "base", "sh", "-c", script,
                        stdin=data)  # fmt: skip
    assert printed == pyctr.out("inspect", "-f", "{{.Id}}", "c")
    assert pyctr.out("wait", "c") == "7", "it got the end of its input"
    assert pyctr("logs", "c").stdout == "out\n"
    exported = subprocess.run(pyctr.argv("export", "c"), capture_output=True, check=True).stdout
    assert data in exported


def test_streams_that_make_no_sense_are_refused(pyctr: Pyctr) -> None:
    said = pyctr("run", "-a", "stdlog", "base", "true", code=125).stderr
    assert "invalid argument 'stdlog' for -a" in said and "stdin, stdout and stderr" in said
    assert "--attach and --detach" in pyctr("run", "-d", "-a", "stdout", "base", code=125).stderr
    assert pyctr.out("ps", "-aq") == ""


# -- attach and start ----------------------------------------------------------------------


def test_attach_and_start_leave_with_the_exit_code(pyctr: Pyctr) -> None:
    script = "read x; echo got $x; exit $x"
    pyctr("create", "-i", "--name", "c", "base", "sh", "-c", script)
    pyctr("start", "c")
    assert pyctr("attach", "c", stdin="5\n", code=5).stdout == "got 5\n"
    assert pyctr("start", "-a", "-i", "c", stdin="6\n", code=6).stdout == "got 6\n"
    assert pyctr("start", "-i", "c", stdin="7\n", code=7).stdout == "got 7\n"
    pyctr("start", "c")
    assert pyctr("start", "-ai", "c", stdin="8\n", code=8).stdout == "got 8\n", "it runs already"


def test_attach_without_input_only_looks(pyctr: Pyctr) -> None:
    pyctr("run", "-di", "--name", "c", "base", "sh", "-c", "read x; echo $x; exit 4")
    looking = Session(pyctr.argv("attach", "--no-stdin", "c"))
    looking.type(b"not this\n")
    attached(monitor_of(pyctr, "c"), looking)
    typing = Session(pyctr.argv("attach", "c"))
    typing.type(b"this\n")
    assert (looking.code(), typing.code()) == (4, 4)
    assert looking.out == typing.out == b"this\n"


def test_what_does_not_run_cannot_be_attached_to(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base", "sleep", "1000")
    said = pyctr("attach", "c", code=1).stderr
    assert "cannot attach to container c: it is stopped" in said and "start it first" in said
    pyctr("start", "c")
    pyctr("pause", "c")
    for command in (("attach", "c"), ("start", "-a", "c")):
        said = pyctr(*command, code=1).stderr
        assert "cannot attach to container c: it is paused" in said and "unpause it first" in said
    pyctr("unpause", "c")
    pyctr("stop", "-t", "0", "c")
    assert "it is stopped" in pyctr("attach", "c", code=1).stderr


def test_many_are_started_at_once_but_one_is_attached_to(pyctr: Pyctr) -> None:
    for name in ("a", "b"):
        pyctr("create", "--name", name, "base", "sleep", "1000")
    assert pyctr.out("start", "a", "b").split() == ["a", "b"]
    assert pyctr.out("start", "a") == "a", "starting what runs is no error"
    ran = pyctr("start", "nope", "a", code=1)
    assert ran.stdout == "a\n" and "no such container: nope" in ran.stderr
    assert "only one container" in pyctr("start", "-a", "a", "b", code=125).stderr


def test_a_client_learns_that_the_monitor_was_killed(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    session = Session(pyctr.argv("attach", "c"))
    monitor = monitor_of(pyctr, "c")
    attached(monitor, session)
    os.kill(monitor, signal.SIGKILL)
    assert session.code() == 137
    assert b"monitor of c was killed" in session.err
    assert state(pyctr, "c") == "exited 137"


def test_what_came_before_the_monitor_was_killed_is_still_shown(pyctr: Pyctr) -> None:
    script = "seq 20000; exec sleep 1000"
    running = subprocess.Popen(
        pyctr.argv("run", "--name", "c", "base", "sh", "-c", script), stdout=subprocess.PIPE
    )
    until(lambda: pyctr("ps", "-q").stdout, "the container runs")
    monitor = monitor_of(pyctr, "c")
    until(lambda: pyctr("logs", "--tail", "1", "c").stdout == "20000\n", "all is written")
    until(lambda: fields(monitor)[0] == "S", "and passed on")
    os.kill(monitor, signal.SIGKILL)
    until(lambda: is_gone(monitor), "the monitor is gone")
    said = running.communicate(timeout=60)[0]  # more than a pipe takes
    assert said == b"".join(b"%d\n" % n for n in range(1, 20001))
    assert running.returncode == 137


# -- signals -------------------------------------------------------------------------------


NAMES = ("HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "WINCH", "CONT", "TSTP", "ABRT")
TRAPS = "".join(f"trap 'echo {name}.' {name}; " for name in NAMES)
LISTEN = f"{TRAPS} trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"


def test_signals_are_passed_on_to_the_program(pyctr: Pyctr) -> None:
    session = Session(pyctr.argv("run", "--name", "c", "base", "sh", "-c", LISTEN))
    session.expect(b"ready\n")
    for name in NAMES:
        session.process.send_signal(signal.Signals[f"SIG{name}"])
        session.expect(f"{name}.\n".encode())
    session.process.send_signal(signal.SIGTERM)
    assert session.code() == 9
    for command in ("start -a c", "attach c"):
        if command.startswith("attach"):
            pyctr("start", "c")
        session = Session(pyctr.argv(*command.split()))
        until(lambda: pyctr("ps", "-q").stdout, "it runs")
        attached(monitor_of(pyctr, "c"), session)
        session.process.send_signal(signal.SIGUSR1)
        session.expect(b"USR1.\n")
        session.process.send_signal(signal.SIGTERM)
        assert session.code() == 9, command


@pytest.mark.parametrize("command", ["run", "start", "attach"])
def test_signals_that_are_not_passed_on_end_the_command_only(pyctr: Pyctr, command: str) -> None:
    made = ("--name", "c", "base", "sh", "-c", LISTEN)
    if command == "run":
        session = Session(pyctr.argv("run", "--sig-proxy=false", *made))
    else:
        pyctr("create", *made)
        if command == "attach":
            pyctr("start", "c")
        extra = ["-a"] if command == "start" else []
        session = Session(pyctr.argv(command, "--sig-proxy=false", *extra, "c"))
    until(lambda: pyctr("ps", "-q").stdout, "it runs")
    attached(monitor_of(pyctr, "c"), session)
    until(lambda: pyctr("logs", "c").stdout == "ready\n", "it listens")
    session.process.send_signal(signal.SIGINT)
    assert session.code() == 130
    assert state(pyctr, "c") == "running 0"
    assert pyctr("logs", "c").stdout == "ready\n", "the program was told nothing"


def test_a_hang_up_that_is_ignored_stays_ignored(pyctr: Pyctr) -> None:
    script = " ".join(map(_quoted, pyctr.argv("run", "--name", "c", "base", "sh", "-c", "XXX")))
    script = script.replace("XXX", LISTEN.replace("'", "'\\''"))
    session = Session(["sh", "-c", f"trap '' HUP; exec {script}"])
    session.expect(b"ready\n")
    session.process.send_signal(signal.SIGHUP)
    session.process.send_signal(signal.SIGUSR1)
    session.expect(b"USR1.\n")
    assert b"HUP." not in session.out
    session.process.send_signal(signal.SIGTERM)
    assert session.code() == 9


# -- a quiet monitor -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "script"),
    [
        ("-d", "exec sleep 1000"),
        ("-d", "exec >&- 2>&-; exec sleep 1000"),
        ("-di", "exec <&-; exec sleep 1000"),
        ("-di", "exec <&- >&- 2>&-; exec sleep 1000"),
        ("-dt", "exec <&- >&- 2>&-; exec sleep 1000"),
        ("-dit", "exec <&- >&- 2>&-; exec sleep 1000"),
        ("-di", "exec sleep 1000"),
    ],
)
def test_a_monitor_with_nothing_to_do_sleeps(pyctr: Pyctr, flags: str, script: str) -> None:
    pyctr("run", flags, "--name", "c", "base", "sh", "-c", script)
    monitor = monitor_of(pyctr, "c")
    _sleeps(monitor)
    if "t" in flags:
        return
    for _ in range(2):
        session = Session(pyctr.argv("attach", "c"))
        attached(monitor, session)
        if "<&-" not in script:
            session.type(b"x\n" * 1000)
        session.process.kill()
        session.code()
    attached(monitor)
    _sleeps(monitor)


def _sleeps(pid: int) -> None:
    """A process that turns without end uses a tick whenever it gets a processor."""
    until(lambda: fields(pid)[0] == "S", "it sleeps")
    time.sleep(0.3)
    before = ticks(pid)
    time.sleep(1)
    assert ticks(pid) - before <= 2


def test_a_monitor_whose_client_stands_still_sleeps(pyctr: Pyctr) -> None:
    reader = subprocess.Popen(
        pyctr.argv("run", "-i", "--name", "c", "base", "sh", "-c", "seq 1000000; exec sleep 1000"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    until(lambda: pyctr("ps", "-q").stdout, "the container runs")
    os.kill(reader.pid, signal.SIGSTOP)
    monitor = monitor_of(pyctr, "c")
    until(lambda: pyctr("logs", "--tail", "1", "c").stdout == "1000000\n", "all is written")
    _sleeps(monitor)
    pyctr("kill", "c")
    until(lambda: state(pyctr, "c") == "exited 137", "it has ended")
    _sleeps(monitor)  # and waits for the reader
    reader.kill()
    reader.communicate()
    until(lambda: is_gone(monitor), "the monitor ends")
