"""RUN of a build: a container of one command, whose parent is the build.

A child of the build enters a mount namespace of its own, where it assembles what the command is
to see: stages for --mount=from=, secrets in memory. It starts the command as any container is
started, waits for it, and ends with its exit code. Everything that was mounted goes with it, and
it goes with the build. Its place in a network is lent to the workspace, until the command ends.
"""

from __future__ import annotations

import os

from engine import compose, files, network, skeleton
from engine.containers import Container
from engine.errors import EngineError
from engine.settings import Settings
from images.build.errors import BuildError
from kernel import mounts, namespaces, process, quickjson, signals, trace
from kernel.errors import PyctrError
from kernel.paths import real_in_root
from network.store import MODES
from overlay import union as unions
from overlay.union import Union
from overlay.view import like_root_of
from runtime import filesystem, launch
from runtime import plan as runtime_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from engine.home import Home
    from images.build.runner import Command, Mounted

_assembled = trace.point("engine.build_run.assembled")
_started = trace.point("engine.build_run.started")

_HOSTNAME = "build"
_KERNELS_OWN = ("/dev/", "/proc/", "/sys/")  # nothing is made there in the image's files
_PRIVATE = ["bind", "rprivate"]


def run(
    home: Home,
    folder: str,
    lower: tuple[str, ...],
    command: Command,
    output: Callable[[bytes], None],
) -> int:
    """See :meth:`images.build.runner.Runner.run`."""
    home.close()
    launch.preload()
    parent = os.getpid()
    out_read, out_write = os.pipe()
    said_read, said_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out_read)
        os.close(said_read)
        _child(home, folder, lower, command, out_write, said_write, parent)
    os.close(out_write)
    os.close(said_write)
    try:
        while chunk := os.read(out_read, 1 << 16):
            output(chunk)
        said = b""
        while chunk := os.read(said_read, 1 << 16):
            said += chunk
        _, status = os.waitpid(pid, 0)
    except BaseException:
        launch.abandon(pid)
        raise
    finally:
        os.close(out_read)
        os.close(said_read)
        if command.network not in MODES:
            home.networks.give_back(os.path.basename(folder))
    if said:
        raise EngineError(*quickjson.loads(said.decode()))
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise EngineError("the command did not complete", "the process that ran it was killed")
    return code


def _child(
    home: Home,
    folder: str,
    lower: tuple[str, ...],
    command: Command,
    out: int,
    said: int,
    parent: int,
) -> None:
    """The process that assembles, starts and waits. Never returns."""
    code = 1
    try:
        process.set_pdeathsig(signals.SIGKILL)
        if os.getppid() != parent:
            return
        try:
            code = _supervise(home, folder, lower, command, out)
        except PyctrError as error:
            words = (error.what, error.why, error.hint, error.path)
            os.write(said, quickjson.dumps(words).encode())
        except OSError as error:
            os.write(said, quickjson.dumps(("the command cannot be run", str(error))).encode())
    finally:
        os._exit(code)


def _supervise(home: Home, folder: str, lower: tuple[str, ...], command: Command, out: int) -> int:
    container = Container(
        os.path.basename(folder), "build", "", "", 0.0, _settings(command), "creating"
    )
    # First: an agent that is started for it is not to live among the mounts that are made here.
    joining = network.lend(home, container)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    entries = [_entry(one, f"{folder}/mount-{n}") for n, one in enumerate(command.mounts)]
    if command.script:
        entries.append(_script(folder, command))
    files.write(home, container)
    spec = compose.specification(
        home, container, (), network=joining.path if joining is not None else ""
    )
    spec["mounts"] += entries
    places = skeleton.over(
        lower,
        f"{folder}/places",
        [
            (entry["destination"], _is_folder(entry))
            for entry in entries
            if not entry["destination"].startswith(_KERNELS_OWN)
        ],
    )
    plan = runtime_plan.make(
        spec,
        # The layer is synced before it gets its name; until then no fsync(2) of dpkg need wait.
        union=Union((places, *lower), f"{folder}/upper", f"{folder}/work", volatile=True),
        seccomp_cache=home.filters,
    )
    for sentence in joining.complete() if joining is not None else ():
        os.write(out, f"warning: {sentence}\n".encode())
    home.close()
    _assembled()
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    started = launch.launch(plan, f"{folder}/rootfs", (null, out, out))
    os.close(out)
    _started()
    _, status = os.waitpid(started.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _settings(command: Command) -> Settings:
    return Settings(
        command.args,
        env=command.env,
        working_dir=command.workdir,
        user=command.user,
        network=command.network,
        hostname=_HOSTNAME,
        extra_hosts=(f"{_HOSTNAME}:127.0.0.1",) if command.network == "host" else (),
    )


# -- the mounts of RUN ---------------------------------------------------------------------


def _entry(one: Mounted, at: str) -> dict[str, Any]:
    """One mount in the words of the specification; what it needs is made at ``at``."""
    wanted = one.wanted
    options = [*_PRIVATE] if wanted.writable else [*_PRIVATE, "ro"]
    if wanted.kind == "tmpfs":
        options = ["nosuid", "nodev", "mode=1777"]
        options += [f"size={wanted.size}"] if wanted.size else []
        return _bind(wanted.target, "tmpfs", options, "tmpfs")
    if wanted.kind == "secret":
        return _bind(wanted.target, _secret(one, at), options)
    if wanted.kind == "bind" and one.lower:
        return _bind(wanted.target, _of_stack(one, at), options)
    return _bind(wanted.target, one.path, options)


def _bind(target: str, source: str, options: list[str], kind: str = "bind") -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _is_folder(entry: dict[str, Any]) -> bool:
    return entry["type"] == "tmpfs" or os.path.isdir(entry["source"])


def _secret(one: Mounted, at: str) -> str:
    """The file of a secret, in memory."""
    wanted = one.wanted
    os.mkdir(at, 0o700)
    memory = filesystem.new_filesystem("tmpfs", "tmpfs", filesystem.parse_options(("mode=700",)))
    mounts.move_mount_at(memory, at)
    os.close(memory)
    fd = os.open(f"{at}/secret", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(one.content or b"")
        os.fchown(fd, wanted.uid, wanted.gid)
        os.fchmod(fd, 0o400 if wanted.mode < 0 else wanted.mode)
    return f"{at}/secret"


def _of_stack(one: Mounted, at: str) -> str:
    """A file or folder of a stage or an image, by its place in a union that is mounted here."""
    for name in ("", "/root", "/upper", "/work"):
        os.mkdir(f"{at}{name}", 0o755)
    if one.wanted.writable:  # what is written is thrown away
        like_root_of(one.lower[0], f"{at}/upper")
        unions.attach(Union(one.lower, f"{at}/upper", f"{at}/work"), f"{at}/root")
    else:
        unions.attach(Union(one.lower), f"{at}/root")
    root = os.open(f"{at}/root", os.O_PATH | os.O_DIRECTORY)
    try:
        found = real_in_root(root, one.wanted.source)
    finally:
        os.close(root)
    path = f"{at}/root/{found}".rstrip("/")
    if not os.path.lexists(path):
        raise BuildError(
            f"cannot mount {one.wanted.source} of {one.wanted.origin}", "no such file or folder"
        )
    return path


def _script(folder: str, command: Command) -> dict[str, Any]:
    """A here-document that is a program: a file on the container's own /dev."""
    path = f"{folder}/script"
    with open(path, "w", errors="surrogateescape") as file:
        file.write(command.script)
        os.fchmod(file.fileno(), 0o755)
    return _bind(command.args[0], path, [*_PRIVATE, "ro"])
