"""The files of a build: what COPY and ADD mean, their digest, and how they get into a root."""

from __future__ import annotations

import gzip
import io
import os
import socket
import stat
import struct
import tarfile
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from images.build import archives, context, select
from images.build.context import Tree
from images.build.errors import BuildError
from images.build.ignore import Ignore
from images.build.place import Place
from kernel.paths import RENAME_EXCHANGE, renameat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any


# acl(5), as setxattr(2) takes it: a user of its own may read.
_ENTRIES = (
    (1, 6, 2**32 - 1),
    (2, 4, 1000),
    (4, 4, 2**32 - 1),
    (16, 4, 2**32 - 1),
    (32, 4, 2**32 - 1),
)
ACL = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in _ENTRIES)


class Ground:
    """A context and a root beside each other, and a place outside of both."""

    def __init__(self, top: Path) -> None:
        self.outside, self.context, self.root = (str(top / name) for name in ("o", "c", "r"))
        for folder in (self.outside, self.context, self.root):
            os.mkdir(folder)
        make(self.outside, {"secret": "outside"})

    def tree(self, files: dict[str, str]) -> Tree:
        """The context with these files in it."""
        make(self.context, files)
        return context.folder(self.context)

    def copy(self, tree: Tree, *sources: str, to: str, **options: Any) -> None:
        """COPY or ADD; what the selection needs is taken out of the options."""
        choice = {key: options.pop(key) for key in ("exclude", "parents") if key in options}
        root = os.open(self.root, os.O_RDONLY)
        try:
            unpack = options.pop("unpack", False)
            Place(root, to, **options).selection(
                select.select(tree, sources, **choice), unpack=unpack
            )
        finally:
            os.close(root)

    def found(self) -> dict[str, str]:
        """What is in the root now, as :func:`make` takes it."""
        return listing(self.root)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    assert listing(made.outside) == {"secret": "outside"}, "something left the root"


def make(folder: str, files: dict[str, str]) -> None:
    """``name/`` is a folder, ``-> x`` a link, anything else the content of a file."""
    for name, content in files.items():
        path = f"{folder}/{name}"
        os.makedirs(path if name.endswith("/") else os.path.dirname(path), exist_ok=True)
        if content.startswith("-> "):
            os.symlink(content[3:], path)
        elif not name.endswith("/"):
            with open(path, "w") as file:
                file.write(content)


def listing(folder: str) -> dict[str, str]:
    found = {}
    for above, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(above, name)
            shown = os.path.relpath(path, folder)
            if os.path.islink(path):
                found[shown] = f"-> {os.readlink(path)}"
            elif os.path.isfile(path):
                with open(path) as file:
                    found[shown] = file.read()
            elif not os.listdir(path):
                found[f"{shown}/"] = ""
    return found


def chosen(tree: Tree, *sources: str, **options: Any) -> list[str]:
    """The paths that come to the destination, folders with a slash."""
    names = []
    for item in select.select(tree, sources, **options).items:
        fd = item.open()
        try:
            if item.is_folder:
                visits = [one for one in item.walk(fd) if not one.leaving]
                names += [one.path + ("/" if one.is_folder else "") for one in visits]
            else:
                names.append(item.name)
        finally:
            os.close(fd)
    return names


# -- what is selected ------------------------------------------------------------------------


def test_sources_begin_at_the_contexts_root_and_folders_are_their_content(ground: Ground) -> None:
    tree = ground.tree({"a/b/f": "1", "a/g": "2", "top": "3", "x y/z": "4", "odd[1]": "5"})
    assert (
        chosen(tree, "a") == chosen(tree, "/a/") == chosen(tree, "../../a/.") == ["b/", "b/f", "g"]
    )
    assert chosen(tree, "top", "./a/b/f") == ["top", "f"]
    assert chosen(tree, "x y") == ["z"] and chosen(tree, "odd\\[1]") == ["odd[1]"]
    assert len(chosen(tree, ".")) == len(chosen(tree, "/")) == 8


