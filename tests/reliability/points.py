"""Which commands pass which trace points: ``points.txt``, which `make points` writes.

Each walk checks its own command, and a cheap test that the list has all points: a new one cannot be
missed. :data:`ELSEWHERE` are those that no command of the list passes, and why.
"""

from __future__ import annotations

import importlib
import os
import pkgutil

from kernel import trace

RECORDING = "PYCTR_RECORD" in os.environ
PATH = f"{os.path.dirname(os.path.abspath(__file__))}/points.txt"
ROOMS = ("cli", "engine", "images", "kernel", "network", "overlay", "runtime", "volumes")
# What depends on the host's control groups, or on who is faster, command or monitor.
VARYING = ("runtime.step.MountCgroups1.", "engine.stop.marked")

_MENDING = "what mends, which the commands after a kill pass"
_LOGS = "a log that is rotated: tests/engine/test_logs.py does it without a kill"
_SLOW = "takes the interval of a health check: tests/engine/test_health.py"
_AGENT = "the agent takes away what nobody needs: the end of each walk, unarmed"

ELSEWHERE = {
    "engine.linked.written": "--link, of files that each start writes anew",
    "engine.logs.compressed": _LOGS,
    "engine.logs.made": _LOGS,
    "engine.logs.rotated": _LOGS,
    "engine.logs.set_aside": _LOGS,
    "engine.mending.cleared": _MENDING,
    "engine.mending.locked": _MENDING,
    "engine.monitor.waited": "the pause before a restart: tests/engine/test_restart.py",
    "engine.network.default_made": "the first network of a root folder is there by then",
    "engine.network.released": _MENDING,
    "engine.probe.begun": _SLOW,
    "engine.probe.recorded": _SLOW,
    "engine.resting.executed": "a monitor that idles: tests/engine/test_resting.py",
    "engine.resting.executing": "a monitor that idles: tests/engine/test_resting.py",
    "engine.rotation.begun": "8 MB of events: tests/engine/test_events.py",
    "engine.rotation.kept": "8 MB of events: tests/engine/test_events.py",
    "engine.skeleton.set_aside": _MENDING,
    "images.build.workers.begun": "stages that run at once; the build here has one after the other",
    "images.build.workers.told": "stages that run at once; the build here has one after the other",
    "network.agent.cleared": _AGENT,
    "network.agent.unreachable": _AGENT,
    "network.links.bridge_removed": _AGENT,
    "network.published.let_go": "the end of what publishes: tests/network/test_ports.py",
    "runtime.rootfs.assembled": "pyctr cp: tests/cli/test_copy.py",
    "runtime.step.Execute.after": "nothing comes after execve(2)",
    "runtime.step.OpenTerminal.after": "the terminal of exec, which has no state",
    "runtime.step.OpenTerminal.before": "the terminal of exec, which has no state",
}


def declared() -> list[str]:
    """All points of all modules."""
    for room in ROOMS:
        package = importlib.import_module(room)
        for module in pkgutil.walk_packages(package.__path__, f"{room}."):
            importlib.import_module(module.name)
    return sorted(name for name in set(trace.names()) if name.startswith(ROOMS))


def listed() -> dict[str, list[str]]:
    """The commands that pass each point."""
    with open(PATH) as file:
        lines = [line.split() for line in file if not line.startswith("#")]
    return {name: passing for name, *passing in lines}


def may_be_missed(command: str, name: str) -> bool:
    """Whether a command passes a point only now and then: there it is not killed."""
    return name.startswith(VARYING) and command not in listed().get(name, [])


def check(command: str, passed: set[str]) -> None:
    """That a command passes just what the list says; or it is written there."""
    known = listed()
    if RECORDING:
        for name in declared():
            passing = set(known.get(name, [])) - {command}
            known[name] = sorted(passing | ({command} if name in passed else set()))
        known = {name: known[name] for name in declared()}
        with open(PATH, "w") as file:
            file.write("# The commands (tests/reliability/commands.py) that pass each point.\n")
            file.writelines(f"{' '.join((name, *known[name]))}\n" for name in sorted(known))
        return
    expected = {name for name, passing in known.items() if command in passing}
    differing = {name for name in passed ^ expected if not name.startswith(VARYING)}
    assert not differing, f"{command} passes other points than points.txt says: {differing}"


def table() -> str:
    """The table of docs/reliability.md: for each module its points, and the commands."""
    rows: dict[str, tuple[list[str], set[str]]] = {}
    for name, passing in listed().items():
        module, _, moment = name.rpartition(".")
        module = "runtime.step" if module.startswith("runtime.step.") else module
        moments, passed_by = rows.setdefault(module, ([], set()))
        moments.append(moment if passing else f"({moment})")
        passed_by |= set(passing)
    lines = ["| module | points | commands that are killed there |", "| --- | --- | --- |"]
    for module, (moments, passed_by) in sorted(rows.items()):
        shown = f"{len(moments)}" if module == "runtime.step" else " ".join(moments)
        lines.append(f"| {module} | {shown} | {' '.join(sorted(passed_by))} |")
    return "\n".join(lines)
