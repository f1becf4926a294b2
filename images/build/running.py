"""RUN as a step: its command line, its mounts, and its key.

A here-document that stands alone is a script: with ``#!`` a program of its own, else a text for
the shell. Any other goes to the shell with the line that names it.

The content of a secret is in no key, as its documentation says: a changed secret alone runs
nothing again. What a cache mount holds is in none either.

Source: Docker's "Dockerfile reference", RUN.
"""

from __future__ import annotations

import codecs
import os

from images.build import context, mounts, site, variables
from images.build.cache import key_of
from images.build.copying import Step, chain_of
from images.build.errors import BuildError, StepFailed
from images.build.runner import Command, Mounted
from images.build.select import select
from kernel import trace, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from images.build.graph import Work
    from images.build.mounts import RunMount
    from images.build.site import Site
    from images.build.state import State
    from images.dockerfile.parser import Instruction
    from kernel.locks import Lock

_filled = trace.point("images.build.running.filled")

_NETWORKS = ("default", "none", "host")
_LAST = 20  # lines of output that an error shows
_LAST_BYTES = 16 << 10
_SCRIPT = "/dev/pipes/"
_MOUNT = "cache mount"  # what its key begins with


def run(here: Site, work: Work, state: State, one: Instruction, number: int) -> Step:
    """The step of a RUN; ``number`` is that of its output. BuildError."""
    args, script = _command(state, one)
    network = one.flag("network") or "default"
    if network not in _NETWORKS:
        raise BuildError(f"RUN --network={network}", "it is default, none or host")
    network = here.request.network if network == "default" else network
    wanted = [
        mounts.parse(variables.expand(text, state.variables, here.escape), state.workdir)
        for text in one.flag_values("mount")
    ]
    variables_of = {**state.args, **state.env}
    shown = [_key_of(here, work, mount) for mount in wanted]
    key = here.key(
        "RUN", state.chain, args, script, variables_of, state.workdir, state.user, network,
        shown,
    )  # fmt: skip
    proxies = {
        name: value
        for name, value in variables.proxies(here.request.build_args).items()
        if name not in variables_of
    }
    env = tuple(f"{name}={value}" for name, value in {**proxies, **variables_of}.items())

    def perform(folder: str) -> None:
        lower = here.lower(state)
        site.prepare(folder, lower)
        caches: dict[str, tuple[str, Lock]] = {}
        try:
            for mount in sorted(wanted, key=lambda one: one.identity):  # one order: no deadlock
                if mount.kind == "cache" and mount.identity not in caches:
                    caches[mount.identity] = _cache_folder(here, work, mount)
            mounted = [_mounted(here, work, mount, folder, caches) for mount in wanted]
            kept = [one for one in mounted if one is not None]
            secret = tuple(_variable(one) for one in kept if one.wanted.variable)
            files = tuple(one for one in kept if one.wanted.target)
            command = Command(
                args, (*env, *secret), state.workdir, state.user, network, files, script
            )
            _perform(here, folder, lower, command, number)
        finally:
            for _, lock in caches.values():
                lock.release()

    return Step(
        key, perform, unchanged=lambda: shown == [_key_of(here, work, mount) for mount in wanted]
    )


def _command(state: State, one: Instruction) -> tuple[tuple[str, ...], str]:
    """(the command line, the script that it names)."""
    if one.listed is not None:
        if not one.listed:
            raise BuildError("RUN", "the command is empty")
        return one.listed, ""
    text = one.text
    if len(one.heredocs) == 1 and text.startswith("<<") and len(text.split()) == 1:
        (own,) = one.heredocs
        if own.content.startswith("#!"):
            return (f"{_SCRIPT}{own.name}",), own.content
        return (*state.shell, own.content), ""
    for own in one.heredocs:
        text += f"\n{own.content}{own.name}"
    return (*state.shell, text), ""


def _perform(
    here: Site, folder: str, lower: tuple[str, ...], command: Command, number: int
) -> None:
    last = bytearray()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def output(chunk: bytes) -> None:
        last.extend(chunk)
        del last[:-_LAST_BYTES]
        here.told(("output", number, decoder.decode(chunk)))

    code = here.runner.run(folder, lower, command, output)
    if code:
        lines = last.decode(errors="replace").replace("\r", "\n").splitlines()
        shown = " ".join(command.args)
        raise StepFailed(
            f"process {shown!r} did not complete successfully", f"exit code: {code}", "",
            tuple(lines[-_LAST:]),
        )  # fmt: skip