def test_wildcards_are_of_names_and_may_match_nothing_beside_something(ground: Ground) -> None:
    tree = ground.tree({"a.txt": "", "b.txt": "", "d/a.txt": "", "d/c": "", "e/c": ""})
    assert chosen(tree, "*.txt") == ["a.txt", "b.txt"]
    assert chosen(tree, "[^a]*") == ["b.txt", "a.txt", "c", "c"]
    assert chosen(tree, "*/c") == ["c", "c"] and chosen(tree, "?/a.*") == ["a.txt"]
    assert chosen(tree, "a.txt", "none*") == ["a.txt"]
    with pytest.raises(BuildError, match=r"cannot copy none\* also\?: no file matches"):
        select.select(tree, ["none*", "also?"])
    with pytest.raises(BuildError, match=r"cannot copy d/none: no such file"):
        select.select(tree, ["a.txt", "d/none"])
    with pytest.raises(BuildError, match=r"cannot copy a.txt/x: "):
        select.select(tree, ["a.txt/x"])
    with pytest.raises(BuildError, match=r"pattern 'a\[': a \[ has no \]"):
        select.select(tree, ["a["])


def test_a_socket_is_left_out_and_refused_by_name(ground: Ground) -> None:
    tree = ground.tree({"d/f": "", "d/g": ""})
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{ground.context}/d/s")
    assert chosen(tree, "d/*") == ["f", "g"]
    with pytest.raises(BuildError, match="cannot copy d/s: it is a socket"):
        select.select(tree, ["d/s"])
    before = select.select(tree, ["d"]).digest()
    os.unlink(f"{ground.context}/d/s")
    assert select.select(tree, ["d"]).digest() == before


def test_what_dockerignore_leaves_out_is_not_there(ground: Ground) -> None:
    tree = ground.tree({
        ".dockerignore": "**/*.o\nout\n!out/kept\nDockerfile\n.dockerignore\nl*",
        "Dockerfile": "FROM x", "a/x.o": "", "a/x.c": "", "out/gone": "", "out/kept": "",
        "out/q/": "",
        "link": "-> a", "here": "-> out/gone", "there": "-> out/kept",
    })  # fmt: skip
    assert chosen(tree, ".") == ["a/", "a/x.c", "here", "out/", "out/kept", "there"]
    assert chosen(tree, "out") == ["kept"] and chosen(tree, "there") == ["there"]
    assert chosen(tree, "*") == ["x.c", "kept", "there"]
    for source in ("Dockerfile", "a/x.o", "out/gone", "here", "link", "link/x.c", "out/q"):
        with pytest.raises(BuildError) as caught:
            select.select(tree, [source])
        assert ".dockerignore may leave it out" in caught.value.hint, source
    assert context.read(tree, "Dockerfile") == b"FROM x"


def test_the_dockerfiles_own_dockerignore_goes_first(ground: Ground) -> None:
    make(ground.context, {".dockerignore": "a", "b/x.dockerignore": "b", "a": "", "c": ""})
    dockerfile = f"{ground.context}/b/x"
    assert chosen(context.folder(ground.context, dockerfile), ".") == [".dockerignore", "a", "c"]
    tree = context.folder(ground.context, f"{ground.context}/Dockerfile")
    assert chosen(tree, ".") == [".dockerignore", "b/", "b/x.dockerignore", "c"]


def test_exclude_is_about_names_below_a_source(ground: Ground) -> None:
    tree = ground.tree({"hom.txt": "", "home": "", "homer/x.txt": "", "homer/x": "", "app/app": ""})
    assert chosen(tree, "hom*", exclude=["*.txt"]) == ["home", "x"]
    assert chosen(tree, ".", exclude=["**/*.txt", "app"]) == ["home", "homer/", "homer/x"]
    assert chosen(tree, "app", exclude=["app"]) == []
    assert chosen(tree, ".", exclude=["homer", "!homer/x", "hom?*"]) == ["app/", "app/app"]
    with pytest.raises(BuildError, match="--exclude"):
        select.select(tree, ["."], exclude=["["])


