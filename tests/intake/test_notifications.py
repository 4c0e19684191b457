"""Notifications of the provider: what is accepted, what it does, and what it never does."""

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from crypto_orders.store.connection import Pool
from tests.support.notices import body_of, payment_of, send, signed
from tests.support.service import IPN_SECRET, Service, running


async def _order(service: Service, **body: Any) -> tuple[dict[str, Any], str]:
    customer = await service.customer()
    order = await customer.check_out(**body)
    return order, await payment_of(service, order)


async def _events(service: Service, order: dict[str, Any]) -> list[str]:
    rows = await service.rows(
        "SELECT status FROM order_events WHERE order_id = $1 ORDER BY seq", order["order_id"]
    )
    return [row["status"] for row in rows]


async def test_finished_with_the_whole_amount_makes_the_order_paid(service: Service) -> None:
    order, payment = await _order(service)
    reply = await send(
        service.client(), body_of(order, payment, "finished", actually_paid=float(order["pay_amount"]))
    )
    assert (reply.status, reply.json) == (200, {"order_state": "paid", "received": True})
    assert await _events(service, order) == ["pending", "paid"]


@pytest.mark.parametrize("signature", ["", "00", "0" * 127, "g" * 128, "0" * 128, "\uff10" * 128])
async def test_a_wrong_signature_is_refused_and_never_stored(service: Service, signature: str) -> None:
    order, payment = await _order(service)
    body = body_of(order, payment, "finished", actually_paid=1)
    reply = await send(service.client(), body, signature=signature)
    assert reply.status == 401
    assert reply.json["type"].endswith("/unauthorized")
    assert await service.rows("SELECT 1 FROM notifications WHERE via = 'ipn'") == []
    assert await service.status_of(order["order_id"]) == "pending"


async def test_two_signatures_are_none(service: Service) -> None:
    order, payment = await _order(service)
    raw, mac = signed(body_of(order, payment, "confirming"))
    headers = [("x-nowpayments-sig", mac), ("x-nowpayments-sig", mac)]
    async with service.session.post(
        service.base_url + "/v1/webhooks/nowpayments", data=raw, headers=headers
    ) as reply:
        assert reply.status == 401


async def test_another_secret_or_a_changed_byte_is_refused(service: Service) -> None:
    order, payment = await _order(service)
    raw, mac = signed(body_of(order, payment, "finished"), "another secret")
    assert (await send(service.client(), raw, signature=mac)).status == 401
    raw, mac = signed(body_of(order, payment, "finished"))
    changed = raw.replace(b"finished", b"finishes")
    assert (await send(service.client(), changed, signature=mac)).status == 401


async def test_upper_case_hex_and_other_spellings_of_the_same_body_are_accepted(service: Service) -> None:
    order, payment = await _order(service)
    raw, mac = signed(body_of(order, payment, "confirming", note="Café 東京", fee={"a": 1e-7}))
    spaced = raw.replace(b",", b" ,\n ")
    reply = await send(service.client(), spaced, signature=mac.upper())
    assert (reply.status, reply.json["order_state"]) == (200, "confirming")
    rows = await service.rows("SELECT matched_form FROM notifications WHERE via = 'ipn'")
    assert rows == [{"matched_form": "canonical"}]


async def test_an_empty_body_is_400_and_a_huge_one_413(service: Service) -> None:
    assert (await send(service.client(), b"{}", signature="0" * 128)).status == 401
    async with service.session.post(
        service.base_url + "/v1/webhooks/nowpayments", data=b"", headers={"x-nowpayments-sig": "0" * 128}
    ) as reply:
        assert reply.status == 400
    huge = b'{"payment_id":1,"payment_status":"waiting","x":"' + b"x" * (256 * 1024) + b'"}'
    async with service.session.post(
        service.base_url + "/v1/webhooks/nowpayments",
        data=huge,
        headers={"x-nowpayments-sig": hmac.digest(IPN_SECRET.encode(), huge, hashlib.sha512).hex()},
    ) as reply:
        assert reply.status == 413


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"not json",
        b'{"payment_status":"finished"}',
        b'{"payment_id":1.5,"payment_status":"finished"}',
        b'{"payment_id":1}',
        b'{"payment_id":1,"payment_status":7}',
    ],
)
async def test_what_is_signed_but_no_payment_is_kept_and_flagged(service: Service, body: bytes) -> None:
    mac = hmac.digest(IPN_SECRET.encode(), body, hashlib.sha512).hex()
    async with service.session.post(
        service.base_url + "/v1/webhooks/nowpayments", data=body, headers={"x-nowpayments-sig": mac}
    ) as answer:
        assert answer.status == 400
    assert await service.rows("SELECT verdict FROM notifications") == [{"verdict": "malformed"}]
    assert await service.rows("SELECT kind, state FROM flags") == [{"kind": "unmatched", "state": "open"}]


