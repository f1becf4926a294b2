"""A build from a Dockerfile to an image in the store."""

from __future__ import annotations

from images import clock, platforms
from images.build import graph, site, stage, state, variables, workers
from images.config import encode, host_architecture
from images.dockerfile import parser
from images.errors import ImageNotFound
from kernel import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from images.build.context import Tree
    from images.build.runner import Runner
    from images.build.site import Request, Told
    from images.build.state import State


def build(
    runner: Runner, request: Request, content: str, file: str, context: Tree, told: Told
) -> str:
    """Builds an image of a Dockerfile and gives it its names; returns its id.

    ``content`` is the Dockerfile, ``file`` its name for messages. BuildError, ImageError.
    """
    dockerfile = parser.parse(content, file)
    here = site.Site(runner, request, context, dockerfile.escape, told)
    host = platforms.Platform("linux", host_architecture())
    wanted = platforms.parse(request.platform) if request.platform else host
    predefined = variables.predefined(wanted, host, request.target)
    if request.epoch is not None:
        predefined[variables.EPOCH] = str(request.epoch)

    def triggers_of(image: str, platform: str) -> list[str]:
        return state.triggers(runner.image(image, platform or request.platform).config)

    planned = graph.plan(dockerfile, request.target, request.build_args, predefined, triggers_of)
    here.outer = planned.outer
    unused = variables.unused(request.build_args, planned.consumed)
    if unused:
        told(("warn", f"build arguments that no ARG asks for: {', '.join(unused)}"))
    titles: dict[int, str] = {}
    stages = []
    for work in planned.works:
        own = stage.titles(work, len(dockerfile.stages))
        numbers = list(range(len(titles) + 1, len(titles) + 1 + len(own)))
        titles |= dict(zip(numbers, own, strict=True))
        stages.append(stage.Stage(here, work, numbers, dockerfile.file))
    told(("steps", titles))
    try:
        workers.build(here, stages)
        return _finished(here, here.states[planned.target])
    finally:
        here.release()


def _finished(here: site.Site, made: State) -> str:
    """The image of a state, recorded and named."""
    request, store = here.request, here.runner.store
    raw = _configuration(request, made)
    image_id = digest.sha256(encode(raw))
    if store.has(image_id):
        try:
            for name in request.names:
                if store.known(name) != image_id:
                    store.tag(image_id, name)
            return image_id
        except ImageNotFound:  # removed just now
            pass
    with store.adding() as adding:
        return adding.image(raw, list(made.layers), list(request.names), "create")


def _configuration(request: Request, made: State) -> dict[str, Any]:
    """The image's configuration: what the instructions made of it, and its history."""
    config = {key: value for key, value in made.config.items() if value not in (None, "", [], {})}
    if request.labels:
        config["Labels"] = {**(config.get("Labels") or {}), **request.labels}
    created = made.created or clock.shown(request.epoch)
    history = []
    last = made.history[0].get("created") if made.history else ""
    for entry in made.history:
        last = entry.get("created") or last or created
        history.append({**entry, "created": last})
    if request.epoch is not None:
        limit = clock.shown(request.epoch)
        created = min(created, limit)
        history = [{**entry, "created": min(entry["created"], limit)} for entry in history]
    return {
        **made.top,
        "config": config,
        "created": created,
        "history": history,
        "rootfs": {"diff_ids": [f"sha256:{d}" for d in made.chain], "type": "layers"},
    }
