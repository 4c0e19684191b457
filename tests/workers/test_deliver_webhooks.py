"""Webhooks arrive: signed, at once, again after a failure, and past endpoints that misbehave."""

import hashlib
import hmac
import json
import time
from typing import Any

import standardwebhooks

from crypto_orders import app
from crypto_orders.domain.delivery import SendResult
from crypto_orders.store.delivery_queue import Slots
from crypto_orders.usecases import deliveries
from crypto_orders.usecases.deliveries import Outcome
from crypto_orders.usecases.signing_keys import SigningKeys
from tests.support.notices import payment_of
from tests.support.receiver import Receiver, receiving
from tests.support.service import Customer, Service, eventually, running

BOTH = ["crypto.order.paid", "crypto.order.failed"]


async def subscribed(customer: Customer, receiver: Receiver) -> Any:
    """A new endpoint of the customer."""
    reply = await customer.post("/v1/webhooks", {"url": receiver.url, "events": BOTH})
    assert reply.status == 201, reply.body
    return reply.json


async def paid_order(service: Service, customer: Customer) -> Any:
    """An order that the payer pays in the sandbox."""
    order = await customer.check_out()
    await service.sandbox.post(f"/sandbox/payments/{await payment_of(service, order)}/pay", {})
    await service.becomes(order["order_id"], "paid")
    return order


async def deliveries_of(customer: Customer, endpoint: Any) -> list[Any]:
    """The endpoint's deliveries as its customer sees them."""
    return (await customer.get(f"/v1/webhooks/{endpoint['id']}/deliveries")).json["data"]


async def delivery_becomes(customer: Customer, endpoint: Any, status: str) -> Any:
    """Wait until the endpoint's newest delivery has a status."""

    async def look() -> Any:
        found = await deliveries_of(customer, endpoint)
        return found[0] if found and found[0]["status"] == status else None

    return await eventually(look)


async def make_due(service: Service) -> None:
    """Bring everything that waits for a retry, or whose lease runs, forward to now."""
    await service.rows("UPDATE webhook_deliveries SET due_at = clock_timestamp() WHERE due_at IS NOT NULL")


async def test_a_paid_order_is_told_with_signatures_that_both_schemes_accept(
    service: Service, receiver: Receiver
) -> None:
    customer = await service.customer()
    endpoint = await subscribed(customer, receiver)
    order = await paid_order(service, customer)
    got = (await receiver.got(1))[0]
    body = standardwebhooks.Webhook(endpoint["secret"]).verify(got.body, got.headers)
    assert body["type"] == "crypto.order.paid"
    assert body["id"] == got.webhook_id == got.headers["x-crypto-orders-event-id"]
    assert body["data"]["order_id"] == order["order_id"]
    assert body["data"]["price_cents"] == 7900
    stamp, _, mac = got.headers["x-crypto-orders-signature"].partition(",v1=")
    signed = stamp.removeprefix("t=").encode() + b"." + got.body
    assert mac == hmac.new(endpoint["secret"].encode(), signed, hashlib.sha256).hexdigest()
    assert got.headers["x-crypto-orders-event-type"] == "crypto.order.paid"
    assert got.headers["user-agent"] == "crypto-orders-webhooks/1.0"
    delivery = await delivery_becomes(customer, endpoint, "delivered")
    assert (delivery["attempts"], delivery["last_response_status"], delivery["last_error"]) == (1, 200, None)
    shown = (await customer.get(f"/v1/webhooks/{endpoint['id']}")).json
    assert shown["delivery_counts"] == {"delivered": 1, "failed": 0, "dlq": 0}
    detail = (await (await service.admin()).get(f"/v1/admin/crypto-orders/{order['order_id']}")).json
    assert [d["id"] for d in detail["deliveries"]] == [delivery["id"]]
    assert [a["status"] for a in detail["deliveries"][0]["attempt_log"]] == [200]


async def test_a_failure_is_tried_again_with_the_same_id_and_bytes(
    service: Service, receiver: Receiver
) -> None:
    customer = await service.customer()
    endpoint = await subscribed(customer, receiver)
    receiver.status, receiver.headers = 503, {"Retry-After": "100"}
    order = await paid_order(service, customer)
    failed = await delivery_becomes(customer, endpoint, "failed")
    assert (failed["attempts"], failed["last_response_status"]) == (1, 503)
    assert (failed["last_error"], failed["last_response_excerpt"]) == ("HTTP 503", "as told")
    due = await service.rows("SELECT due_at - last_attempt_at AS wait FROM webhook_deliveries")
    assert 100 <= due[0]["wait"].total_seconds() < 102
    receiver.status = 200
    await make_due(service)
    delivered = await delivery_becomes(customer, endpoint, "delivered")
    assert (delivered["attempts"], delivered["last_response_status"]) == (2, 200)
    assert delivered["last_error"] == "HTTP 503"
    first, second = receiver.received
    assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
    detail = (await (await service.admin()).get(f"/v1/admin/crypto-orders/{order['order_id']}")).json
    log = detail["deliveries"][0]["attempt_log"]
    assert [(a["attempt"], a["status"], a["error"]) for a in log] == [(1, 503, "HTTP 503"), (2, 200, None)]


