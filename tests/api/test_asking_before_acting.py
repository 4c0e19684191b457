"""What customers start is done by what the provider says: cancelling, quoting, money nobody told of."""

from decimal import Decimal
from typing import Any

import pytest

from tests.support.notices import payment_of
from tests.support.payer import control, end_window
from tests.support.service import Customer, Reply, Service, eventually

QUOTE = "/v1/billing/crypto-checkout/quote"


async def cancel(customer: Customer, order: dict[str, Any]) -> Reply:
    """The answer to cancelling an order."""
    return await customer.post(f"/v1/billing/crypto-orders/{order['order_id']}/cancel")


async def events_of(service: Service, order: dict[str, Any]) -> list[tuple[str, str]]:
    """The steps of an order by status and source."""
    rows = await service.rows(
        "SELECT status, source FROM order_events WHERE order_id = $1 ORDER BY seq", order["order_id"]
    )
    return [(row["status"], row["source"]) for row in rows]


@pytest.mark.parametrize("answers", [True, False], ids=["asked", "silent"])
async def test_inside_the_window_an_order_is_cancelled(service: Service, answers: bool) -> None:
    customer = await service.customer()
    order = await customer.check_out()
    if not answers:
        await service.sandbox.post("/sandbox/faults", {"api_status": 503})
    reply = await cancel(customer, order)
    assert (reply.status, reply.json["status"], reply.json["payment"]) == (200, "cancelled", None)
    assert await events_of(service, order) == [("pending", "create"), ("cancelled", "cancel")]
    assert await service.rows("SELECT 1 FROM webhook_events") == []
    again = await cancel(customer, order)
    assert (again.status, again.json["resource"], again.json["field"]) == (409, "crypto_order", "status")
    assert len(await events_of(service, order)) == 2


async def test_past_the_window_a_cancelled_order_has_expired(service: Service) -> None:
    customer = await service.customer()
    order = await customer.check_out()
    await end_window(service, order)
    await service.sandbox.post("/sandbox/faults", {"api_status": 503})
    unsure = await cancel(customer, order)
    assert (unsure.status, unsure.headers["retry-after"]) == (503, "5")
    assert await events_of(service, order) == [("pending", "create")]
    await service.sandbox.post("/sandbox/faults", {"api_status": None})
    reply = await cancel(customer, order)
    assert (reply.status, reply.json["status"]) == (200, "failed")
    assert await events_of(service, order) == [("pending", "create"), ("failed", "expired")]
    told = await service.rows("SELECT event_type FROM webhook_events")
    assert told == [{"event_type": "crypto.order.failed"}]


@pytest.mark.parametrize("is_late", [False, True], ids=["inside", "past"])
async def test_an_order_whose_payment_was_seen_is_not_cancelled_but_moved(
    service: Service, is_late: bool
) -> None:
    customer = await service.customer()
    order = await customer.check_out()
    await service.sandbox.post("/sandbox/faults", {"drop_ipns": 1})
    await control(service, order, "status", payment_status="confirming")
    if is_late:
        await end_window(service, order)
    reply = await cancel(customer, order)
    assert (reply.status, reply.json["resource"], reply.json["field"]) == (409, "crypto_order", "status")
    assert await events_of(service, order) == [("pending", "create"), ("confirming", "ipn")]
    via = await service.rows("SELECT via FROM order_events WHERE status = 'confirming'")
    assert via == [{"via": "poll"}]


async def test_a_deposit_that_nobody_was_told_of_is_met_by_its_parent(service: Service) -> None:
    customer = await service.customer()
    order = await customer.check_out()
    await control(service, order, "pay")
    await service.becomes(order["order_id"], "paid")
    await service.sandbox.post("/sandbox/faults", {"drop_ipns": 1})
    await control(service, order, "redeposit", amount="0.001")
    assert await service.flags_of(order["order_id"]) == []
    # The reconciler's next question about the payment is due now instead of in a day.
    payment_id = await payment_of(service, order)
    await service.rows("UPDATE payments SET ask_at = now() WHERE payment_id = $1", payment_id)

    async def is_flagged() -> bool:
        return await service.flags_of(order["order_id"]) == ["redeposit"]

    await eventually(is_flagged)
    children = await service.rows("SELECT parent_payment_id FROM payments WHERE origin = 'child'")
    assert children == [{"parent_payment_id": payment_id}]
    assert await service.status_of(order["order_id"]) == "paid"


async def test_a_quote_tells_the_price_and_about_how_much_of_a_coin_that_is(service: Service) -> None:
    customer = await service.customer()
    price = {"product": "solo_manual", "price_cents": 7900, "price_currency": "USD"}
    assert (await customer.post(QUOTE, {"product": "solo_manual"})).json == price
    quoted = (await customer.post(QUOTE, {"product": "solo_manual", "pay_currency": "USDTTRC20"})).json
    assert quoted.items() >= {**price, "pay_currency": "usdttrc20"}.items()
    assert Decimal(quoted["estimate"]) == Decimal(79)
    assert Decimal(quoted["minimum"]) > 0
    for body, field in (
        ({"product": "no_such"}, "product"),
        ({"product": "solo_manual", "pay_currency": "nocoin"}, "pay_currency"),
    ):
        refused = await customer.post(QUOTE, body)
        assert (refused.status, list(refused.json["issues"]["fieldErrors"])) == (400, [field])
    await service.sandbox.post("/sandbox/faults", {"api_status": 503})
    silent = await customer.post(QUOTE, {"product": "solo_manual", "pay_currency": "btc"})
    assert silent.status == 200
    assert silent.json == {**price, "pay_currency": "btc", "estimate": None, "minimum": None}
    assert await service.rows("SELECT 1 FROM orders") == []
