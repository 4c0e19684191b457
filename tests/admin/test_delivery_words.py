"""What a delivery is called, and which of its attempts the timeline tells, without a service."""

from datetime import timedelta
from uuid import UUID

import pytest

from crypto_orders.admin.delivery_words import words_of
from crypto_orders.admin.order_timeline import lines_of
from crypto_orders.store.deliveries import Attempt, Delivery, DeliveryStatus, Receiver, Told
from crypto_orders.store.order_views import AdminShown, Detail
from tests.support.order_core import NOW, an_order

OPEN = Receiver("https://example.com/hook", active=True, deleted=False, disabled_reason=None)
PAUSED = Receiver("https://example.com/hook", active=False, deleted=False, disabled_reason=None)
DISABLED = Receiver(
    "https://example.com/hook", active=False, deleted=False, disabled_reason="it answered 410"
)
DELETED = Receiver("https://example.com/hook", active=False, deleted=True, disabled_reason="it answered 410")


def a_delivery(status: DeliveryStatus, *, attempts: int = 1, is_due: bool = False) -> Delivery:
    return Delivery(
        account_id=UUID(int=7),
        delivery_id=UUID(int=8),
        endpoint_id=UUID(int=9),
        event_id=UUID(int=10),
        event_type="crypto.order.paid",
        status=status,
        attempts=attempts,
        next_attempt_at=NOW,
        is_due=is_due,
        last_response_status=None,
        last_response_excerpt=None,
        last_error="HTTP 503" if attempts > 1 else None,
        delivered_at=NOW if status == "delivered" else None,
        created_at=NOW - timedelta(hours=3),
    )


def tried(*results: int | str | None) -> tuple[Attempt, ...]:
    """Attempts a minute apart, each by its HTTP status, its error, or None where it has not ended."""
    return tuple(
        Attempt(
            attempt_no=number,
            started_at=NOW - timedelta(minutes=60 - number),
            elapsed_ms=None if result is None else 12,
            status=result if isinstance(result, int) else None,
            error=result if isinstance(result, str) else None,
            excerpt=None,
        )
        for number, result in enumerate(results, 1)
    )


@pytest.mark.parametrize(
    ("delivery", "receiver", "attempts", "name"),
    [
        (a_delivery("pending", attempts=0, is_due=True), OPEN, tried(), "Waiting"),
        (a_delivery("in_flight", is_due=True), OPEN, tried(None), "In flight"),
        (a_delivery("failed", attempts=2, is_due=True), OPEN, tried(503, 503), "Retrying, 2 of 6"),
        (a_delivery("failed"), OPEN, tried(503), "Discarded"),
        (a_delivery("dlq", attempts=6), OPEN, tried(*[503] * 6), "Dead letter"),
        (a_delivery("dlq", attempts=6), DELETED, tried(*[503] * 6), "Dead letter"),
        (a_delivery("pending", is_due=True), PAUSED, tried(503), "Held: the endpoint is paused"),
        (
            a_delivery("pending", is_due=True),
            DISABLED,
            tried(410),
            "Held: the endpoint is disabled (it answered 410)",
        ),
        (a_delivery("pending"), DELETED, tried(503), "Not sent: the endpoint is deleted"),
        (a_delivery("delivered"), DELETED, tried(200), "Delivered"),
        (a_delivery("delivered"), OPEN, tried(200, 204), "Delivered"),
        (
            a_delivery("delivered", attempts=3),
            OPEN,
            tried("dns: no name", 503, 204),
            "Delivered at attempt 3",
        ),
    ],
)
def test_a_delivery_is_called_by_what_becomes_of_it(
    delivery: Delivery, receiver: Receiver, attempts: tuple[Attempt, ...], name: str
) -> None:
    assert words_of(delivery, receiver, attempts).whole == name


@pytest.mark.parametrize(
    ("status", "receiver", "attempts", "titles"),
    [
        ("pending", DISABLED, tried(410), ["Webhook failed: HTTP 410"]),
        (
            "failed",
            OPEN,
            tried(503, "timeout: late"),
            ["Webhook failed: HTTP 503", "Webhook failed: timeout: late"],
        ),
        ("in_flight", OPEN, tried(503, None), ["Webhook failed: HTTP 503"]),
        ("delivered", OPEN, tried(503, 200), ["Webhook failed: HTTP 503", "Webhook delivered"]),
        ("pending", OPEN, tried(200), ["Webhook delivered"]),
        (
            "dlq",
            OPEN,
            tried(*range(500, 510)),
            [f"Webhook failed: HTTP {status}" for status in range(504, 510)],
        ),
    ],
)
def test_the_timeline_tells_the_newest_attempts_whatever_became_of_the_delivery(
    status: DeliveryStatus, receiver: Receiver, attempts: tuple[Attempt, ...], titles: list[str]
) -> None:
    told = Told(delivery=a_delivery(status), receiver=receiver, attempts=attempts)
    shown = AdminShown(order=an_order("paid"), events=(), payments=(), flags=(), now=NOW)
    lines = lines_of(Detail(shown, None, (told,)))
    assert [line.title for line in lines] == titles
