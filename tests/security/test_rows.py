"""docs/security.md: no row is lost, each has a test, and each test that it names is there."""

from __future__ import annotations

import os
import re

PROJECT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROWS = [
    "A symlink swapped while mounting",
    "Mount points made through links",
    "The first content of a volume",
    "cp",
    "Python in a container's root",
    "The runtime's own program",
    "Leaked descriptors",
    "Masked paths, the console and the null device",
    "Writes to /proc that land elsewhere",
    "Volumes on /proc, /sys, /dev",
    "Archives of layers",
    "Archives on the way out",
    "Removal that crosses a mount or a link",
    "The image's configuration",
    "Rights that are left over",
    "Control groups",
    "System calls and sockets",
    "State folders",
    "Bad input",
]


def test_every_row_has_a_test_that_is_there() -> None:
    with open(f"{PROJECT}/docs/security.md") as file:
        sections = file.read().split("\n### ")[1:]
    tests = {
        text.partition("\n")[0]: re.findall(r"^- `(.+)::(\w+)`$", text, re.M) for text in sections
    }
    assert list(tests) == ROWS
    for row, named in tests.items():
        assert named, row
        for path, name in named:
            with open(f"{PROJECT}/{path}") as file:
                assert f"\ndef {name}(" in file.read(), f"{row}: {path}::{name}"


def test_every_test_of_security_belongs_to_a_row() -> None:
    with open(f"{PROJECT}/docs/security.md") as file:
        named = set(re.findall(r"::(\w+)`", file.read()))
    proofs = {"test_who_walks_paths_would_be_caught"}  # that the adversary is one
    for path in (
        "tests/runtime/test_security.py",
        "tests/security/test_escape.py",
        "tests/security/test_races.py",
    ):
        with open(f"{PROJECT}/{path}") as file:
            there = set(re.findall(r"^def (test_\w+)\(", file.read(), re.M))
        assert there - proofs <= named, path
