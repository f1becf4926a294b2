"""JSON without the json package: what is none is a ValueError, also in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import quickjson

TRY = """
import sys
from kernel import quickjson
assert "json" not in sys.modules
try:
    quickjson.loads(sys.argv[1])
except ValueError as error:
    print("refused:", error)
"""


def test_a_canonical_text_is_what_json_writes_sorted_without_spaces() -> None:
    value: object
    for value in ({"b": [1, 2.5, None], "a": {"ü": "\n\\", "": True}}, [], "x", {"z": {}, "y": []}):
        expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert quickjson.canonical(value) == expected
    with pytest.raises(TypeError):
        quickjson.canonical({"a": b"x"})


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(_TEXTS, inner),
)


@given(_VALUES)
def test_an_indented_text_is_what_json_writes(value: object) -> None:
    assert quickjson.indented(value) == json.dumps(value, indent=4, ensure_ascii=False)


@pytest.mark.parametrize(
    "text", ["", "{", '{"a":', '{"a" 1}', "[1,", '"', '"\\x"', "nope", "{} {}"]
)
def test_a_text_that_is_no_json_is_refused(text: str) -> None:
    argv = [sys.executable, "-c", TRY, text]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("refused:"), ran.stderr
