"""Completion: what is offered where, and that bash, zsh and fish really complete with it.

Each shell runs in a terminal of its own: text is typed, then the tab key, and the line that came
of it is handed to printf.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import sys
import time
import warnings

import pytest

from cli import commands, completion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Pyctr


def offered(pyctr: Pyctr, *words: str) -> list[str]:
    lines = pyctr.out("__complete", "--", *words).splitlines()
    return [line.partition("\t")[0] for line in lines if line]


@pytest.fixture
def furnished(pyctr: Pyctr) -> Pyctr:
    """A root folder with containers in several states, two images and two volumes."""
    pyctr("create", "--name", "web-old", "-v", "dbdata:/db", "-v", "/anonymous", "base")
    pyctr("run", "-d", "--name", "web-new", "-v", "cache:/cache", "base", "sleep", "1000")
    pyctr("tag", "base", "mine:1.0")
    return pyctr


def test_objects_are_offered_by_name_where_they_fit(furnished: Pyctr) -> None:
    assert offered(furnished, "rm", "") == ["web-new", "web-old"]
    assert offered(furnished, "rm", "web-old", "web-n") == ["web-new"]
    assert offered(furnished, "stop", "") == ["web-new"], "only what runs"
    assert offered(furnished, "start", "") == ["web-old"], "only what does not"
    assert offered(furnished, "unpause", "") == []
    assert offered(furnished, "run", "--rm", "") == ["base:latest", "mine:1.0"]
    assert offered(furnished, "run", "base", "") == [], "that belongs to the container"
    assert offered(furnished, "run", "-itv", "") == ["cache:", "dbdata:"]
    assert offered(furnished, "run", "--volumes-from=web-o") == ["--volumes-from=web-old"]
    assert offered(furnished, "run", "--pid", "c") == ["container:web-new", "container:web-old"]
    assert offered(furnished, "volume", "rm", "d") == ["dbdata"]
    assert offered(furnished, "rmi", "m") == ["mine:1.0"]
    assert offered(furnished, "inspect", "") == [
        "web-new", "web-old", "base:latest", "mine:1.0", "cache", "dbdata",
    ]  # fmt: skip
    assert offered(furnished, "rename", "web-old", "") == [], "a new name is anybody's choice"


def test_commands_flags_and_their_values_are_offered(pyctr: Pyctr, home_dir: str) -> None:
    first = offered(pyctr, "")
    assert {"run", "ps", "volume", "check", "help"} <= set(first) and "__complete" not in first
    assert offered(pyctr, "volume", "") == list(commands.NOUNS["volume"])
    assert offered(pyctr, "help", "config", "") == ["show"]
    assert offered(pyctr, "run", "--net") == ["--network", "--network-alias"]
    assert offered(pyctr, "run", "--network", "") == ["bridge", "none", "host"]
    assert offered(pyctr, "run", "--network=h") == ["--network=host"]
    assert offered(pyctr, "run", "-it", "--pull", "n") == ["never"]
    assert offered(pyctr, "run", "--rm=t") == ["--rm=true"]
    assert offered(pyctr, "inspect", "--type", "v") == ["volume"]
    assert offered(pyctr, "kill", "-s", "US") == ["USR1", "USR2"]
    assert offered(pyctr, "run", "--cap-add", "NET_") == [
        "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    ]  # fmt: skip
    assert offered(pyctr, "run", "--env-file", "x") == [":files"]
    assert offered(pyctr, "run", "--env-file=x") == [":files"]
    assert offered(pyctr, "--root", "/x") == [":folders"]
    assert offered(pyctr, "--ro") == ["--root"]
    assert offered(pyctr, "ps", "--format", "j") == ["json"]
    assert offered(pyctr, "completion", "") == ["bash", "fish", "zsh"]
    assert "--gpus" not in offered(pyctr, "run", "--g"), "what is refused is not offered"
    assert offered(pyctr, "frob", "") == [] == offered(pyctr, "volume", "frob", "")
    assert os.listdir(home_dir) == [], "completion makes nothing"


def test_another_root_folder_on_the_line_counts(furnished: Pyctr) -> None:
    root = furnished.root
    assert offered(furnished, "--root", f"{root}/other", "rm", "") == []
    assert offered(furnished, "--root", root, "rm", "web-n") == ["web-new"]


def test_candidates_are_described(furnished: Pyctr) -> None:
    lines = furnished.out("__complete", "--", "rm", "").splitlines()
    assert lines == ["web-new\trunning, base", "web-old\tcreated, base"]
    assert "--rm\tRemove the container" in furnished.out("__complete", "--", "run", "--rm")


def test_every_place_of_every_command_can_be_completed(pyctr: Pyctr) -> None:
    for noun, verbs in commands.NOUNS.items():
        for verb in verbs:
            command = commands.load(noun, verb)
            for flag in command.options:
                if flag.kind in ("value", "list"):
                    completion.complete([noun, verb, flag.names[-1], ""])
            for count in range(4):
                completion.complete([noun, verb, *["x"] * count, ""])


# -- the shells ----------------------------------------------------------------------------

_PROMPT = "READY> "


class Shell:
    """An interactive shell with pyctr's completion loaded."""

    def __init__(self, name: str, folder: str) -> None:
        rc = f"{folder}/.{name}rc"
        loading = {
            "bash": f"PS1='{_PROMPT}'\nbind 'set bell-style none'\nHISTFILE=\n"
            "source <(pyctr completion bash)\n",
            "zsh": f"PS1='{_PROMPT}'\nbindkey -e\nautoload -Uz compinit && compinit -u -D\n"
            "source <(pyctr completion zsh)\n",
            "fish": f"function fish_prompt; echo -n '{_PROMPT}'; end\nset -g fish_greeting\n"
            "pyctr completion fish | source\n",
        }[name]
        with open(rc, "w") as file:
            file.write(loading)
        argv = {
            "bash": ["bash", "--noprofile", "--rcfile", rc, "-i"],
            "zsh": ["zsh", "-i"],
            "fish": ["fish", "--no-config", "--private", "-i", "-C", f"source {rc}"],
        }[name]
        environment = os.environ | {
            "HOME": folder, "ZDOTDIR": folder, "TERM": "xterm", "LC_ALL": "C.UTF-8",
            "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        }  # fmt: skip
        self._seen = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe(argv[0], argv, environment)
        self._read_until(_PROMPT.strip())

    def completed(self, text: str) -> list[str]:
        """The words of the line after ``text`` and the tab key."""
        end = "E''ND"  # does not look like END while it is echoed
        os.write(self._terminal, f"{text}\t".encode())
        os.write(self._terminal, f"\x01printf '<%s>\\n' \x05 {end}\r".encode())
        shown = self._read_until("<END>")
        self._read_until(_PROMPT.strip())
        return re.findall(r"<([^<>]*)>\r?\n", shown)

    def _read_until(self, wanted: str) -> str:
        """What is shown up to ``wanted``; what came after it waits for the next call."""
        deadline = time.monotonic() + 60
        while wanted not in self._seen:
            patience = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._terminal], [], [], patience)
            assert ready, f"the shell shows no {wanted!r}: {self._seen!r}"
            self._seen += os.read(self._terminal, 65536).decode(errors="replace")
        shown, found, self._seen = self._seen.partition(wanted)
        return shown + found

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, furnished: Pyctr) -> Iterator[Shell]:
    name = request.param
    if shutil.which(name) is None:
        warnings.warn(f"{name} is not installed: its completion is not tested", stacklevel=1)
        pytest.skip(f"{name} is not installed: apt-get install {name}")
    folder = f"{furnished.root}/{name}"
    os.mkdir(folder)
    with open(f"{folder}/settings.env", "w") as file:
        file.write("A=1\n")
    made = Shell(name, folder)
    yield made
    made.close()


