"""The shapes of webhook endpoints and deliveries on the wire."""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from crypto_orders.kit import ids
from crypto_orders.store.deliveries import Delivery, DeliveryStatus
from crypto_orders.store.webhooks import Counted

Subscribable = Literal["crypto.order.paid", "crypto.order.failed"]


class DeliveryCounts(Struct, frozen=True):
    """How many of an endpoint's deliveries stand how now."""

    delivered: int
    failed: int
    dlq: int


class EndpointView(Struct, frozen=True, kw_only=True):
    """A webhook endpoint. `disabled_at` is set when it was disabled after failures, or deleted."""

    id: str
    url: str
    secret_prefix: str
    prev_secret_prefix: str | None
    rotation_grace_expires_at: datetime | None
    events: list[str]
    description: str | None
    active: bool
    consecutive_failures: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    disabled_at: datetime | None
    delivery_counts: DeliveryCounts
    created_at: datetime


class DeliveryView(Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint; `attempts` counts since it was last replayed."""

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime
    last_response_status: int | None
    last_response_excerpt: str | None
    last_error: str | None
    delivered_at: datetime | None
    created_at: datetime


class ReplayAnswer(Struct, frozen=True):
    """How many deliveries the window holds, and how many of them this call queued."""

    matched: int
    queued: int


def endpoint_view(shown: Counted) -> EndpointView:
    """An endpoint without its secret."""
    endpoint = shown.endpoint
    return EndpointView(
        id=ids.prefixed("whk", endpoint.endpoint_id),
        url=endpoint.url,
        secret_prefix=endpoint.secret_prefix,
        prev_secret_prefix=endpoint.prev_secret_prefix,
        rotation_grace_expires_at=endpoint.grace_expires_at,
        events=list(endpoint.events),
        description=endpoint.description,
        active=endpoint.active,
        consecutive_failures=endpoint.consecutive_failures,
        last_success_at=endpoint.last_success_at,
        last_failure_at=endpoint.last_failure_at,
        disabled_at=endpoint.deleted_at or endpoint.disabled_at,
        delivery_counts=DeliveryCounts(shown.delivered, shown.failed, shown.dlq),
        created_at=endpoint.created_at,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """A delivery as its customer sees it."""
    return DeliveryView(
        id=ids.prefixed("wdl", delivery.delivery_id),
        webhook_id=ids.prefixed("whk", delivery.endpoint_id),
        event_id=str(delivery.event_id),
        event_type=delivery.event_type,
        status=delivery.status,
        attempts=delivery.attempts,
        next_attempt_at=delivery.next_attempt_at,
        last_response_status=delivery.last_response_status,
        last_response_excerpt=delivery.last_response_excerpt,
        last_error=delivery.last_error,
        delivered_at=delivery.delivered_at,
        created_at=delivery.created_at,
    )
