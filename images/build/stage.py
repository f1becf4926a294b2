"""One stage, instruction by instruction, as far as the cache goes or to its end.

What only the configuration says is evaluated each time: it is cheap and makes no layer. A step
that may change files is looked for in the cache first. The image is as old as its last layer, so
a build from the cache gives the same image again.

Source: Docker's "Dockerfile reference"; OCI image specification, config.md, history.
"""

from __future__ import annotations

import os
import time

from images import clock, platforms
from images.build import changes, copying, graph, running, state, variables
from images.build.errors import BuildError, StepFailed
from images.config import Layer
from kernel import quickjson, trace
from kernel.errors import PyctrError
from kernel.paths import open_real

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.build.copying import Step
    from images.build.graph import Work
    from images.build.site import Site
    from images.build.state import State
    from images.dockerfile.parser import Instruction

_performed = trace.point("images.build.stage.performed")


def titles(work: Work, total: int) -> list[str]:
    """The steps of a stage that progress shows: FROM, and what may change files.

    ``total`` is the number of stages: one that is alone needs no name.
    """
    shown = [f"FROM {work.parent}"]
    shown += [one.shown for one in work.instructions if one.word in graph.ON_FILES]
    label = f"{work.name or f'stage-{work.index}'} " if work.name or total > 1 else ""
    return [f"[{label}{n}/{len(shown)}] {text}" for n, text in enumerate(shown, 1)]


