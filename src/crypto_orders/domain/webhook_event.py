"""The body of a webhook event: made once, the same bytes for every endpoint and attempt."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.domain.order import WebhookEvent
from crypto_orders.kit.clock import to_iso

PAID = "crypto.order.paid"
FAILED = "crypto.order.failed"
TEST_PING = "test.ping"
SUBSCRIBABLE = (PAID, FAILED)


class _Paid(Struct, frozen=True):
    order_id: str
    product: str
    price_cents: int
    price_currency: str
    payment_id: str | None
    paid_at: str


class _Failed(Struct, frozen=True):
    order_id: str
    product: str
    price_cents: int
    price_currency: str
    payment_id: str | None
    reason: str | None
    failed_at: str


class _Ping(Struct, frozen=True):
    webhook_id: str


class _Body(Struct, frozen=True):
    id: UUID
    type: str
    created_at: str
    data: _Paid | _Failed | _Ping


def webhook_body(event_id: UUID, event: WebhookEvent) -> bytes:
    """The JSON body of an order's event, as the published page on webhook events states it."""
    terms = (event.order_id, event.product, event.price_cents, event.price_currency, event.payment_id)
    at = to_iso(event.at)
    data = _Paid(*terms, at) if event.event_type == PAID else _Failed(*terms, event.reason, at)
    return msgspec.json.encode(_Body(event_id, event.event_type, at, data))


def ping_body(event_id: UUID, webhook_id: str, now: datetime) -> bytes:
    """The JSON body of a test delivery."""
    return msgspec.json.encode(_Body(event_id, TEST_PING, to_iso(now), _Ping(webhook_id)))