async def test_both_secrets_sign_during_the_grace_of_a_rotation(service: Service, receiver: Receiver) -> None:
    customer = await service.customer()
    endpoint = await subscribed(customer, receiver)
    path = f"/v1/webhooks/{endpoint['id']}"
    rotated = (await customer.post(f"{path}/rotate-secret")).json
    assert rotated["prev_secret_prefix"] == endpoint["secret_prefix"]
    again = (await customer.post(f"{path}/rotate-secret")).json
    assert again["prev_secret_prefix"] == endpoint["secret_prefix"]
    assert again["grace_expires_at"] == rotated["grace_expires_at"]
    ping = (await customer.post(f"{path}/test", {})).json
    got = (await receiver.got(1))[0]
    for secret in (again["secret"], endpoint["secret"]):
        body = standardwebhooks.Webhook(secret).verify(got.body, got.headers)
        assert (body["id"], body["type"]) == (ping["event_id"], "test.ping")
        assert body["data"] == {"webhook_id": endpoint["id"]}
    assert got.headers["x-crypto-orders-signature"].count("v1=") == 2
    await service.rows(
        "UPDATE webhook_endpoints SET grace_expires_at = clock_timestamp() - interval '1 hour'"
    )
    await customer.post(f"{path}/test")
    later = (await receiver.got(2))[1]
    assert later.headers["webhook-signature"].count("v1,") == 1
    standardwebhooks.Webhook(again["secret"]).verify(later.body, later.headers)
    shown = (await customer.get(path)).json
    assert (shown["prev_secret_prefix"], shown["rotation_grace_expires_at"]) == (None, None)


async def test_a_paused_endpoint_gets_what_was_held_when_it_is_resumed(
    service: Service, receiver: Receiver
) -> None:
    customer = await service.customer()
    endpoint = await subscribed(customer, receiver)
    path = f"/v1/webhooks/{endpoint['id']}"
    assert (await customer.call("PATCH", path, {"active": False})).json["active"] is False
    assert (await customer.post(f"{path}/test")).status == 400
    await paid_order(service, customer)
    held = await delivery_becomes(customer, endpoint, "pending")
    assert held["attempts"] == 0
    # A second event that does get out tells that the worker has looked at both.
    async with receiving() as other:
        open_one = await subscribed(customer, other)
        await customer.post(f"/v1/webhooks/{open_one['id']}/test")
        await other.got(1)
    assert receiver.received == []
    await customer.call("PATCH", path, {"active": True})
    await delivery_becomes(customer, endpoint, "delivered")
    assert len(receiver.received) == 1


async def test_a_dead_delivery_waits_for_support_and_can_be_sent_again(
    service: Service, receiver: Receiver
) -> None:
    customer, admin = await service.customer(), await service.admin()
    endpoint = await subscribed(customer, receiver)
    receiver.status = 500
    await customer.post(f"/v1/webhooks/{endpoint['id']}/test")
    for count in range(1, 7):
        await receiver.got(count)
        await delivery_becomes(customer, endpoint, "failed" if count < 6 else "dlq")
        await make_due(service)
    dead = (await admin.get(f"/v1/admin/webhook-dlq?account_id={customer.public_id}")).json["data"]
    assert [(d["status"], d["attempts"], d["account_id"]) for d in dead] == [("dlq", 6, customer.public_id)]
    shown = (await customer.get(f"/v1/webhooks/{endpoint['id']}")).json
    assert (shown["consecutive_failures"], shown["delivery_counts"]["dlq"]) == (1, 1)
    receiver.status = 204
    requeued = await admin.post(f"/v1/admin/webhook-dlq/{dead[0]['id']}/requeue")
    assert (requeued.status, requeued.json["attempts"], requeued.json["event_id"]) == (
        200,
        0,
        dead[0]["event_id"],
    )
    delivered = await delivery_becomes(customer, endpoint, "delivered")
    assert delivered["attempts"] == 1
    assert {each.webhook_id for each in receiver.received} == {dead[0]["event_id"]}
    for action in ("requeue", "discard"):
        reply = await admin.post(f"/v1/admin/webhook-dlq/{dead[0]['id']}/{action}")
        assert reply.status == 409
    audit = await service.rows("SELECT action, result FROM audit_log WHERE action LIKE '%letter' ORDER BY at")
    assert [(row["action"], row["result"]) for row in audit] == [
        ("requeue_dead_letter", "done"),
        ("requeue_dead_letter", "refused"),
        ("discard_dead_letter", "refused"),
    ]


async def test_an_endpoint_that_is_gone_is_disabled_and_keeps_its_delivery(
    service: Service, receiver: Receiver
) -> None:
    customer, admin = await service.customer(), await service.admin()
    endpoint = await subscribed(customer, receiver)
    receiver.status = 410
    await customer.post(f"/v1/webhooks/{endpoint['id']}/test")

    async def disabled() -> Any:
        found = (await customer.get(f"/v1/webhooks/{endpoint['id']}")).json
        return found if found["disabled_at"] else None

    assert (await eventually(disabled))["active"] is False
    listed = (await admin.get(f"/v1/admin/webhooks?account_id={customer.public_id}")).json["data"]
    assert listed[0]["disabled_reason"] == "the endpoint answered 410 Gone"
    assert (await deliveries_of(customer, endpoint))[0]["status"] == "pending"
    receiver.status = 200
    resumed = (await customer.call("PATCH", f"/v1/webhooks/{endpoint['id']}", {"active": True})).json
    assert (resumed["active"], resumed["disabled_at"]) == (True, None)
    await delivery_becomes(customer, endpoint, "delivered")


