"""How pages write money, coins and times."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from crypto_orders.pages import formats

NOW = datetime(2026, 5, 22, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cents", "text"),
    [(0, "0.00 USD"), (5, "0.05 USD"), (7900, "79.00 USD"), (119900, "1,199.00 USD"), (-250, "-2.50 USD")],
)
def test_cents_are_written_as_people_read_them(cents: int, text: str) -> None:
    assert formats.fiat(cents, "USD") == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0.00012345", "0.00012345 BTC"),
        ("1.50", "1.5 BTC"),
        ("1E-8", "0.00000001 BTC"),
        ("1E+3", "1000 BTC"),
        ("100", "100 BTC"),
        ("0.123456789012345678", "0.123456789012345678 BTC"),
    ],
)
def test_a_coin_s_amount_is_exact(amount: str, text: str) -> None:
    assert formats.crypto(Decimal(amount), "btc") == text


def test_an_amount_that_is_not_known_is_a_dash() -> None:
    assert formats.crypto(None, "btc") == "—"


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(milliseconds=400), "just now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(seconds=60), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=1), "1 h ago"),
        (timedelta(hours=24), "1 d ago"),
        (timedelta(days=61), "2026-03-22"),
        (timedelta(minutes=-90), "in 1 h"),
    ],
)
def test_a_time_is_told_by_its_largest_unit(before: timedelta, text: str) -> None:
    assert formats.ago(NOW - before, NOW) == text


def test_the_full_time_names_its_zone() -> None:
    assert formats.full_time(NOW) == "2026-05-22 10:00:00 UTC"
