"""The configuration of a host: who wins, what is refused, and that it costs nothing when absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import commands, defaults
from engine import config
from engine.errors import EngineError
from tests.terminals import Terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Pyctr


@pytest.fixture
def configured(home_dir: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A function that writes this test's configuration file and returns its path."""
    path = f"{home_dir}/config.toml"
    monkeypatch.setenv("PYCTR_CONFIG", path)

    def write(text: str) -> str:
        with open(path, "w") as file:
            file.write(text)
        return path

    write("")
    return write


def shown(pyctr: Pyctr, *flags: str) -> dict[str, tuple[str, str]]:
    lines = pyctr.out(*flags, "config", "show", "--format", "json").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["Key"]: (row["Value"], row["Source"]) for row in rows}


def test_a_flag_wins_over_the_environment_that_over_the_file_and_that_over_what_is_built_in(
    pyctr: Pyctr, configured: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}"
    pyctr("create", "--name", "plain", "base")
    assert pyctr.out("inspect", "-f", limit, "plain") == "0 <no value>"
    configured('[containers]\nmemory = "64m"\npids_limit = 50\n')
    pyctr("create", "--name", "by_file", "base")
    assert pyctr.out("inspect", "-f", limit, "by_file") == f"{64 << 20} 50"
    monkeypatch.setenv("PYCTR_MEMORY", "48m")
    pyctr("create", "--name", "by_environment", "base")
    assert pyctr.out("inspect", "-f", limit, "by_environment") == f"{48 << 20} 50"
    pyctr("create", "--name", "by_flag", "-m", "32m", "--pids-limit", "0", "base")
    assert pyctr.out("inspect", "-f", limit, "by_flag") == f"{32 << 20} <no value>"
    assert pyctr.out("inspect", "-f", limit, "plain") == "0 <no value>", "what is made stays so"


def test_configured_limits_hold(pyctr: Pyctr, configured: Callable[[str], str]) -> None:
    configured('[containers]\ncpus = 0.5\nulimits = { nofile = "64:128", core = 0 }\n')
    script = "ulimit -n; ulimit -Hn; ulimit -c"
    assert pyctr.out("run", "--rm", "base", "sh", "-c", script).split() == ["64", "128", "0"]
    given = ("--ulimit", "nofile=99")
    assert pyctr.out("run", "--rm", *given, "base", "sh", "-c", script).split() == ["99", "99", "0"]
    pyctr("create", "--name", "c", "base")
    assert pyctr.out("inspect", "-f", "{{.HostConfig.NanoCpus}}", "c") == "500000000"


def test_the_log_of_new_containers_can_be_configured(
    pyctr: Pyctr, configured: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str, *flags: str) -> dict[str, object]:
        pyctr("create", "--name", name, *flags, "base")
        shown = pyctr.out("inspect", "-f", "{{json .HostConfig.LogConfig}}", name)
        return dict(json.loads(shown))

    configured('[log]\noptions = { max-size = "10m", max-file = 3 }\n')
    both = {"max-size": "10m", "max-file": "3"}
    assert made("a") == {"Type": "json-file", "Config": both}
    assert made("b", "--log-opt", "max-file=5") == {
        "Type": "json-file", "Config": both | {"max-file": "5"},
    }  # fmt: skip
    assert made("c", "--log-driver", "json-file") == {"Type": "json-file", "Config": both}
    assert made("d", "--log-driver", "none") == {"Type": "none", "Config": {}}
    configured('[log]\ndriver = "local"\noptions = { max-size = "1m" }\n')
    assert made("e") == {"Type": "local", "Config": {"max-size": "1m"}}
    assert made("f", "--log-driver", "json-file") == {"Type": "json-file", "Config": {}}
    monkeypatch.setenv("PYCTR_LOG_DRIVER", "none")
    assert pyctr.out("info", "--format", "{{.LoggingDriver}}").strip() == "none"
    monkeypatch.setenv("PYCTR_LOG_OPTIONS", "")
    configured("")
    assert made("g") == {"Type": "none", "Config": {}}
    monkeypatch.setenv("PYCTR_LOG_DRIVER", "paper")
    assert "paper" in pyctr("create", "base", code=125).stderr


