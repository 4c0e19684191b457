"""Support works orders over HTTP: every action of the runbook, with what the provider says beside it."""

from datetime import timedelta
from typing import Any

from tests.support.notices import body_of, payment_of, send
from tests.support.service import Client, Customer, Service, eventually

ORDERS = "/v1/admin/crypto-orders"


async def _order(service: Service, **body: Any) -> tuple[Customer, dict[str, Any], str]:
    customer = await service.customer()
    order = await customer.check_out(**body)
    return customer, order, await payment_of(service, order)


async def _age(service: Service, order: dict[str, Any], hours: int) -> None:
    """Make an order so much older than it is."""
    await service.rows(
        """
        UPDATE orders
           SET created_at = created_at - $2::interval, window_ends_at = window_ends_at - $2::interval
         WHERE order_id = $1
        """,
        order["order_id"],
        timedelta(hours=hours),
    )


async def _drop_ipns(service: Service) -> None:
    await service.sandbox.post("/sandbox/faults", {"drop_ipns": True})


async def _paid_in_silence(service: Service, payment: str, **how: Any) -> None:
    """The payer pays, and no notification of it arrives."""
    await _drop_ipns(service)
    await service.sandbox.post(f"/sandbox/payments/{payment}/pay", how)

    async def is_settled() -> bool:
        listed = (await service.sandbox.get(f"/sandbox/payments?payment_id={payment}")).json["data"]
        return listed[0]["payment_status"] in {"finished", "partially_paid"}

    await eventually(is_settled)


async def _audit(service: Service) -> list[tuple[str, str]]:
    rows = await service.rows("SELECT action, result FROM audit_log WHERE action <> 'test' ORDER BY at")
    return [(row["action"], row["result"]) for row in rows]


async def test_an_order_is_found_by_the_payment_id_of_the_provider(service: Service) -> None:
    _, order, payment = await _order(service)
    admin = await service.admin()
    found = (await admin.get(f"{ORDERS}?payment_id=%20{payment}%20")).json
    assert [o["order_id"] for o in found["orders"]] == [order["order_id"]]
    assert (await admin.get(f"{ORDERS}?payment_id=1234567890")).json["orders"] == []
    assert (await admin.get(f"{ORDERS}?payment_id=")).status == 400


async def test_the_timeline_tells_the_way_of_every_event(service: Service) -> None:
    _, order, payment = await _order(service)
    admin = await service.admin()
    await service.sandbox.post(f"/sandbox/payments/{payment}/pay", {})
    await service.becomes(order["order_id"], "paid")
    events = (await admin.get(f"{ORDERS}/{order['order_id']}/events")).json["events"]
    assert [(e["source"], e.get("via"), e["status"]) for e in events] == [
        ("create", None, "pending"),
        ("ipn", "ipn", "confirming"),
        ("ipn", "ipn", "paid"),
    ]


async def test_a_lost_notification_is_replayed_when_the_provider_confirms_it(service: Service) -> None:
    _, order, payment = await _order(service)
    admin = await service.admin()
    await _paid_in_silence(service, payment)
    reply = await admin.post(
        f"{ORDERS}/{order['order_id']}/apply-ipn", {"payment_id": payment, "provider_status": "finished"}
    )
    assert reply.status == 200, reply.body
    assert (reply.json["applied"], reply.json["outcome"], reply.json["status"]) == (True, "applied", "paid")
    event = reply.json["events"][-1]
    assert (event["via"], event["source"]) == ("operator", "ipn")
    assert event["actor"].startswith("key_")
    again = await admin.post(
        f"{ORDERS}/{order['order_id']}/apply-ipn", {"payment_id": payment, "provider_status": "finished"}
    )
    assert (again.status, again.json["applied"], again.json["outcome"]) == (200, False, "no_change")
    assert await _audit(service) == [("apply_ipn", "applied"), ("apply_ipn", "no_change")]


async def test_a_replay_is_refused_when_the_provider_disagrees(service: Service) -> None:
    _, order, payment = await _order(service)
    admin = await service.admin()
    path = f"{ORDERS}/{order['order_id']}/apply-ipn"
    reply = await admin.post(path, {"payment_id": payment, "provider_status": "finished"})
    assert reply.status == 409
    assert reply.json["outcome"] == "provider_disagrees"
    assert reply.json["snapshot"]["payment_status"] == "waiting"
    assert await service.status_of(order["order_id"]) == "pending"

    override = {"payment_id": payment, "provider_status": "finished", "override": True}
    assert (await admin.post(path, override)).status == 400
    override["reason"] = "the dashboard shows it as paid"
    refused = await admin.post(path, override)
    assert (refused.status, refused.json["scope"]) == (403, "admin:override")
    master = await service.admin("admin:read", "admin:write", "admin:override")
    done = await master.post(path, override)
    assert (done.status, done.json["status"], done.json["outcome"]) == (200, "paid", "applied")
    assert done.json["events"][-1]["detail"]["reason"] == "the dashboard shows it as paid"
    assert [result for _, result in await _audit(service)] == ["refused", "refused", "refused", "applied"]


