"""Rules of the write side that only show at their edges: keys, replays, audit rows, odd providers."""

import asyncio
from typing import Any

from crypto_orders.store import asks
from tests.support.notices import payment_of
from tests.support.service import Service, eventually

CHECKOUT = "/v1/billing/crypto-checkout"
ORDERS = "/v1/admin/crypto-orders"


async def _made_at_the_provider(service: Service, order: dict[str, Any]) -> str:
    """A payment with an order's id and price that no create call of ours made and no notification tells."""
    body = {
        "price_amount": order["price_cents"] / 100,
        "price_currency": "usd",
        "pay_currency": "btc",
        "order_id": order["order_id"],
    }
    reply = await service.sandbox.post("/v1/payment", body)
    assert reply.status == 201, reply.body
    return str(reply.json["payment_id"])


async def test_a_repeated_key_replays_whatever_the_body_names(service: Service) -> None:
    customer = await service.customer()
    first = await customer.check_out("key-1")
    for other in ({"product": "x" * 200}, {"product": "solo_manual", "pay_currency": "no coin!"}):
        reply = await customer.post(CHECKOUT, other, Idempotency_Key="key-1")
        assert (reply.status, reply.json["order_id"]) == (201, first["order_id"])
        assert reply.headers["Idempotent-Replayed"] == "1"
        fresh = await customer.post(CHECKOUT, other, Idempotency_Key="key-2")
        assert (fresh.status, fresh.json["type"].rpartition("/")[2]) == (400, "validation-failed")
    assert len(await service.rows("SELECT 1 FROM orders")) == 1


async def test_a_strict_twin_that_is_refused_is_no_replay(service: Service) -> None:
    customer, admin = await service.customer(), await service.admin()
    await service.sandbox.post("/sandbox/faults", {"api_delay_ms": 4500})
    first = asyncio.create_task(customer.check_out("key-1"))

    async def is_stored() -> bool:
        return bool(await service.rows("SELECT 1 FROM idempotency_keys"))

    await eventually(is_stored)
    twin = await customer.post(
        CHECKOUT, {"product": "solo_manual"}, Idempotency_Key="key-1", Idempotency_Mode="strict"
    )
    assert (twin.status, twin.json["idempotency_status"]) == (409, "in_progress")
    assert twin.headers["retry-after"] == "1"
    assert (await first)["provider"] == "nowpayments"
    metrics = (await admin.get(f"{ORDERS}/idempotency-metrics")).json
    assert (metrics["first_writes"], metrics["replays"], metrics["body_mismatches"]) == (1, 0, 0)


async def test_an_override_adopts_the_payment_that_the_provider_calls_the_orders(service: Service) -> None:
    order = await (await service.customer()).check_out()
    payment = await _made_at_the_provider(service, order)
    master = await service.admin("admin:read", "admin:write", "admin:override")
    claim = {
        "payment_id": payment,
        "provider_status": "finished",
        "reason": "seen on the chain",
        "override": True,
    }
    reply = await master.post(f"{ORDERS}/{order['order_id']}/apply-ipn", claim)
    assert (reply.status, reply.json["outcome"], reply.json["applied"]) == (200, "applied", True)
    assert (reply.json["status"], reply.json["payment_id"]) == ("paid", payment)
    assert await service.flags_of(order["order_id"]) == ["payment_adopted"]
    rows = await service.rows("SELECT result FROM audit_log WHERE action = 'apply_ipn'")
    assert rows == [{"result": "applied"}]


async def test_a_refused_replay_still_hears_what_the_provider_said_of_another_order(service: Service) -> None:
    customer, admin = await service.customer(), await service.admin()
    asked, meant = await customer.check_out(), await customer.check_out()
    payment = await _made_at_the_provider(service, meant)
    claim = {"payment_id": payment, "provider_status": "waiting"}
    reply = await admin.post(f"{ORDERS}/{asked['order_id']}/apply-ipn", claim)
    assert (reply.status, reply.json["outcome"]) == (409, "other_order")
    assert await service.flags_of(meant["order_id"]) == ["payment_adopted"]
    assert await service.flags_of(asked["order_id"]) == []


async def test_an_operators_replay_leaves_told_what_an_answer_did_before(service: Service) -> None:
    order = await (await service.customer()).check_out()
    payment, admin = await payment_of(service, order), await service.admin()
    await service.sandbox.post("/sandbox/faults", {"drop_ipns": True})
    await service.sandbox.post(f"/sandbox/payments/{payment}/status", {"payment_status": "confirming"})
    told = (await admin.post(f"{ORDERS}/{order['order_id']}/ask-provider")).json
    assert (told["applied"], told["outcome"]) == (True, "applied")
    claim = {"payment_id": payment, "provider_status": "confirming"}
    reply = await admin.post(f"{ORDERS}/{order['order_id']}/apply-ipn", claim)
    assert (reply.status, reply.json["outcome"]) == (200, "no_change")
    rows = await service.rows(
        "SELECT verdict FROM notifications WHERE via = 'poll' AND verdict <> 'no_change'"
    )
    assert rows == [{"verdict": "applied"}]


async def test_writes_of_support_are_audited_whole_and_when_refused(service: Service) -> None:
    admin = await service.admin()
    nobody = "/v1/admin/accounts/acc_00000000-0000-4000-8000-000000000000/keys"
    assert (await admin.post(nobody, {})).status == 404
    customer = await service.customer()
    keys = f"/v1/admin/accounts/{customer.public_id}/keys"
    assert (await admin.post(keys, {"scopes": ["everything"]})).status == 400
    assert (await admin.post(keys, {"expires_at": "2030-01-01T00:00:00"})).status == 400
    made = await admin.post(keys, {"expires_at": "2030-01-01T00:00:00.0019+02:00"})
    assert (made.status, made.json["expires_at"]) == (201, "2029-12-31T22:00:00.001Z")
    product = {"price_cents": 7900, "price_currency": "USD", "active": False}
    assert (await admin.call("PUT", "/v1/admin/products/solo_manual", product)).status == 200
    await admin.post(f"{ORDERS}/sweep-expired")
    rows = await service.rows(
        """SELECT action, result, request ->> 'active' AS active
             FROM audit_log WHERE action <> 'test' ORDER BY at, audit_id"""
    )
    assert [tuple(row.values()) for row in rows] == [
        ("create_key", "refused", None),
        ("create_key", "refused", None),
        ("admin.request", "refused", None),
        ("create_key", "created", None),
        ("put_product", "stored", "false"),
        ("sweep_expired", "begun", None),
        ("sweep_expired", "expired 0, healed 0, skipped 0", None),
    ]
    stored = await service.rows("SELECT expires_at FROM api_keys WHERE expires_at IS NOT NULL")
    assert stored[0]["expires_at"].isoformat() == "2029-12-31T22:00:00.001000+00:00"


async def test_a_signature_of_another_form_is_401_even_without_a_body(service: Service) -> None:
    url = f"{service.base_url}/v1/webhooks/nowpayments"
    async with service.session.post(url, data=b"", headers={"x-nowpayments-sig": "abc"}) as reply:
        assert reply.status == 401


async def test_what_is_being_asked_about_takes_no_reads_from_the_budget(service: Service) -> None:
    await (await service.customer()).check_out()
    async with service.pool.acquire() as conn:
        await conn.execute(
            """UPDATE payments SET ask_at = now() - interval '1 second', ask_attempt = ask_attempt + 1,
                                   ask_lease_until = now() + interval '1 hour'"""
        )
        assert await asks.due_count(conn, 10) == 0
