"""Flags about files, names, images and resolvers: each with its effect."""

from __future__ import annotations

import json
import os
import pty
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.creation import keyvalue, naming
from cli.errors import UsageError
from engine import files
from engine.settings import Settings
from images import platforms
from images.config import host_architecture

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


@pytest.fixture
def written(home_dir: str) -> str:
    """A folder for files that a test writes."""
    os.mkdir(f"{home_dir}/files")
    return f"{home_dir}/files"


def write(path: str, content: str | bytes) -> str:
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


# -- files of NAME=value -------------------------------------------------------------------


def test_an_environment_file_is_taken_as_it_is(
    pyctr: Pyctr, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_HOST", "host value")
    monkeypatch.delenv("NOT_THERE", raising=False)
    text = (
        "\ufeffFIRST=1\n  \t INDENTED=2\n# COMMENT=3\n  #COMMENT=4\n\n   \nQUOTED=\"a 'b' c\"\n"
        "SPACES= x \nEQUALS=a=b\nEMPTY=\nFROM_HOST\nNOT_THERE\nWITH.dot-and/x=y\r\n#last"
    )
    path = write(f"{written}/env", text)
    more = write(f"{written}/more", "FIRST=later\n")
    flags = ("--env-file", path, "--env-file", more, "-e", "EQUALS=by flag")
    shown = pyctr("run", "--rm", *flags, "base", "env").stdout.splitlines()
    own = {"PATH", "HOSTNAME", "HOME", "PWD", "SHLVL"}
    assert sorted(line for line in shown if line.partition("=")[0] not in own) == sorted([
        "FIRST=later", "INDENTED=2", "QUOTED=\"a 'b' c\"", "SPACES= x ", "EQUALS=by flag",
        "EMPTY=", "FROM_HOST=host value", "WITH.dot-and/x=y",
    ])  # fmt: skip
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    assert "INDENTED=2" in pyctr("exec", "--env-file", path, "c", "env").stdout.splitlines()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"OK=1\nTWO WORDS=2\n", ":2"),
        (b"=nameless\n", "no name"),
        (b"A=\xff\n", "decode"),
        (b"A=" + b"x" * 65536, "longer than 65536"),
        (b"A\tB=1", "white space"),
        (b"A=\0", "zero byte"),
    ],
)
def test_a_bad_line_is_named(pyctr: Pyctr, written: str, content: bytes, why: str) -> None:
    path = write(f"{written}/env", content)
    for flag in ("--env-file", "--label-file"):
        said = pyctr("create", flag, path, "base", code=125).stderr
        assert path in said and why in said
    missing = pyctr("create", "--env-file", f"{path}.missing", "base", code=125).stderr
    assert "no such file" in missing and pyctr.out("ps", "-aq") == ""


def test_labels_from_a_file_and_flags_that_win(pyctr: Pyctr, written: str) -> None:
    path = write(f"{written}/labels", '# ours\ncom.example.a=from file\nb="x"\nalone\n')
    pyctr("create", "--name", "c", "--label-file", path, "-l", "b=flag", "-l", "c", "base")
    labels = json.loads(pyctr.out("inspect", "-f", "{{json .Config.Labels}}", "c"))
    assert labels == {"com.example.a": "from file", "b": "flag", "alone": "", "c": ""}
    assert "'a b=c'" in pyctr("create", "-l", "a b=c", "base", code=125).stderr


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(content: bytes) -> None:
    path = f"/tmp/pyctr-keyvalue-{os.getpid()}"
    try:
        for name, value in keyvalue.entries(write(path, content)):
            assert name and not set(name) & {" ", "\t", "=", "\0"}
            assert value is None or "\n" not in value
    except UsageError:
        pass
    finally:
        os.unlink(path)


# -- /etc/hosts and /etc/resolv.conf -------------------------------------------------------


@pytest.mark.parametrize("network", ["none", "host"])
def test_hosts_can_be_added(pyctr: Pyctr, network: str) -> None:
    flags = ("--add-host", "db:10.0.0.7", "--add-host", "six=[fd00::7]", "--add-host", "x:::1")
    lines = pyctr.out(
        "run", "--rm", "--network", network, *flags, "base", "cat", "/etc/hosts"
    ).splitlines()
    assert [line.split() for line in lines[-3:]] == [
        ["10.0.0.7", "db"], ["fd00::7", "six"], ["::1", "x"],
    ]  # fmt: skip
    if network == "host":
        with open("/etc/hosts") as file:
            assert lines[:-3] == file.read().rstrip("\n").splitlines()
    else:
        assert pyctr.out("run", "--rm", *flags, "base", "ping", "-c1", "-W5", "x")