# -- mounts --------------------------------------------------------------------------------


def _key_of(here: Site, work: Work, mount: RunMount) -> dict[str, Any]:
    """What a RUN's key says of a mount: all of it, and what files it shows."""
    made = mount.as_dict()
    if mount.kind == "bind" and mount.origin:
        made["files"] = chain_of(here, work, mount.origin)
    elif mount.kind == "bind":
        made["files"] = select(here.context, (mount.source or "/",)).digest()
    return made


def _mounted(
    here: Site, work: Work, mount: RunMount, folder: str, caches: dict[str, tuple[str, Lock]]
) -> Mounted | None:
    """A mount and its files; None for a secret that is not there and need not be."""
    if mount.kind == "secret":
        content = here.request.secrets.get(mount.identity)
        if content is None and mount.required:
            raise BuildError(
                f"the secret {mount.identity} is missing",
                "RUN --mount requires it",
                f"give it: --secret id={mount.identity},src=FILE",
            )
        return None if content is None else Mounted(mount, content=content)
    if mount.kind == "cache":
        return Mounted(mount, path=caches[mount.identity][0])
    if mount.kind == "tmpfs":
        return Mounted(mount)
    if mount.origin:
        lower = here.runner.store.stack(chain_of(here, work, mount.origin))
        return Mounted(mount, lower=lower)
    return Mounted(mount, path=_from_context(here, mount, folder))


def _variable(one: Mounted) -> str:
    content = (one.content or b"").decode(errors="surrogateescape")
    if "\0" in content:
        raise BuildError(
            f"the secret {one.wanted.identity} cannot be a variable", "there is a zero byte in it"
        )
    return f"{one.wanted.variable}={content}"


def _from_context(here: Site, mount: RunMount, folder: str) -> str:
    """A copy of what is mounted: nothing that is ignored, and nothing that the host still has."""
    from images.build.place import Place

    found = select(here.context, (mount.source or "/",))
    copied = f"{folder}/bind-{os.urandom(4).hex()}"
    os.mkdir(copied, 0o755)
    root = os.open(copied, os.O_RDONLY | os.O_DIRECTORY)
    try:
        Place(root, "/content").selection(found)
    finally:
        os.close(root)
    return f"{copied}/content"


def _cache_folder(here: Site, work: Work, mount: RunMount) -> tuple[str, Lock]:
    """The folder of a cache mount, and a lock on it as its sharing says."""
    cache = here.runner.store.build_cache
    attempt = 0
    while True:
        key = key_of(_MOUNT, mount.identity, attempt)
        folder = cache.mount(key, f"RUN --mount=type=cache of {mount.identity}")
        shared = mount.sharing == "shared"
        try:
            lock = cache.lock(key, shared=shared, blocking=mount.sharing != "private").take()
        except BlockingIOError:  # somebody has it: a private mount gets another one
            attempt += 1
            continue
        try:
            if not os.path.isdir(folder):
                _fill(here, work, mount, cache.staging(key), folder)
        except BaseException:
            lock.release()
            raise
        return folder, lock


def _fill(here: Site, work: Work, mount: RunMount, new: str, folder: str) -> None:
    """Makes a cache mount's folder, with what from= names: whole, or not at all."""
    tree.remove_tree(new)
    os.mkdir(new, 0o755)
    if mount.origin:
        from images.build.place import Place
        from overlay import view

        lower = here.runner.store.stack(chain_of(here, work, mount.origin))
        with here.runner.workspace() as scratch:
            source = context.root(view.opened(lower, scratch))
            root = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
            try:
                Place(root, "/").selection(select(source, (mount.source or "/",)))
            finally:
                os.close(root)
                source.close()
    os.chown(new, mount.uid, mount.gid)
    os.chmod(new, 0o755 if mount.mode < 0 else mount.mode)
    _filled()
    try:
        os.rename(new, folder)
    except OSError:  # another one that shares it was faster
        if not os.path.isdir(folder):
            raise
        tree.remove_tree(new)