def test_parents_are_kept_from_the_root_or_from_the_dot(ground: Ground) -> None:
    tree = ground.tree({"x/a.txt": "", "x/y/b.txt": "", "x/y/c": "", "z/b.txt": "", "z/y/c": ""})
    assert chosen(tree, "./x/a.txt", "z", parents=True) == [
        "x/", "x/a.txt", "z/", "z/b.txt", "z/y/", "z/y/c",
    ]  # fmt: skip
    assert chosen(tree, "x/./y/*.txt", parents=True) == ["y/", "y/b.txt"]
    assert chosen(tree, "**/b.txt", parents=True) == ["x/", "x/y/", "x/y/b.txt", "z/", "z/b.txt"]
    assert chosen(tree, "*/./y/c", parents=True) == ["y/", "y/c", "y/", "y/c"]
    assert chosen(tree, "x/y/.", parents=True, exclude=["**/c"]) == ["x/", "x/y/", "x/y/b.txt"]
    with pytest.raises(BuildError, match="cannot copy x/none: no such file"):
        select.select(tree, ["z", "x/none"], parents=True)


def test_a_folder_that_came_late_may_still_be_skipped(ground: Ground) -> None:
    tree = ground.tree({"a/b/c/f": "", "a/b/g/f": "", "a/x/f": "", "z/f": ""})
    (item,) = select.select(tree, ["**/f"], parents=True).items
    fd = item.open()
    seen = []
    for one in item.walk(fd):
        seen.append(f"leave {one.path}" if one.leaving else one.path)
        one.skip = one.path == "a/b"
    os.close(fd)
    assert seen == ["a", "a/b", "a/x", "a/x/f", "leave a/x", "leave a", "z", "z/f", "leave z"]


