"""What the commands import that people type all day: each module is a fifth of a millisecond.

A command lives for some ten milliseconds, and half of that is imports. So what each of them may
load is written down here, and whatever else it loads one day is found by these tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

from tests.conftest import PROJECT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

# The command as scripts/setup installs it: isolated, without site. It notes what it has loaded when
# it leaves; its forked children leave the same way, and note nothing.
LAUNCHER = """
import sys

rooms, site, file = sys.argv[1:4]
sys.path = [rooms, *sys.path, site]
del sys.argv[1:4]
import os

leave, pid = os._exit, os.getpid()


def note(code):
    if os.getpid() == pid:
        with open(file, "w") as out:
            print(*sys.modules, file=out)
    leave(code)


os._exit = note
from cli.main import run

run()
"""
ARGV = [sys.executable, "-I", "-S", "-c"]

EVERY = """
__future__ _blake2 _collections_abc _functools _json _sqlite3 _stat _struct cli cli.commands
cli.errors cli.main cli.options engine engine.config engine.errors engine.home errno fcntl gc
genericpath kernel kernel.digest kernel.errors kernel.libc kernel.locks kernel.quickjson
kernel.record kernel.signals kernel.sqlite kernel.trace kernel.units os os.path posixpath select
stat struct
"""
CONTAINERS = """
cli.container cli.creation cli.creation.readers cli.flags cli.shared engine.containers engine.detach
engine.health engine.reconcile engine.settings kernel.process
"""
CHANGES = """
engine.events engine.locks engine.erase kernel.paths kernel.tree kernel.walk runtime
runtime.cgroups runtime.cgroups_v1 runtime.cgroups_v2 runtime.errors
"""
TABLES = """
cli.filters cli.looking cli.output cli.templates cli.templates.values kernel.mapping
"""
CTYPES = "_ctypes kernel.foreign"
NETWORKS = """
_socket engine.publishing network network.errors network.host network.options network.ports
network.store network.subnets
"""
VOLUMES = """
kernel.paths kernel.process kernel.tree kernel.walk volumes volumes.errors volumes.plan
volumes.requests volumes.store
"""
IMAGES = "images images.blobs images.config images.errors images.references images.store"
STREAMS = "cli.defaults cli.terminal engine.attach engine.wire"
DESCRIBED = """
engine.environment engine.limits engine.logopts engine.network engine.rights engine.skeleton
engine.views runtime.capabilities runtime.defaults
"""
REQUEST = """
cli.container.run cli.container.session cli.creation.amounts cli.creation.general
cli.creation.isolation cli.creation.keyvalue cli.creation.limits cli.creation.modes
cli.creation.naming cli.creation.places cli.creation.request cli.creation.supervision
engine.create engine.names engine.refusals engine.registries kernel.mounts kernel.namespaces
kernel.sockets network.requests overlay overlay.errors overlay.union overlay.view volumes.claim
"""
STEPS = """
_prctl _socket engine.program kernel.clone kernel.mounts kernel.namespaces kernel.sockets
kernel.terminals resource runtime.becoming runtime.launch runtime.limits runtime.programs
runtime.seccomp runtime.seccomp_default runtime.steps runtime.users
"""
PLAN = "engine.compose overlay overlay.union runtime.filesystem runtime.plan"
JOIN = """
cli.container.exec cli.creation.keyvalue engine.environment engine.execute engine.pause
engine.rights engine.stop engine.views runtime.capabilities runtime.defaults runtime.join
runtime.peers
"""
MONITOR = """
engine.attendant engine.backlog engine.files engine.hub engine.loglines engine.logs engine.monitor
engine.restart engine.resting engine.start network.resolvers
"""
CREATE = (CONTAINERS, CHANGES, NETWORKS, VOLUMES, IMAGES, STREAMS, DESCRIBED, REQUEST)
BEGIN = (CONTAINERS, CHANGES, NETWORKS, VOLUMES, IMAGES, STREAMS, DESCRIBED, CTYPES, STEPS, PLAN)
START = (*BEGIN, MONITOR)
REMOVE = (CONTAINERS, CHANGES, VOLUMES, CTYPES, "cli.container.stop engine.remove")

# In this order they are the life of one container.
COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("create --name c base sleep 1000", CREATE),
    ("start c", (*START, "cli.container.session cli.container.start")),
    ("ps", (CONTAINERS, TABLES, NETWORKS,
            "cli.container.listing engine.network_mending engine.state kernel.netfilter")),
    ("inspect c", (CONTAINERS, TABLES, NETWORKS, VOLUMES, IMAGES, DESCRIBED, CHANGES,
                   "cli.system engine.describe engine.describe_network engine.host_config")),
    ("exec c true", (CONTAINERS, CHANGES, STREAMS, CTYPES, STEPS, JOIN)),
    ("logs c", (CONTAINERS, TABLES, STREAMS, "cli.container.look engine.loglines engine.logopts"
                " engine.logread engine.logs")),
    ("stop --timeout 0 c", (CONTAINERS, CHANGES, "cli.container.stop engine.pause engine.stop")),
    ("rm c", REMOVE),
    ("volume ls", (TABLES, VOLUMES, "cli.creation cli.creation.readers cli.shared cli.volume")),
    ("images", (TABLES, IMAGES, "cli.listing cli.moments cli.shared")),
    ("run --rm base true", (*CREATE, *START)),
)  # fmt: skip


def loaded(root: str, *words: str) -> set[str]:
    """The modules that a command has in the end, without those of an idle interpreter."""
    file = f"{root}/modules"
    site = sysconfig.get_path("platlib")
    ran = subprocess.run(
        [*ARGV, LAUNCHER, PROJECT, site, file, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    with open(file) as lines:
        found = set(lines.read().split())
    os.unlink(file)
    idle = subprocess.run(
        [*ARGV, "import sys; print(*sys.modules)"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return found - set(idle.stdout.split())


def test_a_command_loads_what_it_needs_and_nothing_else(pyctr: Pyctr) -> None:
    pyctr("run", "--rm", "base", "true")  # the image, its skeleton and its filter are made once
    for command, groups in COMMANDS:
        allowed = set(" ".join((EVERY, *groups)).split())
        more = loaded(pyctr.root, *command.split()) - allowed
        assert not more, (
            f"pyctr {command} loads {', '.join(sorted(more))}, which it did not need before:"
            " import them in the functions that use them; if each such command is to pay for them"
            " (python -X importtime tells how much), allow them in tests/cli/test_imports.py"
        )
