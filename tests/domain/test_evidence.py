"""What makes a flag news: the status and the amount of its evidence, written in one way only."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_orders.domain.order import Evidence
from tests.support.order_core import NOW


def fingerprint(status: str | None, amount: str | None) -> str:
    paid = None if amount is None else Decimal(amount)
    return Evidence(at=NOW, provider_status=status, actually_paid=paid).fingerprint


@pytest.mark.parametrize(
    ("amount", "written"),
    [
        (None, ""),
        ("0", ""),
        ("0.00", ""),
        ("0E+5", ""),
        ("100", "100"),
        ("100.00", "100"),
        ("1E+2", "100"),
        ("1.0E+2", "100"),
        ("1200", "1200"),
        ("0.10", "0.1"),
        ("0.00000001", "0.00000001"),
        ("1E-8", "0.00000001"),
        ("1E-18", "0.000000000000000001"),
        ("10.0100", "10.01"),
        ("1234567890123456789012.123456789012345678", "1234567890123456789012.123456789012345678"),
    ],
)
def test_an_amount_is_written_in_full_without_idle_zeros(amount: str | None, written: str) -> None:
    assert fingerprint("finished", amount) == f"finished:{written}"


def test_the_last_digit_of_the_longest_amount_is_news() -> None:
    one = fingerprint("finished", "1234567890123456789012.123456789012345678")
    other = fingerprint("finished", "1234567890123456789012.123456789012345679")

    assert one != other


@pytest.mark.parametrize(("status", "written"), [(None, ":1"), ("", ":1"), ("expired", "expired:1")])
def test_a_status_is_news_of_its_own(status: str | None, written: str) -> None:
    assert fingerprint(status, "1") == written


@settings(deadline=None)
@given(
    digits=st.integers(min_value=1, max_value=10**40 - 1),
    exponent=st.integers(min_value=-30, max_value=0),
    zeros=st.integers(min_value=0, max_value=10),
)
def test_amounts_are_the_same_news_exactly_when_they_are_equal(
    digits: int, exponent: int, zeros: int
) -> None:
    text = fingerprint("finished", f"{digits}E{exponent}")

    assert fingerprint("finished", f"{digits}{'0' * zeros}E{exponent - zeros}") == text
    assert Decimal(text.removeprefix("finished:")) == Decimal(f"{digits}E{exponent}")
    assert fingerprint("finished", f"{digits + 1}E{exponent}") != text
