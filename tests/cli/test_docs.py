"""docs/docker-differences.md is what the parser says, and accounts for all that Docker has."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.conftest import PROJECT

SCRIPT = f"{PROJECT}/scripts/docs"


def check(change: str = "") -> subprocess.CompletedProcess[str]:
    """`scripts/docs --check`, after a change of the program by a line of Python."""
    code = f"""
import runpy, sys
docs = runpy.run_path({SCRIPT!r}, run_name="docs")
from cli import commands, options
{change}
sys.exit(docs["run"](["--check"]))
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_the_page_is_not_stale_and_everything_is_accounted_for() -> None:
    ran = check()
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ran.stderr == ""


def test_a_change_of_the_parser_makes_the_page_stale() -> None:
    ran = check(
        "wait = commands.load('container', 'wait');"
        "import cli.container.stop as module;"
        "more = wait.replace(options=(options.option('--longer', 'x'),));"
        "module.COMMANDS = tuple(more if c is wait else c for c in module.COMMANDS)"
    )
    assert ran.returncode == 1 and "is stale" in ran.stderr


def test_a_flag_of_dockers_that_is_neither_had_nor_refused_is_a_problem() -> None:
    ran = check(
        "rm = commands.load('container', 'rm');"
        "import cli.container.stop as module;"
        "less = rm.replace(options=rm.options[1:]);"
        "module.COMMANDS = tuple(less if c is rm else c for c in module.COMMANDS)"
    )
    assert ran.returncode == 1
    assert "container rm --force: pyctr neither has nor refuses it" in ran.stderr


def test_writing_the_page_twice_changes_nothing() -> None:
    page = f"{PROJECT}/docs/docker-differences.md"
    with open(page) as file:
        before = file.read()
    info = os.stat(page)
    try:
        subprocess.run([sys.executable, SCRIPT], check=True, timeout=60)
        with open(page) as file:
            assert file.read() == before
    finally:
        os.utime(page, ns=(info.st_atime_ns, info.st_mtime_ns))
