"""What happened to an order, in order: its events, its flags and what became of its webhooks."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from msgspec import Struct

from crypto_orders.domain.order import Event, Source, Status, Via
from crypto_orders.store.deliveries import Told
from crypto_orders.store.flag_lists import KeptFlag
from crypto_orders.store.order_views import AdminShown, Detail

STATUS_TONES: Final[dict[Status, str]] = {
    Status.PENDING: "neutral",
    Status.CONFIRMING: "info",
    Status.PARTIAL: "warn",
    Status.PAID: "good",
    Status.FAILED: "bad",
    Status.CANCELLED: "neutral",
}
_STATUS_ICONS: Final[dict[Status, str]] = {
    Status.PENDING: "receipt-text",
    Status.CONFIRMING: "refresh-cw",
    Status.PARTIAL: "triangle-alert",
    Status.PAID: "circle-check",
    Status.FAILED: "circle-x",
    Status.CANCELLED: "ban",
}

_VIA_TEXTS: Final[dict[Via, str]] = {
    Via.IPN: "a signed notification of the provider",
    Via.POLL: "the provider, when we asked",
    Via.OPERATOR: "an operator",
}
_SOURCE_TEXTS: Final[dict[Source, str]] = {
    Source.CREATE: "the customer's checkout",
    Source.IPN: "the provider",
    Source.CANCEL: "the customer, inside the pay window",
    Source.EXPIRED: "the customer, after the pay window",
    Source.SWEPT: "a sweep, after asking the provider",
}


class Line(Struct, frozen=True, kw_only=True):
    """One line of the timeline. `before` and `after` are statuses where one changed; `words` say who and why.

    `source`, `via` and `actor` are the raw words of the API; `seq` numbers the order's own events.
    """

    at: datetime
    icon: str
    tone: str
    title: str
    words: str
    seq: int | None = None
    before: str | None = None
    after: str | None = None
    source: str | None = None
    via: str | None = None
    actor: str | None = None
    payment_id: str | None = None
    provider_status: str | None = None
    reason: str | None = None
    is_override: bool = False


def lines_of(detail: Detail) -> list[Line]:
    """The timeline of an order, the oldest line first."""
    lines = [*_events(detail.shown)]
    for flag in detail.shown.flags:
        lines += _of_flag(flag)
    for told in detail.deliveries:
        lines += _of_delivery(told)
    return sorted(lines, key=lambda line: line.at)


def _events(shown: AdminShown) -> Iterator[Line]:
    before: Status | None = None
    for event in shown.events:
        yield _of_event(event, before)
        before = event.status


def _of_event(event: Event, before: Status | None) -> Line:
    detail = event.detail
    words = f"By {_VIA_TEXTS[event.via] if event.via else _SOURCE_TEXTS[event.source]}"
    if detail.honour:
        words = "An operator honoured the ended order"
    return Line(
        at=event.at,
        icon=_STATUS_ICONS[event.status],
        tone=STATUS_TONES[event.status],
        title="Order started" if before is None else f"{before.value} became {event.status.value}",
        words=words,
        seq=event.seq,
        before=before.value if before else None,
        after=event.status.value,
        source=event.source.value,
        via=event.via.value if event.via else None,
        actor=event.actor,
        payment_id=detail.payment_id,
        provider_status=detail.provider_status,
        reason=detail.reason,
        is_override=detail.override,
    )


def _of_flag(flag: KeptFlag) -> Iterator[Line]:
    name = flag.kind.value.replace("_", " ")
    seen = f", seen {flag.times_seen} times" if flag.times_seen > 1 else ""
    yield Line(
        at=flag.opened_at,
        icon="flag",
        tone="warn",
        title=f"Flag raised: {name}",
        words=f"For a person to decide{seen}",
        payment_id=flag.payment_id,
    )
    if flag.resolved_at is not None:
        yield Line(
            at=flag.resolved_at,
            icon="check",
            tone="neutral",
            title=f"Flag {flag.resolution}: {name}",
            words=f"Reference {flag.reference}" if flag.reference else "Resolved",
            actor=flag.resolved_by,
            reason=flag.reason,
        )


def _of_delivery(told: Told) -> Iterator[Line]:
    delivery = told.delivery
    if delivery.delivered_at is not None:
        yield Line(
            at=delivery.delivered_at,
            icon="webhook",
            tone="good",
            title="Webhook delivered",
            words=f"{delivery.event_type}, attempt {delivery.attempts}",
        )
    elif told.attempts and delivery.status in {"failed", "dlq"}:
        yield Line(
            at=told.attempts[-1].started_at,
            icon="webhook",
            tone="bad",
            title=f"Webhook failed: {delivery.last_error or 'no answer'}",
            words=f"{delivery.event_type}, attempt {delivery.attempts}",
        )