async def test_a_replay_is_refused_when_the_provider_is_silent_or_the_payment_anothers(
    service: Service,
) -> None:
    _, order, _ = await _order(service)
    _, _, other_payment = await _order(service)
    admin = await service.admin()
    path = f"{ORDERS}/{order['order_id']}/apply-ipn"
    foreign = await admin.post(path, {"payment_id": other_payment, "provider_status": "finished"})
    assert foreign.status == 409
    unknown = await admin.post(path, {"payment_id": "4999999999", "provider_status": "finished"})
    assert (unknown.status, unknown.json["outcome"]) == (409, "unknown_to_provider")
    await service.sandbox.post("/sandbox/faults", {"api_status": 500})
    silent = await admin.post(path, {"payment_id": "4999999999", "provider_status": "finished"})
    assert (silent.status, silent.json["outcome"]) == (409, "provider_unreachable")
    absent = f"{ORDERS}/ord_00000000000000000000000000/apply-ipn"
    assert (await admin.post(absent, {"payment_id": "1", "provider_status": "finished"})).status == 404


async def test_a_sweep_retires_only_what_the_provider_calls_waiting(service: Service) -> None:
    _, stuck, _ = await _order(service)
    _, paid, payment = await _order(service)
    _, young, _ = await _order(service)
    admin = await service.admin()
    await _paid_in_silence(service, payment)
    for order in (stuck, paid):
        await _age(service, order, hours=3)
    swept = (await admin.post(f"{ORDERS}/sweep-expired", {"older_than_hours": 2})).json
    assert swept == {"expired": 1, "healed": 1, "skipped": 0, "capped": False, "older_than_hours": 2}
    assert await service.status_of(stuck["order_id"]) == "failed"
    assert await service.status_of(paid["order_id"]) == "paid"
    assert await service.status_of(young["order_id"]) == "pending"
    detail = (await admin.get(f"{ORDERS}/{stuck['order_id']}")).json
    assert detail["events"][-1]["source"] == "swept"
    assert detail["failure"]["reason"] == "swept"


async def test_a_sweep_leaves_everything_when_the_provider_is_silent(service: Service) -> None:
    _, stuck, _ = await _order(service)
    admin = await service.admin()
    await _age(service, stuck, hours=3)
    await service.sandbox.post("/sandbox/faults", {"api_status": 503})
    swept = (await admin.post(f"{ORDERS}/sweep-expired")).json
    assert (swept["expired"], swept["skipped"], swept["older_than_hours"]) == (0, 1, 1)
    assert await service.status_of(stuck["order_id"]) == "pending"


async def test_late_money_is_honoured_once_the_provider_confirms_it(service: Service) -> None:
    customer, order, payment = await _order(service)
    admin = await service.admin()
    await customer.post(f"/v1/billing/crypto-orders/{order['order_id']}/cancel")
    await service.sandbox.post(f"/sandbox/payments/{payment}/pay", {})

    async def flags() -> Any:
        listed = (await admin.get("/v1/admin/flags?kind=late_payment&state=open")).json["data"]
        return [f for f in listed if any(e.get("provider_status") == "finished" for e in f["evidence"])]

    flag = (await eventually(flags))[0]
    path = f"/v1/admin/flags/{flag['id']}/resolve"
    assert (await admin.post(path, {"resolution": "credited", "reason": "next cycle"})).status == 400
    done = await admin.post(path, {"resolution": "honour", "reason": "the money is there"})
    assert (done.status, done.json["state"], done.json["resolution"]) == (200, "resolved", "honour")
    assert (await admin.post(path, {"resolution": "dismissed", "reason": "again"})).status == 409
    shown = (await customer.get(f"/v1/billing/crypto-orders/{order['order_id']}")).json
    assert (shown["status"], shown["payment_id"]) == ("paid", payment)
    assert [(e["status"], e["source"]) for e in shown["events"]][-1] == ("paid", "ipn")
    events = await service.rows("SELECT event_type FROM webhook_events")
    assert [e["event_type"] for e in events] == ["crypto.order.paid"]


