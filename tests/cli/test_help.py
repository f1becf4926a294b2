"""--help of everything, examples that work as they are printed, and which stream says what."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

from cli import commands, options
from cli.main import main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.options import Command
    from tests.conftest import Pyctr

COMMANDS: dict[str, Command] = {
    f"{noun} {verb}": commands.load(noun, verb)
    for noun, verbs in commands.NOUNS.items()
    for verb in verbs
}
EXAMPLES = [(name, example) for name, one in COMMANDS.items() for example in one.examples]

_GREETER = "pyctr run --name greeter base echo hello"
_DOCKERFILE = r"printf 'FROM base AS test\nARG VERSION\nRUN echo $VERSION > /v\n' > Dockerfile"
_SAVED = """
pyctr create --name x base
mkdir saved
pyctr export -o saved/layer.tar x
digest=$(sha256sum saved/layer.tar | cut -d' ' -f1)
layers='{"type":"layers","diff_ids":["sha256:'$digest'"]}'
echo '{"architecture":"amd64","os":"linux","config":{},"rootfs":'$layers'}' > saved/config.json
echo '[{"Config":"config.json","RepoTags":["saved:1"],"Layers":["layer.tar"]}]' \
    > saved/manifest.json
tar -C saved -cf saved.tar .
"""

# What a person has typed before: for a command, or for one example of it.
BEFORE: dict[str, str] = {
    "builder build": _DOCKERFILE,
    "container cp": "pyctr exec web mkdir -p /etc/nginx /srv /data; echo x > index.html;"
        " tar -czf data.tar.gz index.html",
    "container rm": _GREETER,
    "container start": f"{_GREETER}; pyctr stop web || true",
    "container unpause": "pyctr pause web",
    "container update": "pyctr create --name db base",
    "container wait": _GREETER,
    "system uninstall-service": "pyctr system install-service",
    "image build": _DOCKERFILE,
    "image load": _SAVED,
    "image pull": "pyctr create base; pyctr tag base localhost:5000/team/app:1.0;"
        " pyctr push localhost:5000/team/app:1.0; pyctr rmi localhost:5000/team/app:1.0",
    "image push": "pyctr create base; pyctr tag base localhost:5000/team/app:1.0",
    "image rm": "pyctr create base; pyctr tag base mine:1.0",
    "pyctr image import rootfs.tar.gz mine:1.0":
        "pyctr create --name x base; pyctr export x | gzip > rootfs.tar.gz",
    "network connect": "pyctr network create backend; pyctr create --name db --network bridge base",
    "network disconnect":
        "pyctr network create backend; pyctr create --name db --network backend base",
    "network rm": "pyctr network create backend",
    "registry login": "echo secret > password",
    "volume inspect": "pyctr volume create dbdata",
    "volume restore": "pyctr create --name x -v /data base; pyctr rm x",
    "volume rm": "pyctr volume create dbdata",
}  # fmt: skip

# Examples that go on until somebody ends them with Ctrl-C, or the container ends.
ENDLESS = {
    "pyctr attach web",
    "pyctr attach --detach-keys ctrl-x,x web",
    "pyctr attach --no-stdin --sig-proxy=false web",
    "pyctr logs --follow --timestamps web",
    "pyctr stats --format '{{.Name}} {{.CPUPerc}}' web",
}


def test_every_command_and_every_option_has_help() -> None:
    for name, command in COMMANDS.items():
        assert command.summary.endswith("."), name
        for one in command.options:
            assert one.help and not one.help.removesuffix("...").endswith("."), name
            assert one.kind not in ("value", "list") or one.metavar, f"{name} {one.names}"


def test_every_command_has_an_example() -> None:
    assert [name for name, command in COMMANDS.items() if not command.examples] == []


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What a command line prints, done in this process."""
    assert main(list(argv)) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_in_every_spelling(capsys: pytest.CaptureFixture[str], name: str) -> None:
    noun, verb = name.split()
    text = options.help_text(COMMANDS[name])
    assert text.startswith(f"Usage:  pyctr {COMMANDS[name].name}")
    spellings: list[tuple[str, ...]] = [
        (noun, verb, "--help"), ("help", noun, verb), ("--help", noun, verb),
    ]  # fmt: skip
    for short in [s for s, whole in commands.SHORT.items() if whole == (noun, verb)]:
        spellings += [(short, "--help"), ("help", short)]
    for argv in spellings:
        assert said(capsys, *argv) == text, argv