def test_the_detach_keys_can_be_configured(
    pyctr: Pyctr, configured: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured('detach_keys = "ctrl-x,x"\n')
    pyctr("run", "-dit", "--name", "c", "base", "cat")
    for command, code in (
        (("attach", "c"), 1),
        (("exec", "-it", "c", "cat"), 1),
        (("start", "-ai", "c"), 0),
    ):
        terminal = Terminal(pyctr.argv(*command))
        terminal.type(b"typed\r")
        terminal.expect(b"typed")
        terminal.type(b"\x18x")
        assert terminal.end() == code, command
    terminal = Terminal(pyctr.argv("attach", "--detach-keys", "ctrl-a", "c"))
    terminal.type(b"\x18x\x01")
    assert terminal.end() == 1
    assert pyctr.out("inspect", "-f", "{{.State.Running}}", "c") == "true"
    monkeypatch.setenv("PYCTR_DETACH_KEYS", "ctrl-")
    assert "detach_keys in environment" in pyctr("attach", "c", code=125).stderr
    monkeypatch.delenv("PYCTR_DETACH_KEYS")


def test_config_show_says_where_each_value_comes_from(
    pyctr: Pyctr, configured: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, home_dir: str
) -> None:
    path = configured('# ours\n[volumes]\ntrash_age = "3d"\n\n[containers]\nmemory = "64m"\n')
    monkeypatch.setenv("PYCTR_CPUS", "0.5")
    rows = shown(pyctr)
    assert rows["config"] == (path, "environment PYCTR_CONFIG")
    assert rows["root"] == (home_dir, "environment PYCTR_ROOT")
    assert rows["volumes.trash_age"] == ("3d", f"{path}:3")
    assert rows["containers.memory"] == ("64m", f"{path}:6")
    assert rows["containers.cpus"] == ("0.5", "environment PYCTR_CPUS")
    assert rows["containers.pids_limit"] == ("", "built-in")
    other = f"{home_dir}/other"
    rows = shown(pyctr, "--root", other, "--config", "/dev/null")
    assert rows["root"] == (other, "flag --root")
    assert rows["config"] == ("/dev/null", "flag --config")
    assert rows["volumes.trash_age"] == ("24h", "built-in")
    assert not os.path.exists(other), "showing makes nothing"
    head, *lines = pyctr.out("config", "show").splitlines()
    assert head.split() == ["KEY", "VALUE", "SOURCE"] and len(lines) == len(rows)


def test_root_and_run_folders_can_be_configured(
    pyctr: Pyctr, configured: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, home_dir: str
) -> None:
    monkeypatch.delenv("PYCTR_ROOT")
    run = os.environ["PYCTR_RUN"]
    monkeypatch.delenv("PYCTR_RUN")
    configured(f'root = "{home_dir}"\nrun = "{run}/"\n')
    folders = ("info", "--format", "{{.DockerRootDir}} {{.RunDir}}")
    assert pyctr.out(*folders) == f"{home_dir} {run}"
    root, other_run = pyctr.out("--root", f"{home_dir}/b", *folders).split()
    assert root == f"{home_dir}/b"
    assert other_run not in (run, config.RUN), "a run folder belongs to its root folder"


def test_the_trash_keeps_as_long_as_configured(
    pyctr: Pyctr, configured: Callable[[str], str]
) -> None:
    configured('volumes.trash_age = "0"\n')
    pyctr("create", "--name", "c", "-v", "/data", "base")
    pyctr("rm", "c")
    assert pyctr.out("volume", "ls", "--trash", "-q") == ""
    configured("[volumes]\ntrash_age = 3600\n")
    pyctr("create", "--name", "c", "-v", "/data", "base")
    pyctr("rm", "c")
    (name,) = pyctr.out("volume", "ls", "--trash", "-q").split()
    kept = f"{pyctr.root}/volumes/.trash/{name}"
    old = time.time() - 3601
    os.utime(kept, (old, old))
    pyctr("create", "--name", "c", "-v", "/data", "base")
    pyctr("rm", "c")
    assert name not in pyctr.out("volume", "ls", "--trash", "-q").split()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rot = '/x'\n", ["unknown key rot", "config.toml:1", "root"]),
        ("\n[containers]\nmemry = '1g'\n", ["unknown key containers.memry", "config.toml:3"]),
        ("[nope]\nx = 1\n", ["unknown key nope.x"]),
        ("volumes = 3\n", ["volumes is wrong", "not a table"]),
        ("root = 'relative'\n", ["root is wrong", "config.toml:1", "an absolute path"]),
        ("root = 3\n", ["root is wrong", "3 is not an absolute path"]),
        ("[containers]\nmemory = true\n", ["containers.memory is wrong", "config.toml:2", "size"]),
        ("[containers]\nmemory = 'lots'\n", ["containers.memory is wrong", "'lots'"]),
        ("[containers]\npids_limit = '7'\n", ["containers.pids_limit", "a whole number"]),
        ("[containers]\nulimits = ['nofile=1']\n", ["containers.ulimits is wrong", "table"]),
        ("[containers]\nulimits = { nofile = 1.5 }\n", ["containers.ulimits.nofile is wrong"]),
        ("[volumes]\ntrash_age = 'soon'\n", ["volumes.trash_age is wrong", "duration"]),
        ("root = \n", ["cannot read the configuration", "line 1", "config.toml"]),
        ("root = '\\ud800'\n\xff", ["cannot read the configuration"]),
    ],
)
def test_what_the_file_may_not_say_is_an_error_that_names_it(
    pyctr: Pyctr, configured: Callable[[str], str], text: str, said: list[str]
) -> None:
    configured(text)
    ran = pyctr("ps", code=125)
    assert all(word in ran.stderr for word in said), ran.stderr
    assert ran.stdout == ""
    configured("")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("PYCTR_PIDS_LIMIT", "many"),
        ("PYCTR_CPUS", "1.2.3"),
        ("PYCTR_ULIMITS", "nofile"),
        ("PYCTR_VOLUME_TRASH", "soon"),
        ("PYCTR_MEMORY", "lots"),
        ("PYCTR_CONFIG", "/no/such/file"),
    ],
)
def test_what_the_environment_may_not_say_is_an_error_that_names_it(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch, name: str, word: str
) -> None:
    monkeypatch.setenv(name, word)
    said = pyctr("ps", code=125).stderr
    assert (word if name == "PYCTR_CONFIG" else name) in said
    monkeypatch.setenv(name, "/dev/null" if name == "PYCTR_CONFIG" else "")


