"""Customers manage their webhook endpoints over HTTP, and nobody else's."""

from datetime import timedelta
from typing import Any

import pytest

from crypto_orders.kit import clock, ids
from crypto_orders.kit.sealing import Sealer
from crypto_orders.store.connection import Pool
from crypto_orders.usecases import webhooks
from tests.support.service import SEALING_KEY, Customer, Service, running

URL = "https://93.184.215.14/hook"
PAID = ["crypto.order.paid"]
ENDPOINT_FIELDS = [
    "id",
    "url",
    "secret_prefix",
    "prev_secret_prefix",
    "rotation_grace_expires_at",
    "events",
    "description",
    "active",
    "consecutive_failures",
    "last_success_at",
    "last_failure_at",
    "disabled_at",
    "delivery_counts",
    "created_at",
]
DELIVERY_FIELDS = [
    "id",
    "webhook_id",
    "event_id",
    "event_type",
    "status",
    "attempts",
    "next_attempt_at",
    "last_response_status",
    "last_response_excerpt",
    "last_error",
    "delivered_at",
    "created_at",
]


@pytest.fixture
async def service(database_url: str, pool: Pool, tmp_path: Any) -> Any:
    """The service without workers: nothing is sent, so that what is asked for stays as it is."""
    async with running(
        database_url, pool, tmp_path, workers=False, allow_insecure_webhooks="false"
    ) as service:
        yield service


async def added(customer: Customer, **changes: Any) -> Any:
    """A new endpoint of the customer."""
    reply = await customer.post("/v1/webhooks", {"url": URL, "events": PAID} | changes)
    assert reply.status == 201, reply.body
    return reply.json


async def pinged(customer: Customer, endpoint: Any) -> str:
    """The id of a test delivery of the endpoint."""
    reply = await customer.post(f"/v1/webhooks/{endpoint['id']}/test")
    assert reply.status == 202
    assert reply.json["event_type"] == "test.ping"
    return reply.json["delivery_id"]


async def test_an_endpoint_lives_from_its_creation_to_its_deletion(service: Service) -> None:
    customer = await service.customer()
    made = await added(customer, description="first", events=[*PAID, *PAID])
    assert list(made) == [*ENDPOINT_FIELDS, "secret"]
    assert (len(made["secret"]), made["secret"][:12]) == (38, made["secret_prefix"])
    assert (made["events"], made["active"], made["description"]) == (PAID, True, "first")
    second = await added(customer)
    path = f"/v1/webhooks/{made['id']}"
    listed = (await customer.get("/v1/webhooks")).json
    assert [each["id"] for each in listed["data"]] == [second["id"], made["id"]]
    changes = {
        "url": "https://93.184.215.14:8443/other",
        "events": ["crypto.order.failed"],
        "description": None,
    }
    changed = (await customer.call("PATCH", path, changes)).json
    assert list(changed) == ENDPOINT_FIELDS
    assert {name: changed[name] for name in changes} == changes
    assert [(await customer.call("DELETE", path)).status for _ in range(2)] == [204, 204]
    shown = (await customer.get(path)).json
    assert (shown["active"], shown["disabled_at"] is not None) == (False, True)
    assert (await customer.call("PATCH", path, {"active": True})).status == 409
    assert (await customer.post(f"{path}/rotate-secret")).status == 409
    assert (await customer.post(f"{path}/test")).status == 400
    assert len((await customer.get("/v1/webhooks")).json["data"]) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://93.184.215.14/hook", "events": PAID}, "url"),
        ({"url": "https://127.0.0.1/hook", "events": PAID}, "url"),
        ({"url": "https://localhost/hook", "events": PAID}, "url"),
        ({"url": "https://2130706433/hook", "events": PAID}, "url"),
        ({"url": "https://user:pass@93.184.215.14/hook", "events": PAID}, "url"),
        ({"url": "https://93.184.215.14/" + "a" * 2048, "events": PAID}, "url"),
        ({"url": "https://93.184.215.14:25/hook", "events": PAID}, "url"),
        ({"events": PAID}, "url"),
        ({"url": URL}, "events"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["test.ping"]}, "events"),
        ({"url": URL, "events": PAID * 11}, "events"),
        ({"url": URL, "events": PAID, "description": "x" * 201}, "description"),
    ],
)
async def test_a_wrong_endpoint_is_refused_by_its_field(
    service: Service, body: dict[str, Any], field: str
) -> None:
    customer = await service.customer()
    reply = await customer.post("/v1/webhooks", body)
    assert reply.status == 400
    assert reply.json["type"].endswith("/validation-failed")
    assert list(reply.json["issues"]["fieldErrors"]) == [field]
    made = await added(customer)
    if field in body and len(body) > 1:
        changed = await customer.call("PATCH", f"/v1/webhooks/{made['id']}", {field: body[field]})
        assert (changed.status, changed.json["type"].rpartition("/")[2]) == (400, "bad-request")


