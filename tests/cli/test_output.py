"""Moments, filters, widths and tables, without any container."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import filters, moments, output
from cli.errors import UsageError
from kernel import units
from kernel.errors import printable

SECOND = 10**9


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-05:30")
    time.tzset()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", 1769860800 * SECOND),
        ("2026-01-31T12:00:00.5Z", 1769860800 * SECOND + SECOND // 2),
        ("2026-01-31T12:00:00.123456789Z", 1769860800 * SECOND + 123456789),
        ("2026-01-31T13:00:00+01:00", 1769860800 * SECOND),
        ("2026-01-31T12:00Z", 1769860800 * SECOND),
        ("2026-01-31Z", 1769817600 * SECOND),
        ("2026-01-31T17:30:00", 1769860800 * SECOND),
        ("2026-01-31T17:30", 1769860800 * SECOND),
        ("2026-01-31", 1769817600 * SECOND - 19800 * SECOND),
        ("1769860800", 1769860800 * SECOND),
        ("1769860800.25", 1769860800 * SECOND + SECOND // 4),
        ("10", 10 * SECOND),
    ],
)
def test_moments(text: str, moment: int, far_east: None) -> None:
    assert moments.read(text) == moment


@pytest.mark.parametrize(
    ("text", "ago"), [("10m", 600), ("1h30m", 5400), ("0s", 0), ("1.5h", 5400), ("-10m", -600)]
)
def test_how_long_ago(text: str, ago: int) -> None:
    assert abs(time.time_ns() - ago * SECOND - moments.read(text)) < 5 * SECOND


@pytest.mark.parametrize("text", ["", "x", "10x", "2026-13-01", "yesterday", "1.2.3", "9" * 12])
def test_no_moments(text: str) -> None:
    with pytest.raises(ValueError):
        moments.read(text)


@given(st.text(alphabet="0123456789-:.TZhms+ ", max_size=24))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        assert isinstance(moments.read(text), int)
    except ValueError:
        return


def test_moments_are_shown_where_the_person_is(far_east: None) -> None:
    assert moments.local(1769860800 * SECOND + 7) == "2026-01-31T17:30:00.000000007+05:30"
    assert moments.utc(1769860800 * SECOND + 7) == "2026-01-31T12:00:00.000000007Z"
    assert moments.day_and_time(1769860800).startswith("2026-01-31 17:30:00 +0530 ")


def test_moments_in_utc_end_in_z(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert moments.local(1769860800 * SECOND) == "2026-01-31T12:00:00.000000000Z"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234, "1.23kB"), (999_499, "999kB"),
     (999_600, "1MB"), (1_983_000, "1.98MB"), (5 * 10**18, "5000PB")],
)  # fmt: skip
def test_sizes(size: int, shown: str) -> None:
    assert units.show_bytes(size) == shown


def test_sizes_of_memory_and_of_the_disk() -> None:
    assert units.show_binary(25276510208) == "23.54GiB"
    assert units.show_bytes(16_432_000, 4) == "16.43MB"


# -- filters ----------------------------------------------------------------------------------


def fits(pairs: list[tuple[str, str]], labels: dict[str, str]) -> bool:
    return filters.pruning(pairs, lambda one: one, lambda _one: 100.0)(labels)


def test_labels_must_all_fit_and_excluded_ones_must_not_all() -> None:
    both = {"a": "1", "b": "2"}
    assert fits([("label", "a"), ("label", "b=2")], both)
    assert not fits([("label", "a"), ("label", "b=3")], both)
    assert not fits([("label!", "a")], both)
    assert not fits([("label!", "a"), ("label!", "b")], both)
    assert fits([("label!", "a"), ("label!", "c")], both), "Docker's rule: it has not all of them"
    assert fits([("label", "a"), ("label!", "c")], both)


def test_until_is_a_moment_before_which_it_was_made() -> None:
    assert fits([("until", "101")], {}) and not fits([("until", "100")], {})
    with pytest.raises(UsageError, match="once"):
        fits([("until", "1"), ("until", "2")], {})
    with pytest.raises(UsageError, match="until"):
        fits([("until", "x")], {})
    with pytest.raises(UsageError, match="invalid filter 'until'"):
        filters.pruning([("until", "1")], lambda one: one)


def test_other_filters_mean_or_within_and_and_between() -> None:
    tests = {"kind": lambda one, word: one[0] == word, "size": lambda one, word: one[1] == word}
    pairs = [("kind", "a"), ("kind", "b"), ("size", "1")]
    found = filters.combined(pairs, tests)
    assert [one for one in ("a1", "b1", "c1", "a2") if found(one)] == ["a1", "b1"]
    with pytest.raises(UsageError, match="the filter task is not supported: why"):
        filters.combined([("task", "x")], tests, {"task": "why"})


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [("web", "my-web-1", True), ("^web$", "web", True), ("^web$", "webs", False),
     ("web.1", "web-1", True), ("a|b", "b", True)],
)  # fmt: skip
def test_names_are_looked_for_as_regular_expressions(pattern: str, text: str, found: bool) -> None:
    assert filters.pattern("name", pattern)(text) is found


def test_a_broken_expression_is_named() -> None:
    with pytest.raises(UsageError, match="name="):
        filters.pattern("name", "(")


# -- tables -----------------------------------------------------------------------------------


def test_columns_are_as_docker_makes_them(capsys: pytest.CaptureFixture[str]) -> None:
    output.table({"A": "ID", "B": "A LONG HEADING", "C": "LAST"}, [
        {"A": "1", "B": "", "C": "x"}, {"A": "0123456789", "B": "y", "C": "z z"},
    ])  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "ID           A LONG HEADING   LAST",
        "1                             x",
        "0123456789   y                z z",
    ]


def test_wide_letters_take_two_places_and_accents_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert [output.width(text) for text in ("abc", "日本", "é", "e\u0301")] == [3, 4, 1, 1]
    output.table({"A": "NAME", "B": "X"}, [{"A": "日本語日本語", "B": "1"}])
    assert capsys.readouterr().out.splitlines() == ["NAME           X", "日本語日本語   1"]


@given(st.text(max_size=30), st.integers(1, 12))
def test_what_is_cut_is_never_too_wide(text: str, places: int) -> None:
    cut = output.ellipsis(text, places)
    assert output.width(cut) <= max(places, output.width("…"))
    assert cut == text or cut.endswith("…")


def test_a_table_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"A": "1", "B": "x"}]
    output.table({"A": "FIRST"}, rows, r"table {{.A}}\t{{.B}}", {"B": "SECOND"})
    assert capsys.readouterr().out.splitlines() == ["FIRST     SECOND", "1         x"]
    output.table({"A": "FIRST"}, rows, "table")
    assert capsys.readouterr().out.splitlines() == ["FIRST", "1"]
    output.table({"A": "FIRST"}, rows, "json")
    assert capsys.readouterr().out == '{"A":"1","B":"x"}\n'
    with pytest.raises(UsageError, match="can't evaluate field C in type heading"):
        output.table({"A": "FIRST"}, [], "table {{.C}}")


def test_a_cell_is_no_command_of_the_terminal() -> None:
    """CREATED BY of an image, the arguments of a process in `top`."""
    (line,) = output.aligned([["a\x1b[2J", "b\nc"]], 0)
    assert line == r"a\x1b[2J   b\nc"


@given(st.text())
def test_what_is_printable_is_on_one_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() and (shown == text) == text.isprintable()
    assert printable(text, text) == text