def test_a_default_that_its_flag_refuses_is_an_error_where_the_flag_is_used(
    pyctr: Pyctr, configured: Callable[[str], str]
) -> None:
    path = configured('[containers]\nmemory = "1k"\n')
    for command in (("create", "base"), ("config", "show")):
        said = pyctr(*command, code=125).stderr
        assert f"containers.memory in {path}:2 is wrong" in said and "6m" in said
    pyctr("ps")
    pyctr("create", "-m", "8m", "base")


def test_every_configured_default_belongs_to_a_flag_of_its_commands() -> None:
    for name, (flag, verbs) in defaults.FLAGS.items():
        assert name in {key.name for key in config.KEYS}
        for verb in verbs:
            noun, verb, _ = commands.find([verb])
            options = commands.load(noun, verb).options
            assert any(one.key == flag and one.kind != "refused" for one in options)


def test_every_key_has_effect_and_a_variable_of_its_own() -> None:
    used = {"root", "run", "volumes.trash_age", "registry.insecure", *defaults.FLAGS}
    used |= {"network_pools", "network_subnet"}
    assert {key.name for key in config.KEYS} == used
    assert len({key.environment for key in config.KEYS}) == len(config.KEYS)


def imported(*argv: str) -> set[str]:
    code = (
        "import sys; from cli.main import main; main(sys.argv[1:]); print('MODULES', *sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True
    )
    return set(ran.stdout.rpartition("MODULES")[2].split())


def test_a_missing_file_costs_no_import(
    pyctr: Pyctr, configured: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured("# nothing is said\n")
    assert "tomllib" in imported("create", "base")
    monkeypatch.setattr(config, "FILE", f"{path}.missing")
    monkeypatch.delenv("PYCTR_CONFIG")
    assert config.current().settings["containers.memory"].words == ()
    monkeypatch.setenv("PYCTR_CONFIG", "/dev/null")
    assert "tomllib" not in imported("create", "base")


@given(st.text(alphabet="[]{}='\"\n. rotunvlmesahg_c3#", max_size=60))
def test_any_file_is_read_or_refused(text: str) -> None:
    with_file = f"/tmp/pyctr-config-{os.getpid()}.toml"
    with open(with_file, "w") as file:
        file.write(text)
    try:
        config._from_file(with_file, must_exist=True)
    except EngineError:
        return
    finally:
        os.unlink(with_file)