def test_the_shell_completes_the_line(shell: Shell) -> None:
    assert shell.completed("pyctr volu") == ["pyctr", "volume"]
    assert shell.completed("pyctr volume rest") == ["pyctr", "volume", "restore"]
    assert shell.completed("pyctr rm web-o") == ["pyctr", "rm", "web-old"]
    assert shell.completed("pyctr stop w") == ["pyctr", "stop", "web-new"]
    assert shell.completed("pyctr run --netw") == ["pyctr", "run", "--network"]
    assert shell.completed("pyctr run --network h") == ["pyctr", "run", "--network", "host"]
    assert shell.completed("pyctr run --network=h") == ["pyctr", "run", "--network=host"]
    assert shell.completed("pyctr run -it --volumes-from=web-n") == [
        "pyctr", "run", "-it", "--volumes-from=web-new",
    ]  # fmt: skip
    assert shell.completed("pyctr rmi mi") == ["pyctr", "rmi", "mine:1.0"]
    assert shell.completed("pyctr rmi mine:1") == ["pyctr", "rmi", "mine:1.0"]
    assert shell.completed("pyctr run -v dbd") == ["pyctr", "run", "-v", "dbdata:"]
    assert shell.completed("pyctr run --env-file sett") == [
        "pyctr", "run", "--env-file", "settings.env",
    ]  # fmt: skip
    assert shell.completed("pyctr run --env-file=sett") == [
        "pyctr", "run", "--env-file=settings.env",
    ]  # fmt: skip
    assert shell.completed("pyctr rm nothing-like-it") == ["pyctr", "rm", "nothing-like-it"]


def test_what_follows_a_volume_is_typed_without_a_space(shell: Shell) -> None:
    assert shell.completed("pyctr run -v dbd\t/in ba") == [
        "pyctr", "run", "-v", "dbdata:/in", "base:latest",
    ]  # fmt: skip
