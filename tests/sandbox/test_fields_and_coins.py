"""Fields of any content are read or refused in the provider's words; coins have addresses of their shape."""

import hashlib
import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_orders.sandbox import coins
from crypto_orders.sandbox.addresses import MEMO_PATTERN, Shape, draw_memo
from crypto_orders.sandbox.fields import Fields
from crypto_orders.sandbox.wire import ProviderError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.decimals()
    | st.from_regex(r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?")
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)
# A busy machine is no reason to fail.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def refusal_of(read: Callable[[], object]) -> ProviderError | None:
    """How a field was refused, if it was."""
    try:
        read()
    except ProviderError as refusal:
        return refusal
    return None


@unhurried
@given(value=ANYTHING)
def test_any_value_is_read_or_refused_with_a_400(value: Any) -> None:
    fields = Fields({"field": value})
    for read in (fields.text, fields.code, fields.amount, fields.flag, fields.uri, fields.identifier):
        refusal = refusal_of(partial(read, "field"))
        assert refusal is None or (refusal.status == 400 and "field" in refusal.message)


@unhurried
@given(value=ANYTHING)
def test_any_whole_number_is_within_its_bounds(value: Any) -> None:
    read = partial(Fields({"limit": value}).whole, "limit", default=10, least=1, most=500)
    refusal = refusal_of(read)
    assert 1 <= read() <= 500 if refusal is None else refusal.status == 400


@unhurried
@given(st.decimals(min_value="0.00000001", max_value="1e10", places=8))
def test_an_amount_is_read_exactly_as_number_and_as_text(amount: Decimal) -> None:
    assert Fields({"amount": amount}).amount("amount") == amount
    assert Fields({"amount": f"{amount:f}"}).amount("amount") == amount


@pytest.mark.parametrize("shape", list(Shape))
def test_an_address_matches_the_pattern_that_is_published(shape: Shape) -> None:
    drawn = {shape.make() for _ in range(50)}
    assert len(drawn) == 50
    assert all(re.fullmatch(shape.pattern, address) for address in drawn)


@pytest.mark.parametrize(
    "shape", [Shape.BITCOIN, Shape.LITECOIN, Shape.DOGECOIN, Shape.DASH, Shape.ZCASH, Shape.TRON]
)
def test_a_base58_address_has_a_true_checksum(shape: Shape) -> None:
    number = 0
    for character in shape.make():
        number = number * 58 + ALPHABET.index(character)
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    assert hashlib.sha256(hashlib.sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]


@pytest.mark.parametrize("shape", list(Shape))
def test_memos_are_digits_where_there_are_any(shape: Shape) -> None:
    memo = draw_memo(shape)
    if shape in {Shape.RIPPLE, Shape.STELLAR}:
        assert memo is not None
        assert re.fullmatch(MEMO_PATTERN, memo)
    else:
        assert memo is None


def test_there_are_about_25_coins_and_the_documented_fiats() -> None:
    assert len(coins.COINS) == 27
    assert set(coins.FIAT_USD) == {"usd", "eur", "cad", "gbp", "aud", "ils", "ron"}


@unhurried
@given(st.decimals(min_value="0.01", max_value="1e12", places=2), st.sampled_from(sorted(coins.COINS)))
def test_every_price_converts_into_every_coin(price: Decimal, coin: str) -> None:
    amount = coins.convert(price, "usd", coin)
    assert amount > 0
    assert -amount.as_tuple().exponent <= coins.decimals_of(coin)  # type: ignore[operator]