async def test_the_reconciler_credits_what_no_notification_told(service: Service) -> None:
    _, order, payment = await _order(service)
    await _paid_in_silence(service, payment)
    assert await service.status_of(order["order_id"]) == "pending"
    # The first question comes after two minutes; it is made due now.
    await service.rows("UPDATE payments SET ask_at = now() WHERE payment_id = $1", payment)
    await service.becomes(order["order_id"], "paid")
    events = await service.rows(
        "SELECT status, via FROM order_events WHERE order_id = $1 ORDER BY seq", order["order_id"]
    )
    assert events[-1] == {"status": "paid", "via": "poll"}


async def test_looking_at_an_order_has_the_provider_asked(service: Service) -> None:
    _, order, payment = await _order(service)
    admin = await service.admin()
    await _paid_in_silence(service, payment)
    assert (await admin.get(f"{ORDERS}/{order['order_id']}")).json["status"] == "pending"
    await service.becomes(order["order_id"], "paid")


async def test_asking_the_provider_tells_its_words_once_a_minute(service: Service) -> None:
    _, order, payment = await _order(service)
    admin = await service.admin()
    await _paid_in_silence(service, payment)
    path = f"{ORDERS}/{order['order_id']}/ask-provider"
    first = (await admin.post(path)).json
    assert (first["asked"], first["applied"], first["outcome"]) == (True, True, "applied")
    assert first["snapshot"]["payment_status"] == "finished"
    second = (await admin.post(path)).json
    assert (second["asked"], second["applied"]) == (False, False)
    assert second["snapshot"]["payment_status"] == "finished"


async def test_a_further_deposit_is_met_and_flagged(service: Service) -> None:
    _, order, payment = await _order(service)
    await service.sandbox.post(f"/sandbox/payments/{payment}/pay", {})
    await service.becomes(order["order_id"], "paid")
    await service.sandbox.post(f"/sandbox/payments/{payment}/redeposit", {"amount": 0.0001})

    async def flags() -> list[str]:
        return await service.flags_of(order["order_id"])

    assert await eventually(flags) == ["redeposit"]
    admin = await service.admin()
    child = (await service.rows("SELECT payment_id FROM payments WHERE parent_payment_id = $1", payment))[0]
    found = (await admin.get(f"{ORDERS}?payment_id={child['payment_id']}")).json["orders"]
    assert [o["order_id"] for o in found] == [order["order_id"]]
    assert found[0]["payment_id"] == payment


async def test_a_failed_word_on_a_partial_order_is_put_to_the_provider(service: Service) -> None:
    _, order, payment = await _order(service)
    half = float(order["pay_amount"]) / 2
    await service.sandbox.post(f"/sandbox/payments/{payment}/pay", {"amount": half})
    await service.becomes(order["order_id"], "partial")
    await send(service.client(), body_of(order, payment, "failed"))

    async def verdict() -> str | None:
        rows = await service.rows(
            "SELECT verdict FROM notifications WHERE via = 'ipn' AND payment_status = 'failed'"
        )
        return None if rows[0]["verdict"] == "waiting" else rows[0]["verdict"]

    assert await eventually(verdict) == "no_change"
    assert await service.status_of(order["order_id"]) == "partial"
    await service.sandbox.post(f"/sandbox/payments/{payment}/status", {"payment_status": "refunded"})
    await service.becomes(order["order_id"], "failed")
    assert await service.flags_of(order["order_id"]) == ["failed_with_money"]


async def test_notes_are_kept_and_cleared(service: Service) -> None:
    customer, order, _ = await _order(service)
    admin = await service.admin()
    path = f"{ORDERS}/{order['order_id']}/internal-note"
    noted = await admin.call("PATCH", path, {"internal_note": "asked for the hash"})
    assert noted.json["internal_note"] == "asked for the hash"
    assert (await admin.call("PATCH", path, {"internal_note": ""})).json["internal_note"] is None
    assert (await admin.call("PATCH", path, {"internal_note": "x" * 2001})).status == 400
    assert (await admin.call("PATCH", path, {})).status == 400
    mine = f"/v1/billing/crypto-orders/{order['order_id']}"
    shown = await customer.call("PATCH", mine, {"customer_note": "invoice 7"})
    assert shown.json["customer_note"] == "invoice 7"
    assert "internal_note" not in shown.json


async def test_an_override_needs_its_scope(service: Service) -> None:
    _, order, _ = await _order(service)
    reader: Client = await service.admin("admin:read")
    reply = await reader.post(f"{ORDERS}/{order['order_id']}/ask-provider")
    assert (reply.status, reply.json["scope"]) == (403, "admin:write")
