"""Patterns of paths: .dockerignore, --exclude, sources of COPY, and --chmod."""

from __future__ import annotations

import fnmatch
import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.build import ignore, modes
from images.build.errors import BuildError
from images.build.globs import Glob
from images.build.ignore import Ignore

NAMES = st.text("ab.-", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PARTS = st.one_of(
    NAMES, st.just("**"), st.text("ab.*?", min_size=1, max_size=4),
    st.sampled_from(["[ab]", "[^a]*", "[a-b]?", "a\\*", "\\a", "*[.b]", "[\\-a]", "a[^a]b"]),
)  # fmt: skip
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(ignore.clean)


def matches(pattern: list[str], path: list[str]) -> bool:
    """The obvious way: every division of a path among the parts of a pattern."""
    if not pattern:
        return not path
    if pattern == ["**"]:
        return bool(path)
    if pattern[0] == "**":
        return any(matches(pattern[1:], path[skip:]) for skip in range(len(path) + 1))
    return bool(path) and name_matches(pattern[0], path[0]) and matches(pattern[1:], path[1:])


def name_matches(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(name_matches(pattern[1:], name[skip:]) for skip in range(len(name) + 1))
    if not name:
        return False
    if pattern[0] == "\\":
        return name[0] == pattern[1] and name_matches(pattern[2:], name[1:])
    if pattern[0] == "[":
        inner, _, rest = pattern[1:].partition("]")
        negated = inner.startswith("^")
        inner = inner.lstrip("^")
        escaped = inner.startswith("\\")
        members = {"a-b": "ab"}.get(inner, inner[1:] if escaped else inner)
        return (name[0] in members) != negated and name_matches(rest, name[1:])
    return pattern[0] in ("?", name[0]) and name_matches(pattern[1:], name[1:])


def covered(pattern: str, path: str) -> bool:
    parts = path.split("/")
    return any(matches(pattern.split("/"), parts[: end + 1]) for end in range(len(parts)))


def plain(pattern: str) -> bool:
    """Whether ``**`` stands only for whole names: within one the oracle has no opinion."""
    return all(part == "**" or "**" not in part for part in pattern.split("/"))


@given(PATTERNS.map(ignore.clean).filter(plain), PATHS)
@settings(max_examples=1500)
def test_a_pattern_matches_what_the_obvious_matcher_says(pattern: str, path: str) -> None:
    assert Glob(pattern).covers(path) == covered(pattern, path)


@given(st.text("ab.*?", min_size=1, max_size=6).filter(lambda text: "**" not in text), NAMES)
def test_a_pattern_of_one_name_agrees_with_fnmatch(pattern: str, name: str) -> None:
    assert Glob(pattern).covers(name) == fnmatch.fnmatchcase(name, pattern)


@given(PATTERNS.map(ignore.clean), PATHS, PATHS)
def test_a_folder_with_something_that_matches_is_always_entered(
    pattern: str, folder: str, below: str
) -> None:
    glob = Glob(pattern)
    if glob.covers(f"{folder}/{below}"):
        assert glob.may_reach(folder)


@given(st.lists(st.tuples(st.booleans(), PATTERNS), max_size=5), PATHS)
def test_the_last_pattern_that_matches_decides(rules: list[tuple[bool, str]], path: str) -> None:
    ignored = Ignore([f"!{text}" if exception else text for exception, text in rules], "x")
    answer = False
    for exception, text in rules:
        if Glob(ignore.clean(text)).covers(path):
            answer = not exception
    assert ignored(path) == answer


@given(st.text(max_size=40), PATHS)
def test_any_text_is_read_or_refused(content: str, path: str) -> None:
    try:
        ignored = ignore.parse(content, ".dockerignore")
    except BuildError:
        return
    assert ignored(path) in (True, False)
    assert ignored.may_keep(path) in (True, False)


@pytest.mark.parametrize(
    ("content", "gone", "kept"),
    [
        ("# comment\n*/temp*", "some/temporary.txt some/temp/x", "temp a/b/temp #"),
        ("*/*/temp*", "some/sub/temporary.txt", "some/temp"),
        ("temp?", "tempa tempb/x", "temp tempab"),
        ("**/*.go", "a.go x/y/a.go", "a.go.txt"),
        ("*.md\n!README.md", "a.md", "README.md"),
        ("*.md\n!README*.md\nREADME-secret.md", "a.md README-secret.md", "README.md"),
        ("*.md\nREADME-secret.md\n!README*.md", "a.md", "README.md README-secret.md"),
        ("/foo/bar\n  ./spaces/ \n\n.", "foo/bar spaces spaces/x", "bar x/foo/bar"),
        ("a/../b//c/", "b/c b/c/d", "a c"),
        ("*\n!src\nsrc/*.o", "x src/a.o", "src src/a.c src/sub/a.o"),
        ("**", "a a/b", ""),
        ("a/**", "a/b a/b/c", "a ab"),
        ("a/**/b", "a/b a/x/b a/x/y/b/z", "b a/xb"),
        ("**/node_modules", "node_modules/a x/y/node_modules/z", "node_modules2"),
        ("\ufeffx", "x", "y"),
        (" # no comment", "# no comment", "no comment"),
        ("a.b", "a.b", "axb"),
        ("[!a]", "! a", "b"),
        ("**x", "x yx a/yx", "y"),
    ],
)
def test_dockerignore_is_read_as_documented(content: str, gone: str, kept: str) -> None:
    ignored = ignore.parse(content, ".dockerignore")
    words = [gone] if gone.startswith("#") else gone.split()
    assert [path for path in words if not ignored(path)] == []
    assert [path for path in kept.split() if ignored(path)] == []


@pytest.mark.parametrize("pattern", ["[", "[a", "a\\", "[b-a]", "!", "[]a]", "x/[a/b]"])
def test_a_malformed_pattern_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(BuildError) as caught:
        ignore.parse(f"fine\n{pattern}\n", "Dockerfile.dockerignore")
    assert repr(pattern) in caught.value.what and "Dockerfile.dockerignore" in caught.value.what
    assert caught.value.why


WHO = st.text("ugoa", max_size=2)
WHAT = st.one_of(st.text("rwxXst", max_size=3), st.sampled_from("ugo"))
CHANGES = st.lists(st.tuples(st.sampled_from("+-="), WHAT).map("".join), min_size=1, max_size=2)
SYMBOLIC = st.lists(
    st.tuples(WHO, CHANGES.map("".join)).map("".join), min_size=1, max_size=3
).map(",".join)  # fmt: skip


@given(SYMBOLIC, st.integers(0, 0o7777))
@settings(max_examples=60)
def test_a_symbolic_mode_does_what_chmod_does(
    tmp_path_factory: pytest.TempPathFactory, text: str, before: int
) -> None:
    path = str(tmp_path_factory.getbasetemp() / f"mode-{os.getpid()}")
    with open(path, "w"):
        os.chmod(path, before)
    ours = modes.parse(text)(os.stat(path).st_mode)
    command = ["chmod", "--", text, path]
    done = subprocess.run(command, capture_output=True, timeout=60, umask=0)
    assert done.returncode == 0, done.stderr
    assert oct(ours) == oct(os.stat(path).st_mode & 0o7777)


def test_a_mode_is_octal_or_symbolic_and_nothing_else() -> None:
    folder, file, program = 0o040700, 0o100600, 0o100700
    assert modes.parse("0644")(file) == 0o644 and modes.parse(0o4755)(folder) == 0o4755
    assert [modes.parse("u=rwX,go=rX")(kind) for kind in (folder, file, program)] == [
        0o755, 0o644, 0o755,
    ]  # fmt: skip
    for text in ("", "8", "10000", "u", "rwx", "u+q", "+x,", "u=rw;", "a+x,,g-w"):
        with pytest.raises(BuildError, match="chmod"):
            modes.parse(text)
