"""Checkout as a customer's system meets it."""

from decimal import Decimal

from tests.support.service import Service


async def test_a_checkout_answers_with_an_address_to_pay_to(service: Service) -> None:
    customer = await service.customer()
    reply = await customer.post(
        "/v1/billing/crypto-checkout", {"product": "solo_manual", "pay_currency": "usdttrc20"}
    )
    assert reply.status == 201
    order = reply.json
    assert order["status"] == "pending"
    assert order["provider"] == "nowpayments"
    assert order["price_cents"] == 7900
    assert order["price_currency"] == "USD"
    assert order["pay_currency"] == "usdttrc20"
    assert order["payment_address"]
    assert Decimal(order["pay_amount"]) > 0
    assert order["checkout_url"].startswith(f"{service.base_url}/pay/")
    assert order["expires_at"] > order["created_at"]


async def test_a_payment_makes_the_order_paid_with_one_event_a_step(service: Service) -> None:
    customer = await service.customer()
    order = await customer.check_out()
    shown = (await customer.get(f"/v1/billing/crypto-orders/{order['order_id']}")).json
    assert shown["payment"]["payment_address"] == order["payment_address"]

    reply = await service.sandbox.post(f"/sandbox/payments/{shown['payment_id']}/pay", {})
    assert reply.status == 202
    await service.becomes(order["order_id"], "paid")

    shown = (await customer.get(f"/v1/billing/crypto-orders/{order['order_id']}")).json
    assert shown["status"] == "paid"
    assert shown["payment"] is None
    assert shown["expires_at"] is None
    assert [(e["status"], e["source"]) for e in shown["events"]] == [
        ("pending", "create"),
        ("confirming", "ipn"),
        ("paid", "ipn"),
    ]
    assert await service.flags_of(order["order_id"]) == []


async def test_a_repeated_key_replays_the_first_order(service: Service) -> None:
    customer = await service.customer()
    first = await customer.check_out("key-1")
    reply = await customer.post(
        "/v1/billing/crypto-checkout", {"product": "solo_manual"}, Idempotency_Key="key-1"
    )
    assert reply.status == 201
    assert reply.headers["Idempotent-Replayed"] == "1"
    assert reply.json == first


async def test_a_repeated_key_with_another_body_replays_loudly(service: Service) -> None:
    customer = await service.customer()
    first = await customer.check_out("key-1")
    reply = await customer.post(
        "/v1/billing/crypto-checkout",
        {"product": "team_manual", "pay_currency": "eth"},
        Idempotency_Key="key-1",
    )
    assert reply.status == 201
    assert reply.headers["Idempotency-Body-Mismatch"] == "pay_currency, product"
    assert reply.json["order_id"] == first["order_id"]


async def test_a_silent_provider_leaves_a_stub_that_a_worker_completes(service: Service) -> None:
    customer = await service.customer()
    await service.sandbox.post("/sandbox/faults", {"api_status": 429})
    order = await customer.check_out("key-1")
    assert order["provider"] == "stub"
    assert order["payment_address"] is None
    await service.sandbox.post("/sandbox/faults", {"api_status": None})
    again = await customer.check_out("key-1")
    assert again["order_id"] == order["order_id"]
    assert again["provider"] == "nowpayments"
