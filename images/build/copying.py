"""COPY, ADD and WORKDIR as steps: what their key is made of, and what they do to the files.

Files of the context count by their content. Those of a stage or an image count by its layers
first, which costs nothing; only if they are not the same as before, by their content as well.
With --link a layer depends on nothing below it.

Source: Docker's "Dockerfile reference", COPY, ADD, WORKDIR; "Build cache invalidation".
"""

from __future__ import annotations

import os

from images.build import context, site, variables
from images.build.errors import BuildError
from images.build.select import select
from kernel.paths import fchown_path, make_in_root, utimens_path
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from images.build.context import Tree
    from images.build.fetch import Fetched
    from images.build.graph import Work
    from images.build.select import Selection
    from images.build.site import Site
    from images.build.state import State
    from images.dockerfile.parser import Instruction


class Step(Record):
    """A step that may change files.

    ``key`` is that of the cache; ``content_key``, where there is one, costs more and is asked
    with an empty workspace when the first is not known. ``perform`` gets a workspace and leaves
    the changes in its ``upper``. ``unchanged`` tells afterwards whether the files that it read are
    still those of the key: somebody may be at work in the context.
    """

    key: str
    perform: Callable[[str], None]
    content_key: Callable[[str], str] | None = None
    unchanged: Callable[[], bool] = lambda: True


class _Copy(Record):
    """An instruction once its variables are replaced."""

    word: str
    local: tuple[str, ...]
    texts: tuple[tuple[str, bytes], ...]
    urls: tuple[str, ...]
    destination: str
    exclude: tuple[str, ...]
    parents: bool
    chown: str
    chmod: str
    link: bool
    unpack: bool  # archives of the context
    unpack_urls: bool
    checksum: str

    @property
    def several(self) -> bool:
        """Whether there are more sources than one, so that they need a folder."""
        return len(self.local) + len(self.texts) + len(self.urls) > 1


def workdir(here: Site, _work: Work, state: State, one: Instruction) -> Step:
    """The step that makes the folder, for the user who is to work there; ``state`` knows it."""
    key = here.key("WORKDIR", state.chain, state.workdir, state.user)
    epoch = here.request.epoch

    def perform(folder: str) -> None:
        def make(root: int) -> None:
            owner = here.runner.owner(root, state.user) if state.user else (0, 0)

            def made(fd: int) -> None:
                fchown_path(fd, *owner)
                if epoch is not None:
                    utimens_path(fd, epoch * 10**9, epoch * 10**9)

            os.close(make_in_root(root, state.workdir, made=made))

        site.change(folder, here.lower(state), make)

    return Step(key, perform)


def copy(here: Site, work: Work, state: State, one: Instruction) -> Step:
    """The step of a COPY or ADD. BuildError."""
    wanted = _evaluated(here, state, one)
    fetched = [_fetched(here, url, wanted.checksum) for url in wanted.urls]
    said = wanted.as_dict() | {
        "texts": [(name, content.decode(errors="surrogateescape")) for name, content in
                  wanted.texts],
        "workdir": state.workdir,
        "urls": [(own.name, own.modified, own.digest) for own, _ in fetched],
    }  # fmt: skip
    numeric = all(word.isdigit() for word in wanted.chown.split(":") if word)
    chain = [] if wanted.link and numeric else state.chain
    origin = one.flag("from")
    if not origin:
        found = _selected(here.context, wanted)
        digest = found.digest() if found else ""
        key = here.key("COPY", chain, said, digest)
        return Step(
            key,
            lambda folder: _perform(here, state, wanted, folder, found, fetched),
            unchanged=lambda: found is None or found.digest() == digest,
        )
    source = chain_of(here, work, origin)
    lower = here.runner.store.stack(source)

    def opened(folder: str) -> Tree:
        from overlay import view

        scratch = f"{folder}/source"
        os.makedirs(scratch, exist_ok=True)
        return context.root(view.opened(lower, scratch))

    def content_key(folder: str) -> str:
        tree = opened(folder)
        try:
            found = _selected(tree, wanted)
            return here.key("COPY content", chain, said, found.digest() if found else "")
        finally:
            tree.close()

    def perform(folder: str) -> None:
        tree = opened(folder)
        try:
            _perform(here, state, wanted, folder, _selected(tree, wanted), fetched)
        finally:
            tree.close()

    return Step(here.key("COPY --from", chain, said, source), perform, content_key)