NAMES = st.sampled_from(["a", "b", "c.o", "d"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
RULES = st.lists(
    st.one_of(PATHS, st.sampled_from(["*", "**", "**/a", "*.o", "a/**", "**/*.o"])), max_size=4
)  # fmt: skip


@given(st.sets(PATHS, max_size=12), st.lists(st.booleans(), min_size=4, max_size=4), RULES)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_walk_gives_just_the_files_that_are_not_ignored(
    tmp_path: Path, files: set[str], exceptions: list[bool], rules: list[str]
) -> None:
    folder = str(tmp_path / f"{len(os.listdir(tmp_path))}")
    os.mkdir(folder)
    taken: set[str] = set()
    for path in sorted(files, key=len, reverse=True):
        if path not in taken:
            make(folder, {path: ""})
            taken |= {path[:at] for at in range(len(path)) if path[at] == "/"}
    patterns = [("!" if no else "") + rule for no, rule in zip(exceptions, rules, strict=False)]
    tree = context.folder(folder)
    ignored = Ignore(patterns, "x")
    try:
        got = chosen(tree.replace(ignored=ignored), "/")
    finally:
        tree.close()
    wanted = [path for path in listing(folder) if not path.endswith("/") and not ignored(path)]
    assert sorted(path for path in got if not path.endswith("/")) == sorted(wanted)
    above = {path[:at] for path in wanted for at in range(len(path)) if path[at] == "/"}
    folders = {path[:-1] for path in got if path.endswith("/")}
    assert above <= folders
    assert all(name in above or not ignored(name) for name in folders)


# -- the digest ------------------------------------------------------------------------------


def digest(ground: Ground, *, owners: bool = False) -> str:
    tree = context.folder(ground.context)
    try:
        return select.select(tree.replace(owners=owners), ["."]).digest()
    finally:
        tree.close()


def anew(folder: str, files: dict[str, str]) -> None:
    for name in files:
        os.unlink(f"{folder}/{name}")
    make(folder, files)


def _linked(folder: str) -> str:
    os.link(f"{folder}/f", f"{folder}/.new")
    return f"{folder}/.new"


@pytest.mark.parametrize(
    "change",
    [
        lambda path: make(path, {"new": ""}),
        lambda path: make(path, {"new/": ""}),
        lambda path: os.mkfifo(f"{path}/pipe"),
        lambda path: make(path, {"f": "other"}),
        lambda path: make(path, {"f": "1 "}),
        lambda path: os.rename(f"{path}/f", f"{path}/F"),
        lambda path: os.chmod(f"{path}/f", 0o755),
        lambda path: os.chmod(f"{path}/d", 0o700),
        lambda path: os.setxattr(f"{path}/f", "user.x", b"1"),
        lambda path: os.setxattr(f"{path}/d", "user.x", b""),
        lambda path: anew(path, {"l": "-> g"}),
        lambda path: anew(path, {"l": "f"}),
        lambda path: os.replace(_linked(path), f"{path}/d/g"),
    ],
)
def test_a_digest_changes_with_all_that_is_copied(
    ground: Ground, change: Callable[[str], object]
) -> None:
    make(ground.context, {"f": "1", "d/g": "1", "l": "-> f"})
    before = digest(ground)
    change(ground.context)
    assert digest(ground) != before


def test_a_digest_does_not_change_with_what_is_not_copied(ground: Ground) -> None:
    make(ground.context, {"f": "1", "d/g": "2", ".dockerignore": "out\n.dockerignore", "out/x": ""})
    before, owned = digest(ground), digest(ground, owners=True)
    for name in ("f", "d"):
        os.utime(f"{ground.context}/{name}", (1, 1))
    os.setxattr(f"{ground.context}/f", "trusted.x", b"1")
    make(ground.context, {"out/y": "", ".dockerignore": "out/**\nout\n.dockerignore"})
    assert digest(ground) == before and digest(ground, owners=True) == owned
    os.chown(f"{ground.context}/f", 5, 6)
    assert digest(ground) == before and digest(ground, owners=True) != owned


def test_links_between_sources_are_not_kept_and_do_not_count(ground: Ground) -> None:
    tree = ground.tree({"a/f": "1", "b/f": "1"})
    before = select.select(tree, ["a", "b"]).digest()
    os.replace(_linked(f"{ground.context}/a"), f"{ground.context}/b/f")
    assert select.select(tree, ["a", "b"]).digest() == before
    ground.copy(tree, "a", "b/f", to="/x/")
    assert os.stat(f"{ground.root}/x/f").st_nlink == 1


def test_a_digest_tells_a_file_from_the_content_of_a_folder(ground: Ground) -> None:
    tree = ground.tree({"a/x": "1", "b/x": "1", "x": "1", "a/y": "", "c/x": "2"})
    digests = [
        select.select(tree, names).digest() for names in (["b"], ["x"], ["a"], ["c"], ["b/x"])
    ]
    assert len(set(digests)) == 4 and digests[1] == digests[4]  # x and b/x: one name and content
    assert select.select(tree, ["x", "b"]).digest() != select.select(tree, ["b", "x"]).digest()


# -- how it gets there -----------------------------------------------------------------------


def test_the_destination_says_what_becomes_of_the_sources(ground: Ground) -> None:
    tree = ground.tree({"f": "1", "g": "2", "d/e/h": "3", "d/i": "4"})
    make(ground.root, {"there/old": "", "w/": ""})
    ground.copy(tree, "f", to="new")
    ground.copy(tree, "f", to="made/way/")
    ground.copy(tree, "g", to="/there")
    ground.copy(tree, "g", to="/there/old")
    ground.copy(tree, "f", "g", to=".", workdir="/w")
    ground.copy(tree, "d", to="sub", workdir="/w")
    ground.copy(tree, "d", "f", to="/there/")
    assert ground.found() == {
        "new": "1", "made/way/f": "1", "there/g": "2", "there/old": "2", "w/f": "1", "w/g": "2",
        "w/sub/e/h": "3", "w/sub/i": "4", "there/e/h": "3", "there/i": "4", "there/f": "1",
    }  # fmt: skip


def test_what_does_not_fit_its_destination_is_refused(ground: Ground) -> None:
    tree = ground.tree({"f": "1", "g": "2", "d/x": "3", "e/x/y": "4"})
    make(ground.root, {"file": "", "folder/x/y": "", "folder/f/": ""})
    for sources, to, why in (
        (("f", "g"), "none", "several files"),
        (("f", "g"), "file", "several files"),
        (("f",), "file/", "where a folder must be"),
        (("f",), "file/below", "where a folder must be"),
        (("d",), "file", "where a folder must be"),
        (("f",), "folder", "overwrite a folder"),
        (("d",), "folder", "overwrite a folder"),
    ):
        with pytest.raises(BuildError, match=why) as caught:
            ground.copy(tree, *sources, to=to)
        assert to in str(caught.value)
    make(ground.root, {"other/x": ""})
    with pytest.raises(BuildError, match="where a folder must be"):
        ground.copy(tree, "e", to="other")


def _attributes(path: str) -> tuple[str, int, int]:
    info = os.lstat(path)
    return oct(stat.S_IMODE(info.st_mode)), info.st_uid, info.st_gid


def test_owners_and_modes_are_those_that_the_instruction_wants(ground: Ground) -> None:
    tree = ground.tree({"d/p": "", "d/e/q": "", "l": "-> p"})
    os.chown(f"{ground.context}/d/p", 7, 8)
    os.chown(f"{ground.context}/d/e", 7, 8)
    os.chmod(f"{ground.context}/d/p", 0o4711)
    os.chmod(f"{ground.context}/d/e", 0o750)
    os.chmod(f"{ground.context}/d", 0o700)
    make(ground.root, {"kept/e/": ""})
    os.chmod(f"{ground.root}/kept", 0o1777)
    old = os.umask(0o077)
    try:
        ground.copy(tree, "d", to="kept")
        ground.copy(tree, "d", to="stage/x", owner=(1, 2))
        ground.copy(tree, "d", to="modes/", mode="u=rwX,go=")
        ground.copy(tree.replace(owners=True), "d", to="own/")
    finally:
        os.umask(old)

    def at(name: str) -> tuple[str, int, int]:
        return _attributes(f"{ground.root}/{name}")

    assert at("kept") == ("0o1777", 0, 0) and at("kept/e") == ("0o750", 0, 0)
    assert at("kept/p") == ("0o4711", 0, 0)
    assert at("stage") == at("stage/x") == ("0o755", 1, 2)
    assert at("stage/x/p") == ("0o4711", 1, 2) and at("stage/x/e") == ("0o750", 1, 2)
    assert at("modes") == ("0o755", 0, 0) and at("modes/e") == ("0o700", 0, 0)
    assert at("modes/p") == ("0o700", 0, 0) and at("modes/e/q") == ("0o600", 0, 0)
    assert at("own/p") == ("0o4711", 7, 8) and at("own/e") == ("0o750", 7, 8)


def test_links_attributes_and_holes_are_kept(ground: Ground) -> None:
    tree = ground.tree({"d/a": "x", "d/l": "-> /etc/passwd", "d/m": "-> gone"})
    os.link(f"{ground.context}/d/a", f"{ground.context}/d/b")
    os.setxattr(f"{ground.context}/d/a", "user.kept", b"1")
    os.setxattr(f"{ground.context}/d/a", "system.posix_acl_access", ACL)  # layers have none
    os.utime(f"{ground.context}/d/a", (5, 5))
    with open(f"{ground.context}/d/hole", "wb") as file:
        file.truncate(1 << 30)
    os.mkfifo(f"{ground.context}/d/pipe")
    ground.copy(tree, "d", to="/")
    assert (
        os.readlink(f"{ground.root}/l") == "/etc/passwd"
        and os.readlink(f"{ground.root}/m") == "gone"
    )
    first, second, hole = (os.stat(f"{ground.root}/{name}") for name in ("a", "b", "hole"))
    assert first.st_ino == second.st_ino and first.st_mtime == 5
    assert os.listxattr(f"{ground.root}/a") == ["user.kept"]
    assert os.getxattr(f"{ground.root}/a", "user.kept") == b"1"
    assert hole.st_size == 1 << 30 and hole.st_blocks < 1000
    assert stat.S_ISFIFO(os.stat(f"{ground.root}/pipe").st_mode)


def test_no_time_is_later_than_the_epoch(ground: Ground) -> None:
    tree = ground.tree({"d/new": "", "d/old": "", "t/x": ""})
    os.utime(f"{ground.context}/d/old", (50, 50))
    with tarfile.open(f"{ground.context}/a.tar", "w") as archive:
        archive.add(f"{ground.context}/t", "t")
    for source in ("d", "a.tar"):
        ground.copy(tree, source, to="way/in/", epoch=1000, unpack=True)
    times = {
        name: os.stat(f"{ground.root}/way/in/{name}").st_mtime
        for name in ("new", "old", "t", "t/x")
    }
    assert times == {"new": 1000, "old": 50, "t": 1000, "t/x": 1000}


def test_a_file_without_a_tree_gets_there_by_the_same_rules(ground: Ground) -> None:
    root = os.open(ground.root, os.O_RDONLY)
    make(ground.outside, {})
    Place(root, "bin/run", mode="755", owner=(3, 4)).text(b"echo\n", "EOF")
    Place(root, "docs/", epoch=9).text(b"a", "one")
    Place(root, "docs").text(b"b", "two")
    with pytest.raises(BuildError, match="several files to none"):
        Place(root, "none").text(b"b", "two", several=True)
    fd = os.memfd_create("x")
    with pytest.raises(BuildError, match="names no file"):
        Place(root, "docs/").file(fd, "")
    os.close(fd)
    os.close(root)
    assert ground.found() == {"bin/run": "echo\n", "docs/one": "a", "docs/two": "b"}
    assert _attributes(f"{ground.root}/bin/run") == ("0o755", 3, 4)
    assert _attributes(f"{ground.root}/docs/one") == ("0o644", 0, 0)
    assert os.stat(f"{ground.root}/docs/one").st_mtime == 9


# -- archives --------------------------------------------------------------------------------


def archive(*entries: tuple[str, bytes, str], mode: str = "w") -> bytes:
    """A tar of (name, type, content or target)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as out:  # type: ignore[call-overload]
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.uid, entry.gid, entry.mode = kind, 11, 12, 0o750
            entry.linkname = content if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            entry.size = len(content) if kind == tarfile.REGTYPE else 0
            out.addfile(entry, io.BytesIO(content.encode()))
    return made.getvalue()


FILE, FOLDER, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def put(ground: Ground, name: str, content: bytes) -> Tree:
    with open(f"{ground.context}/{name}", "wb") as file:
        file.write(content)
    return context.folder(ground.context)


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz"])
def test_add_unpacks_an_archive_whatever_its_name(ground: Ground, kind: str) -> None:
    tree = put(ground, "data", archive(("d/f", FILE, "1"), mode=f"w:{kind}"))
    ground.copy(tree, "data", to="/x", unpack=True)
    ground.copy(tree, "data", to="/y", unpack=True, owner=(1, 2), mode="go=")
    ground.copy(tree, "data", to="/z")
    assert _attributes(f"{ground.root}/x/d/f") == ("0o750", 11, 12)
    assert _attributes(f"{ground.root}/y/d/f") == ("0o700", 1, 2)
    assert os.path.isfile(f"{ground.root}/z")


def test_add_copies_what_is_no_archive(ground: Ground) -> None:
    make(ground.context, {"text": "x" * 600, "empty": "", "BZh": "BZhello", "f.tar": "no"})
    tree = put(ground, "page.gz", gzip.compress(b"just text"))
    put(ground, "twice.gz", gzip.compress(gzip.compress(b"just text")))
    put(ground, "half.gz", gzip.compress(b"just text")[:-9])
    put(ground, "zeroes", bytes(10240))
    ground.copy(tree, "*", to="/", unpack=True)
    assert sorted(os.listdir(ground.root)) == sorted(os.listdir(ground.context))


def test_standard_input_is_an_archive_or_a_dockerfile() -> None:
    entries = archive(("f", FILE, "1"))
    heads = [entries, gzip.compress(entries), b"\x28\xb5\x2f\xfdx", b"FROM x\n", b"", bytes(1024)]
    assert [archives.begins_one(head[:512]) for head in heads] == [True] * 3 + [False] * 3


def test_an_archive_wins_over_what_was_there(ground: Ground) -> None:
    make(ground.root, {"a/b": "folder", "c": "file", "d/kept": "", "l": "-> d"})
    content = archive(("a", FILE, "1"), ("c/x", FILE, "2"), ("d", FOLDER, ""), ("l/y", FILE, "3"))
    with pytest.raises(BuildError, match="a file and a folder"):
        ground.copy(put(ground, "t", content), "t", to="/", unpack=True)
    content = archive(("a", FILE, "1"), ("c", FOLDER, ""), ("c/x", FILE, "2"), ("d", FOLDER, ""),
                      ("l/y", FILE, "3"))  # fmt: skip
    ground.copy(put(ground, "t", content), "t", to="/", unpack=True)
    assert ground.found() == {"a": "1", "c/x": "2", "d/kept": "", "d/y": "3", "l": "-> d"}


@pytest.mark.parametrize(
    "entries",
    [
        [("../o/new", FILE, "evil")],
        [("a/../../o/new", FILE, "evil")],
        [("h", HARD, "../o/secret")],
        [("h", HARD, "/../../o/secret")],
        [("x", tarfile.CHRTYPE, "")],
        [("x", b"9", "")],
        [("l", LINK, "gone"), ("l/x", FILE, "evil"), ("l/../../o/new", FILE, "evil")],
    ],
)
def test_a_hostile_archive_is_refused(
    ground: Ground, entries: list[tuple[str, bytes, str]]
) -> None:
    tree = put(ground, "t", archive(*entries))
    with pytest.raises(BuildError, match="cannot unpack t: "):
        ground.copy(tree, "t", to="/", unpack=True)
    with pytest.raises(BuildError, match="the build context"):
        context.archive(io.BytesIO(archive(*entries)), ground.root)


def test_an_archives_links_lead_nowhere_outside(ground: Ground) -> None:
    content = archive(
        ("up", LINK, "../o"), ("up/new", FILE, "1"), ("abs", LINK, ground.outside),
        ("abs/new", FILE, "2"), ("s", LINK, f"{ground.outside}/secret"), ("s", FILE, "3"),
    )  # fmt: skip
    make(ground.root, {"o/": "", f"{ground.outside[1:]}/": ""})
    ground.copy(put(ground, "t", content), "t", to="/", unpack=True)
    found = ground.found()
    assert found["o/new"] == "1" and found[f"{ground.outside[1:]}/new"] == "2" and found["s"] == "3"


def test_a_bomb_is_refused_before_it_goes_off(ground: Ground) -> None:
    entry = tarfile.TarInfo("zeroes")
    entry.size = 1 << 50
    tree = put(ground, "t", entry.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    with pytest.raises(BuildError, match=r"cannot unpack t: .* is refused: more than"):
        ground.copy(tree, "t", to="/", unpack=True)
    assert ground.found() == {}


def test_a_damaged_archive_is_named(ground: Ground) -> None:
    content = archive(("f", FILE, os.urandom(1 << 16).hex()), mode="w:gz")
    tree = put(ground, "t.gz", content[:-5000])
    with pytest.raises(BuildError, match=r"cannot unpack t.gz: .*damaged"):
        ground.copy(tree, "t.gz", to="/", unpack=True)
    ground.copy(put(ground, "z", b"BZh, a word"), "z", to="/", unpack=True)
    assert ground.found()["z"].endswith("BZh, a word"), (
        "what only begins like one is a file as any other"
    )


def test_a_context_may_come_as_an_archive(ground: Ground) -> None:
    names = (
        ("Dockerfile", FILE, "FROM x"),
        (".dockerignore", FILE, "a"),
        ("a", FILE, ""),
        ("b", FILE, ""),
    )
    own = ("docker/x.dockerignore", FILE, "b\ndocker\n.dockerignore")
    tree = context.archive(io.BytesIO(archive(*names, own, mode="w:gz")), ground.context)
    assert chosen(tree, "*") == [".dockerignore", "Dockerfile", "b", "x.dockerignore"]
    assert context.read(tree, "Dockerfile") == b"FROM x"
    again = context.archive(io.BytesIO(archive(*names, own)), ground.root, "docker/x")
    assert chosen(again, ".") == ["Dockerfile", "a"]
    with pytest.raises(BuildError, match="build context"):
        context.archive(io.BytesIO(b"FROM x\n" * 100), ground.root)


# -- what hostile trees try ------------------------------------------------------------------


def test_a_source_stays_in_its_tree(ground: Ground) -> None:
    make(
        ground.context,
        {"up": "-> ../o", "abs": f"-> {ground.outside}", "d/up": "-> ../../o/secret"},
    )
    tree = ground.tree({"l": "-> /d", "loop": "-> loop", "p": "-> /proc/self/root"})
    for source in (
        "up",
        "up/secret",
        "abs/secret",
        "../o/secret",
        "d/up",
        "p/etc/passwd",
        "p",
        "loop",
    ):
        with pytest.raises(BuildError, match="cannot copy "):
            select.select(tree, [source])
    assert chosen(tree, "l") == ["up"]
    ground.copy(tree, ".", to="/")
    assert os.readlink(f"{ground.root}/d/up") == "../../o/secret"
    for name in ("up/secret", "loop", "d", "none"):
        with pytest.raises(BuildError, match="cannot read"):
            context.read(tree, name)


def test_a_pipe_for_a_dockerfile_does_not_hang(ground: Ground) -> None:
    os.mkfifo(f"{ground.context}/Dockerfile")
    with pytest.raises(BuildError, match="not a regular file"):
        context.read(context.folder(ground.context), "Dockerfile")


def test_a_destination_stays_in_its_root(ground: Ground) -> None:
    tree = ground.tree({"f": "1", "d/f": "2"})
    make(ground.root, {
        "up": "-> ../../../o", "abs": f"-> {ground.outside}", "file": f"-> {ground.outside}/secret",
        "loop": "-> loop", "pr": "-> /proc/self/cwd",
        "deep/abs": "-> /at", "deep/way": "-> ../deep/abs/../by",
    })  # fmt: skip
    ground.copy(tree, "f", to="/up/one")
    ground.copy(tree, "d", to="/abs")
    ground.copy(tree, "f", to="file")
    ground.copy(tree, "f", to="../../../o/two")
    ground.copy(tree, "f", to="pr/x")
    ground.copy(tree, "f", to="deep/abs/")
    ground.copy(tree, "f", to="deep/way")
    with pytest.raises(BuildError, match="too many links"):
        ground.copy(tree, "f", to="loop")
    inside = ground.outside[1:]
    found = ground.found()
    assert found["at/f"] == found["by"] == "1"
    assert found["o/one"] == found["o/two"] == "1" and found["proc/self/cwd/x"] == "1"
    assert found[f"{inside}/f"] == "2" and found[f"{inside}/secret"] == "1"


def test_a_link_among_the_content_is_not_written_through(ground: Ground) -> None:
    tree = ground.tree({"d/x": "new", "d/y/z": "new"})
    make(ground.root, {"x": f"-> {ground.outside}/secret"})
    ground.copy(tree, "d/x", to="/../")
    assert ground.found() == {"x": "new"}
    make(ground.root, {"y": f"-> {ground.outside}"})
    with pytest.raises(BuildError, match="where a folder must be"):
        ground.copy(tree, "d", to="/")


def test_a_root_that_changes_meanwhile_leads_nowhere_outside(ground: Ground) -> None:
    tree = ground.tree({"d/f": "1", "d/g": "2"})
    make(ground.root, {"a/real/": ""})
    os.symlink(ground.outside, f"{ground.root}/a/bad")
    folder = os.open(f"{ground.root}/a", os.O_RDONLY)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            renameat2(folder, "real", folder, "bad", RENAME_EXCHANGE)

    swapping = threading.Thread(target=swap)
    swapping.start()
    placed = 0
    try:
        for _ in range(300):
            try:
                ground.copy(tree, "d", to="/a/real/")
                placed += 1
            except BuildError:
                continue
    finally:
        done.set()
        swapping.join()
        os.close(folder)
    assert placed  # that nothing is outside is what the fixture asserts
