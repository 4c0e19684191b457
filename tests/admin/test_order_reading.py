"""What the orders' screens read from addresses, and how they write two sides of money, without a service."""

from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from crypto_orders.admin.order_advice import advise
from crypto_orders.admin.order_answers import Row, compared
from crypto_orders.admin.order_query import OrdersQuery, read, whole_number
from crypto_orders.admin.order_view import Coins, received_of
from crypto_orders.domain.order import Event, EventDetail, Source, Status, Via
from crypto_orders.store.order_views import AdminShown
from tests.support.order_core import ADDRESS, CHILD, FIRST, NOW, ORDER_ID, SECOND, a_payment, an_order

ANSWER = {
    "payment_id": int(FIRST),
    "payment_status": "finished",
    "order_id": ORDER_ID,
    "price_amount": 79,
    "price_currency": "usd",
    "pay_currency": "btc",
    "pay_address": ADDRESS,
    "pay_amount": 0.001,
    "actually_paid": 0.001,
}


def rows_of(**changes: object) -> dict[str, Row]:
    """The provider's answer beside a paid order of 79.00 USD that 0.001 BTC came for."""
    payment = a_payment(actually_paid=Decimal("0.001"), provider_status="finished")
    answer = msgspec.json.encode({**ANSWER, **changes})
    return {row.label: row for row in compared(an_order(Status.PAID), payment, answer)}


@pytest.mark.parametrize("text", ["0", "201", "000000001999999", "1e2", "-1", "\u0665"])
def test_a_page_is_never_larger_than_it_may_be(text: str) -> None:
    asked = read(OrdersQuery(limit=text))
    assert asked.limit == 50
    assert asked.faults == {"limit": "A page shows 1 to 200 orders."}
    assert whole_number(text, 200) is None


def test_the_last_day_there_is_is_told_beside_its_field() -> None:
    asked = read(OrdersQuery(created_before="9999-12-31"))
    assert asked.faults == {"created_before": "Is the last day there is: leave it out."}


def test_answers_that_agree_differ_nowhere() -> None:
    assert [label for label, row in rows_of().items() if row.differs] == []


def test_each_side_of_an_amount_is_in_its_own_coin() -> None:
    rows = rows_of(pay_currency="ltc")
    assert rows["Received"] == Row("Received", "0.001 BTC", "0.001 LTC", differs=True)
    assert rows["Expected"].differs


def test_another_currency_of_the_price_differs() -> None:
    assert rows_of(price_currency="eur")["Price"] == Row("Price", "79.00 USD", "79.00 EUR", differs=True)
    assert rows_of(price_amount=1199.5)["Price"].theirs == "1,199.50 USD"
    assert rows_of(price_amount=79.005)["Price"].theirs == "79.005 USD"
    assert rows_of(price_amount=79.5)["Price"].differs


def test_what_an_operator_said_stands_before_the_provider_s_answer() -> None:
    payment, answer = a_payment(), msgspec.json.encode({**ANSWER, "payment_status": "waiting"})
    denied = compared(an_order(), payment, answer, "finished")
    assert denied[:2] == (
        Row("You said", "finished (paid)", "waiting (pending)", differs=True),
        Row("Status", "waiting (pending)", "waiting (pending)", differs=False),
    )
    confirmed = compared(an_order(), payment, msgspec.json.encode(ANSWER), "finished")
    assert confirmed[0] == Row("You said", "finished (paid)", "finished (paid)", differs=False)
    assert compared(an_order(), payment, None, "finished") == ()


def test_coins_are_summed_each_apart_and_unknown_ones_not_at_all() -> None:
    paid = Decimal("0.3")
    payments = [
        a_payment(FIRST, actually_paid=paid),
        a_payment(SECOND, actually_paid=paid, pay_currency="ltc"),
        a_payment(CHILD, actually_paid=Decimal("0.000000000000000001")),
        a_payment("5000000004", actually_paid=paid, pay_currency=None),
        a_payment("5000000005", actually_paid=paid, pay_currency=None),
    ]
    assert received_of(payments) == (
        Coins(Decimal("0.300000000000000001"), "btc"),
        Coins(paid, "ltc"),
        Coins(paid, None),
        Coins(paid, None),
    )


def advised(status: Status, at: datetime = NOW, detail: EventDetail | None = None) -> str:
    """What to do first about an order that reached a status at a moment."""
    event = Event(
        seq=2,
        status=status,
        source=Source.IPN,
        at=at,
        via=Via.OPERATOR,
        actor="op:ann@example.com",
        detail=detail or EventDetail(),
    )
    shown = AdminShown(order=an_order(status), events=(event,), payments=(), flags=(), now=NOW)
    return advise(shown, ())[0].lead


def test_an_order_that_an_operator_paid_is_not_called_paid_in_full() -> None:
    assert advised(Status.PAID) == "Paid."
    assert advised(Status.PAID, detail=EventDetail(override=True)) == "Paid by an operator's override."


def test_a_note_written_today_does_not_make_old_money_young() -> None:
    assert advised(Status.CONFIRMING, NOW - timedelta(hours=23)) == "On its way."
    assert advised(Status.CONFIRMING, NOW - timedelta(hours=25)) == "Confirming for more than a day."
