"""Every operation with an id, called with the id of another account's object: as if it did not exist."""

from typing import Any

from tests.support.service import Reply, Service, eventually

BODIES: dict[str, Any] = {
    "PATCH /v1/billing/crypto-orders/{order_id}": {"customer_note": "mine now"},
    "PATCH /v1/webhooks/{webhook_id}": {"active": False},
    "POST /v1/webhooks/{webhook_id}/replay": {
        "since": "2026-01-01T00:00:00Z",
        "until": "2026-01-02T00:00:00Z",
    },
}
ABSENT = {
    "order_id": "ord_01k00000000000000000000000",
    "webhook_id": "whk_00000000-0000-4000-8000-000000000000",
    "delivery_id": "wdl_00000000-0000-4000-8000-000000000000",
}
MALFORMED = {"order_id": "ord_1", "webhook_id": "whk_x", "delivery_id": "' or 1=1--"}
TABLES = ("orders", "order_events", "webhook_endpoints", "webhook_deliveries", "webhook_events")


def _told(reply: Reply) -> tuple[int, dict[str, Any]]:
    """What an answer tells, but for the request's own id."""
    return reply.status, {name: value for name, value in reply.json.items() if name != "instance"}


async def _hashes(service: Service) -> list[dict[str, Any]]:
    parts = [
        f"(SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {name} t) AS {name}" for name in TABLES
    ]
    return await service.rows(f"SELECT {', '.join(parts)}")


async def test_another_accounts_object_is_as_absent_as_one_that_never_was(service: Service) -> None:
    owner, stranger = await service.customer(), await service.customer()
    order = await owner.check_out()
    endpoint = (
        await owner.post("/v1/webhooks", {"url": "http://127.0.0.1:9/hook", "events": ["crypto.order.paid"]})
    ).json
    pinged = (await owner.post(f"/v1/webhooks/{endpoint['id']}/test")).json
    await owner.call("PATCH", f"/v1/webhooks/{endpoint['id']}", {"active": False})

    async def is_at_rest() -> bool:
        return not await service.rows("SELECT FROM webhook_deliveries WHERE status = 'in_flight'")

    await eventually(is_at_rest)
    existing = {
        "order_id": order["order_id"],
        "webhook_id": endpoint["id"],
        "delivery_id": pinged["delivery_id"],
    }
    document = (await service.client().get("/openapi.json")).json
    operations = [
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if "{" in path and not path.startswith("/v1/admin")
    ]
    assert len(operations) >= 13
    before = await _hashes(service)
    for method, path in operations:
        body = BODIES.get(f"{method} {path}")
        answers = [
            _told(await stranger.call(method, path.format(**names), body))
            for names in (existing, ABSENT, MALFORMED)
        ]
        assert answers[0] == answers[1] == answers[2], f"{method} {path}"
        assert answers[0][0] == 404, f"{method} {path}"
    assert await _hashes(service) == before