async def test_an_empty_change_is_refused_and_an_eleventh_endpoint_too(service: Service) -> None:
    customer = await service.customer()
    endpoints = [await added(customer) for _ in range(10)]
    path = f"/v1/webhooks/{endpoints[0]['id']}"
    assert (await customer.call("PATCH", path, {})).status == 400
    refused = await customer.post("/v1/webhooks", {"url": URL, "events": PAID})
    assert (refused.status, refused.json["resource"], refused.json["limit"]) == (409, "webhook", 10)
    await customer.call("DELETE", path)
    await added(customer)


async def test_deliveries_come_in_pages_and_by_status(service: Service) -> None:
    customer = await service.customer()
    endpoint = await added(customer)
    made = [await pinged(customer, endpoint) for _ in range(3)]
    path = f"/v1/webhooks/{endpoint['id']}/deliveries"
    first = (await customer.get(f"{path}?limit=2")).json
    assert [list(each) for each in first["data"]] == [DELIVERY_FIELDS] * 2
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (made[:0:-1], True)
    rest = (await customer.get(f"{path}?limit=2&cursor={first['next_cursor']}")).json
    assert [each["id"] for each in rest["data"]] == made[:1]
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)
    assert (await customer.get(f"{path}?status=delivered")).json["data"] == []
    for query in ("limit=0", "limit=101", "status=held", "cursor=x", "status="):
        reply = await customer.get(f"{path}?{query}")
        assert (reply.status, reply.json["type"].rpartition("/")[2]) == (400, "validation-failed"), query


async def test_the_list_of_all_deliveries_is_in_one_order_whatever_their_statuses(service: Service) -> None:
    customer = await service.customer()
    endpoint = await added(customer)
    made = [await pinged(customer, endpoint) for _ in range(5)]
    for number, status in ((0, "dlq"), (1, "delivered"), (3, "dlq"), (4, "failed")):
        await service.rows(
            "UPDATE webhook_deliveries SET status = $2, due_at = NULL,"
            " delivered_at = CASE WHEN $2 = 'delivered' THEN created_at END WHERE delivery_id = $1",
            ids.parse_prefixed("wdl", made[number]),
            status,
        )
    path = f"/v1/webhooks/{endpoint['id']}/deliveries?limit=2"
    listed, page = [], (await customer.get(path)).json
    while page["has_more"]:
        listed += page["data"]
        page = (await customer.get(f"{path}&cursor={page['next_cursor']}")).json
    listed += page["data"]
    assert [each["id"] for each in listed] == made[::-1]
    assert [each["status"] for each in listed] == ["failed", "dlq", "pending", "delivered", "dlq"]


