"""What a container says reaches systemd's journal complete, and comes back from it as it was."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import journal as driver
from engine import logopts
from engine.containers import Container
from engine.errors import EngineError
from engine.settings import Settings
from tests.conftest import Pyctr
from tests.journals import Journal
from tests.journals import journal as journal
from tests.watch import until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ID = "0123456789abcdef" * 4
CHUNKS = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=60)), max_size=12
)
HEAD = {
    "CONTAINER_ID": ID[:12].encode(),
    "CONTAINER_ID_FULL": ID.encode(),
    "CONTAINER_NAME": b"web",
    "CONTAINER_TAG": ID[:12].encode(),
    "SYSLOG_IDENTIFIER": ID[:12].encode(),
    "IMAGE_NAME": b"base",
}


def container(**given: object) -> Container:
    made = Settings(args=("true",), log_driver="journald", **given)  # type: ignore[arg-type]
    return Container(ID, "web", "f" * 64, "base", 1.0, made, "running")


class Receiver:
    """The journal's socket, as its documentation describes what comes there."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)

    def entries(self) -> list[dict[str, bytes]]:
        """The fields of each entry that has come since."""
        found: list[dict[str, bytes]] = []
        while True:
            try:
                content, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return found
            if ancillary:
                assert content == b"", "a datagram has a payload or a descriptor, never both"
                content = _sealed(int.from_bytes(ancillary[0][2], sys.byteorder))
            found.append(_fields(content))

    def close(self) -> None:
        self.socket.close()


def _sealed(fd: int) -> bytes:
    with open(fd, "rb") as file:
        seals = fcntl.fcntl(file, fcntl.F_GET_SEALS)
        assert seals & fcntl.F_SEAL_WRITE and seals & fcntl.F_SEAL_SHRINK
        assert seals & fcntl.F_SEAL_GROW
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def _fields(content: bytes) -> dict[str, bytes]:
    """Both forms of a field: NAME=value, and NAME, length, value."""
    found: dict[str, bytes] = {}
    while content:
        name, _, rest = content.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
        else:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert re.fullmatch(rb"[A-Z][A-Z0-9_]{0,63}", name), name
        assert name.decode() not in found, "a field comes once"
        found[name.decode()] = value
        content = rest
    return found


@pytest.fixture
def place() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"{folder}/socket"


