"""JSON without the json package: what is none is a ValueError, also in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRY = """
import sys
from kernel import quickjson
assert "json" not in sys.modules
try:
    quickjson.loads(sys.argv[1])
except ValueError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize(
    "text", ["", "{", '{"a":', '{"a" 1}', "[1,", '"', '"\\x"', "nope", "{} {}"]
)
def test_a_text_that_is_no_json_is_refused(text: str) -> None:
    argv = [sys.executable, "-c", TRY, text]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("refused:"), ran.stderr
