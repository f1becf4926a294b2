"""kill -9 at every trace point that a command passes, then another command: nothing is left.

`make torture` kills at each passage of each point in each command; without it a point is killed at
once in a command, and steps of the plan in those commands that are there for them.
"""

from __future__ import annotations

import os
import signal

import pytest

from tests.conftest import PROJECT
from tests.interleave import until
from tests.network.conftest import Host, eventually
from tests.network.conftest import host as host
from tests.reliability import commands, points
from tests.reliability.commands import CASES, NETWORKED, Case
from tests.reliability.invariants import House, checksum, process_name, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Pyctr

TORTURE = "PYCTR_TORTURE" in os.environ
STEP = "runtime.step."


class Walk:
    """One command, killed at all of its points."""

    def __init__(self, kind: type[Case], pyctr: Pyctr) -> None:
        self.pyctr = pyctr
        self.house = House(pyctr.root, os.environ["PYCTR_RUN"])
        self.case = kind(pyctr, self.house)
        self.list = f"/run/{os.path.basename(pyctr.root)}.passages"  # no container has that path

    def begin(self) -> None:
        if self.case.empty:
            return
        self.pyctr("import", "-", "image", stdin=commands.image())
        self.pyctr("create", "base", "true")
        if self.case.keeper:
            self.pyctr("create", "--name", "keeper", "-v", "keep:/data", "image", "sh")
            self.kept = checksum(f"{self.house.root}/volumes/keep/_data")
        self.case.begin()

    def perform(self, action: str = "") -> list[str]:
        """The command and those before it, armed; what the command passed, in order."""
        case = self.case
        for command in case.before:
            self.pyctr(*command)
        os.environ["PYCTR_TRACE"] = f"{action}list:{self.list}"
        try:
            for command in case.armed:
                self.pyctr(*command)
            seen = self.passed()
            case.prepare()
            if not case.armed:
                open(self.list, "w").close()
            self.pyctr(*case.command, code=None if action else 0)
            self.settle()
        finally:
            del os.environ["PYCTR_TRACE"]
        return [one for one in self.passed() if one not in seen]

    def passed(self) -> list[str]:
        with open(self.list, "a+") as file:
            file.seek(0)
            return list(dict.fromkeys(file.read().split()))

    def passages(self) -> list[str]:
        """Where the command is to be killed."""
        passed = self.perform()
        self.clean()
        command = type(self.case).__name__
        points.check(command, {one.partition("@")[0] for one in passed})
        if points.RECORDING:
            return []
        passed = [one for one in passed if not points.may_be_missed(command, one.partition("@")[0])]
        if not TORTURE:
            first: dict[str, str] = {}
            for one in passed:
                first.setdefault(one.partition("@")[0], one)
            steps = tuple(f"{STEP}{name}" for name in self.case.steps)
            passed = [
                one for name, one in first.items() if name.startswith(steps) or STEP not in name
            ]
        return passed

    def settle(self) -> None:
        until(self.house.is_quiet, "everybody to have ended")

    def kill_at(self, passage: str) -> None:
        case = self.case
        assert passage in self.perform(f"kill:{passage},"), "it was not passed"
        self.house.remember()
        for command in case.then:
            self.pyctr(*command)
        self.settle()
        self.check()
        done = case.done()
        if not done and STEP not in passage:  # who is killed at the next step passes this one
            for command in case.clear:
                self.pyctr(*command, code=None)
            self.pyctr(*case.command)
            self.settle()
            done = case.done()
            assert done or not case.lasting, "it does not work afterwards"
        self.clean(sure=done)
        if done:
            self.check()

    def clean(self, *, sure: bool = True) -> None:
        case = self.case
        for command in (*(() if sure else case.clear), *case.after):
            self.pyctr(*command, code=0 if sure else None)
        self.settle()
        if os.path.exists(self.list):
            os.unlink(self.list)

    kept = ""

    def check(self) -> None:
        found = wrong(self.house)
        if self.kept:
            now = checksum(f"{self.house.root}/volumes/keep/_data")
            found += [] if now == self.kept else ["the data of volume keep is not what it was"]
        assert not found, "\n".join(found)

    def all(self) -> None:
        """Kills everywhere; AssertionError with all that was wrong."""
        self.begin()
        passages = self.passages()
        wrong_at = []
        for passage in passages:
            try:
                self.kill_at(passage)
            except AssertionError as error:
                wrong_at.append(f"{passage}: {error}")
                self.pyctr("rm", "-fv", "c", code=None)
                self.clean(sure=False)
        assert not wrong_at, f"at {len(wrong_at)} of {len(passages)}:\n" + "\n".join(wrong_at)


class NetworkedWalk(Walk):
    """The same on a host of its own. The agent is started by the command, to be armed as well."""

    def __init__(self, kind: type[Case], host: Host) -> None:
        super().__init__(kind, host)
        self.host = host

    def perform(self, action: str = "") -> list[str]:
        for command in self.case.before:
            self.pyctr(*command)
        self.host.leave()
        before, self.case.before = self.case.before, ()
        try:
            return super().perform(action)
        finally:
            self.case.before = before
            self.end_agents()  # they are armed as well

    def end_agents(self) -> None:
        for pid in self.house.workers():
            if process_name(pid) == "pyctr:network":
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.host.agent(), "the agent's end")

    def check(self) -> None:
        super().check()
        live = len(self.house.rows("SELECT 1 FROM endpoints WHERE mac IS NOT NULL"))
        bridges = self.house.column("SELECT bridge FROM networks")

        def fits() -> bool:  # the kernel removes links after the process that had them
            links = self.host.links()
            pairs = {name for name in links if name.startswith("veth")}
            return len(pairs) == live and links - pairs <= bridges

        eventually(fits)
        held = self.house.column("SELECT held FROM published WHERE held <> 0")
        assert ("8080" in self.host.sh("nft list ruleset")) == ("8080" in held)

    def clean(self, *, sure: bool = True) -> None:
        super().clean(sure=sure)
        self.host.leave()
        self.pyctr("ps", "-aq")  # an agent that leaves still does what it was asked for before
        if not self.house.rows("SELECT 1 FROM endpoints WHERE mac IS NOT NULL"):
            eventually(lambda: not self.host.links())
            assert "table inet pyctr" not in self.host.sh("nft list ruleset")


@pytest.fixture(autouse=True)
def list_of_passages(home_dir: str) -> Iterator[None]:
    yield
    path = f"/run/{os.path.basename(home_dir)}.passages"
    if os.path.exists(path):
        os.unlink(path)


@pytest.mark.parametrize("kind", CASES)
def test_a_kill_at_any_point_leaves_nothing_and_loses_nothing(
    kind: type[Case], pyctr: Pyctr
) -> None:
    Walk(kind, pyctr).all()


@pytest.mark.parametrize("kind", NETWORKED)
def test_a_kill_at_any_point_leaves_nothing_of_a_network(kind: type[Case], host: Host) -> None:
    NetworkedWalk(kind, host).all()


def test_every_point_that_there_is_stands_in_the_list() -> None:
    listed = points.listed()
    assert sorted(listed) == points.declared(), "run: make points"
    unreached = {name for name, passing in listed.items() if not passing}
    assert unreached == set(points.ELSEWHERE)


def test_the_table_of_the_documentation_is_that_of_the_list() -> None:
    with open(f"{PROJECT}/docs/reliability.md") as file:
        assert points.table() in file.read(), "write points.table() there"
