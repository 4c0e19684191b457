"""Who sent more than was due is told so, and sent to support; what counts as paid is called just that."""

from decimal import Decimal
from typing import Any

import pytest

from tests.checkout.test_stages import page_of, words
from tests.support.payer import control, order_in
from tests.support.service import Service, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

MORE = "More than the amount due has arrived. Contact the shop's support about the rest and quote order {}."
NOTHING_LEFT = "There is nothing left for you to do."


async def test_an_overpaid_order_says_so_until_support_has_settled_it(service: Service) -> None:
    _, order = await order_in(service, "pay")
    await control(service, order, "pay", amount="120")
    await service.becomes(order["order_id"], "paid")
    text = words(await page_of(service, order))
    assert MORE.format(order["order_id"]) in text
    assert "Keep the receipt." in text
    assert NOTHING_LEFT not in text
    for language, told in (
        ("de", "Es ist mehr als der fällige Betrag angekommen."),
        ("es", "Ha llegado más del importe debido."),
        ("ar", "وصل مبلغ أكبر من المستحق."),
    ):
        assert told in words(await page_of(service, order, f"?lang={language}"))
    await settle(service, order)
    text = words(await page_of(service, order))
    assert "More than the amount due" not in text
    assert NOTHING_LEFT in text


async def settle(service: Service, order: dict[str, Any]) -> None:
    """Have support credit what an order's only open flag is about."""
    admin = await service.admin()
    (flag,) = (await admin.get("/v1/admin/flags?state=open&kind=overpaid")).json["data"]
    assert flag["order_id"] == order["order_id"]
    body = {"resolution": "credited", "reason": "Sent too much.", "reference": "CN-1"}
    reply = await admin.post(f"/v1/admin/flags/{flag['id']}/resolve", body)
    assert reply.status == 200, reply.body


async def test_coins_that_came_after_an_order_was_paid_are_told_of(service: Service) -> None:
    _, order = await order_in(service, "paid")
    assert NOTHING_LEFT in words(await page_of(service, order))
    await control(service, order, "redeposit", amount="40.5")

    async def told() -> bool:
        return MORE.format(order["order_id"]) in words(await page_of(service, order))

    await eventually(told)
    assert "redeposit" in await service.flags_of(order["order_id"])


async def test_too_much_on_its_way_is_told_of_already(service: Service) -> None:
    _, order = await order_in(service, "pay")
    await control(service, order, "pay", amount="120", confirm=False)
    await service.becomes(order["order_id"], "confirming")
    text = words(await page_of(service, order))
    assert MORE.format(order["order_id"]) in text
    assert "You may close this page." in text
    assert NOTHING_LEFT not in text


async def test_what_is_missing_within_the_tolerance_is_not_said_to_have_come(service: Service) -> None:
    _, order = await order_in(service, "pay")
    await control(service, order, "pay", amount=str(order["pay_amount"] * Decimal("0.995")))
    await service.becomes(order["order_id"], "partial")
    await control(service, order, "status", payment_status="finished")
    await service.becomes(order["order_id"], "paid")
    text = words(await page_of(service, order))
    assert "Your payment has arrived, and the order is complete." in text
    assert "in full" not in text + words(await page_of(service, order, "/receipt"))