@settings(max_examples=60)
@given(CHUNKS)
def test_every_byte_reaches_the_journal_with_its_stream(chunks: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        receiver = Receiver(f"{folder}/socket")
        writer = driver.Writer(container(), f"{folder}/socket")
        entries = []
        for stream, chunk in chunks:
            for cut in range(0, len(chunk), 5):  # fewer lines at once than a socket has room for
                writer.write(stream, chunk[cut : cut + 5])
                entries += receiver.entries()
        writer.flush()
        entries += receiver.entries()
        writer.close()
        receiver.close()
    for stream, priority in (("stdout", b"6"), ("stderr", b"3")):
        said = b"".join(chunk for name, chunk in chunks if name == stream)
        found = b""
        for entry in entries:
            assert {name: entry[name] for name in HEAD} == HEAD
            if entry["PRIORITY"] == priority:
                partial = entry.get("CONTAINER_PARTIAL_MESSAGE")
                assert partial in (None, b"true")
                found += entry["MESSAGE"] + (b"" if partial else b"\n")
        assert found == said


def test_a_long_line_comes_in_pieces_that_say_so(place: str) -> None:
    receiver = Receiver(place)
    writer = driver.Writer(container(), place)
    writer.write("stdout", b"x" * 40_000)
    writer.write("stdout", b"end\n")
    entries = receiver.entries()
    assert [entry.get("CONTAINER_PARTIAL_MESSAGE") for entry in entries] == [b"true", b"true", None]
    assert b"".join(entry["MESSAGE"] for entry in entries) == b"x" * 40_000 + b"end"
    writer.close()
    receiver.close()


def test_tag_labels_and_environment_are_fields_but_never_ours(place: str) -> None:
    chosen = container(
        env=("XVAR=y\nz", "_HIDDEN=h"),
        labels={"com.example/a": "1", "message": "no", "container_id_full": "no", "9": "no"},
        log_opts={
            "tag": "{{.Name}}/{{.ImageName}}", "labels-regex": ".", "env": "XVAR,_HIDDEN",
        },
    )  # fmt: skip
    receiver = Receiver(place)
    writer = driver.Writer(chosen, place)
    writer.write("stderr", b"said\n")
    assert receiver.entries() == [
        HEAD
        | {"MESSAGE": b"said", "PRIORITY": b"3", "COM_EXAMPLE_A": b"1"}
        | {"XVAR": b"y\nz", "HIDDEN": b"h"}
        | {"CONTAINER_TAG": b"web/base", "SYSLOG_IDENTIFIER": b"web/base"}
    ]
    writer.close()
    receiver.close()


def test_an_entry_too_long_for_a_datagram_comes_as_a_sealed_file(place: str) -> None:
    big = "v" * (1 << 20)
    receiver = Receiver(place)
    chosen = container(labels={"big": big}, log_opts={"labels": "big"})
    writer = driver.Writer(chosen, place)
    before = len(os.listdir("/proc/self/fd"))
    writer.write("stdout", b"said\n")
    (entry,) = receiver.entries()
    assert (entry["MESSAGE"], entry["BIG"]) == (b"said", big.encode())
    assert len(os.listdir("/proc/self/fd")) == before, "the descriptor was closed"
    writer.close()
    receiver.close()


def test_a_socket_that_goes_away_and_comes_back_is_found_again(place: str) -> None:
    writer = driver.Writer(container(), place)
    writer.write("stdout", b"nobody listens yet\n")
    first = Receiver(place)
    writer.write("stdout", b"one\n")
    told, entry = first.entries()
    assert told["MESSAGE"] == b"1 line of container web could not be sent to the journal"
    assert told["PRIORITY"] == b"4" and "CONTAINER_ID_FULL" not in told
    assert entry["MESSAGE"] == b"one"
    first.close()  # as when the journal has died: the path is there, but nobody listens
    writer.write("stdout", b"two\n")
    os.unlink(place)
    writer.write("stderr", b"three\nfour\n")
    second = Receiver(place)
    writer.write("stderr", b"five\n")
    told, entry = second.entries()
    assert told["MESSAGE"] == b"3 lines of container web could not be sent to the journal"
    assert entry["MESSAGE"] == b"five"
    writer.close()
    second.close()


def test_a_journal_that_stands_still_is_waited_for_once_and_then_heard_of(place: str) -> None:
    receiver = Receiver(place)
    writer = driver.Writer(container(), place)
    writer.write("stdout", b"line\n" * 3000)  # each waited for, it would be most of an hour
    taken = len(receiver.entries())
    assert 0 < taken < 3000
    writer.close()
    (told,) = receiver.entries()
    assert told["MESSAGE"].startswith(f"{3000 - taken} lines of container web".encode())
    receiver.close()


# -- with the real journal ---------------------------------------------------------------------


class Journaled(Pyctr):
    """The command where the journal is."""

    def __init__(self, root: str, journal: Journal) -> None:
        super().__init__(root)
        self.journal = journal

    def argv(self, *args: str) -> list[str]:
        return [*self.journal.prefix, *super().argv(*args)]

    def say(self, name: str, script: str, *flags: str) -> None:
        """Runs a container that keeps its log in the journal."""
        self("run", "--name", name, "--log-driver", "journald", *flags, "base", "sh", "-c", script)


@pytest.fixture
def journaled(pyctr: Pyctr, journal: Journal) -> Journaled:
    return Journaled(pyctr.root, journal)


def test_logs_come_back_from_the_journal_as_they_were(journaled: Journaled) -> None:
    said = b"plain\n\n\xff\x00\x1b[1mbold\n" + b"long" * 10_000 + b"\n" + "ü\n".encode() + b"part"
    with open(f"{journaled.root}/said", "wb") as file:
        file.write(said)
    journaled.say("a", "cat /said; echo wrong >&2", "-d", "-v", f"{journaled.root}/said:/said")
    journaled("wait", "a")
    ran = subprocess.run(journaled.argv("logs", "a"), capture_output=True, timeout=120)
    assert (ran.stdout, ran.stderr) == (said, b"wrong\n")
    inspect = journaled.out("inspect", "-f", "{{json .HostConfig.LogConfig}}[{{.LogPath}}]", "a")
    assert inspect == '{"Type":"journald","Config":{}}[]'


def test_what_was_kept_of_a_log_in_the_journal_can_be_chosen(journaled: Journaled) -> None:
    flags = ("-l", "a.b=1", "--log-opt", "labels=a.b", "--log-opt", "tag=mine")
    journaled.say("a", "for n in 1 2 3 4 5; do echo $n; sleep 0.01; done", *flags)
    assert journaled.out("logs", "--tail", "2", "a").split() == ["4", "5"]
    assert journaled.out("logs", "--tail", "0", "a") == ""
    assert journaled.out("logs", "--details", "--tail", "1", "a") == "A_B=1 5"
    lines = [line.split() for line in journaled.out("logs", "-t", "a").splitlines()]
    assert [word for _, word in lines] == ["1", "2", "3", "4", "5"]
    times = [time for time, _ in lines]
    assert times == sorted(times)
    assert journaled.out("logs", "--since", times[3], "a").split() == ["4", "5"]
    assert journaled.out("logs", "--until", times[1], "a").split() == ["1", "2"]
    chosen = journaled.out("logs", "--since", times[1], "--until", times[2], "--tail", "3", "a")
    assert chosen.split() == ["3"]
    assert journaled.out("logs", "--since", "10m", "a").split() == ["1", "2", "3", "4", "5"]
    read = [*journaled.journal.prefix, "journalctl", "-q", "-o", "cat", "CONTAINER_TAG=mine"]
    own = [*read, f"CONTAINER_ID={journaled.out('ps', '-aq')}"]
    assert subprocess.check_output(own, timeout=60).split() == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize(("flags", "first"), [((), 0), (("--tail", "0"), 2), (("-n", "1"), 1)])
def test_a_log_in_the_journal_is_followed_to_its_end(
    journaled: Journaled, flags: tuple[str, ...], first: int
) -> None:
    script = "echo 0; echo 1; read line; for n in 2 3 4; do echo $n; done; read line; echo 5"
    journaled("create", "-i", "--name", "a", "--log-driver", "journald", "base", "sh", "-c", script)
    client = subprocess.Popen(
        journaled.argv("start", "-ai", "a"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    until(lambda: journaled.out("logs", "a").split() == ["0", "1"], "the first lines")
    reader = subprocess.Popen(
        journaled.argv("logs", "-f", *flags, "a"), stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None and client.stdin is not None
    expected = [str(n) for n in range(first, 6)]
    early = [reader.stdout.readline().strip() for n in expected if int(n) < 2]
    if not early:
        until(lambda: _follows(reader.pid), "the reader follows")
    client.stdin.write(b"\n")
    client.stdin.flush()
    middle = [reader.stdout.readline().strip() for _ in "234"]
    client.stdin.write(b"\n")
    client.stdin.close()
    rest = reader.stdout.read().split()
    assert [*early, *middle, *rest] == expected
    assert (reader.wait(60), client.wait(60)) == (0, 0)


def _follows(pid: int) -> bool:
    """Whether a process has a child that follows the journal."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        children = file.read().split()
    for child in children:
        try:
            with open(f"/proc/{child}/cmdline") as file:
                if "--follow" in file.read():
                    return True
        except FileNotFoundError:
            continue
    return False


def test_a_container_outlives_a_restart_of_the_journal(journaled: Journaled) -> None:
    journaled.say("a", "echo before; read line </pipe; echo after", "-d", "-v", _pipe(journaled))
    until(lambda: journaled.out("logs", "a") == "before", "the first line")
    journaled.journal.restart()
    with open(f"{journaled.root}/pipe", "w") as pipe:
        pipe.write("go on\n")
    assert journaled.out("wait", "a") == "0"
    assert journaled.out("logs", "a") == "before\nafter"


def _pipe(pyctr: Pyctr) -> str:
    os.mkfifo(f"{pyctr.root}/pipe")
    return f"{pyctr.root}/pipe:/pipe"


def test_an_entry_that_somebody_else_has_forged_is_not_shown(journaled: Journaled) -> None:
    journaled.say("a", "echo true")
    full = journaled.out("inspect", "-f", "{{.Id}}", "a")
    script = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(1, 2);"
        " s.sendto(b'MESSAGE=forged\\nCONTAINER_ID_FULL=%s\\n' % sys.argv[1].encode(), sys.argv[2])"
    )
    forge = [*journaled.journal.prefix, sys.executable, "-c", script, full, logopts.JOURNAL]
    subprocess.run(forge, check=True, timeout=60)
    assert journaled.out("logs", "a") == "true"


def test_without_journalctl_logs_says_what_is_missing(
    journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    journaled.say("a", "echo said")
    monkeypatch.setenv("PATH", "/nowhere")
    said = journaled("logs", "a", code=1).stderr
    assert "there is no program journalctl" in said and "container a" in said


def test_a_failure_of_journalctl_is_told_in_its_words(
    journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    journaled.say("a", "echo said")
    monkeypatch.setenv("PATH", journaled.root)
    with open(f"{journaled.root}/journalctl", "w") as file:
        file.write("#!/bin/sh\necho 'it is broken' >&2\nexit 3\n")
    os.chmod(f"{journaled.root}/journalctl", 0o755)
    assert "journalctl: it is broken" in journaled("logs", "a", code=1).stderr


def test_the_journal_may_be_the_configured_driver(
    journaled: Journaled, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(f"{journaled.root}/config.toml", "w") as file:
        file.write('[log]\ndriver = "journald"\noptions = { tag = "{{.Name}}" }\n')
    monkeypatch.setenv("PYCTR_CONFIG", f"{journaled.root}/config.toml")
    journaled("run", "--name", "a", "base", "echo", "said")
    config = journaled.out("inspect", "-f", "{{json .HostConfig.LogConfig}}", "a")
    assert config == '{"Type":"journald","Config":{"tag":"{{.Name}}"}}'
    assert journaled.out("logs", "a") == "said"


# -- and without -------------------------------------------------------------------------------


class Bare(Pyctr):
    """The command where no journal is."""

    def argv(self, *args: str) -> list[str]:
        script = '[ ! -d /run/systemd ] || mount -t tmpfs tmpfs /run/systemd; exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, "sh", *super().argv(*args)]


def test_where_there_is_no_journal_the_driver_is_refused(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Bare(pyctr.root)
    why = f"journald is not enabled on this host: there is no {logopts.JOURNAL}"
    said = bare("create", "--log-driver", "journald", "base", code=125).stderr
    assert "log driver 'journald' cannot be used" in said and why in said
    monkeypatch.setenv("PYCTR_LOG_DRIVER", "journald")
    assert why in bare("run", "base", "true", code=125).stderr
    assert pyctr.out("ps", "-aq") == ""


def test_a_container_is_not_started_without_the_journal_that_it_was_made_for(
    journaled: Journaled,
) -> None:
    journaled("create", "--name", "a", "--log-driver", "journald", "base", "echo", "said")
    said = Bare(journaled.root)("start", "a", code=1).stderr
    assert "log driver 'journald' cannot be used" in said
    assert journaled.out("ps", "-a", "--format", "{{.State}}") == "created"
    assert journaled.out("start", "-a", "a") == "said"


def test_files_of_a_log_are_no_business_of_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logopts, "JOURNAL", "/dev/null")
    for name in ("max-size", "max-file", "compress"):
        with pytest.raises(EngineError, match=f"unknown log opt '{name}' for journald log driver"):
            logopts.check("journald", {name: "1"})
    logopts.check("journald", {"tag": "{{.ID}}", "labels": "a", "env": "b", "mode": "blocking"})


def test_only_a_container_with_that_driver_loads_it(pyctr: Pyctr) -> None:
    code = "import sys, engine.monitor; print([n for n in sys.modules if 'engine.journal' in n])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60) == "[]\n"
    code = "import sys, engine.journal as j, engine.monitor; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True, timeout=60).split()
    assert not {"socket", "subprocess", "json", "re", "engine.journalread"} & set(loaded)
