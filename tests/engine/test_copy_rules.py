"""The rules of `cp` for paths are those of Docker's documentation, which are those of cp -a."""

from __future__ import annotations

import itertools
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import copy_rules as rules
from engine.copy_rules import CopyError, decide, spell

PATHS = st.text(alphabet="ab./", max_size=12)
KINDS = st.sampled_from([rules.FILE, rules.FOLDER, rules.LINK, rules.SPECIAL])
PLACES = st.sampled_from([rules.MISSING, rules.FILE, rules.FOLDER, rules.SPECIAL])


@given(PATHS, st.sampled_from(["/", "/w", "/w/x"]))
def test_a_spelling_is_absolute_and_stays_below_the_root(text: str, folder: str) -> None:
    spelled = spell(text, text, folder)
    assert spelled.path == os.path.normpath(spelled.path) or spelled.path == "/"
    assert spelled.path.startswith("/") and ".." not in spelled.path.split("/")
    assert "/" not in spelled.name and spelled.name not in (".", "..")
    assert spelled.content or spelled.name, "what has no name can only give its content"
    assert spelled.folder or not spelled.content


@given(PATHS, KINDS, PATHS, PLACES, st.booleans())
def test_whatever_is_asked_has_one_outcome(
    source: str, kind: str, destination: str, there: str, parent: bool
) -> None:
    src, dest = spell(source, "SRC"), spell(destination, "DEST")
    try:
        decided = decide(src, kind, dest, there, parent=parent)
    except CopyError:
        refused = (
            (src.folder and kind != rules.FOLDER)
            or there == rules.SPECIAL
            or (there == rules.FILE and (kind == rules.FOLDER or dest.folder))
            or (there == rules.MISSING and (not parent or (dest.folder and kind != rules.FOLDER)))
        )
        assert refused
        return
    assert decided in (rules.INSIDE, rules.CONTENT, rules.AS)
    assert (there == rules.FOLDER) == (decided in (rules.INSIDE, rules.CONTENT))
    assert decided != rules.CONTENT or (src.content and kind == rules.FOLDER)
    assert decided != rules.INSIDE or src.name


@pytest.mark.parametrize(
    ("source", "destination"),
    list(
        itertools.product(
            "file folder folder/ folder/. file/ file/. none ./folder/../folder".split(),
            "file2 folder2 folder2/ folder2/. new new/ none/new file2/".split(),
        )
    ),
)
def test_the_outcome_is_that_of_cp(home_dir: str, source: str, destination: str) -> None:
    for name in ("folder/sub", "folder2"):
        os.makedirs(f"{home_dir}/{name}")
    for name in ("file", "folder/in", "file2"):
        with open(f"{home_dir}/{name}", "w") as out:
            out.write(name)
    before = listing(home_dir)
    ran = subprocess.run(["cp", "-a", source, destination], cwd=home_dir, capture_output=True)
    src, dest = spell(source, source, home_dir), spell(destination, destination, home_dir)
    try:
        decided = decide(
            src, kind(before, src.path, home_dir), dest, kind(before, dest.path, home_dir),
            parent=kind(before, os.path.dirname(dest.path), home_dir) == rules.FOLDER,
        )  # fmt: skip
    except CopyError:
        assert ran.returncode != 0, "refused, and cp does it"
        return
    assert ran.returncode == 0, ran.stderr
    top = dest.path.removeprefix(home_dir)
    target = f"{top}/{src.name}" if decided == rules.INSIDE else top
    expected = before | {
        path.replace(src.path.removeprefix(home_dir), target, 1): content
        for path, content in before.items()
        if f"{path}/".startswith(src.path.removeprefix(home_dir) + "/")
    }
    assert listing(home_dir) == expected


def listing(top: str) -> dict[str, str]:
    """Path to content; "/" for a folder."""
    found = {}
    for folder, folders, files in os.walk(top):
        for name in folders:
            found[f"{folder}/{name}".removeprefix(top)] = "/"
        for name in files:
            with open(f"{folder}/{name}") as file:
                found[f"{folder}/{name}".removeprefix(top)] = file.read()
    return found


def kind(tree: dict[str, str], path: str, top: str) -> str:
    found = tree.get(path.removeprefix(top))
    if path == top or found == "/":
        return rules.FOLDER
    return rules.MISSING if found is None else rules.FILE