async def test_the_fiftieth_dead_delivery_in_a_row_disables_the_endpoint(
    service: Service, receiver: Receiver
) -> None:
    customer, admin = await service.customer(), await service.admin()
    endpoint = await subscribed(customer, receiver)
    receiver.status = 500
    await service.rows("UPDATE webhook_endpoints SET consecutive_failures = 49")
    await customer.post(f"/v1/webhooks/{endpoint['id']}/test")
    await delivery_becomes(customer, endpoint, "failed")
    await service.rows(
        "WITH made AS (INSERT INTO webhook_attempts (account_id, delivery_id, attempt_no, started_at)"
        " SELECT account_id, delivery_id, generate_series(2, 5), last_attempt_at FROM webhook_deliveries)"
        " UPDATE webhook_deliveries SET attempts = 5, attempt_no = 5, due_at = clock_timestamp()"
    )
    await delivery_becomes(customer, endpoint, "dlq")
    listed = (await admin.get("/v1/admin/webhooks")).json["data"][0]
    assert (listed["active"], listed["consecutive_failures"]) == (False, 50)
    assert listed["disabled_reason"] == "50 deliveries in a row failed every attempt"


async def test_hanging_endpoints_keep_nobody_waiting(service: Service, receiver: Receiver) -> None:
    async with receiving() as hanging:
        hanging.hangs = True
        for _ in range(4):
            stuck = await service.customer()
            for _ in range(10):
                endpoint = await subscribed(stuck, hanging)
                for _ in range(3):
                    await stuck.post(f"/v1/webhooks/{endpoint['id']}/test")
        await hanging.got(30)
        customer = await service.customer()
        endpoint = await subscribed(customer, receiver)
        await service.rows(
            "UPDATE webhook_endpoints SET last_success_at = clock_timestamp() WHERE url = $1", receiver.url
        )
        for _ in range(10):
            await customer.post(f"/v1/webhooks/{endpoint['id']}/test")
        await receiver.got(10)
        # Each hanging one holds one attempt, and together they hold half the slots.
        running_now = await service.rows(
            "SELECT count(*) AS n FROM webhook_deliveries d JOIN webhook_endpoints USING (endpoint_id)"
            " WHERE status = 'in_flight' AND url = $1 GROUP BY endpoint_id",
            hanging.url,
        )
        assert {row["n"] for row in running_now} == {1}
        assert len(running_now) <= 32


async def test_a_worker_that_dies_after_sending_costs_a_repeat_with_the_same_id(
    database_url: str, pool: Any, tmp_path: Any, receiver: Receiver
) -> None:
    async with running(database_url, pool, tmp_path, workers=False) as service:
        customer = await service.customer()
        endpoint = await subscribed(customer, receiver)
        await customer.post(f"/v1/webhooks/{endpoint['id']}/test")
        slots = Slots(free=8, unproven=8, per_endpoint=4, running=())
        async with app.webhooks_of(service.settings, pool) as sending:
            keys = SigningKeys(sending.sealer)
            dying = (await deliveries.claim(pool, slots))[0]
            lost = await deliveries.attempt(sending, keys, dying)
            assert lost.result.status == 200
            # Its lease runs: nobody else takes it, and nobody may replay it.
            assert await deliveries.claim(pool, slots) == []
            listed = (await deliveries_of(customer, endpoint))[0]
            assert listed["status"] == "in_flight"
            assert (await customer.post(f"/v1/webhook-deliveries/{listed['id']}/replay")).status == 409
            await make_due(service)
            taken_over = (await deliveries.claim(pool, slots))[0]
            assert (dying.attempt_no, taken_over.attempt_no) == (1, 2)
            await deliveries.settle(pool, [await deliveries.attempt(sending, keys, taken_over)])
            # A late word of the first attempt changes nothing.
            late = Outcome(dying, SendResult(elapsed_ms=1, status=500))
            await deliveries.settle(pool, [late])
        first, second = receiver.received
        assert (first.webhook_id, first.body) == (second.webhook_id, second.body)
        assert json.loads(first.body)["id"] == first.webhook_id
        assert (await deliveries_of(customer, endpoint))[0]["status"] == "delivered"


async def test_an_event_reaches_a_good_endpoint_soon_after_its_commit(
    service: Service, receiver: Receiver
) -> None:
    customer = await service.customer()
    endpoint = await subscribed(customer, receiver)
    begun = time.monotonic()
    await customer.post(f"/v1/webhooks/{endpoint['id']}/test")
    await receiver.got(1)
    # Far above the second that is promised, since the machine of a test may be busy.
    assert time.monotonic() - begun < 15
