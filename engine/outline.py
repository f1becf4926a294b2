"""The plan of a start, shown and not performed: as steps, or as a script."""

from __future__ import annotations

from engine import compose, files
from runtime import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.containers import Container
    from engine.home import Home


def script(home: Home, container: Container) -> str:
    """`--explain=sh`: a shell script that builds the same container by hand."""
    files.write(home, container)
    if not home.networks.endpoints(container.id):
        return explain.script(compose.make_plan(home, container))
    from engine.network_script import Script

    by_hand = Script(home, container)
    plan = compose.make_plan(home, container, network=by_hand.path)
    return explain.script(plan, by_hand.before, by_hand.after)


def steps(home: Home, container: Container) -> list[str]:
    """The steps of a start, before they are performed."""
    plan = compose.make_plan(home, container)
    return [explain.line(i, len(plan.steps), step, 0) for i, step in enumerate(plan.steps)]