def test_help_of_a_noun_and_of_everything(capsys: pytest.CaptureFixture[str]) -> None:
    for noun, verbs in commands.NOUNS.items():
        text = said(capsys, noun)
        assert text == said(capsys, noun, "--help") == said(capsys, "help", noun)
        for verb, summary in verbs.items():
            assert re.search(rf"^  {verb} +{re.escape(summary)}$", text, re.MULTILINE)
    text = said(capsys)
    assert text == said(capsys, "--help") == said(capsys, "help") == said(capsys, "-h")
    assert all(noun in text for noun in commands.NOUNS) and "--root" in text
    assert main(["help", "frob"]) == 125
    assert "no command 'frob'" in capsys.readouterr().err


def test_data_goes_to_standard_output_and_errors_to_standard_error(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base")
    for good in (("ps", "-a"), ("inspect", "c"), ("info",), ("version",), ("volume", "ls"),
                 ("images",), ("run", "--help"), ("config", "show"), ("--version",)):  # fmt: skip
        ran = pyctr(*good)
        assert ran.stdout and ran.stderr == "", good
    for bad in (("frob",), ("ps", "--frob"), ("rm", "nobody"), ("rename", "nobody", "x"),
                ("run",), ("create", "nowhere"), ("start", "nobody"), ("logs", "nobody"),
                ("volume", "rm", "nothing"), ("rmi", "nothing"), ("exec", "c", "true"),
                ("--frob", "ps"), ("port", "nobody"), ("kill", "c"), ("top", "c")):  # fmt: skip
        ran = pyctr(*bad, code=None)
        assert ran.returncode in (1, 125, 127), bad
        assert ran.stdout == "" and ran.stderr.startswith("pyctr: "), bad
    none = pyctr("inspect", "nobody", code=1)
    assert none.stdout == "[]\n" and "nobody" in none.stderr, "a list of none, as with Docker"
    both = pyctr("rm", "nobody", "c", code=1)
    assert both.stdout == "c\n" and "nobody" in both.stderr


# -- the examples --------------------------------------------------------------------------


@pytest.fixture
def folder(pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder to type in, as a person may have it: pyctr is a command, and a few files exist."""
    made = f"{pyctr.root}/typed"
    os.mkdir(made)
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    return made


# Examples that name `web` are typed where this container runs and has a volume.
FURNISH = """
pyctr run -d --name web -v /webapp base sh -c \
    'trap exit TERM; while :; do date | tee /webapp/log; sleep 1 & wait; done'
"""


@pytest.mark.parametrize(("name", "example"), EXAMPLES, ids=[text for _, text in EXAMPLES])
def test_an_example_works_as_it_is_printed(
    pyctr: Pyctr, folder: str, name: str, example: str, request: pytest.FixtureRequest
) -> None:
    before = BEFORE.get(example, BEFORE.get(name, ""))
    if "localhost:5000" in example:
        served = request.getfixturevalue("serve")(auth=name == "registry login")
        before, example = (
            text.replace("localhost:5000", served.host) for text in (before, example)
        )
    if re.search(r"\bweb\b", example) and "--name web" not in example:
        typed(FURNISH, folder)
    typed(before, folder)
    if "-it " in example:
        code = in_terminal(example, folder)
    elif example in ENDLESS:
        code = interrupted(example, folder)
    else:
        code = typed(example, folder)
    assert code == 0
    if example == "pyctr system install-service":
        typed("pyctr system uninstall-service", folder)


def typed(script: str, folder: str) -> int:
    ran = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, f"{script}\n{ran.stdout}{ran.stderr}"
    return ran.returncode


def interrupted(script: str, folder: str) -> int:
    """The exit code of what is ended once it has said something; 0 if Ctrl-C ended it."""
    running = subprocess.Popen(["bash", "-c", f"exec {script}"], cwd=folder, stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert select.select([running.stdout], [], [], 60)[0], f"{script} says nothing"
    running.send_signal(signal.SIGINT)
    try:
        code = running.wait(timeout=3)
    except subprocess.TimeoutExpired:  # the signal went to the container, which does not mind
        typed("pyctr stop web", folder)
        code = running.wait(timeout=60)
    running.stdout.close()
    return 0 if code == 130 else code


def in_terminal(script: str, folder: str) -> int:
    """The exit code of an interactive example; a person leaves its shell."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvp("bash", ["bash", "-c", script])
    text, asked, deadline = b"", False, time.monotonic() + 60
    while select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # EIO: it has ended
            break
        text += chunk
        if not asked and b"# " in text:
            os.write(terminal, b"exit\n")
            asked = True
        if not chunk:
            break
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_is_said_about_examples_is_about_examples() -> None:
    known = {example for _, example in EXAMPLES} | set(COMMANDS)
    assert set(BEFORE) <= known and set(ENDLESS) <= known
    assert shutil.which("bash")
