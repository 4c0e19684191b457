"""The bodies of the events that customers' systems receive."""

import json
from uuid import UUID

from msgspec.structs import replace

from crypto_orders.domain.order import WebhookEvent
from crypto_orders.domain.webhook_event import ping_body, webhook_body
from tests.support.order_core import FIRST, NOW, ORDER_ID

EVENT_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
PAID = WebhookEvent(
    event_type="crypto.order.paid",
    order_id=ORDER_ID,
    product="solo_manual",
    price_cents=7900,
    price_currency="USD",
    payment_id=FIRST,
    at=NOW,
)


def test_a_paid_event_tells_what_was_paid_and_when() -> None:
    assert json.loads(webhook_body(EVENT_ID, PAID)) == {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "type": "crypto.order.paid",
        "created_at": "2026-05-22T10:00:00.000Z",
        "data": {
            "order_id": "ord_01h2xcejqtf2nbrexx3vqjhp41",
            "product": "solo_manual",
            "price_cents": 7900,
            "price_currency": "USD",
            "payment_id": "5000000001",
            "paid_at": "2026-05-22T10:00:00.000Z",
        },
    }


def test_a_failed_event_tells_why_and_names_no_payment_that_was_never_minted() -> None:
    failed = replace(PAID, event_type="crypto.order.failed", payment_id=None, reason="swept")

    assert json.loads(webhook_body(EVENT_ID, failed)) == {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "type": "crypto.order.failed",
        "created_at": "2026-05-22T10:00:00.000Z",
        "data": {
            "order_id": "ord_01h2xcejqtf2nbrexx3vqjhp41",
            "product": "solo_manual",
            "price_cents": 7900,
            "price_currency": "USD",
            "payment_id": None,
            "reason": "swept",
            "failed_at": "2026-05-22T10:00:00.000Z",
        },
    }


def test_the_same_event_has_the_same_bytes() -> None:
    assert webhook_body(EVENT_ID, PAID) == webhook_body(EVENT_ID, PAID)


def test_a_ping_has_the_frame_of_every_event() -> None:
    assert json.loads(ping_body(EVENT_ID, "whk_1", NOW)) == {
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "type": "test.ping",
        "created_at": "2026-05-22T10:00:00.000Z",
        "data": {"webhook_id": "whk_1"},
    }
