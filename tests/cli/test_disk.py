"""system df and the prune commands: what is used, and what goes."""

from __future__ import annotations

import io
import json
import tarfile
import time

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

KILO = "head -c 1000 /dev/zero"


def usage(pyctr: Pyctr) -> dict[str, list[str]]:
    template = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}"
    lines = pyctr.out("system", "df", "--format", template).splitlines()
    return {line.split("|")[0]: line.split("|")[1:] for line in lines}


def archive(size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        entry = tarfile.TarInfo("file")
        entry.size = size
        made.addfile(entry, io.BytesIO(b"x" * size))
    return out.getvalue()


def names(pyctr: Pyctr) -> list[str]:
    return sorted(pyctr.out("ps", "-a", "--format", "{{.Names}}").split())


def test_an_empty_root_folder_uses_nothing(pyctr: Pyctr) -> None:
    assert pyctr.out("system", "df").splitlines() == [
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE",
        "Images          0         0         0B        0B",
        "Containers      0         0         0B        0B",
        "Local Volumes   0         0         0B        0B",
        "Build Cache     0         0         0B        0B",
    ]


def test_what_is_used_and_what_could_be_freed(pyctr: Pyctr) -> None:
    pyctr("import", "-", "small", stdin=archive(3000))
    pyctr("run", "-d", "--name", "up", "-v", "used:/v", "base", "sh", "-c",
          f"{KILO} > /a; {KILO} > /v/b; {KILO} >> /v/b; echo ready; sleep 1000")  # fmt: skip
    pyctr("run", "--name", "down", "base", "sh", "-c", f"{KILO} > /a; {KILO} >> /a; {KILO} >> /a")
    pyctr("run", "--rm", "-v", "idle:/v", "base", "sh", "-c", f"{KILO} > /v/a")
    deadline = time.monotonic() + 30
    while "ready" not in pyctr.out("logs", "up"):
        assert time.monotonic() < deadline
    found = usage(pyctr)
    count, active, _, idle = found["Images"]
    assert (count, active) == ("2", "1") and idle.startswith("3kB (")
    assert found["Containers"] == ["2", "1", "4kB", "3kB (75%)"]
    assert found["Local Volumes"] == ["2", "1", "3kB", "1kB (33%)"]
    assert found["Build Cache"] == ["0", "0", "0B", "0B"]
    lines = pyctr.out("system", "df", "-v").splitlines()
    assert lines[0] == "Images space usage:"
    assert lines[2].split("   ")[-1].strip() == "CONTAINERS"
    small = next(line.split() for line in lines if line.startswith("small"))
    assert small[-4:] == ["3kB", "0B", "3kB", "0"]
    down = next(line for line in lines if line.endswith(" down"))
    assert "   3kB   " in down and "Exited (0)" in down
    assert ["idle", "0", "1kB"] in [line.split() for line in lines]
    assert ["used", "1", "2kB"] in [line.split() for line in lines]
    assert "Build cache usage: 0B" in lines
    verbose = json.loads(pyctr.out("system", "df", "-v", "--format", "json"))
    assert {one["Names"] for one in verbose["Containers"]} == {"up", "down"}
    assert {one["Name"]: one["Size"] for one in verbose["Volumes"]} == {
        "idle": "1kB",
        "used": "2kB",
    }


def test_layers_that_images_share_count_once(pyctr: Pyctr) -> None:
    pyctr("import", "-", "below", stdin=archive(5000))
    pyctr("create", "--name", "c", "below", "/file")
    pyctr("commit", "c", "above")
    images = {
        one["Repository"]: one
        for one in json.loads(pyctr.out("system", "df", "-v", "--format", "json"))["Images"]
    }
    assert images["below"]["SharedSize"] == images["above"]["SharedSize"] == "5kB"
    assert images["above"]["UniqueSize"] == "0B" and images["below"]["Containers"] == "1"
    assert usage(pyctr)["Images"] == ["2", "1", "5kB", "0B (0%)"]


def test_containers_that_do_not_run_go_by_filters(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "up", "base", "sleep", "1000")
    pyctr("run", "--name", "old", "-l", "keep=1", "base", "sh", "-c", f"{KILO} > /x")
    middle = pyctr.out("inspect", "-f", "{{.Created}}", "old")
    pyctr("create", "--name", "new", "base")
    said = pyctr("container", "prune", stdin="n\n").stdout
    assert said.startswith("WARNING! This will remove all stopped containers.\nAre you sure")
    pyctr("container", "prune", "-f", "--filter", f"until={middle}")
    assert names(pyctr) == ["new", "old", "up"]
    assert "removed" not in pyctr.out("container", "prune", "-f", "--filter", "label=nope")
    identity = pyctr.out("inspect", "-f", "{{.Id}}", "new")
    assert pyctr.out("container", "prune", "-f", "--filter", "label!=keep").splitlines() == [
        "Deleted Containers:", identity, "", "Total reclaimed space: 0B",
    ]  # fmt: skip
    said = pyctr.out("container", "prune", "-f", "--filter", "label=keep=1", "--filter", "until=0s")
    assert said.splitlines()[-1] == "Total reclaimed space: 1kB"
    assert names(pyctr) == ["up"]
    assert "invalid filter 'name'" in pyctr(
        "container", "prune", "-f", "--filter", "name=x", code=125
    ).stderr  # fmt: skip


def test_images_without_names_go_and_with_all_those_without_containers(pyctr: Pyctr) -> None:
    pyctr("import", "-", "named", stdin=archive(2000))
    dangling = pyctr.out("import", "-", stdin=archive(4000))
    used = pyctr.out("import", "-", "used", stdin=archive(6000))
    pyctr("create", "--name", "c", "used", "/file")
    assert pyctr.out("image", "prune", "-f").splitlines() == [
        "Deleted Images:", f"deleted: {dangling}", "", "Total reclaimed space: 4kB",
    ]  # fmt: skip
    assert "dangling images" in pyctr("image", "prune", stdin="n\n").stdout
    assert pyctr.out("image", "prune", "-af", "--filter", "until=1h") == "Total reclaimed space: 0B"
    said = pyctr.out("image", "prune", "-a", "-f").splitlines()
    assert said[1] == "untagged: named:latest" and said[-1] == "Total reclaimed space: 2kB"
    assert pyctr.out("image", "ls", "-q", "--no-trunc") == used


def test_volumes_go_by_label_and_named_ones_only_with_all(pyctr: Pyctr) -> None:
    anonymous = pyctr.out("volume", "create", "-l", "a=1")
    pyctr("volume", "create", "-l", "a=1", "named")
    assert pyctr.out("volume", "prune", "-f", "--filter", "label!=a") == "Total reclaimed space: 0B"
    assert anonymous in pyctr.out("volume", "prune", "-f", "--filter", "label=a=1")
    assert pyctr.out("volume", "ls", "-q") == "named"
    assert "invalid filter 'until'" in pyctr(
        "volume", "prune", "-f", "--filter", "until=1h", code=125
    ).stderr  # fmt: skip
    assert "named" in pyctr.out("volume", "prune", "-f", "--filter", "all=1")
    assert pyctr.out("volume", "ls", "-q") == ""


def test_a_prune_of_the_system_asks_for_all_at_once(pyctr: Pyctr) -> None:
    said = pyctr("system", "prune", "--filter", "label=x", "--filter", "until=1h", stdin="n\n")
    assert said.stdout == (
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all networks not used by at least one container\n"
        "  - all dangling images\n"
        "\n"
        "  Items to be pruned will be filtered with:\n"
        "  - label=x\n"
        "  - until=1h\n"
        "\n"
        "Are you sure you want to continue? [y/N] "
    )
    flags = ("system", "prune", "--volumes", "--filter", "until=1h")
    assert '"until" is not supported with --volumes' in pyctr(*flags, code=125).stderr


def test_a_prune_of_the_system_takes_what_nobody_uses(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "up", "-v", "/kept", "base", "sleep", "1000")
    pyctr("run", "--name", "down", "-v", "/lost", "base", "sh", "-c", f"{KILO} | tee /x > /lost/y")
    pyctr("import", "-", "named", stdin=archive(2000))
    pyctr("import", "-", stdin=archive(3000))
    pyctr("volume", "create", "named")
    kept = pyctr.volume_of("up", "/kept")[0]
    said = pyctr.out("system", "prune", "-f").splitlines()
    assert said[0] == "Deleted Containers:" and "Deleted Images:" in said
    assert said[-1] == "Total reclaimed space: 4kB"
    assert names(pyctr) == ["up"]
    assert len(pyctr.out("volume", "ls", "--trash", "-q").split()) == 1, "volumes are left alone"
    said = pyctr.out("system", "prune", "--volumes", "-af").splitlines()
    assert "untagged: named:latest" in said and said[-1] == "Total reclaimed space: 3kB"
    assert sorted(pyctr.out("volume", "ls", "-q").split()) == sorted([kept, "named"])
    assert pyctr.out("volume", "ls", "--trash", "-q") == ""
    assert pyctr.out("image", "ls", "--format", "{{.Repository}}") == "base"
    lines = pyctr.out("events", "--since", "0", "--until", "0s", "--filter", "event=prune",
                      "--format", "{{.Type}} {{.Actor.Attributes.reclaimed}}")  # fmt: skip
    assert lines.splitlines() == [
        "container 1000", "network 0", "image 3000", "builder 0",
        "container 0", "volume 1000", "network 0", "image 2000", "builder 0",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["container", "image", "volume", "system"])
def test_nothing_to_prune_is_no_error(pyctr: Pyctr, kind: str) -> None:
    assert pyctr.out(kind, "prune", "-f") == "Total reclaimed space: 0B"