def test_resolvers_can_be_given(pyctr: Pyctr) -> None:
    flags = ["--dns", "10.0.0.53", "--dns", "fd00::53", "--dns-search", "example.org"]
    flags += ["--dns-search", "example.net.", "--dns-option", "ndots:2", "--dns-opt", "rotate"]
    wanted = ["nameserver 10.0.0.53", "nameserver fd00::53", "search example.org example.net",
              "options ndots:2 rotate"]  # fmt: skip
    show = ("base", "cat", "/etc/resolv.conf")
    assert pyctr.out("run", "--rm", *flags, *show).splitlines() == wanted
    shared = pyctr.out("run", "--rm", "--network", "host", *flags, *show).splitlines()
    assert shared[-4:] == wanted
    kinds = ("nameserver", "search", "domain", "options")
    assert not [line for line in shared[:-4] if line.startswith(kinds)]
    with open("/etc/resolv.conf") as file:
        own = file.read()
    assert pyctr("run", "--rm", "--network", "host", *show).stdout == own
    assert "no network" in pyctr.out("run", "--rm", *show)


def test_what_is_given_of_resolvers_replaces_only_its_kind() -> None:
    host = "# made by hand\nnameserver 1.1.1.1\n\tsearch a b\noptions timeout:1\n"
    settings = Settings(("x",), dns=("9.9.9.9",))
    assert files.edited(settings, host) == (
        "# made by hand\n\tsearch a b\noptions timeout:1\nnameserver 9.9.9.9\n"
    )
    settings = Settings(("x",), dns_search=(".",))
    assert files.edited(settings, f"{host}domain c\n") == (
        "# made by hand\nnameserver 1.1.1.1\noptions timeout:1\n"
    )
    assert files.edited(Settings(("x",)), host) == host


def test_the_host_name_stands_in_hosts_with_its_domain(pyctr: Pyctr) -> None:
    flags = ("-h", "web", "--domainname", "example.org")
    lines = pyctr.out("run", "--rm", *flags, "base", "cat", "/etc/hosts").splitlines()
    assert lines[-1].split() == ["127.0.1.1", "web.example.org", "web"]


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--add-host", "db"], "'db'"),
        (["--add-host", "db:nowhere"], "'nowhere'"),
        (["--add-host", ":1.2.3.4"], "':1.2.3.4'"),
        (["--add-host", "a b:1.2.3.4"], "'a b:1.2.3.4'"),
        (["--add-host", "x\ny:1.2.3.4"], "--add-host"),
        (["--add-host", "gate:host-gateway"], "host-gateway"),
        (["--dns", "resolver.example.org"], "'resolver.example.org'"),
        (["--dns-search", "a b"], "'a b'"),
        (["--dns-search", ".."], "'..'"),
        (["--dns-option", "a\nnameserver 6.6.6.6"], "--dns-option"),
        (["--pull", "often"], "'often'"),
        (["--platform", "linux/amd64/v1/x"], "'linux/amd64/v1/x'"),
        (["--platform", "pdp11"], "'pdp11'"),
        (["--disable-content-trust=false"], "content trust"),
        (["--stop-timeout", "soon"], "'soon'"),
        (["--stop-signal", "NOPE"], "'NOPE'"),
        (["--link", "db:"], "--link"),
        (["--expose", "80:80"], "'80:80'"),
        (["--ip", "10.0.0.1"], "--ip"),
        (["--ip6", "fd00::1"], "--ip6"),
        (["--mac-address", "92:d0:c6:0a:29:33"], "--mac-address"),
        (["--network-alias", "x"], "--network-alias"),
        (["--link-local-ip", "169.254.0.1"], "--link-local-ip"),
        (["--publish", "80:80/sctp"], "'80:80/sctp'"),
        (["--publish", "0.0.0:80:80"], "'0.0.0:80:80'"),
        (["--name", "a b"], "'a b'"),
        (["--name", "a/b"], "'a/b'"),
        (["--name", "-a"], "'-a'"),
        (["--name", "."], "'.'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(pyctr: Pyctr, flags: list[str], name: str) -> None:
    said = pyctr("create", *flags, "base", code=125)
    assert name in said.stderr and said.stdout == ""
    assert pyctr.out("ps", "-aq") == ""


@given(st.text(alphabet="ab1.:=[]- \n", max_size=20))
def test_any_extra_host_is_one_line_or_refused(text: str) -> None:
    try:
        entry = naming.extra_host(text)
    except (ValueError, UsageError):
        return
    made = files.hosts(Settings(("x",), extra_hosts=(entry,)), "c", "127.0.0.1 localhost\n")
    (_, line) = made.splitlines()
    assert len(line.split()) == 2


@given(st.text(alphabet="ab1.- \n\x0b\u2028", max_size=20))
def test_any_search_domain_is_one_word_or_refused(text: str) -> None:
    try:
        made = naming.domain(text)
    except ValueError:
        return
    assert made == "." or made.split() == [made]


# -- names, images and the id --------------------------------------------------------------


def test_a_name_may_begin_with_a_slash_as_inspect_shows_it(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "/web", "base")
    assert pyctr.out("ps", "-a", "--format", "{{.Names}}") == "web"


def test_an_image_is_only_made_when_it_may_be(pyctr: Pyctr) -> None:
    said = pyctr("create", "--pull", "never", "base", code=125).stderr
    assert "no such image: base" in said
    assert pyctr.out("images", "-q") == ""
    pyctr("create", "--pull", "missing", "base")
    pyctr("create", "--pull", "never", "base")
    assert "image load" in pyctr("create", "nowhere", code=125).stderr


def test_quiet_does_not_say_that_an_image_is_made(pyctr: Pyctr) -> None:
    def said(*flags: str) -> str:
        """What a person at a terminal sees on standard error."""
        master, slave = pty.openpty()
        argv = pyctr.argv("create", *flags, "base")
        subprocess.run(argv, stderr=slave, stdout=subprocess.DEVNULL, check=True, timeout=60)
        os.write(slave, b"end")
        os.close(slave)
        text = os.read(master, 4096).decode()
        os.close(master)
        return text.removesuffix("end")

    assert said("-q") == ""
    pyctr("rm", *pyctr.out("ps", "-aq").split())
    pyctr("rmi", "base")
    assert "making the image base" in said()
    assert said() == "", "it is there now"


def test_the_platform_must_be_that_of_the_image(pyctr: Pyctr) -> None:
    own = host_architecture()
    for word in (f"linux/{own}", "linux", own, os.uname().machine, f"LINUX/{own}"):
        pyctr("create", "--platform", word, "base")
    other = "s390x" if own != "s390x" else "amd64"
    said = pyctr("create", "--platform", f"linux/{other}", "base", code=125).stderr
    assert f"it is for linux/{own}, not for linux/{other}" in said


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/7", "linux/arm"),
        ("linux/armel", "linux/arm/v6"),
        ("amd64", "linux/amd64"),
    ],
)
def test_spellings_of_a_platform(text: str, same: str) -> None:
    assert platforms.parse(text) == platforms.parse(same)


