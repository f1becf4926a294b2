"""Random commands and kills: the store, the folders and the kernel are what a small model says.

After each step everything is looked at (model_seen) and compared with the model's world
(model_world). What was killed with ``kill -9``, a command, a monitor or the first process of a
container, by a trace point or by its pid, is then either done or not, and every other world is a
failure: the model follows what it sees. `make torture` goes on for PYCTR_MODEL_SECONDS.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.conftest import PROJECT
from tests.reliability import model_changes as changes
from tests.reliability.model_containers import Containers
from tests.reliability.model_draws import (
    KILLS,
    LINES,
    NEW_TAGS,
    PATHS,
    RUNNING,
    TAGGED,
    THERE,
    TRASH,
    VOLUME,
    VOLUMES,
)
from tests.reliability.model_place import Place
from tests.reliability.model_world import Container, Program, Refused, World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Change = Iterator[None]

STEPS = 2000

PACKING = ("engine.still.", "images.adding.", "images.blobs.", "images.unpacking.")
JOINING = ("engine.execute.", "runtime.")


class Model(Containers):
    """The commands about files, images and volumes; those about containers are inherited."""

    # -- files -------------------------------------------------------------------------------

    @rule(name=RUNNING, path=PATHS, line=LINES, kill=KILLS)
    def write(self, name: str, path: str, line: str, kill: int | None) -> None:
        program = Program("append", path, line)

        def change(world: World) -> Change:
            one = running(world, name)
            if not one.is_writable(path):
                raise Refused
            yield from one.appending(program)

        self.do(("exec", name, *program.argv), change, touched=name, kill=kill, rooms=JOINING)

    @rule(name=RUNNING, path=PATHS)
    def delete(self, name: str, path: str) -> None:
        def change(world: World) -> Change:
            one = running(world, name)
            if not one.is_writable(path) and path in one.files():
                raise Refused
            if one.is_writable(path):
                one.drop(path)
            yield

        self.do(("exec", name, "rm", "-f", f"/{path}"), change)

    @rule(name=RUNNING)
    def read(self, name: str) -> None:
        def change(world: World) -> Change:
            if not running(world, name).listing():
                raise Refused
            yield

        said = self.do(("exec", name, *Program("list").argv), change)
        if said.code == 0:
            listing = self.world.containers[name].listing()
            assert sorted(said.out.splitlines()) == listing, self.story(said.out)

    @rule(name=THERE, path=PATHS, line=LINES)
    def copy_in(self, name: str, path: str, line: str) -> None:
        def change(world: World) -> Change:
            one = world.container(name)
            if not one.is_writable(path):
                raise Refused
            one.put(path, f"{line}\n")
            yield

        self.do(("cp", f"{self.place.root}/{line}", f"{name}:/{path}"), change)

    @rule(name=THERE, path=PATHS)
    def copy_out(self, name: str, path: str) -> None:
        def change(world: World) -> Change:
            if path not in world.container(name).files():
                raise Refused
            yield

        to = f"{self.place.root}/out"
        if self.do(("cp", f"{name}:/{path}", to), change).code == 0:
            with open(to) as file:
                assert file.read() == self.world.containers[name].files()[path], self.story(path)

    # -- images ------------------------------------------------------------------------------

    @rule(name=THERE, tag=NEW_TAGS, kill=KILLS)
    def commit(self, name: str, tag: str, kill: int | None) -> None:
        words = ("commit", "-m", str(self.place.steps))  # no two images are the same
        self.do((*words, name, tag), lambda world: changes.commit(world, name, tag),
                kill=kill, rooms=PACKING)  # fmt: skip

    @rule(tag=TAGGED, new=NEW_TAGS)
    def tag(self, tag: str, new: str) -> None:
        self.do(("tag", tag, new), lambda world: changes.tag_image(world, tag, new))

    @rule(tag=NEW_TAGS, kill=KILLS)
    def rmi(self, tag: str, kill: int | None) -> None:
        self.do(("rmi", tag), lambda world: changes.untag(world, tag),
                kill=kill, rooms=("images.store.",))  # fmt: skip

    @rule()
    def prune_images(self) -> None:
        self.do(("image", "prune", "-f"), changes.prune_images)

    # -- volumes -----------------------------------------------------------------------------

    @rule(name=st.sampled_from(VOLUMES), kill=KILLS)
    def volume_create(self, name: str, kill: int | None) -> None:
        self.do(("volume", "create", name), lambda world: changes.create_volume(world, name),
                kill=kill, rooms=("volumes.store.",))  # fmt: skip

    @rule(name=VOLUME, kill=KILLS)
    def volume_rm(self, name: str, kill: int | None) -> None:
        self.do(("volume", "rm", name), lambda world: changes.remove_volume(world, name),
                kill=kill, rooms=("volumes.store.",))  # fmt: skip

    @rule(name=TRASH, kill=KILLS)
    def volume_restore(self, name: str, kill: int | None) -> None:
        if not self.world.trash:
            return
        self.do(("volume", "restore", name), lambda world: changes.restore(world, name),
                kill=kill, rooms=("volumes.store.",))  # fmt: skip

    @rule(named=st.booleans(), kill=KILLS)
    def volume_prune(self, named: bool, kill: int | None) -> None:
        folder = f"{self.place.root}/volumes/.trash"
        trash = os.listdir(folder) if os.path.isdir(folder) else []
        self.do(("volume", "prune", "-f", *(["-a"] if named else [])),
                lambda world: changes.prune(world, trash, named=named),
                kill=kill, rooms=("volumes.store.",))  # fmt: skip

    def teardown(self) -> None:
        try:
            self.place.clear()
        except AssertionError as error:
            raise AssertionError(self.story(str(error))) from error


def running(world: World, name: str) -> Container:
    """A container that runs. Refused."""
    if name not in world.running():
        raise Refused
    return world.containers[name]


@pytest.fixture
def place(home_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("PYTHONPATH", PROJECT)
    made = Place(home_dir)
    yield made
    try:
        made.clear()
    finally:
        made.server.close()


def test_whatever_is_done_and_killed_the_store_and_the_kernel_are_what_a_model_says(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = hypothesis.settings(
        max_examples=5,
        stateful_step_count=50,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],  # kills race: shorter sequences may not fail
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    machine = type("Model", (Model,), {"place": place})
    until = time.monotonic() + float(os.environ.get("PYCTR_MODEL_SECONDS", "0"))
    place.seed = int(os.environ.get("PYCTR_MODEL_SEED") or int.from_bytes(os.urandom(4)))
    while place.steps < STEPS or time.monotonic() < until:
        run_state_machine_as_test(hypothesis.seed(place.seed)(machine), settings=settings)
        place.seed += 1
        with capsys.disabled():
            print(f"\r{place.told()}", end="", flush=True)


def test_a_command_of_the_server_is_that_of_the_console(place: Place) -> None:
    """Exit code, output and errors are those of a process of its own."""
    place("create", "--name", "c", "plain", "true")
    for argv in (
        ("run", "--rm", "-v", "v1:/data", "plain", "cat", "/data/one", "/nothing"),
        ("ps", "--nothing"),
        ("volume", "ls"),
        ("exec", "c", "true"),
        ("create", "--name", "c", "plain", "true"),
    ):
        console = [sys.executable, "-I", f"{os.path.dirname(sys.executable)}/pyctr", *argv]
        own = subprocess.run(console, capture_output=True, text=True, timeout=120)
        said = place.server(*argv)
        assert (said.code, said.out, said.err) == (own.returncode, own.stdout, own.stderr), argv
