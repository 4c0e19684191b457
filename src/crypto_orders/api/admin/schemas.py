"""The shapes of orders and flags on the wire, for support."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from crypto_orders.api.schemas import PaymentView, payment_view
from crypto_orders.api.webhook_schemas import DeliveryView, delivery_view
from crypto_orders.domain.actions import payable
from crypto_orders.domain.errors import NotFound
from crypto_orders.domain.order import Event, EventDetail, Evidence, Status
from crypto_orders.domain.payment import Payment
from crypto_orders.kit import ids
from crypto_orders.store import flag_lists, order_views
from crypto_orders.store.connection import Conn
from crypto_orders.store.deliveries import Told
from crypto_orders.store.flag_lists import KeptFlag
from crypto_orders.store.order_views import AdminShown, Detail


class EventDetailView(Struct, frozen=True, kw_only=True):
    """What is known of an event beyond its status, as far as it applies."""

    payment_id: str | UnsetType = UNSET
    provider_status: str | UnsetType = UNSET
    notification_id: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    override: bool | UnsetType = UNSET
    honour: bool | UnsetType = UNSET


class AdminEventView(Struct, frozen=True, kw_only=True):
    """One line of an order's timeline, with its raw source and who was behind it."""

    seq: int
    status: str
    at: datetime
    source: str
    via: str | None
    actor: str | None
    detail: EventDetailView


class AdminPaymentView(Struct, frozen=True, kw_only=True):
    """A payment of an order with all that is known of it; amounts are exact."""

    payment_id: str
    parent_payment_id: str | None
    origin: str
    payment_address: str | None
    pay_currency: str | None
    pay_amount: Decimal | None
    payin_extra_id: str | None
    network: str | None
    provider_status: str
    money_seen: bool
    actually_paid: Decimal | None
    actually_paid_at_fiat: Decimal | None
    outcome_amount: Decimal | None
    outcome_currency: str | None
    payin_hash: str | None
    payout_hash: str | None
    valid_until: datetime
    created_at: datetime
    changed_at: datetime


class EvidenceView(Struct, frozen=True, kw_only=True):
    """One fact behind a flag."""

    at: datetime
    via: str | None
    provider_status: str | None
    actually_paid: Decimal | None
    pay_currency: str | None
    notification_id: str | None
    note: str | None


class FlagView(Struct, frozen=True, kw_only=True):
    """What a person has to look at, or has resolved; the newest facts behind it, oldest first."""

    id: str
    kind: str
    state: str
    order_id: str | None
    account_id: str | None
    payment_id: str | None
    evidence: list[EvidenceView]
    opened_at: datetime
    last_seen_at: datetime
    times_seen: int
    resolution: str | None
    reason: str | None
    reference: str | None
    resolved_at: datetime | None
    resolved_by: str | None


class AdminEnvelope(Struct, frozen=True, kw_only=True):
    """An order as support sees it; `payment` is what the customer may be shown, while it may be paid."""

    order_id: str
    account_id: str
    product: str
    price_cents: int
    price_currency: str
    payment_id: str | None
    status: str
    customer_note: str | None
    internal_note: str | None
    events: list[AdminEventView]
    flags: list[FlagView]
    payments: list[AdminPaymentView]
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime
    payment: PaymentView | None


class LastIpnView(Struct, frozen=True, kw_only=True):
    """The provider's last notification about an order; a payload that is no JSON is shown as text."""

    received_at: datetime
    payment_status: str | None
    payload: msgspec.Raw
    times_seen: int


class FailureView(Struct, frozen=True, kw_only=True):
    """Why an order failed: the source of its last event, and the provider's word behind it, if any."""

    reason: str
    provider_status: str | None
    at: datetime
    notification_id: str | None


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt at a delivery; one that never ended has neither a status nor an error."""

    attempt: int
    at: datetime
    elapsed_ms: int | None
    status: int | None
    error: str | None
    excerpt: str | None


class OrderDeliveryView(DeliveryView, frozen=True, kw_only=True):
    """A delivery of an order's event, with where it goes and every attempt, the oldest first."""

    url: str
    attempt_log: list[AttemptView]


class DetailEnvelope(AdminEnvelope, frozen=True, kw_only=True):
    """An order with all there is to it."""

    last_ipn: LastIpnView | None
    failure: FailureView | None
    deliveries: list[OrderDeliveryView]


def account_id_of(account_id: UUID | None) -> str | None:
    """An account's id as it is written, or None for none."""
    return None if account_id is None else ids.prefixed("acc", account_id)


def admin_envelope(shown: AdminShown) -> AdminEnvelope:
    """An order as support sees it."""
    order = shown.order
    return AdminEnvelope(
        order_id=order.order_id,
        account_id=ids.prefixed("acc", order.account_id),
        product=order.product,
        price_cents=order.price_cents,
        price_currency=order.price_currency,
        payment_id=order.payment_id,
        status=order.status.value,
        customer_note=order.customer_note,
        internal_note=order.internal_note,
        events=[event_view(event) for event in shown.events],
        flags=[flag_view(flag) for flag in shown.flags],
        payments=[admin_payment_view(payment) for payment in shown.payments],
        expires_at=order.expires_at,
        created_at=order.created_at,
        updated_at=order.updated_at,
        payment=payment_view(shown.payment) if payable(order, shown.payment, shown.now) else None,
    )


