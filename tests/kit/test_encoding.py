"""JSON out: exact numbers, instants in milliseconds, names as declared."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_orders.kit.encoding import encode_json, plain_number


class Payment(msgspec.Struct, rename={"coin": "pay_currency"}):
    amount: Decimal | None
    coin: str
    at: datetime
    memo: str | msgspec.UnsetType = msgspec.UNSET


class Envelope(msgspec.Struct):
    payments: list[Payment]


class Single(msgspec.Struct):
    amount: Decimal


AT = datetime(2026, 5, 22, 10, 0, 0, 7000, tzinfo=UTC)


def test_structs_lists_and_mappings_are_written_with_exact_numbers() -> None:
    value = Envelope([Payment(Decimal("1.5E-7"), "btc", AT), Payment(None, "eth", AT, "m")])
    assert encode_json(value) == (
        b'{"payments":[{"amount":0.00000015,"pay_currency":"btc","at":"2026-05-22T10:00:00.007Z"},'
        b'{"amount":null,"pay_currency":"eth","at":"2026-05-22T10:00:00.007Z","memo":"m"}]}'
    )


def test_plain_values_and_other_types_pass() -> None:
    value = {"a": (Decimal("1E+3"), True, None, 1.5), "b": UUID(int=1), "c": Single(Decimal("0.10"))}
    assert encode_json(value) == (
        b'{"a":[1000,true,null,1.5],"b":"00000000-0000-0000-0000-000000000001","c":{"amount":0.10}}'
    )


def test_a_text_that_looks_like_an_instant_or_a_number_is_left_alone() -> None:
    assert encode_json({"note": "2026-05-22T10:00:00Z 1E-7"}) == b'{"note":"2026-05-22T10:00:00Z 1E-7"}'


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_not_written(value: str) -> None:
    with pytest.raises(ValueError, match="no number"):
        encode_json(Single(Decimal(value)))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**12), max_value=10**12))
def test_every_digit_of_a_decimal_is_written_without_an_exponent(value: Decimal) -> None:
    text = encode_json([value]).decode()
    assert "e" not in text.lower()
    assert json.loads(text, parse_float=Decimal, parse_int=Decimal) == [value]
    assert Decimal(plain_number(value)) == value
