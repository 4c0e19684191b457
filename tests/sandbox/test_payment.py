"""Money and time change a payment by rules that need no server."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from crypto_orders.sandbox import payment as payments
from crypto_orders.sandbox.payment import Payment, Transfer

WAITING = Payment(
    payment_id=5_000_000_001, purchase_id=5_000_000_002, order_id="o-1", order_description=None,
    customer_email=None, price_amount=Decimal(100), price_currency="usd", pay_amount=Decimal("0.00166667"),
    pay_currency="btc", pay_address="3xyz", payin_extra_id=None, outcome_currency="btc",
    ipn_callback_url=None,
    origin_ip=None, is_fixed_rate=False, is_fee_paid_by_user=False, created_ms=1_000, updated_ms=1_000,
    estimate_until_ms=2_000, valid_until_ms=9_000,
)  # fmt: skip


def walked(payment: Payment) -> list[Payment]:
    """Every state a payment goes through by itself, a step of 100 ms at a time."""
    states: list[Payment] = []
    while payment.walk:
        payment = payments.step(payment, now_ms=payment.step_due_ms or 0, step_ms=100)
        states.append(payment)
    return states


def test_money_is_shown_from_the_first_step_and_steps_are_100_ms_apart() -> None:
    paid = payments.with_money(WAITING, Decimal("0.00166667"), confirm=True, now_ms=5_000)
    assert (paid.payment_status, paid.actually_paid) == ("waiting", 0)
    states = walked(paid)
    assert [(state.payment_status, state.updated_ms) for state in states] == [
        ("confirming", 5_000), ("confirmed", 5_100), ("sending", 5_200), ("finished", 5_300),
    ]  # fmt: skip
    assert {state.actually_paid for state in states} == {Decimal("0.00166667")}
    assert states[-1].step_due_ms is None


@pytest.mark.parametrize(
    ("amount", "end"),
    [("0.00166666", "partially_paid"), ("0.00166667", "finished"), ("0.00166668", "finished")],
)
def test_the_last_digit_decides_between_partial_and_finished(amount: str, end: str) -> None:
    paid = payments.with_money(WAITING, Decimal(amount), confirm=True, now_ms=0)
    assert walked(paid)[-1].payment_status == end


@pytest.mark.parametrize(
    ("status", "confirm", "walk"),
    [
        ("waiting", True, ("confirming", "confirmed", "sending", "settled")),
        ("waiting", False, ("confirming",)),
        ("confirming", True, ("confirmed", "sending", "settled")),
        ("confirming", False, ("confirming",)),
        ("confirmed", True, ("sending", "settled")),
        ("confirmed", False, ("confirmed",)),
        ("sending", True, ("settled",)),
        ("sending", False, ("sending",)),
        ("spending", True, ("settled",)),
    ],
)
def test_money_moves_a_resting_payment_on_from_where_it_is(
    status: str, confirm: bool, walk: tuple[str, ...]
) -> None:
    resting = replace(WAITING, payment_status=status)
    assert payments.with_money(resting, Decimal(1), confirm=confirm, now_ms=0).walk == walk


def test_a_confirming_transfer_right_after_an_unconfirmed_one_is_not_lost() -> None:
    first = payments.with_money(WAITING, Decimal("0.001"), confirm=False, now_ms=5_000)
    both = payments.with_money(first, payments.due(first), confirm=True, now_ms=5_000)
    assert [state.payment_status for state in walked(both)] == [
        "confirming",
        "confirmed",
        "sending",
        "finished",
    ]


def test_a_child_asks_for_what_arrived_and_keeps_the_rest_of_its_parent() -> None:
    transfer = Transfer(Decimal(13), "usdtbsc", confirm=True)
    child = payments.child_of(
        WAITING, transfer, payment_id=5_000_000_009, final_status="finished", now_ms=7_000, valid_ms=500
    )
    assert child == replace(
        WAITING, payment_id=5_000_000_009, parent_payment_id=5_000_000_001, pay_amount=Decimal(13),
        pay_currency="usdtbsc", received=Decimal(13), actually_paid=Decimal(13),
        walk=("confirming", "confirmed", "sending", "finished"), step_due_ms=7_000,
        created_ms=7_000, updated_ms=7_000, estimate_until_ms=7_000, valid_until_ms=7_500,
    )  # fmt: skip


def test_fees_are_in_the_outcome_coin() -> None:
    assert payments.fee(WAITING) == (Decimal("0.00000017"), Decimal("0.00000833"), Decimal(0))
    assert payments.outcome(WAITING) == Decimal("0.00165817")
    converted = replace(WAITING, outcome_currency="usdttrc20")
    assert payments.fee(converted) == (Decimal("0.010000"), Decimal("0.500001"), Decimal(0))
    assert payments.outcome(converted) == Decimal("99.490199")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    price=st.decimals(min_value="0.01", max_value="10000", places=2),
    amounts=st.lists(st.decimals(min_value="0.00000001", max_value="1", places=8), min_size=1, max_size=6),
)
def test_what_is_shown_is_exactly_what_was_sent(price: Decimal, amounts: list[Decimal]) -> None:
    payment = replace(WAITING, price_amount=price)
    for amount in amounts:
        payment = payments.with_money(payment, amount, confirm=True, now_ms=0)
    end = walked(payment)[-1]
    assert end.actually_paid == sum(amounts)
    assert (end.payment_status == "finished") == (sum(amounts) >= payment.pay_amount)
    assert payments.outcome(end) >= 0
