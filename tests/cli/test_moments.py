"""Dates of images: the quick way gives what the calendar says."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from cli import moments


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))
def test_dates_are_read_as_datetime_reads_them(at: datetime) -> None:
    whole = at.replace(microsecond=0)
    text = whole.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert moments.seconds(text) == whole.replace(tzinfo=UTC).timestamp()


@given(st.text("0123456789-:TZ. ", max_size=22))
def test_what_is_no_date_is_none(text: str) -> None:
    found = moments.seconds(text)
    try:
        expected = moments._date(text) / 10**9
    except ValueError:
        assert found is None
    else:
        assert found == expected


def test_days_and_hours_that_do_not_exist_are_refused() -> None:
    for wrong in ("2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z",
                  "2026-01-01T25:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
                  "2026-01-01T00:00:0٣Z"):  # fmt: skip
        assert moments.seconds(wrong) is None, wrong