def test_content_trust_is_a_thing_of_the_past(pyctr: Pyctr) -> None:
    assert "nothing is ever signed" in pyctr("create", "--disable-content-trust", "base").stderr


def test_a_file_for_the_id_is_not_left_empty(pyctr: Pyctr, written: str) -> None:
    path = f"{written}/cid"
    pyctr("create", "--cidfile", path, "nowhere", code=125)
    assert not os.path.exists(path)
    pyctr("run", "--rm", "--cidfile", path, "base", "true")
    with open(path) as file:
        assert len(file.read()) == 64
    assert "exists already" in pyctr("run", "--cidfile", path, "base", code=125).stderr
    assert pyctr.out("ps", "-aq") == ""
    pyctr("create", "--cidfile", f"{written}/no/cid", "base", code=125)


def test_how_a_container_is_stopped_is_decided_when_it_is_made(pyctr: Pyctr) -> None:
    script = "trap 'exit 7' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done"
    flags = ("--stop-signal", "SIGUSR1", "--stop-timeout", "-1")
    pyctr("run", "-d", "--name", "c", *flags, "base", "sh", "-c", script)
    while "ready" not in pyctr.out("logs", "c"):
        pass
    assert pyctr.out("inspect", "-f", "{{.Config.StopSignal}}", "c") == "SIGUSR1"
    pyctr("stop", "c")
    assert pyctr.out("inspect", "-f", "{{.State.ExitCode}}", "c") == "7"
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    pyctr("run", "-d", "--name", "d", "--stop-timeout", "0", "base", "sh", "-c", deaf)
    while "ready" not in pyctr.out("logs", "d"):
        pass
    pyctr("stop", "d")
    assert pyctr.out("inspect", "-f", "{{.State.ExitCode}}", "d") == "137"


@pytest.mark.parametrize("flag", ["--timeout", "--time", "-t"])
def test_stop_and_restart_take_a_signal_and_a_patience(pyctr: Pyctr, flag: str) -> None:
    script = "trap 'echo usr; exit 3' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done"

    def ready(times: int) -> None:
        while pyctr.out("logs", "c").count("ready") < times:
            pass

    pyctr("run", "-d", "--name", "c", "base", "sh", "-c", script)
    ready(1)
    pyctr("restart", "-s", "USR1", flag, "60", "c")
    ready(2)
    assert "usr" in pyctr.out("logs", "c")
    pyctr("stop", flag, "0", "c")
    assert pyctr.out("inspect", "-f", "{{.State.ExitCode}}", "c") == "137"
    assert "'NOPE'" in pyctr("stop", "--signal", "NOPE", "c", code=125).stderr


def test_a_privileged_exec_has_all_capabilities_that_there_are(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "--cap-drop", "ALL", "base", "sleep", "1000")

    def bounding(*flags: str) -> int:
        shown = pyctr.out("exec", *flags, "c", "grep", "CapBnd", "/proc/self/status")
        return int(shown.split()[1], 16)

    assert bounding() == 0
    with open("/proc/self/status") as file:
        own = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd"))
    assert bounding("--privileged") == own
    mount = ("mount", "-t", "tmpfs", "tmpfs", "/mnt")
    pyctr("exec", "c", *mount, code=1)
    pyctr("exec", "--privileged", "c", *mount)