async def test_a_window_is_counted_then_replayed_once(service: Service) -> None:
    customer, admin = await service.customer(), await service.admin()
    endpoint = await added(customer)
    for _ in range(3):
        await pinged(customer, endpoint)
    await service.rows(
        "UPDATE webhook_deliveries SET status = 'dlq', due_at = NULL, attempts = 6, attempt_no = 6"
        " WHERE delivery_id <> (SELECT delivery_id FROM webhook_deliveries LIMIT 1)"
    )
    now = clock.utc_now()
    window = {
        "since": clock.to_iso(now - timedelta(hours=1)),
        "until": clock.to_iso(now + timedelta(hours=1)),
    }
    path = f"/v1/webhooks/{endpoint['id']}/replay"
    counted = await customer.post(path, window | {"dry_run": True})
    assert (counted.status, counted.json) == (202, {"matched": 3, "queued": 0})
    assert (await customer.post(path, window | {"statuses": ["delivered"]})).json["matched"] == 0
    assert (await customer.post(path, window)).json == {"matched": 3, "queued": 2}
    assert (await customer.post(path, window)).json == {"matched": 3, "queued": 0}
    twin = await admin.post(f"/v1/admin/webhooks/{endpoint['id']}/replay", window)
    assert (twin.status, twin.json) == (202, {"matched": 3, "queued": 0})
    reversed_window = {"since": window["until"], "until": window["since"]}
    too_long = window | {"since": clock.to_iso(now - timedelta(days=31))}
    for wrong in (reversed_window, too_long):
        assert (await customer.post(path, wrong)).status == 400
    audit = await service.rows("SELECT result FROM audit_log WHERE action = 'replay_webhook'")
    assert [row["result"] for row in audit] == ["queued"]


async def test_nothing_of_another_account_is_shown_or_touched(service: Service) -> None:
    owner, stranger = await service.customer(), await service.customer()
    endpoint = await added(owner)
    delivery_id = await pinged(owner, endpoint)
    path = f"/v1/webhooks/{endpoint['id']}"
    window = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    tried: list[tuple[str, str, Any]] = [
        ("GET", path, None),
        ("PATCH", path, {"active": False}),
        ("DELETE", path, None),
        ("POST", f"{path}/test", None),
        ("POST", f"{path}/rotate-secret", None),
        ("GET", f"{path}/deliveries", None),
        ("POST", f"{path}/replay", window),
        ("POST", f"/v1/webhook-deliveries/{delivery_id}/replay", None),
    ]
    for method, target, body in tried:
        reply = await stranger.call(method, target, body)
        absent = await stranger.call(method, target.replace(endpoint["id"][4:8], "ffff"), body)
        assert (reply.status, reply.json["detail"]) == (404, absent.json["detail"]), target
    assert (await stranger.get("/v1/webhooks")).json == {"data": []}
    assert (await owner.get(path)).json["active"] is True
    reader = await service.customer("read:webhooks")
    assert (await reader.get("/v1/webhooks")).status == 200
    assert (await reader.post("/v1/webhooks", {"url": URL, "events": PAID})).status == 403


async def test_secrets_are_sealed_and_outlive_a_change_of_the_sealing_key(service: Service) -> None:
    customer = await service.customer()
    made = await added(customer)
    rotated = (await customer.post(f"/v1/webhooks/{made['id']}/rotate-secret")).json
    new_key = "ff" * 32
    done = await webhooks.reseal(service.pool, Sealer(f"{new_key},{SEALING_KEY}"))
    assert (done.endpoints, done.unreadable) == (1, ())
    assert (await webhooks.reseal(service.pool, Sealer(f"{new_key},{SEALING_KEY}"))).endpoints == 0
    row = (await service.rows("SELECT * FROM webhook_endpoints"))[0]
    sealer, endpoint_id = Sealer(new_key), row["endpoint_id"]
    secret = sealer.open(row["secret_sealed"], webhooks.place_of_secret(endpoint_id))
    previous = sealer.open(row["prev_secret_sealed"], webhooks.place_of_previous(endpoint_id))
    assert (secret.decode(), previous.decode()) == (rotated["secret"], made["secret"])
    lost = await webhooks.reseal(service.pool, Sealer("aa" * 32))
    assert (lost.endpoints, lost.unreadable) == (0, (endpoint_id,))
