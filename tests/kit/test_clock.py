"""Instants: whole milliseconds, one way to write them, and strictly read."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.kit import clock

# Hypothesis wants the bounds without a zone.
FIRST = datetime(1000, 1, 2)  # noqa: DTZ001
LAST = datetime(9999, 12, 30)  # noqa: DTZ001
moments = st.datetimes(min_value=FIRST, max_value=LAST, timezones=st.just(UTC))


def test_the_present_moment_is_aware_and_in_whole_milliseconds() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    now = clock.utc_now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 5, 22, 10, 0, tzinfo=UTC), "2026-05-22T10:00:00.000Z"),
        (datetime(2026, 5, 22, 10, 0, 0, 123999, tzinfo=UTC), "2026-05-22T10:00:00.123Z"),
        (datetime(2026, 5, 22, 1, 0, tzinfo=timezone(timedelta(hours=2))), "2026-05-21T23:00:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_an_instant_is_written_in_milliseconds_with_z(moment: datetime, text: str) -> None:
    assert clock.to_iso(moment) == text


def test_a_naive_datetime_is_not_written() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        clock.to_iso(FIRST)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-22T10:00:00.000Z", datetime(2026, 5, 22, 10, tzinfo=UTC)),
        ("2026-05-22t10:00:00z", datetime(2026, 5, 22, 10, tzinfo=UTC)),
        ("2026-05-22T10:00:00+02:00", datetime(2026, 5, 22, 8, tzinfo=UTC)),
        ("2026-05-22T10:00:00-0130", datetime(2026, 5, 22, 11, 30, tzinfo=UTC)),
        ("2026-05-22T10:00+02", datetime(2026, 5, 22, 8, tzinfo=UTC)),
        ("20260522T100000Z", datetime(2026, 5, 22, 10, tzinfo=UTC)),
        ("2026-W21-5T10:00Z", datetime(2026, 5, 22, 10, tzinfo=UTC)),
        ("2026-05-22T10:00:00,5Z", datetime(2026, 5, 22, 10, 0, 0, 500000, tzinfo=UTC)),
        ("2026-05-22T10:00:00.123456789Z", datetime(2026, 5, 22, 10, 0, 0, 123456, tzinfo=UTC)),
    ],
)
def test_every_iso_8601_instant_with_a_zone_is_read(text: str, moment: datetime) -> None:
    assert clock.parse_instant(text) == moment


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-05-22T10:00:00", "needs a zone"),
        ("2026-05-22T10:00", "needs a zone"),
        ("2026-05-22", "not an ISO 8601 instant"),
        ("2026-05-22 10:00:00Z", "not an ISO 8601 instant"),
        ("2026-02-30T10:00:00Z", "not a moment"),
        ("2026-05-22T25:00:00Z", "not a moment"),
        ("2026-05-22T10:00:61Z", "not a moment"),
        ("0001-01-01T00:00:00+14:00", "not a moment"),
        ("9999-12-31T23:59:59-14:00", "not a moment"),
        ("\u0662\u0660\u0662\u0666-05-22T10:00:00Z", "not an ISO 8601 instant"),
        ("1750000000", "not an ISO 8601 instant"),
        ("", "not an ISO 8601 instant"),
        ("2026-05-22T10:00:00." + "1" * 100 + "Z", "not an ISO 8601 instant"),
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        clock.parse_instant(text)


@given(moments)
def test_what_is_written_is_read_back_to_the_millisecond(moment: datetime) -> None:
    assert clock.parse_instant(clock.to_iso(moment)) == clock.whole_milliseconds(moment)


@given(moments)
def test_milliseconds_lead_back_to_the_instant(moment: datetime) -> None:
    assert clock.from_milliseconds(clock.to_milliseconds(moment)) == clock.whole_milliseconds(moment)


@given(st.text(alphabet="0123456789-:.,TtZzW+ \x00é٢", max_size=80))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    try:
        moment = clock.parse_instant(text)
    except ValueError:
        return
    assert moment.tzinfo is UTC
