"""ps: columns, filters, sizes."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


def names(pyctr: Pyctr, *flags: str) -> list[str]:
    return sorted(pyctr.out("ps", "--format", "{{.Names}}", *flags).split())


@pytest.fixture
def three(pyctr: Pyctr) -> Pyctr:
    """web runs, web-old has ended with 3, fresh never ran; created in this order."""
    pyctr("run", "-d", "--name", "web", "-l", "stage=test", "-l", "team=a", "-v", "data:/data",
          "base", "sleep", "1000")  # fmt: skip
    pyctr("run", "--name", "web-old", "-l", "stage=test", "base", "sh", "-c", "exit 3", code=3)
    pyctr("create", "--name", "fresh", "--network", "host", "-v", "/etc:/host:ro", "base")
    return pyctr


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("name=web", "web web-old"),
        ("name=^web$", "web"),
        ("name=^/web", "web web-old"),
        ("name=old|fresh", "web-old fresh"),
        ("name=web name=fresh", "web web-old fresh"),
        ("status=exited", "web-old"),
        ("status=created status=running", "web fresh"),
        ("status=dead", ""),
        ("exited=3", "web-old"),
        ("exited=0", ""),
        ("exited=0 exited=3", "web-old"),
        ("label=stage", "web web-old"),
        ("label=stage=test label=team=a", "web"),
        ("label=stage label=nope", ""),
        ("before=web-old", "web"),
        ("since=web-old", "fresh"),
        ("since=web before=fresh", "web-old"),
        ("volume=data", "web"),
        ("volume=/data", "web"),
        ("volume=/etc", "fresh"),
        ("network=host", "fresh"),
        ("health=none name=fresh", "fresh"),
        ("health=healthy", ""),
        ("ancestor=base", "web web-old fresh"),
        ("ancestor=nope", ""),
        ("ancestor=nope ancestor=base:latest", "web web-old fresh"),
        ("status=exited label=team", ""),
    ],
)
def test_filters(three: Pyctr, filters: str, expected: str) -> None:
    flags = [word for pair in filters.split() for word in ("--filter", pair)]
    assert names(three, "-a", *flags) == sorted(expected.split())


def test_which_are_shown(three: Pyctr) -> None:
    assert names(three) == ["web"]
    assert names(three, "-f", "status=exited") == ["web-old"], "a state means all of that state"
    assert names(three, "-f", "name=fresh") == []
    assert names(three, "-l") == ["fresh"]
    assert names(three, "-n", "2") == ["fresh", "web-old"]
    assert names(three, "-n", "2", "-f", "name=web") == ["web", "web-old"]
    assert names(three, "-n", "-1") == ["web"]
    identity = three.out("inspect", "-f", "{{.Id}}", "web")
    assert three.out("ps", "-q") == identity[:12]
    assert three.out("ps", "-q", "--no-trunc") == identity
    assert names(three, "-f", f"id={identity[:5]}") == ["web"]
    assert names(three, "-f", f"id={identity[5:]}") == []


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ("status=sleeping", "invalid filter status=sleeping"),
        ("health=great", "invalid filter health=great"),
        ("exited=x", "invalid filter exited=x"),
        ("before=nobody", "no such container: nobody"),
        ("nope=1", "invalid filter 'nope'"),
        ("is-task=true", "the filter is-task is not supported"),
        ("publish=http", "invalid filter publish=http"),
        ("expose=80-70", "invalid filter expose=80-70"),
        ("name=(", "not a regular expression"),
        ("name", "write key=value"),
    ],
)
def test_what_no_filter_says_is_refused(pyctr: Pyctr, filters: str, said: str) -> None:
    pyctr("create", "base")
    assert said in pyctr("ps", "--filter", filters, code=None).stderr


def wait_for(pyctr: Pyctr, expected: list[str], *flags: str) -> None:
    deadline = time.monotonic() + 60
    while names(pyctr, *flags) != expected:
        assert time.monotonic() < deadline, pyctr.out("ps", "-a")
        time.sleep(0.1)


def test_health_is_shown_and_looked_for(pyctr: Pyctr) -> None:
    flags = ("--health-interval", "100ms", "--health-retries", "1")
    pyctr("run", "-d", "--name", "well", *flags, "--health-cmd", "true", "base", "sleep", "1000")
    pyctr("run", "-d", "--name", "ill", *flags, "--health-cmd", "false", "base", "sleep", "1000")
    pyctr("run", "-d", "--name", "young", "--health-cmd", "true", "base", "sleep", "1000")
    wait_for(pyctr, ["well"], "-f", "health=healthy")
    wait_for(pyctr, ["ill"], "-f", "health=unhealthy")
    assert names(pyctr, "-f", "health=starting") == ["young"]
    assert names(pyctr, "-f", "health=healthy", "-f", "health=unhealthy") == ["ill", "well"]
    shown = pyctr.out("ps", "--format", "{{.Names}} {{.Status}} {{.HealthStatus}}").splitlines()
    ends = {line.split()[0]: line.split("(")[1] for line in shown}
    assert ends == {
        "well": "healthy) healthy", "ill": "unhealthy) unhealthy",
        "young": "health: starting) starting",
    }  # fmt: skip
    assert pyctr.out("inspect", "-f", "{{.State.Health.Status}}", "ill") == "unhealthy"
    assert pyctr.out("inspect", "-f", "{{index .Config.Healthcheck.Test 1}}", "ill") == "false"


def test_a_container_that_waits_to_be_started_again_is_restarting(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "--restart", "on-failure:20", "base", "sh", "-c", "exit 3")
    wait_for(pyctr, ["c"], "-f", "status=restarting")
    found = json.loads(pyctr.out("inspect", "c"))[0]
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 20}
    deadline = time.monotonic() + 60
    while not pyctr.out("ps", "--format", "{{.Status}}").startswith("Restarting (3) "):
        assert time.monotonic() < deadline
    while not json.loads(pyctr.out("inspect", "c"))[0]["State"]["Restarting"]:
        assert time.monotonic() < deadline
    assert json.loads(pyctr.out("inspect", "c"))[0]["RestartCount"] > 0


def test_an_ancestor_is_any_image_below(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "one", "base", "touch", "/one")
    pyctr("commit", "one", "middle")
    pyctr("run", "--name", "two", "middle", "touch", "/two")
    pyctr("commit", "two", "top")
    pyctr("create", "--name", "three", "top", "true")
    assert names(pyctr, "-a", "-f", "ancestor=base") == ["one", "three", "two"]
    assert names(pyctr, "-a", "-f", "ancestor=middle") == ["three", "two"]
    identity = pyctr.out("image", "inspect", "-f", "{{.Id}}", "top")
    for word in ("top:latest", identity, identity.removeprefix("sha256:")[:12]):
        assert names(pyctr, "-a", "-f", f"ancestor={word}") == ["three"]


def test_asking_for_an_ancestor_makes_no_image(pyctr: Pyctr) -> None:
    assert pyctr.out("ps", "-q", "-f", "ancestor=base") == ""
    assert pyctr.out("image", "ls", "-q") == ""


def test_columns_and_fields(pyctr: Pyctr) -> None:
    long = "sh -c 'echo \"a  b\"; sleep 1000'"
    identity = pyctr.out("create", "--name", "c", "-l", "z=1", "-l", "a.b=2", "-v", "/anonymous",
                         "-v", "a-rather-long-name:/data", "-v", "/etc:/host", "base",
                         "sh", "-c", 'echo "a  b"; sleep 1000')  # fmt: skip
    heading, line = pyctr.out("ps", "-a").splitlines()
    assert heading.split("  ")[0] == "CONTAINER ID" and heading.endswith("PORTS     NAMES")
    assert line.startswith(identity[:12]) and line.endswith(" c")
    assert '"sh -c \'echo \\"a  b\\";…"' in line
    assert long.replace('"', '\\"') in pyctr.out("ps", "-a", "--no-trunc")
    (shown,) = [json.loads(line) for line in pyctr.out("ps", "-a", "--format", "json").splitlines()]
    assert shown["State"] == "created" and shown["Status"] == "Created"
    assert shown["Labels"] == "a.b=2,z=1" and shown["Networks"] == "none"
    assert shown["LocalVolumes"] == "2" and shown["Size"] == "N/A"
    assert shown["RunningFor"].endswith(" ago") and shown["HealthStatus"] == ""
    assert time.strftime("%Y-%m-") in shown["CreatedAt"]
    anonymous, *mounts = shown["Mounts"].split(",")
    assert mounts == ["a-rather-long-…", "/etc"] and len(anonymous) == 15
    template = 'table {{.ID}}\\t{{.Label "a.b"}}\\t{{.Mounts}}'
    table = pyctr.out("ps", "-a", "--no-trunc", "--format", template).splitlines()
    assert table[0].split() == ["CONTAINER", "ID", "b", "MOUNTS"]
    assert table[1].split()[:2] == [identity, "2"] and "a-rather-long-name,/etc" in table[1]
    said = pyctr("ps", "-a", "--format", "{{.Nope}}", code=1).stderr
    assert 'executing "" at <.Nope>: can\'t evaluate field Nope in type container' in said


def test_sizes_are_what_was_written_and_that_with_the_image(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "c", "-v", "/vol", "base", "sh", "-c", "echo 1 > /x; echo 22 > /vol/y")
    heading, line = pyctr.out("ps", "-as").splitlines()
    assert heading.split()[-1] == "SIZE" and "   2B (virtual " in line
    assert pyctr.out("ps", "-a", "--format", "{{.Size}}").startswith("2B (virtual 1.")
    one = json.loads(pyctr.out("inspect", "-s", "c"))[0]
    assert one["SizeRw"] == 2 and one["SizeRootFs"] > 10**6
    assert "SizeRw" not in json.loads(pyctr.out("inspect", "c"))[0]


def test_words_that_are_no_text_do_not_break_a_table(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")  # what most locales mean
    argv = [word.encode() for word in pyctr.argv("create", "--name", "c", "base", "echo")]
    subprocess.run([*argv, b"\xff\x1b[31m"], check=True, capture_output=True)
    ran = subprocess.run(pyctr.argv("ps", "-a"), capture_output=True, check=True)
    assert rb'"echo \xff\x1b[31m"' in ran.stdout, "shown, not obeyed"
    ran = subprocess.run(pyctr.argv("inspect", "-f", "{{.Args}}", "c"), capture_output=True)
    assert ran.stdout == b"[\xff\x1b[31m]\n"
