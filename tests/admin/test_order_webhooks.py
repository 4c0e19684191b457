"""The webhooks of one order: how each fares, why one waits, and sending one again."""

import re
from datetime import timedelta
from uuid import uuid4

from crypto_orders.store.connection import Pool
from tests.admin.test_orders import HOSTILE, ORDERS, links, put, words
from tests.support.operators import signed_in
from tests.support.seeded import DAY
from tests.support.service import Service
from tests.support.troubles import put_delivery, put_endpoint

EVENT = """
INSERT INTO webhook_events (account_id, event_id, order_id, event_type, body, created_at)
VALUES ($1, $2, $3, 'crypto.order.paid', '{}', $4)
"""
DELIVERY = """
INSERT INTO webhook_deliveries (account_id, delivery_id, endpoint_id, event_id, event_type, status, attempts,
                                attempt_no, last_attempt_at, last_response_status, last_response_excerpt,
                                last_error, created_at)
VALUES ($1, $2, $3, $4, 'crypto.order.paid', 'dlq', 6, 6, $6, 500, $5, 'HTTP 500', $6)
"""
ATTEMPT = """
INSERT INTO webhook_attempts (account_id, delivery_id, attempt_no, started_at, elapsed_ms, status, excerpt)
VALUES ($1, $2, 6, $3, 12, 500, $4)
"""


async def test_a_webhook_is_shown_with_its_attempts_and_sent_again(service: Service, pool: Pool) -> None:
    order, other = await put(pool, status="paid"), await put(pool)
    async with pool.acquire() as conn:
        endpoint = await put_endpoint(conn, order.account_id)
        delivery_id, event_id = uuid4(), uuid4()
        await conn.execute(EVENT, order.account_id, event_id, order.order_id, DAY)
        await conn.execute(
            DELIVERY, order.account_id, delivery_id, endpoint.endpoint_id, event_id, HOSTILE, DAY
        )
        await conn.execute(ATTEMPT, order.account_id, delivery_id, DAY, HOSTILE)
    desk = await signed_in(service, "support")
    assert "Dead letter" in words(await desk.get(ORDERS))
    shown = await desk.get(f"{ORDERS}/{order.order_id}")
    for text in ("The customer's system was not told.", "Webhook failed: HTTP 500", "1 attempt", "12 ms"):
        assert text in words(shown)
    assert b"<script>alert" not in shown.body
    assert "/docs/crypto-orders-ops-runbook#dead-webhooks" in links(shown)
    path = f"deliveries/wdl_{delivery_id}/resend"
    assert (await desk.act(f"{ORDERS}/{other.order_id}/{path}")).status == 404
    done = await desk.act(f"{ORDERS}/{order.order_id}/{path}")
    assert "The webhook is sent again." in words(done)
    assert (await service.rows("SELECT status FROM webhook_deliveries"))[0]["status"] == "pending"


async def test_a_webhook_that_its_endpoint_is_not_sent_says_why(service: Service, pool: Pool) -> None:
    gone = "the endpoint answered 410 Gone"
    at = DAY + timedelta(minutes=10)
    told: list[str] = []
    desk = await signed_in(service, "support")
    for made in ({"disabled": gone}, {"paused": True}, {"deleted": True}):
        order = await put(pool, status="paid")
        async with pool.acquire() as conn:
            endpoint = await put_endpoint(conn, order.account_id, at=DAY, **made)
            due_at = None if "deleted" in made else at
            await put_delivery(
                conn, endpoint, status="pending", at=DAY, due_at=due_at, order_id=order.order_id
            )
        shown = words(await desk.get(f"{ORDERS}/{order.order_id}"))
        assert "Webhook failed: HTTP 500 crypto.order.paid, attempt 1" in shown
        assert "Next attempt" not in shown
        assert "Send again" not in shown
        told.append(shown)
    assert f"crypto.order.paid Held: the endpoint is disabled ({gone}) Endpoint" in told[0]
    assert "A webhook waits for its endpoint. It is kept: the endpoint is disabled" in told[0]
    assert "crypto.order.paid Held: the endpoint is paused Endpoint" in told[1]
    assert "crypto.order.paid Not sent: the endpoint is deleted Endpoint" in told[2]
    listing = words(await desk.get(ORDERS))
    cells = re.findall(r"solo_manual (Held|Endpoint deleted) ", listing)
    assert sorted(cells) == ["Endpoint deleted", "Held", "Held"]


async def test_what_is_sent_again_to_a_paused_endpoint_is_kept(service: Service, pool: Pool) -> None:
    order = await put(pool, status="paid")
    async with pool.acquire() as conn:
        endpoint = await put_endpoint(conn, order.account_id, paused=True)
        delivery = await put_delivery(conn, endpoint, order_id=order.order_id)
    desk = await signed_in(service, "support")
    path = f"{ORDERS}/{order.order_id}"
    assert "once more as soon as the customer resumes it" in words(await desk.get(path))
    done = words(await desk.act(f"{path}/deliveries/{delivery}/resend"))
    assert "The webhook is kept. It goes out when the customer resumes the endpoint" in done
    assert "Held: the endpoint is paused" in done
