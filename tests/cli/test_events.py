"""events: what is told, how it is shown, who is meant, and that it comes at once."""

from __future__ import annotations

import json
import subprocess
import threading
import time

import pytest

from engine import events
from engine.home import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Pyctr


def shown(pyctr: Pyctr, *flags: str) -> list[dict[str, Any]]:
    lines = pyctr.out("events", "--since", "0", "--until", "0s", "--format", "json", *flags)
    return [json.loads(line) for line in lines.splitlines()]


def actions(pyctr: Pyctr, *flags: str) -> list[str]:
    return [f"{one['Type']} {one['Action']}" for one in shown(pyctr, *flags)]


@pytest.fixture
def told(pyctr: Pyctr) -> Pyctr:
    """Two containers of images of several tags, told by hand."""
    home = Home(pyctr.root, "/nowhere")
    for identity, name, image in (("aa11", "web", "nginx:1.27"), ("bb22", "webby", "host:5000/x")):
        for action in ("create", "start", "exec_create: sh", "health_status: healthy", "die"):
            attributes = {"name": name, "image": image, "team": identity[0], "stage": "test"}
            events.emit(home, "container", action, identity, attributes)
    events.emit(home, "image", "tag", "sha256:cc33", {"name": "nginx:1.27"})
    events.emit(home, "volume", "mount", "data", {"container": "aa11", "driver": "local"})
    return pyctr


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ("", 12),
        ("type=container", 10),
        ("type=image type=volume", 2),
        ("container=web", 10),
        ("container=webb", 5),
        ("container=aa", 5),
        ("container=bb22 event=die", 1),
        ("event=die event=start", 4),
        ("action=die", 2),
        ("event=exec_create", 2),
        ("event=health_status", 2),
        ("event=health_status: healthy", 2),
        ("event=exec", 0),
        ("image=nginx", 6),
        ("image=nginx:1.27", 6),
        ("image=sha256:cc33", 1),
        ("image=host:5000/x", 5),
        ("label=team=a", 5),
        ("label=stage label=team=b", 5),
        ("volume=data", 1),
        ("network=x", 0),
        ("scope=local", 12),
        ("type=container event=create label=stage=test", 2),
    ],
)
def test_filters(told: Pyctr, filters: str, count: int) -> None:
    keys = ("type", "container", "event", "action", "image", "label", "volume", "network", "scope")
    flags: list[str] = []
    for word in filters.split():
        if word.partition("=")[0] in keys:
            flags += ["--filter", word]
        else:  # the second word of an action
            flags[-1] += f" {word}"
    assert len(shown(told, *flags)) == count


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--filter", "node=x"), "the filter node is not supported"),
        (("--filter", "nope=x"), "invalid filter 'nope'"),
        (("--since", "x"), "invalid argument 'x' for --since"),
        (("--since", "1m", "--until", "2m"), "--until is before --since"),
        (("--format", "table {{.Action}}"), "make no table"),
        (("--until", "0s", "--format", "{{.Nope}}"), "can't evaluate field Nope in type event"),
    ],
)
def test_what_cannot_be_is_refused(told: Pyctr, flags: tuple[str, ...], said: str) -> None:
    assert said in told("events", *flags, code=None).stderr