class Stage:
    """A stage that is being built: ``state`` so far, ``position`` of the next instruction."""

    def __init__(self, here: Site, work: Work, numbers: list[int], file: str) -> None:
        self.here = here
        self.work = work
        self.position = 0
        self.state: State | None = None
        self._file = file
        self._numbers = numbers  # of the steps of `titles`
        self._passed = 0  # steps with a title that are over
        self._ready: Step | None = None  # the next one, evaluated already

    def begin(self) -> None:
        """FROM: the state of the base."""
        here, work = self.here, self.work
        number = self._number
        here.told(("begin", number))
        began = time.monotonic()
        try:
            self.state = self._base()
        except PyctrError as error:
            here.told(("failed", number))
            what = f"{self._file}:{work.number}: FROM {work.parent}"
            raise BuildError(what, str(error), error.hint) from None
        here.told(("done", number, time.monotonic() - began))
        self._passed += 1

    def _base(self) -> State:
        here, work = self.here, self.work
        if work.stage >= 0:
            parent = here.states[work.stage]
            config = {k: v for k, v in parent.config.items() if k != "OnBuild"}
            return parent.replace(config=config, own_command=False)
        wanted = work.platform or here.request.platform
        if work.base == graph.SCRATCH:
            platform = platforms.parse(wanted or "linux")
            top = {"architecture": platform.architecture, "os": platform.system}
            top |= {"variant": platform.variant} if platform.variant else {}
            return state.State({}, top)
        image = here.runner.image(work.base, wanted)
        layers = here.runner.store.layers(image.id)
        if not all(here.hold(layer) for layer in layers):
            raise BuildError("its layers are not there", "the image was removed just now")
        made = state.of_image(image.config, layers)
        made.config.pop("OnBuild", None)
        return made

    def advance(self, *, perform: bool) -> bool:
        """Goes on to the end (True), or to the first step that the cache does not have.

        With ``perform`` such a step is done. BuildError names file, line and instruction.
        """
        while self.position < len(self.work.instructions):
            one = self.work.instructions[self.position]
            try:
                if not self._next(one, perform):
                    return False
            except PyctrError as error:
                raise self._failed(one, error) from None
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                path = error.filename if isinstance(error.filename, str) else ""
                raise self._failed(one, BuildError(why, path)) from None
            self._ready = None
            self.position += 1
        return True

    def _failed(self, one: Instruction, error: PyctrError) -> StepFailed:
        if one.word in graph.ON_FILES:
            self.here.told(("failed", self._number))
        output = error.output if isinstance(error, StepFailed) else ()
        what = f"{self._file}:{one.number}: {one.shown}"
        return StepFailed(what, str(error), error.hint, output)

    def _next(self, one: Instruction, perform: bool) -> bool:
        here, escape = self.here, self.here.escape
        assert self.state is not None
        if one.word == "ARG":
            given = {**here.request.build_args}
            made = variables.arg(one, escape, self.state.variables, given, here.outer)
            self.state = self.state.replace(args={**self.state.args, **made})
            self.state = changes.recorded(self.state, one.shown)
            return True
        if one.word not in graph.ON_FILES:
            self.state = changes.recorded(
                changes.apply(self.state, one, escape), _history_of(self.state, one)
            )
            return True
        after = changes.apply(self.state, one, escape) if one.word == "WORKDIR" else self.state
        number = self._number
        if self._ready is None:
            self._ready = self._evaluated(one, after, number)
            entry = here.found(self._ready.key)
            if entry is not None:
                here.told(("cached", number))
                self._add(after, one, entry.layer, entry.created)
                return True
        if not perform:
            return False
        here.told(("begin", number))
        began = time.monotonic()
        layer, created, cached = self._made(self._ready, one)
        here.told(("cached", number) if cached else ("done", number, time.monotonic() - began))
        self._add(after, one, layer, created)
        return True

    def _evaluated(self, one: Instruction, after: State, number: int) -> Step:
        if one.word == "RUN":
            return running.run(self.here, self.work, after, one, number)
        perform = copying.workdir if one.word == "WORKDIR" else copying.copy
        return perform(self.here, self.work, after, one)

    def _made(self, step: Step, one: Instruction) -> tuple[Layer | None, float, bool]:
        """(the layer, when it was made, whether it was there all the same)."""
        here = self.here
        if step.content_key is not None and not here.request.no_cache:
            with here.runner.workspace() as folder:
                key = step.content_key(folder)
            entry = here.found(key)
            if entry is not None:
                here.runner.store.build_cache.add(step.key, entry.layer, entry.created, one.shown)
                return entry.layer, entry.created, True
            with here.runner.workspace() as folder:
                step.perform(folder)
                made = here.keep(folder, key, one.shown)
            here.runner.store.build_cache.add(step.key, made[0], made[1], one.shown)
            return *made, False
        with here.runner.workspace() as folder:
            step.perform(folder)
            _performed()
            key = step.key if step.unchanged() else here.key("files that changed", folder)
            return *here.keep(folder, key, one.shown), False

    def _add(self, after: State, one: Instruction, layer: Layer | None, created: float) -> None:
        """The state after a step, its history, and a word about volumes."""
        when = clock.shown(created)
        text = _history_of(after, one)
        if layer is None:
            self.state = changes.recorded(after.replace(created=after.created or when), text)
        else:
            self.state = after.replace(
                layers=(*after.layers, layer),
                history=(*after.history, {"created": when, "created_by": text}),
                created=when,
            )
            self._tell_of_volumes(after, one, layer)
        self._passed += 1

    def _tell_of_volumes(self, after: State, one: Instruction, layer: Layer) -> None:
        folder = self.here.runner.store.layer_folder(layer.diff_id)
        for path in after.volumes:
            if _holds(folder, path):
                self.here.told(
                    ("warn", f"{self._file}:{one.number}: {one.word} changes files below the"
                     f" volume {path}: they are kept in the image, and a new volume begins with"
                     " them")
                )  # fmt: skip

    @property
    def _number(self) -> int:
        """The number of the step that is next."""
        return self._numbers[self._passed]


def _holds(layer: str, path: str) -> bool:
    """Whether there is something below a path of a layer, itself without links."""
    root = os.open(layer, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        fd = open_real(root, os.path.normpath(path).strip("/"), flags)
    except OSError:  # the layer has nothing there, or no folder
        return False
    finally:
        os.close(root)
    try:
        return bool(os.listdir(fd))
    finally:
        os.close(fd)


def _history_of(after: State, one: Instruction) -> str:
    """What the image's history says of an instruction, in Docker's way."""
    if one.word in ("RUN", "CMD", "ENTRYPOINT") and one.listed is None and one.text:
        if one.word == "RUN":
            return " ".join(["RUN", *after.shell, one.text])
        return f"{one.word} {quickjson.dumps([*after.shell, one.text])}"
    return one.shown
