"""What happened to an order, in order: its events, its flags and what became of its webhooks."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from msgspec import Struct

from crypto_orders.admin.delivery_words import failure_in, succeeded_in
from crypto_orders.admin.flag_words import name_of, resolved
from crypto_orders.domain.delivery import ATTEMPTS_MAX
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

ATTEMPTS_DRAWN_MAX: Final = ATTEMPTS_MAX
"""The newest attempts at each delivery that the timeline tells; the webhooks below it list all."""

_VIA_TEXTS: Final[dict[Via, tuple[str, str]]] = {
    Via.IPN: ("By a signed notification of the provider", " that said "),
    Via.POLL: ("By the provider's answer when we asked", ", which said "),
    Via.OPERATOR: ("By an operator's replay, confirmed by the provider", ": "),
}
"""By which way a word of the provider came, and how that word is joined on."""

_SOURCE_TEXTS: Final[dict[Source, str]] = {
    Source.CREATE: "the customer's checkout",
    Source.IPN: "the provider",
    Source.CANCEL: "the customer, inside the pay window",
    Source.EXPIRED: "the customer, after the pay window",
    Source.SWEPT: "a sweep, after asking the provider",
}


class Line(Struct, frozen=True, kw_only=True):
    """One line of the timeline.

    `before` and `after` are statuses where one changed. `words` say who and why; `said` joins the
    provider's own word to them.

    `source`, `via` and `actor` are the raw words of the API; `seq` numbers the order's own events.
    """

    at: datetime
    icon: str
    tone: str
    title: str
    words: str
    said: str = " that said "
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
    words, said = _told(event)
    return Line(
        at=event.at,
        icon=_STATUS_ICONS[event.status],
        tone=STATUS_TONES[event.status],
        title="Order started"
        if before is None
        else f"{before.value.capitalize()} became {event.status.value}",
        words=words,
        said=said,
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


def _told(event: Event) -> tuple[str, str]:
    """Who moved the order and by which way, and how the provider's word is joined on."""
    detail = event.detail
    if detail.honour and detail.override:
        return "An operator honoured the ended order and overrode the provider", ", which said "
    if detail.honour:
        return "An operator honoured the ended order by the provider's answer", ", which said "
    if detail.override:
        return "By an operator, who overrode the provider", ": "
    if event.via is not None:
        return _VIA_TEXTS[event.via]
    return f"By {_SOURCE_TEXTS[event.source]}", ", which said "


def _of_flag(flag: KeptFlag) -> Iterator[Line]:
    name = name_of(flag.kind)
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
            title=f"Flag {resolved(flag.resolution)}: {name}",
            words=f"Reference {flag.reference}" if flag.reference else "Resolved",
            actor=flag.resolved_by,
            reason=flag.reason,
        )


def _of_delivery(told: Told) -> Iterator[Line]:
    """The newest attempts that ended, whatever became of the delivery since."""
    for attempt in told.attempts[-ATTEMPTS_DRAWN_MAX:]:
        failure = failure_in(attempt)
        if failure is None and not succeeded_in(attempt):
            continue
        yield Line(
            at=attempt.started_at,
            icon="webhook",
            tone="bad" if failure else "good",
            title=f"Webhook failed: {failure}" if failure else "Webhook delivered",
            words=f"{told.delivery.event_type}, attempt {attempt.attempt_no}",
        )