def test_lines_and_templates(told: Pyctr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    flags = ("--since", "0", "--until", "0s", "--filter", "container=aa11", "--filter", "event=die")
    (line,) = told.out("events", *flags).splitlines()
    moment, rest = line.split(" ", 1)
    assert len(moment) == len("2026-11-24T10:00:00.000000000Z") and moment.endswith("Z")
    assert rest == "container die aa11 (image=nginx:1.27, name=web, stage=test, team=a)"
    template = "{{.Type}}/{{.Action}}/{{.Actor.ID}}/{{.Actor.Attributes.name}}/{{.From}}/{{.ID}}"
    assert told.out("events", *flags, "--format", template) == (
        "container/die/aa11/web/nginx:1.27/aa11"
    )
    (found,) = shown(told, "--filter", "container=aa11", "--filter", "event=die")
    assert found == {
        "status": "die", "id": "aa11", "from": "nginx:1.27", "Type": "container", "Action": "die",
        "Actor": {"ID": "aa11", "Attributes": {
            "image": "nginx:1.27", "name": "web", "stage": "test", "team": "a"}},
        "scope": "local", "time": found["timeNano"] // 10**9, "timeNano": found["timeNano"],
    }  # fmt: skip
    assert told.out("events", "--since", "1h", "--until", "30m") == ""


def test_images_and_volumes_tell_what_happens_to_them(pyctr: Pyctr, home_dir: str) -> None:
    pyctr("create", "--name", "c", "-v", "data:/data", "-v", "/anonymous", "base")
    pyctr("commit", "-c", "LABEL a=b", "c", "made")
    pyctr("image", "tag", "made", "again:1")
    pyctr("export", "-o", f"{home_dir}/flat.tar", "c")
    identity = pyctr.out("image", "import", f"{home_dir}/flat.tar", "flat")
    pyctr("image", "rm", "made", "again:1", "flat")
    pyctr("rm", "c")
    pyctr("volume", "create", "third")
    pyctr("volume", "rm", "data", "third")
    pyctr("volume", "prune", "-f")
    pyctr("image", "prune", "-f")
    assert actions(pyctr, "--filter", "type=image") == [
        "image import", "image create", "image tag", "image tag", "image import",
        "image untag", "image untag", "image delete", "image untag", "image delete", "image prune",
    ]  # fmt: skip
    names = [one["Actor"]["Attributes"]["name"] for one in shown(pyctr, "--filter", "event=tag")]
    assert names == ["made:latest", "again:1"]
    assert len(shown(pyctr, "--filter", "label=a=b")) == 6, "labels of the image are told"
    (gone,) = shown(pyctr, "--filter", "event=delete", "--filter", f"image={identity}")
    assert gone["Actor"]["ID"] == identity and gone["id"] == identity
    found = shown(pyctr, "--filter", "type=volume")
    told = [(one["Action"], one["Actor"]["ID"][:5]) for one in found]
    assert ("create", "data") in told[:2] and len(told) == 7
    assert [action for action, _ in told] == [
        "create", "create", "destroy", "create", "destroy", "destroy", "prune",
    ]  # fmt: skip
    assert found[2]["Actor"]["Attributes"] == {"driver": "local", "trash": "true"}
    assert found[-1]["Actor"]["Attributes"]["reclaimed"] == "0"


def test_volumes_are_mounted_and_unmounted_with_their_containers(pyctr: Pyctr) -> None:
    flags = ("-v", "data:/data:ro", "-v", "/anonymous", "-v", "/etc:/host")
    identity = pyctr.out("create", "--name", "c", *flags, "base", "true")
    for _ in range(2):
        pyctr("start", "-a", "c")
    found = shown(pyctr, "--filter", "volume=data")
    assert [one["Action"] for one in found] == [
        "create", "mount", "unmount", "mount", "unmount",
    ]  # fmt: skip
    assert found[1]["Actor"]["Attributes"] == {
        "container": identity, "driver": "local", "destination": "/data", "propagation": "",
        "read/write": "false",
    }  # fmt: skip
    assert found[2]["Actor"]["Attributes"] == {"container": identity, "driver": "local"}
    pyctr("rm", "c")
    found = shown(pyctr, "--filter", "type=volume")
    assert len(found) == 11, "each volume: made, twice mounted and unmounted; one is gone"


def test_a_container_that_cannot_be_made_makes_no_volume(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base")
    pyctr("create", "--name", "c", "-v", "/data", "base", code=125)
    assert actions(pyctr, "--filter", "type=volume") == []


def test_events_come_as_they_happen_from_now_on(pyctr: Pyctr) -> None:
    pyctr("volume", "create", "before")
    argv = pyctr.argv("events", "--filter", "type=volume", "--format", "{{.Action}} {{.Actor.ID}}")
    follower = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []

    def read() -> None:
        assert follower.stdout is not None
        lines.extend(line.rstrip("\n") for line in follower.stdout)

    def wait_for(line: str) -> None:
        deadline = time.monotonic() + 30
        while line not in lines:
            assert time.monotonic() < deadline, lines
            time.sleep(0.01)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        number = 0
        while not lines:  # until it follows
            number += 1
            pyctr("volume", "create", f"probe{number}")
        for name in ("one", "two"):
            pyctr("volume", "create", name)
            wait_for(f"create {name}")
        assert "create before" not in lines
        assert follower.poll() is None
        used = _cpu_time(follower.pid)
        time.sleep(1)
        assert _cpu_time(follower.pid) == used, "waiting costs no time"
    finally:
        follower.kill()
        follower.wait()
        reader.join()


def _cpu_time(pid: int) -> list[str]:
    """Ticks in user and kernel mode (proc_pid_stat(5))."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[11:13]


def test_a_follower_ends_at_its_moment(pyctr: Pyctr) -> None:
    until = time.time() + 3
    ran = pyctr("events", "--until", f"{until:.3f}")
    assert ran.stdout == "" and time.time() >= until
