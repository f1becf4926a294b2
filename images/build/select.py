"""Which files the sources of a COPY or ADD mean, and a digest of them for the build's cache.

A source is a path or a pattern in a tree, whose root is the beginning of every path: ``/x``,
``x`` and ``../x`` are the same. A link on the way and one at its end are followed, in the tree;
links below a folder are left as they are. Of a folder its content is meant, not itself, unless
parents are kept: then the path from the tree's root, or from a ``/./`` in the source, counts.

What .dockerignore or ``--exclude`` leaves out is not there; a folder that is left out comes with
what an exception keeps of it, and not without.

Source: Docker's "Dockerfile reference", COPY.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat

from images.build import digests
from images.build.errors import BuildError, refused
from images.build.globs import Glob, has_wildcards, unescaped
from images.build.ignore import NOTHING, Ignore, clean
from kernel.paths import open_real, real_in_root
from kernel.record import Record
from kernel.walk import Visit, names_of, reopen, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from images.build.context import Tree

_ALL, _BELOW, _NONE = "all", "below", "none"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class Item(Record):
    """One thing that a source came to.

    ``path`` is where it is in the tree, without links. A file has a ``name``; what is meant of
    a folder is its content. ``wanted`` says what of it where parents are kept, None for all.
    """

    tree: Tree
    path: str
    name: str
    is_folder: bool
    exclude: Ignore = NOTHING
    wanted: Glob | None = None

    def open(self) -> int:
        """A descriptor of it, readable for a folder, O_PATH for a file. OSError."""
        flags = _FOLDER if self.is_folder else os.O_PATH | os.O_NOFOLLOW
        return open_real(self.tree.fd, self.path, flags)

    def walk(self, folder: int, *, readable: bool = False) -> Iterator[Visit]:
        """What is meant of a folder, whose descriptor it gets, as :func:`kernel.walk.walk` does it.

        A folder which is there only for what is in it comes right before the first of that.
        """
        below = f"{self.path}/" if self.path else ""
        rules = [(self.tree.ignored, below), (self.exclude, "")]
        rules = [rule for rule in rules if rule[0]]
        waiting: list[Visit] = []
        skipped: Visit | None = None  # a folder that came late, and whose content is not wanted
        for one in walk(folder, kernel=False, readable=readable):
            if one.leaving:
                if waiting and waiting[-1] is one:
                    waiting.pop()
                elif one is skipped:
                    skipped = None
                elif skipped is None:
                    yield one
                continue
            answer = self._answer(rules, one.path, one.is_folder)
            if answer == _BELOW and skipped is None:
                waiting.append(one)
            if answer == _NONE or (answer == _BELOW and not one.is_folder):
                one.skip = True
            if answer != _ALL or skipped is not None:
                continue
            while waiting and skipped is None:
                above = waiting.pop(0)
                yield above
                if above.skip:
                    skipped = above
            if skipped is None:
                yield one

    def _answer(self, rules: list[tuple[Ignore, str]], path: str, is_folder: bool) -> str:
        """Whether all, only what is below, or nothing is meant of a path below this folder."""
        wanted = self.wanted
        answer = _ALL
        if wanted is not None and not wanted.covers(path):
            answer = _BELOW if is_folder and wanted.may_reach(path) else _NONE
        for ignored, prefix in rules:
            if answer != _NONE and ignored(prefix + path):
                answer = _BELOW if is_folder and ignored.may_keep(prefix + path) else _NONE
        return answer


class Selection(Record):
    """What the sources of an instruction mean, in their order. ``shown`` names them."""

    items: tuple[Item, ...]
    shown: str
    parents: bool = False

    def digest(self) -> str:
        """A digest (hex digits) of all that placing the files puts into an image.

        Names, kinds, modes, owners where they count, targets of links, extended attributes,
        content; not times. BuildError if a file cannot be read.
        """
        state = digests.Digest()
        for item in self.items:
            state.item(item.name, item.is_folder)
            try:
                fd = item.open()
                try:
                    if item.is_folder:
                        state.add(item.walk(fd, readable=True), item.tree.owners)
                    else:
                        state.add(_alone(item.name, fd), item.tree.owners)
                finally:
                    os.close(fd)
            except OSError as error:
                raise refused(f"cannot copy {item.path or '/'}", error) from None
        return state.hexdigest()


def select(
    tree: Tree, patterns: Iterable[str], exclude: Iterable[str] = (), parents: bool = False
) -> Selection:
    """The files that ``patterns`` mean.

    BuildError names a path that is not there. A pattern with wildcards may match nothing, unless
    then the instruction has nothing to copy at all.
    """
    left_out = Ignore(exclude, "--exclude")
    patterns = tuple(patterns)
    items: list[Item] = []
    for pattern in patterns:
        try:
            found = _expand_parents if parents else _expand
            items += found(tree, pattern, left_out)
        except ValueError as error:
            raise BuildError(f"cannot read the pattern {pattern!r}", str(error)) from None
        except OSError as error:
            raise refused(f"cannot copy {pattern}", error) from None
    shown = " ".join(patterns)
    if not items:
        raise BuildError(
            f"cannot copy {shown}", "no file matches", _ignored_hint(tree) if tree.ignored else ""
        )
    return Selection(tuple(items), shown, parents)


def _alone(name: str, fd: int) -> Iterator[Visit]:
    """The visit of one file."""
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        yield Visit(name, name, fd, info)
        return
    readable = reopen(fd)
    try:
        yield Visit(name, name, readable, info)
    finally:
        os.close(readable)


def _expand(tree: Tree, pattern: str, exclude: Ignore) -> Iterator[Item]:
    path = clean(posixpath.normpath(f"/{pattern}"))
    parts = path.split("/") if path else []
    literal = 0
    while literal < len(parts) and not has_wildcards(parts[literal]):
        literal += 1
    known = "/".join(unescaped(part) for part in parts[:literal])
    if literal == len(parts):
        yield from _item(tree, pattern, known, exclude, named=False)
        return
    for found in _matches(tree, real_in_root(tree.fd, known), parts[literal:]):
        yield from _item(tree, pattern, found, exclude, named=True)


def _matches(tree: Tree, above: str, parts: list[str]) -> Iterator[str]:
    """The paths below a folder that match patterns of names; no link is followed on the way."""
    try:
        folder = open_real(tree.fd, above, _FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno == errno.ELOOP:
            return
        raise
    try:
        names = names_of(folder)
    finally:
        os.close(folder)
    glob = Glob(parts[0])
    for name in names:
        if glob.covers(name):
            path = f"{above}/{name}" if above else name
            if len(parts) == 1:
                yield path
            else:
                yield from _matches(tree, path, parts[1:])


def _item(tree: Tree, pattern: str, path: str, exclude: Ignore, *, named: bool) -> Iterator[Item]:
    """What is at a path, if it is there; ``named`` says that a pattern of names found it."""
    name = path.rpartition("/")[2]
    real = real_in_root(tree.fd, path)
    try:
        fd = open_real(tree.fd, real)
    except FileNotFoundError:
        if not named:
            raise BuildError(
                f"cannot copy {pattern}", "no such file or folder", _missing_hint(tree, path, real)
            ) from None
        real, is_folder = path, False  # a link to nowhere comes as it is, among others
    else:
        mode = os.fstat(fd).st_mode
        os.close(fd)
        is_folder = stat.S_ISDIR(mode)
        if stat.S_ISSOCK(mode):
            if named:
                return  # as it is left out below a folder
            raise BuildError(f"cannot copy {pattern}", "it is a socket")
    if any(where and _hidden(tree.ignored, where, is_folder) for where in (path, real)):
        if named:
            return
        raise BuildError(f"cannot copy {pattern}", "no such file or folder", _ignored_hint(tree))
    # A folder that is named itself is meant, and --exclude is about what is in it.
    if (named or not is_folder) and exclude and _hidden(exclude, name, is_folder):
        return
    yield Item(tree, real, name, is_folder, exclude)


def _expand_parents(tree: Tree, pattern: str, exclude: Ignore) -> Iterator[Item]:
    before, pivot, after = pattern.partition("/./")
    if not pivot:
        before, after = "", pattern
    wanted = clean(posixpath.normpath(f"/{after}"))
    glob = Glob(wanted) if wanted else None
    for base in _expand(tree, before or "/", NOTHING):
        if not base.is_folder:
            continue
        item = base.replace(name="", exclude=exclude, wanted=glob)
        fd = item.open()
        try:
            something = next(item.walk(fd), None) is not None
        finally:
            os.close(fd)
        if something or glob is None:
            yield item
        elif not has_wildcards(pattern) and not exclude:
            raise BuildError(
                f"cannot copy {pattern}", "no such file or folder",
                _ignored_hint(tree) if tree.ignored else "",
            )  # fmt: skip


def _hidden(ignored: Ignore, path: str, is_folder: bool) -> bool:
    return ignored(path) and not (is_folder and ignored.may_keep(path))


def _missing_hint(tree: Tree, path: str, real: str) -> str:
    if real != path:
        return f"a link leads to /{real}, and links stay in what is copied from"
    return _ignored_hint(tree) if tree.ignored(path) else ""


def _ignored_hint(tree: Tree) -> str:
    return f"{tree.ignored.where} may leave it out: COPY and ADD see what it lets through"