async def test_the_same_body_many_times_at_once_is_one_transition(service: Service) -> None:
    order, payment = await _order(service)
    body = body_of(order, payment, "finished", actually_paid=float(order["pay_amount"]))
    replies = await asyncio.gather(*(send(service.client(), body) for _ in range(100)))
    assert {reply.status for reply in replies} == {200}
    assert await _events(service, order) == ["pending", "paid"]
    assert await service.rows("SELECT times_seen, verdict FROM notifications WHERE via = 'ipn'") == [
        {"times_seen": 100, "verdict": "applied"}
    ]
    assert len(await service.rows("SELECT 1 FROM webhook_events")) == 1


async def test_a_payment_of_one_order_that_names_another_moves_neither(service: Service) -> None:
    order, payment = await _order(service)
    other, _ = await _order(service)
    body = body_of(
        order, payment, "finished", order_id=other["order_id"], actually_paid=float(order["pay_amount"])
    )
    reply = await send(service.client(), body)
    assert reply.status == 200
    assert await service.status_of(order["order_id"]) == "pending"
    assert await service.status_of(other["order_id"]) == "pending"
    assert await service.flags_of(order["order_id"]) == ["order_mismatch"]


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"price_amount": 1}, "amount_mismatch"),
        ({"price_currency": "eur"}, "amount_mismatch"),
        ({"pay_currency": "doge"}, "wrong_asset"),
        ({"pay_address": "bc1qelsewhere"}, "amount_mismatch"),
    ],
)
async def test_what_was_paid_otherwise_than_asked_never_pays(
    service: Service, changes: dict[str, Any], flag: str
) -> None:
    order, payment = await _order(service)
    body = body_of(order, payment, "finished", actually_paid=float(order["pay_amount"]), **changes)
    reply = await send(service.client(), body)
    assert (reply.status, reply.json["order_state"]) == (200, "pending")
    assert await service.flags_of(order["order_id"]) == [flag]


async def test_half_of_the_amount_is_partial(service: Service) -> None:
    order, payment = await _order(service)
    body = body_of(order, payment, "finished", actually_paid=float(order["pay_amount"]) / 2)
    assert (await send(service.client(), body)).json["order_state"] == "partial"


async def test_neither_payment_nor_order_known_is_kept_and_flagged(service: Service) -> None:
    body = {"payment_id": 999, "payment_status": "finished", "order_id": "somebody-elses", "actually_paid": 1}
    reply = await send(service.client(), body)
    assert (reply.status, reply.json) == (200, {"order_state": None, "received": True})
    assert await service.rows("SELECT kind, payment_id FROM flags") == [
        {"kind": "unmatched", "payment_id": "999"}
    ]


async def test_old_words_change_nothing_once_paid(service: Service) -> None:
    order, payment = await _order(service)
    paid = float(order["pay_amount"])
    await send(service.client(), body_of(order, payment, "finished", actually_paid=paid))
    for status in ("waiting", "confirming", "confirmed", "sending", "partially_paid"):
        reply = await send(service.client(), body_of(order, payment, status))
        assert reply.json["order_state"] == "paid"
    assert await _events(service, order) == ["pending", "paid"]
    assert await service.flags_of(order["order_id"]) == []


async def test_money_on_a_cancelled_order_is_flagged_once_and_seen_again(service: Service) -> None:
    customer = await service.customer()
    order = await customer.check_out()
    payment = await payment_of(service, order)
    assert (await customer.post(f"/v1/billing/crypto-orders/{order['order_id']}/cancel")).status == 200
    body = body_of(order, payment, "finished", actually_paid=float(order["pay_amount"]))
    for _ in range(3):
        assert (await send(service.client(), body)).json["order_state"] == "cancelled"
    assert await service.rows("SELECT kind, times_seen FROM flags") == [
        {"kind": "late_payment", "times_seen": 3}
    ]


async def test_a_second_deposit_is_a_child_that_waits_for_the_provider(service: Service) -> None:
    order, payment = await _order(service)
    paid = float(order["pay_amount"])
    await send(service.client(), body_of(order, payment, "finished", actually_paid=paid))
    child = body_of(order, "4870000002", "finished", actually_paid=paid, parent_payment_id=int(payment))
    assert (await send(service.client(), child)).json["order_state"] == "paid"
    assert await service.rows("SELECT verdict FROM notifications WHERE payment_id = '4870000002'") == [
        {"verdict": "waiting"}
    ]


@pytest.mark.parametrize(("tolerance", "state"), [("9.9", "partial"), ("10", "paid")])
async def test_the_deployments_tolerance_decides_what_is_paid(
    database_url: str, pool: Pool, tmp_path: Path, tolerance: str, state: str
) -> None:
    async with running(
        database_url, pool, tmp_path, workers=False, pay_tolerance_percent=tolerance
    ) as service:
        order, payment = await _order(service, pay_currency="usdttrc20")
        assert float(order["pay_amount"]) == 79
        reply = await send(service.client(), body_of(order, payment, "finished", actually_paid=71.1))
        assert (reply.status, reply.json["order_state"]) == (200, state)
