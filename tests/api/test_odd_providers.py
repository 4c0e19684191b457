"""Create calls that end otherwise than asked: nothing is shown that could lose money, nothing is repeated."""

from pathlib import Path
from typing import Any

import pytest

from crypto_orders.store.connection import Pool
from tests.support.odd_provider import odd_provider
from tests.support.service import running

DETAIL = "/v1/admin/crypto-orders"


async def test_a_payment_id_stays_with_its_first_order(database_url: str, pool: Pool, tmp_path: Path) -> None:
    async with (
        odd_provider(payment_id="5000000001") as odd,
        running(database_url, pool, tmp_path, workers=False, nowpayments_url=odd.url) as service,
    ):
        customer = await service.customer()
        first, second = await customer.check_out(), await customer.check_out("key-2")
        assert (first["provider"], second["provider"]) == ("nowpayments", "stub")
        assert second["payment_address"] is None
        assert await service.flags_of(second["order_id"]) == ["provider_mismatch"]
        assert (await customer.check_out("key-2"))["provider"] == "stub"
        routes = await service.rows("SELECT payment_id, order_id FROM payment_routes")
        assert routes == [{"payment_id": "5000000001", "order_id": first["order_id"]}]
        attempts = await service.rows(
            "SELECT state FROM provider_attempts WHERE order_id = $1", second["order_id"]
        )
        assert attempts == [{"state": "mismatched"}]


@pytest.mark.parametrize(
    ("coin", "changes"),
    [
        ("btc", {"order_id": "ord_somebody_elses"}),
        ("btc", {"price_amount": 78}),
        ("btc", {"price_currency": "eur"}),
        ("btc", {"pay_currency": "ltc"}),
        ("btc", {"pay_address": None}),
        ("xrp", {"pay_address": "rLW9gnQo7BQhU6igk5keqYnH3TVrCxGRzm"}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
async def test_a_payment_that_was_not_asked_for_is_kept_and_never_shown(
    database_url: str, pool: Pool, tmp_path: Path, coin: str, changes: dict[str, Any]
) -> None:
    async with (
        odd_provider(**changes) as odd,
        running(database_url, pool, tmp_path, nowpayments_url=odd.url) as service,
    ):
        customer, admin = await service.customer(), await service.admin()
        for _ in range(2):
            order = await customer.check_out("key-1", pay_currency=coin)
            assert (order["provider"], order["status"]) == ("stub", "pending")
            assert [order[name] for name in ("payment_address", "pay_amount", "payin_extra_id")] == [None] * 3
        assert len(odd.asked) == 1
        assert await service.flags_of(order["order_id"]) == ["provider_mismatch"]
        shown = (await admin.get(f"{DETAIL}/{order['order_id']}")).json
        assert shown["payment"] is None
        assert [payment["payment_id"] for payment in shown["payments"]] == ["5000000001"]
        page = await service.client("").get(order["checkout_url"].removeprefix(service.base_url))
        assert page.status == 200
        address = changes.get("pay_address") or "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"
        assert address.encode() not in page.body


async def test_a_definite_refusal_is_kept_with_its_reason_and_not_repeated(
    database_url: str, pool: Pool, tmp_path: Path
) -> None:
    async with (
        odd_provider() as odd,
        running(database_url, pool, tmp_path, nowpayments_url=odd.url) as service,
    ):
        odd.refusal = {
            "status": False,
            "statusCode": 400,
            "code": "AMOUNT_MINIMAL_ERROR",
            "message": "amountTo is too small",
        }
        customer = await service.customer()
        order = await customer.check_out("key-1")
        assert (order["provider"], order["payment_address"]) == ("stub", None)
        odd.refusal = None
        assert await customer.check_out("key-1") == order
        assert len(odd.asked) == 1
        attempts = await service.rows("SELECT state, reason FROM provider_attempts")
        assert attempts == [{"state": "refused", "reason": "AMOUNT_MINIMAL_ERROR: amountTo is too small"}]
        assert await service.flags_of(order["order_id"]) == []
