"""References are read as the distribution project's grammar says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import references
from images.errors import ImageError


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("base", "docker.io/library/base:latest", "base:latest"),
        ("base:1.0", "docker.io/library/base:1.0", "base:1.0"),
        ("training/webapp", "docker.io/training/webapp:latest", "training/webapp:latest"),
        ("docker.io/library/base", "docker.io/library/base:latest", "base:latest"),
        ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
        ("host:5000/a/b:t", "host:5000/a/b:t", "host:5000/a/b:t"),
        ("a__b/c-d--e.f", "docker.io/a__b/c-d--e.f:latest", "a__b/c-d--e.f:latest"),
    ],
)
def test_a_reference_has_a_full_and_a_familiar_form(text: str, full: str, familiar: str) -> None:
    parsed = references.parse(text)
    assert str(parsed) == full
    assert parsed.familiar == familiar


@pytest.mark.parametrize(
    "text",
    ["", "Base", "a//b", "a:", ":t", "a:b:c", "-a", "a-", "a___b", "a..b", "a@sha256:12", "a/",
     "/a", "a b", "../a", "a:-t", "x" * 256, "f" * 64, "-h.x/a", "ho_st.x/a"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="invalid reference"):
        references.parse(text)


@given(st.text(alphabet="aA0._-:/@ ", max_size=20))
def test_any_text_is_read_or_refused_and_reading_is_stable(text: str) -> None:
    try:
        parsed = references.parse(text)
    except ImageError:
        return
    assert references.parse(str(parsed)) == parsed
    assert references.parse(parsed.familiar) == parsed