def detail_envelope(detail: Detail) -> DetailEnvelope:
    """An order with all there is to it."""
    last = detail.last_ipn
    return DetailEnvelope(
        **msgspec.structs.asdict(admin_envelope(detail.shown)),
        last_ipn=None
        if last is None
        else LastIpnView(
            received_at=last.received_at,
            payment_status=last.payment_status,
            payload=payload_of(last.payload),
            times_seen=last.times_seen,
        ),
        failure=_failure(detail.shown),
        deliveries=[_order_delivery_view(told) for told in detail.deliveries],
    )


def _order_delivery_view(told: Told) -> OrderDeliveryView:
    return OrderDeliveryView(
        **msgspec.structs.asdict(delivery_view(told.delivery)),
        url=told.receiver.url,
        attempt_log=[
            AttemptView(
                attempt=attempt.attempt_no,
                at=attempt.started_at,
                elapsed_ms=attempt.elapsed_ms,
                status=attempt.status,
                error=attempt.error,
                excerpt=attempt.excerpt,
            )
            for attempt in told.attempts
        ],
    )


def _failure(shown: AdminShown) -> FailureView | None:
    if shown.order.status is not Status.FAILED:
        return None
    last = shown.events[-1]
    return FailureView(
        reason=last.source.value,
        provider_status=last.detail.provider_status,
        at=last.at,
        notification_id=_text_of(last.detail.notification_id),
    )


def event_view(event: Event) -> AdminEventView:
    """One event with all that is known of it."""
    return AdminEventView(
        seq=event.seq,
        status=event.status.value,
        at=event.at,
        source=event.source.value,
        via=event.via.value if event.via else None,
        actor=event.actor,
        detail=_event_detail_view(event.detail),
    )


def _event_detail_view(detail: EventDetail) -> EventDetailView:
    return EventDetailView(
        payment_id=detail.payment_id or UNSET,
        provider_status=detail.provider_status or UNSET,
        notification_id=_text_of(detail.notification_id) or UNSET,
        reason=detail.reason or UNSET,
        override=detail.override or UNSET,
        honour=detail.honour or UNSET,
    )


def admin_payment_view(payment: Payment) -> AdminPaymentView:
    """A payment with all that is known of it."""
    return AdminPaymentView(
        payment_id=payment.payment_id,
        parent_payment_id=payment.parent_payment_id,
        origin=payment.origin,
        payment_address=payment.pay_address,
        pay_currency=payment.pay_currency,
        pay_amount=payment.pay_amount,
        payin_extra_id=payment.payin_extra_id,
        network=payment.network,
        provider_status=payment.provider_status,
        money_seen=payment.money_seen,
        actually_paid=payment.actually_paid,
        actually_paid_at_fiat=payment.actually_paid_at_fiat,
        outcome_amount=payment.outcome_amount,
        outcome_currency=payment.outcome_currency,
        payin_hash=payment.payin_hash,
        payout_hash=payment.payout_hash,
        valid_until=payment.valid_until,
        created_at=payment.created_at,
        changed_at=payment.changed_at,
    )


def flag_view(flag: KeptFlag) -> FlagView:
    """A flag with its evidence."""
    return FlagView(
        id=ids.prefixed("flg", flag.flag_id),
        kind=flag.kind.value,
        state=flag.state,
        order_id=flag.order_id,
        account_id=account_id_of(flag.account),
        payment_id=flag.payment_id,
        evidence=[_evidence_view(evidence) for evidence in flag.evidence],
        opened_at=flag.opened_at,
        last_seen_at=flag.last_seen_at,
        times_seen=flag.times_seen,
        resolution=flag.resolution,
        reason=flag.reason,
        reference=flag.reference,
        resolved_at=flag.resolved_at,
        resolved_by=flag.resolved_by,
    )


def _evidence_view(evidence: Evidence) -> EvidenceView:
    return EvidenceView(
        at=evidence.at,
        via=evidence.via.value if evidence.via else None,
        provider_status=evidence.provider_status,
        actually_paid=evidence.actually_paid,
        pay_currency=evidence.pay_currency,
        notification_id=_text_of(evidence.notification_id),
        note=evidence.note,
    )


def payload_of(body: bytes) -> msgspec.Raw:
    """A body as it came, when it is JSON, else as a text; its numbers keep their spelling."""
    try:
        msgspec.json.decode(body)
        body.decode("utf-8")
    except (ValueError, RecursionError):
        return msgspec.Raw(msgspec.json.encode(body.decode("utf-8", "replace")))
    return msgspec.Raw(body)


def _text_of(identifier: UUID | None) -> str | None:
    return None if identifier is None else str(identifier)


async def read_envelope(conn: Conn, order_id: str) -> AdminEnvelope:
    """An order of any account as support sees it; NotFound when there is none."""
    shown = await order_views.one(conn, order_id)
    if shown is None:
        raise NotFound
    return admin_envelope(shown)


async def read_flag(conn: Conn, flag_id: UUID) -> FlagView:
    """A flag as support sees it; NotFound when there is none."""
    flag = await flag_lists.get(conn, flag_id)
    if flag is None:
        raise NotFound
    return flag_view(flag)
