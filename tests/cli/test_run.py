"""`run`, `create`, `start` and `exec`: streams, exit codes, signals, terminals, settings."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def test_exit_codes_pass_through(pyctr: Pyctr) -> None:
    pyctr("run", "--rm", "base", "sh", "-c", "exit 42", code=42)
    pyctr("run", "--name", "c", "base", "sh", "-c", "sh -c 'kill -TERM $$'; exit $?", code=143)
    assert pyctr.out("inspect", "--format", "{{.State.ExitCode}}", "c") == "143"


@pytest.mark.parametrize(
    ("command", "code", "why"),
    [
        (("nosuch",), 127, "not found in $PATH"),
        (("/no/such",), 127, "no such file"),
        (("/etc/passwd",), 126, "no execute permission"),
        (("/etc",), 126, "directory"),
    ],
)
def test_a_command_that_cannot_be_run_says_why(
    pyctr: Pyctr, command: tuple[str, ...], code: int, why: str
) -> None:
    said = pyctr("run", "--rm", "base", *command, code=code).stderr
    assert why in said and "hint:" in said
    assert pyctr.out("ps", "-aq") == "", "--rm counts for a failed start as well"


def test_the_layer_of_rm_waits_for_no_disk_and_survives_a_start_that_failed(
    pyctr: Pyctr, home_dir: str
) -> None:
    def union(*flags: str) -> str:
        story = pyctr("run", *flags, "--explain", "base", "true").stderr
        return next(line for line in story.splitlines() if "mount the root filesystem" in line)

    assert "volatile" in union("--rm")
    assert "volatile" not in union("--name", "kept")
    pyctr("create", "--rm", "--name", "c", "base", "/program")
    pyctr("start", "-a", "c", code=127)
    program = f"{home_dir}/program"
    with open(program, "w") as file:
        file.write("#!/bin/sh\necho ran\n")
    os.chmod(program, 0o755)
    pyctr("cp", program, "c:/program")
    assert pyctr.out("start", "-a", "c") == "ran"
    assert pyctr.out("ps", "-aq", "--filter", "name=c") == ""


def test_an_executable_that_does_not_fit_says_why(pyctr: Pyctr) -> None:
    make = (
        "printf '#!/bin/sh\\r\\necho x\\r\\n' > /crlf; printf '#!/no/such\\n' > /lost;"
        "printf '\\177ELF\\002\\001\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\002\\000"
        "\\363\\000' > /foreign; head -c 100 /dev/zero >> /foreign; chmod +x /crlf /lost /foreign"
    )
    pyctr("run", "--name", "c", "base", "sh", "-c", make)
    pyctr("commit", "c", "odd")
    for program, why in (("/crlf", "CRLF"), ("/lost", "/no/such"), ("/foreign", "riscv64")):
        said = pyctr("run", "--rm", "odd", program, code=None)
        assert said.returncode in (126, 127)
        assert why.lower() in said.stderr.lower(), said.stderr


def test_streams_are_binary_safe_and_kept_apart(pyctr: Pyctr) -> None:
    data = bytes(range(256)) * 5000
    argv = pyctr.argv("run", "-i", "--name", "c", "base", "sh", "-c", "tee /dev/stderr")
    ran = subprocess.run(argv, input=data, capture_output=True, timeout=60)
    assert ran.returncode == 0
    assert ran.stdout == data and ran.stderr == data
    again = subprocess.run(pyctr.argv("logs", "c"), capture_output=True, timeout=60)
    assert again.stdout == data and again.stderr == data, "the log loses nothing"


def test_standard_input_ends(pyctr: Pyctr) -> None:
    assert pyctr("run", "--rm", "-i", "base", "cat", stdin="hi\n").stdout == "hi\n"
    assert pyctr("run", "--rm", "-i", "base", "head", "-c", "1", stdin=b"x" * 300000).stdout == "x"
    assert pyctr("run", "--rm", "base", "cat").stdout == "", "without -i there is none"


def test_output_larger_than_the_input_does_not_stop_either(pyctr: Pyctr) -> None:
    data = bytes(8 << 20)
    argv = pyctr.argv("run", "--rm", "-i", "base", "od", "-v")
    ran = subprocess.run(argv, input=data, capture_output=True, timeout=60)
    assert ran.returncode == 0 and len(ran.stdout) > 3 * len(data)


def test_signals_reach_the_program(pyctr: Pyctr) -> None:
    script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    argv = pyctr.argv("run", "--rm", "base", "sh", "-c", script)
    running = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    running.send_signal(signal.SIGTERM)
    assert running.communicate(timeout=30)[0] == b"got it\n"
    assert running.returncode == 9


def test_a_container_outlives_the_command_that_started_it(pyctr: Pyctr) -> None:
    argv = pyctr.argv("run", "--name", "c", "base", "sh", "-c", "echo ready; sleep 1000")
    running = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"ready\n"
    running.kill()
    running.wait()
    assert pyctr.out("inspect", "--format", "{{.State.Running}}", "c") == "true"
    assert pyctr.out("exec", "c", "echo", "alive") == "alive"


class Terminal:
    """A command on a pseudo terminal, as a person has it."""

    def __init__(self, argv: list[str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)
        self.seen = b""

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, f"waited for {text!r} in {self.seen!r}"
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self.fd, 4096)
                except OSError as error:
                    raise AssertionError(f"{text!r} never came: {self.seen!r}") from error
        self.seen = self.seen.partition(text)[2]

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def end(self) -> int:
        while True:
            try:
                if not os.read(self.fd, 4096):
                    break
            except OSError:
                break
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_terminal_is_a_real_one(pyctr: Pyctr) -> None:
    terminal = Terminal(pyctr.argv("run", "-it", "--rm", "-e", "PS1=> ", "base", "sh"))
    terminal.expect(b"> ")
    terminal.type(b"tty; echo $TERM; sleep 100\n")
    terminal.expect(b"/dev/pts/0\r\nxterm\r\n")
    terminal.type(b"\x03")  # Ctrl-C goes to the program in the foreground, not to pyctr
    terminal.type(b"exit 5\n")
    assert terminal.end() == 5


def test_ctrl_p_ctrl_q_leaves_a_container_running(pyctr: Pyctr) -> None:
    terminal = Terminal(pyctr.argv("run", "-it", "--name", "c", "-e", "PS1=> ", "base", "sh"))
    terminal.expect(b"> ")
    terminal.type(b"x=kept\n")
    terminal.expect(b"> ")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 0
    assert pyctr.out("inspect", "--format", "{{.State.Running}}", "c") == "true"
    again = Terminal(pyctr.argv("attach", "c"))
    again.type(b"echo $x\n")
    again.expect(b"kept\r\n")
    again.type(b"exit 3\n")
    assert again.end() == 3


def test_exec_has_a_terminal_too_and_passes_the_exit_code(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    terminal = Terminal(pyctr.argv("exec", "-it", "-e", "PS1=> ", "c", "sh"))
    terminal.expect(b"> ")
    terminal.type(b"tty; exit 4\n")
    terminal.expect(b"/dev/pts/0\r\n")
    assert terminal.end() == 4


def test_a_terminal_needs_a_terminal(pyctr: Pyctr) -> None:
    assert "not a TTY" in pyctr("run", "-it", "--rm", "base", "true", code=1).stderr
    assert pyctr("run", "-t", "--rm", "base", "tty").stdout == "/dev/pts/0\r\n"


def test_exec_runs_beside_the_program(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "-u", "user", "-e", "A=1", "base", "sleep", "1000")
    assert pyctr.out("exec", "c", "id", "-un") == "user"
    script = "id -u; pwd; echo $A $B"
    shown = pyctr.out("exec", "-u", "0", "-w", "/tmp", "-e", "B=2", "c", "sh", "-c", script)
    assert shown == "0\n/tmp\n1 2"
    ran = subprocess.run(pyctr.argv("exec", "-i", "c", "cat"), input=b"\0\xff", capture_output=True)
    assert ran.stdout == b"\0\xff"
    pyctr("exec", "c", "sh", "-c", "exit 7", code=7)
    pyctr("exec", "c", "nosuch", code=127)
    pyctr("exec", "-d", "c", "sh", "-c", "touch /tmp/detached")
    deadline = time.monotonic() + 10
    while pyctr("exec", "c", "test", "-e", "/tmp/detached", code=None).returncode:
        assert time.monotonic() < deadline
    limits = pyctr.out(
        "exec", "-u", "0", "c", "grep", "-E", "Cap(Eff|Bnd)|Seccomp:", "/proc/self/status"
    )
    assert limits.split()[1::2] == ["00000000a80425fb", "00000000a80425fb", "2"]
    pyctr("stop", "-t", "0", "c")
    assert "not running" in pyctr("exec", "c", "true", code=1).stderr


def test_settings_reach_the_program(pyctr: Pyctr) -> None:
    script = "hostname; pwd; id -u; id -g; echo $A; ulimit -n; cat /proc/sys/net/core/somaxconn"
    flags = "-h hosty -w /made/here -u 1000:5 -e A=b --ulimit nofile=99:100"
    sysctl = "--sysctl net.core.somaxconn=77"
    shown = pyctr.out("run", "--rm", *flags.split(), *sysctl.split(), "base", "sh", "-c", script)
    assert shown.split() == ["hosty", "/made/here", "1000", "5", "b", "99", "77"]


def test_limits_are_set_and_hold(pyctr: Pyctr) -> None:
    script = "while true; do sleep 5 & done"
    ran = pyctr("run", "--rm", "--pids-limit", "10", "base", "sh", "-c", script, code=None)
    assert "can't fork" in ran.stderr
    pyctr("run", "--name", "c", "-m", "16m", "base", "tail", "/dev/zero", code=137)
    state = "{{.State.OOMKilled}} {{.HostConfig.Memory}}"
    assert pyctr.out("inspect", "--format", state, "c") == "true 16777216"


def test_a_read_only_root_with_a_tmpfs(pyctr: Pyctr) -> None:
    script = "touch /x 2>/dev/null && echo bad; touch /t/y && stat -f -c %T /t"
    shown = pyctr.out(
        "run", "--rm", "--read-only", "--tmpfs", "/t:size=1m", "base", "sh", "-c", script
    )
    assert shown == "tmpfs"


def test_bind_mounts(pyctr: Pyctr, home_dir: str) -> None:
    host = f"{home_dir}/made/by/v"
    script = "echo x > /in/file; cat /in/file; touch /ro/y 2>/dev/null || echo refused"
    shown = pyctr.out(
        "run", "--rm", "-v", f"{host}:/in", "-v", f"{host}:/ro:ro", "base", "sh", "-c", script
    )
    assert shown == "x\nrefused"
    assert os.listdir(host) == ["file"]
    missing = f"type=bind,source={home_dir}/missing,target=/d"
    assert (
        "does not exist"
        in pyctr("run", "--rm", "--mount", missing, "base", "true", code=125).stderr
    )
    file = f"type=bind,source={host}/file,target=/etc/one-file,readonly"
    assert pyctr.out("run", "--rm", "--mount", file, "base", "cat", "/etc/one-file") == "x"


def test_the_host_network_is_the_hosts(pyctr: Pyctr) -> None:
    own = os.readlink("/proc/self/ns/net")
    link = ("readlink", "/proc/self/ns/net")
    assert pyctr.out("run", "--rm", "--network", "host", "base", *link) == own
    assert pyctr.out("run", "--rm", "base", *link) != own
    assert "127.0.0.1" in pyctr.out("run", "--rm", "base", "ip", "address", "show", "lo")


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["-p", "80:80/sctp"], "sctp"),
        (["--network", "nobody_s"], "nobody_s"),
        (["--restart", "always"], "--restart"),
        (["--gpus", "all"], "--gpus"),
        (["--security-opt", "apparmor=x"], "apparmor=x"),
        (["-v", "x"], "'x'"),
        (["-m", "1"], "'1'"),
        (["--cpus", "1000"], "'1000'"),
        (["-v", "/host:/proc/sys"], "/proc"),
        (["-v", "/dev"], "/dev"),
        (["--name", "-x"], "'-x'"),
        (["--memory-swap", "1g"], "--memory-swap"),
        (["-e", "=x"], "'=x'"),
        (["--cap-add", "NOPE"], "'NOPE'"),
        (["-w", "relative"], "'relative'"),
        (["--volumes-from", "nobody"], "nobody"),
        (["-v", "vv:/a", "-v", "ww:/a"], "/a"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    pyctr: Pyctr, flags: list[str], name: str
) -> None:
    said = pyctr("run", "--rm", *flags, "base", "true", code=None)
    assert said.returncode == 125 if "nobody" not in flags else said.returncode in (1, 125)
    assert name in said.stderr
    assert pyctr.out("ps", "-aq") == ""
    assert pyctr.out("volume", "ls", "-q") == "", "nothing is made before everything is checked"


def test_names_and_ids_are_unique_and_found(pyctr: Pyctr) -> None:
    identity = pyctr.out("create", "--name", "one", "base")
    said = pyctr("create", "--name", "one", "-v", "/data", "base", code=125).stderr
    assert "already in use" in said and identity[:12] in said
    assert pyctr.out("volume", "ls", "-q") == "", "a refused container leaves no volume"
    for word in (identity, identity[:12], identity[:4], "/one"):
        assert pyctr.out("inspect", "--format", "{{.Id}}", word) == identity
    assert pyctr.out("rm", "one") == "one"


def test_the_image_says_what_runs(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base")
    changes = ('ENTRYPOINT ["echo", "entry"]', 'CMD ["command"]', "ENV A=1", "USER user")
    flags = [word for change in changes for word in ("-c", change)]
    pyctr("commit", *flags, "c", "said")
    assert pyctr.out("run", "--rm", "said") == "entry command"
    assert pyctr.out("run", "--rm", "said", "other") == "entry other"
    assert pyctr.out("run", "--rm", "--entrypoint", "id", "said", "-un") == "user"
    pyctr("run", "--rm", "--entrypoint", "", "said", code=125)


def test_everything_about_a_container(pyctr: Pyctr) -> None:
    pyctr(
        "create",
        "--name",
        "c",
        "-v",
        "vol:/data:ro",
        "-l",
        "a=b",
        "-m",
        "64m",
        "base",
        "sleep",
        "9",
    )
    (shown,) = json.loads(pyctr.out("inspect", "c"))
    assert shown["Name"] == "/c"
    assert shown["Path"] == "sleep" and shown["Args"] == ["9"]
    assert shown["Config"]["Labels"] == {"a": "b"}
    assert shown["HostConfig"]["Memory"] == 64 << 20
    (mount,) = shown["Mounts"]
    assert (mount["Type"], mount["Name"], mount["RW"]) == ("volume", "vol", False)
    assert pyctr.out("inspect", "-f", "{{json .State.Running}}", "c") == "false"
    said = pyctr("inspect", "-f", "{{.Nope}}", "c", code=1).stderr
    assert 'map has no entry for key "Nope"' in said
    assert "no such object" in pyctr("inspect", "nope", code=1).stderr


def test_ps_shows_dockers_columns_and_filters(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "done", "-l", "x=1", "base", "sh", "-c", "exit 3", code=3)
    pyctr("run", "-d", "--name", "busy", "-v", "vol:/data", "base", "sleep", "1000")
    pyctr("create", "--name", "fresh", "base", "true")
    head = pyctr.out("ps").splitlines()[0].split("  ")
    assert [word.strip() for word in head if word] == [
        "CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES",
    ]  # fmt: skip

    def names(*flags: str) -> list[str]:
        return pyctr.out("ps", *flags, "--format", "{{.Names}}").split()

    assert names() == ["busy"]
    assert names("-a") == ["fresh", "busy", "done"], "the newest first"
    assert names("-a", "--filter", "exited=3") == ["done"]
    assert names("--filter", "status=created") == ["fresh"]
    assert names("-a", "--filter", "volume=vol") == ["busy"]
    assert names("-a", "--filter", "label=x=1", "--filter", "name=do") == ["done"]
    assert names("-l") == ["fresh"] and names("-n", "2") == ["fresh", "busy"]
    assert "invalid filter 'nope'" in pyctr("ps", "--filter", "nope=1", code=125).stderr
    table = pyctr.out("ps", "-a", "--format", "table {{.Names}}\\t{{.State}}").splitlines()
    assert [line.split() for line in table][:2] == [["NAMES", "STATE"], ["fresh", "created"]]


def test_stop_asks_first_and_kills_after_its_patience(pyctr: Pyctr) -> None:
    polite = "trap 'exit 0' USR1; while :; do sleep 0.1; done"
    pyctr("run", "-d", "--name", "polite", "--stop-signal", "USR1", "base", "sh", "-c", polite)
    pyctr("run", "-d", "--name", "deaf", "base", "sh", "-c", "trap '' TERM; sleep 1000")
    time.sleep(0.3)
    pyctr("stop", "-t", "20", "polite")
    pyctr("stop", "-t", "1", "deaf")
    codes = pyctr.out("inspect", "--format", "{{.State.ExitCode}}", "polite", "deaf")
    assert codes.split() == ["0", "137"]
    assert pyctr.out("stop", "deaf") == "deaf", "stopping twice is no error"
    assert "not running" in pyctr("kill", "deaf", code=1).stderr


def test_kill_sends_any_signal_and_wait_prints_the_code(pyctr: Pyctr) -> None:
    script = "trap 'exit 11' HUP; while :; do sleep 0.1; done"
    pyctr("run", "-d", "--name", "c", "base", "sh", "-c", script)
    time.sleep(0.3)
    waiting = subprocess.Popen(pyctr.argv("wait", "c"), stdout=subprocess.PIPE)
    pyctr("kill", "-s", "HUP", "c")
    assert waiting.communicate(timeout=30)[0] == b"11\n"
    assert pyctr.out("wait", "c") == "11"
    assert "unknown signal" in pyctr("kill", "-s", "NOPE", "c", code=125).stderr


def test_logs_can_be_followed_and_cut(pyctr: Pyctr) -> None:
    script = "for i in 1 2 3; do echo $i; sleep 0.2; done; echo err >&2; printf unfinished"
    pyctr("run", "-d", "--name", "c", "base", "sh", "-c", script)
    ran = pyctr("logs", "-f", "c")
    assert ran.stdout == "1\n2\n3\nunfinished" and ran.stderr == "err\n"
    assert pyctr.out("logs", "--tail", "1", "c") == "unfinished"
    assert pyctr.out("logs", "--tail", "0", "c") == ""
    stamp, word = pyctr("logs", "-t", "c").stdout.splitlines()[0].split()
    assert word == "1" and stamp.endswith("Z")
    assert pyctr.out("logs", "--since", stamp, "c").startswith("1\n")
    assert pyctr.out("logs", "--until", "1h", "c") == ""


def test_a_container_id_can_be_written_to_a_file(pyctr: Pyctr, home_dir: str) -> None:
    path = f"{home_dir}/cid"
    identity = pyctr.out("create", "--cidfile", path, "base")
    with open(path) as file:
        assert file.read() == identity
    assert "exists already" in pyctr("create", "--cidfile", path, "base", code=125).stderr


def test_environment_files(pyctr: Pyctr, home_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HOST", "host")
    with open(f"{home_dir}/env", "w") as file:
        file.write("# a comment\nA=1 2\nFROM_HOST\nNOT_THERE\n\n")
    flags = ("--env-file", f"{home_dir}/env", "-e", "B=x=y", "-e", "FROM_HOST")
    shown = pyctr.out("run", "--rm", *flags, "base", "env").splitlines()
    assert {"A=1 2", "B=x=y", "FROM_HOST=host"} <= set(shown)
    assert not any(line.startswith("NOT_THERE") for line in shown)


def test_the_top_level_and_the_noun_are_the_same_command(pyctr: Pyctr) -> None:
    for short, long in ((["rm"], ["container", "rm"]), (["ps"], ["container", "ls"])):
        assert pyctr.out(*short, "--help") == pyctr.out(*long, "--help")
    assert "no command 'frob'" in pyctr("frob", code=125).stderr
    assert "no command 'frob'" in pyctr("volume", "frob", code=125).stderr
    assert "needs at least 1 argument" in pyctr("rm", code=125).stderr
    assert "pyctr version" in pyctr.out("--version")