def chain_of(here: Site, work: Work, origin: str) -> list[str]:
    """The layers of the stage or image that from= names."""
    if origin in work.sources:
        return here.states[work.sources[origin]].chain
    image = here.runner.image(origin, here.request.platform)
    if not all(here.hold(layer) for layer in here.runner.store.layers(image.id)):
        raise BuildError(f"cannot copy from {origin}", "the image was removed just now")
    return list(image.config.diff_ids)


def _evaluated(here: Site, state: State, one: Instruction) -> _Copy:
    def expand(word: str) -> str:
        return variables.expand(word, state.variables, here.escape)

    given = one.listed if one.listed is not None else variables.split(one.text, here.escape)
    *sources, destination = [(word, expand(word)) for word in given]
    heredocs = list(one.heredocs)
    if one.word == "ADD":
        from images.build import fetch
    local: list[str] = []
    inline: list[tuple[str, bytes]] = []
    urls: list[str] = []
    for written, source in sources:
        if written.startswith("<<") and heredocs and one.listed is None:
            own = heredocs.pop(0)
            content = own.content
            if not own.literal:
                content = variables.expand_text(content, state.variables, here.escape)
            inline.append((own.name, content.encode(errors="surrogateescape")))
        elif one.word == "ADD" and fetch.kind(source):
            urls.append(source)
        else:
            local.append(source)
    if not (local or inline or urls):
        raise BuildError(one.word, "sources and a destination must follow")
    checksum = expand(one.flag("checksum"))
    if checksum and (local or inline or len(urls) != 1):
        raise BuildError(f"{one.word} --checksum", "it is for one URL")
    folder = destination[1]
    made = _Copy(
        one.word, tuple(local), tuple(inline), tuple(urls), folder,
        tuple(expand(word) for word in one.flag_values("exclude")),
        ("parents", "") in one.flags, expand(one.flag("chown")), expand(one.flag("chmod")),
        ("link", "") in one.flags, one.word == "ADD" and one.flag("unpack") != "false",
        ("unpack", "") in one.flags, checksum,
    )  # fmt: skip
    mixed = made.several and (inline or urls)
    return made.replace(destination=f"{folder}/") if mixed else made


def _selected(tree: Tree, wanted: _Copy) -> Selection | None:
    if not wanted.local:
        return None
    return select(tree, wanted.local, wanted.exclude, wanted.parents)


def _fetched(here: Site, url: str, checksum: str) -> tuple[Fetched, IO[bytes]]:
    """What is behind a URL, in an unnamed file."""
    import tempfile

    from images.build import fetch

    spool = tempfile.TemporaryFile()
    return fetch.fetch(url, spool, checksum), spool


def _perform(
    here: Site,
    state: State,
    wanted: _Copy,
    folder: str,
    found: Selection | None,
    fetched: list[tuple[Fetched, IO[bytes]]],
) -> None:
    from images.build.place import Place

    epoch, lower = here.request.epoch, here.lower(state)

    def put(root: int, owner: tuple[int, int] | None) -> None:
        there = Place(
            root, wanted.destination, workdir=state.workdir, owner=owner,
            mode=wanted.chmod or None, epoch=epoch,
        )  # fmt: skip
        several = wanted.several
        if found is not None:
            there.selection(found, unpack=wanted.unpack)
        for own, spool in fetched:
            there.file(spool.fileno(), own.name, unpack=wanted.unpack_urls, several=several)
        for name, content in wanted.texts:
            there.text(content, name, several=several)

    def owner_in(root: int) -> tuple[int, int] | None:
        return here.runner.owner(root, wanted.chown) if wanted.chown else None

    if wanted.link:
        from overlay import view

        site.prepare(folder, lower)
        root = view.opened(lower, f"{folder}/rootfs")
        try:
            owner = owner_in(root)
        finally:
            os.close(root)
        upper = os.open(f"{folder}/upper", os.O_RDONLY | os.O_DIRECTORY)
        try:
            put(upper, owner)
        finally:
            os.close(upper)
        return
    site.change(folder, lower, lambda root: put(root, owner_in(root)))
