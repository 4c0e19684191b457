"""What we, customers and operators do to an order: start, mint, cancel, sweep, honour, stop watching."""

from datetime import datetime

from msgspec.structs import replace

from crypto_orders.domain.errors import Conflict, Unavailable
from crypto_orders.domain.order import (
    Decision,
    Event,
    EventDetail,
    Evidence,
    Flag,
    FlagKind,
    Order,
    Source,
    Status,
    Verdict,
    Via,
)
from crypto_orders.domain.payment import WAITING, Payment, ends_watch_at, first_record, hear
from crypto_orders.domain.provider_payment import ProviderPayment, lacks_memo
from crypto_orders.domain.said import flag_of_payment, moved, second_money, webhook_of

ASK_AGAIN_SECONDS = 5
"""A customer whose cancel met a silent provider may try again this soon."""


def payable(order: Order, payment: Payment | None, now: datetime) -> bool:
    """Whether coins may be sent to a payment's address; only such an address is ever shown."""
    return (
        payment is not None
        and payment.payment_id == order.payment_id
        and payment.origin in {"minted", "adopted"}
        and bool(payment.pay_address)
        and not lacks_memo(payment.pay_currency, payment.payin_extra_id)
        and order.status is Status.PENDING
        and now < order.window_ends_at
        and payment.provider_status == WAITING
    )


def mint(order: Order, payments: tuple[Payment, ...], answer: ProviderPayment, now: datetime) -> Decision:
    """Record the payment that our create call made.

    It becomes the current payment unless another one has moved the order; when a notification was
    faster, the payment is known already and only its adoption flag closes.
    """
    known = next((p for p in payments if p.payment_id == answer.payment_id), None)
    if known is None:
        payment = hear(first_record(answer, "minted", now), answer, now)
    else:
        # Only the answer to the create call names the network, and a payer must never miss a memo.
        payment = replace(
            known,
            origin="minted",
            payin_extra_id=known.payin_extra_id or answer.payin_extra_id,
            network=known.network or answer.network,
        )
    order = replace(order, mint_due_at=None, updated_at=now)
    if order.status in {Status.PENDING, Status.FAILED, Status.CANCELLED} or order.payment_id is None:
        order = replace(order, payment_id=payment.payment_id)
    return Decision(order=order, verdict=Verdict.APPLIED, why="the payment was minted", payments=(payment,))


def mint_mismatched(
    order: Order, answer: ProviderPayment, why: str, now: datetime, payments: tuple[Payment, ...] = ()
) -> Decision:
    """Record a create answer that is not what we asked: kept as evidence, flagged, never shown or repeated.

    What a faster notification told of the payment stays known.
    """
    known = next((p for p in payments if p.payment_id == answer.payment_id), None)
    if known is None:
        payment = hear(first_record(answer, "mismatched", now), answer, now)
    else:
        payment = replace(known, origin="mismatched")
    evidence = Evidence(
        at=now, provider_status=answer.payment_status, pay_currency=answer.pay_currency, note=why
    )
    flag = Flag(
        kind=FlagKind.PROVIDER_MISMATCH,
        subject=answer.payment_id,
        payment_id=answer.payment_id,
        evidence=evidence,
    )
    return Decision(
        order=replace(order, mint_due_at=None, updated_at=now),
        verdict=Verdict.FLAGGED,
        why=why,
        flags=(flag,),
        payments=(payment,),
    )


def cancel(order: Order, payments: tuple[Payment, ...], waiting: frozenset[str], now: datetime) -> Decision:
    """Cancel inside the pay window; past it the order fails as expired.

    `waiting` are the payments that the provider just said are waiting. Inside the window its silence
    is no obstacle, past it nothing changes without its word.

    Raises:
        Conflict: the order is not pending, or one of its payments is beyond waiting.
        Unavailable: the window is over and the provider has not spoken about every payment.
    """
    if order.status is not Status.PENDING or any(map(_beyond_waiting, payments)):
        detail = "The order can no longer be cancelled."
        raise Conflict(detail, resource="crypto_order", field="status")
    if now < order.window_ends_at:
        return _end(order, Status.CANCELLED, Source.CANCEL, now)
    if not {p.payment_id for p in payments} <= waiting:
        detail = "The payment provider did not answer."
        raise Unavailable(detail, retry_after_seconds=ASK_AGAIN_SECONDS)
    return _end(order, Status.FAILED, Source.EXPIRED, now)


def sweep(
    order: Order, payments: tuple[Payment, ...], waiting: frozenset[str], *, minting: bool, now: datetime
) -> Decision | None:
    """Retire a long-pending order, or None when anything speaks for leaving it.

    `waiting` are the payments that the provider just said are waiting; `minting` says that a create
    call is in flight or an unapplied fact lies in the inbox.
    """
    if order.status is not Status.PENDING or now < order.window_ends_at or minting:
        return None
    if any(_beyond_waiting(p) or p.payment_id not in waiting for p in payments):
        return None
    return _end(order, Status.FAILED, Source.SWEPT, now)


def _beyond_waiting(payment: Payment) -> bool:
    """Whether an order may not be ended by the clock or its customer: a waiting payment may name money."""
    return payment.provider_status != WAITING or payment.money_seen


def honour(
    order: Order,
    payment_id: str,
    *,
    payments: tuple[Payment, ...] = (),
    actor: str,
    reason: str,
    override: bool,
    provider_status: str | None,
    now: datetime,
) -> Decision:
    """Pay an ended order by an operator's decision: the one edge out of a terminal state.

    Money seen on the order's other `payments` is flagged as it is whenever an order becomes paid.

    Raises:
        Conflict: the order is neither failed nor cancelled.
    """
    if order.status not in {Status.FAILED, Status.CANCELLED}:
        detail = f"Only a failed or cancelled order can be honoured; this one is {order.status}."
        raise Conflict(detail, resource="crypto_order", field="status")
    paid = replace(moved(order, Status.PAID, now), payment_id=payment_id)
    detail = EventDetail(
        payment_id=payment_id, provider_status=provider_status, reason=reason, override=override, honour=True
    )
    event = Event(
        seq=paid.version,
        status=Status.PAID,
        source=Source.IPN,
        at=now,
        via=Via.OPERATOR,
        actor=actor,
        detail=detail,
    )
    return Decision(
        order=paid,
        verdict=Verdict.APPLIED,
        why=f"an operator honoured the {order.status} order",
        event=event,
        flags=second_money(tuple(p for p in payments if p.payment_id != payment_id), now),
        webhook=webhook_of(paid, now, reason="ipn"),
    )


def stop_watching(order: Order, payment: Payment, now: datetime) -> Flag | None:
    """The flag of a payment whose watch ends while its order hangs in the air, if it does.

    That is a confirming or partial order, and a pending one for which the payment has seen money; a
    child's money has a flag of its own.
    """
    if now < ends_watch_at(payment) or payment.is_child:
        return None
    under_way = order.status in {Status.CONFIRMING, Status.PARTIAL}
    if not under_way and not (order.status is Status.PENDING and payment.money_seen):
        return None
    note = "still not settled a day after the provider stopped watching"
    return flag_of_payment(FlagKind.STUCK, payment, now, note=note)


def started(order: Order) -> Event:
    """The first event of an order."""
    return Event(seq=1, status=Status.PENDING, source=Source.CREATE, at=order.created_at)


def _end(order: Order, status: Status, source: Source, now: datetime) -> Decision:
    ended = moved(order, status, now)
    event = Event(
        seq=ended.version,
        status=status,
        source=source,
        at=now,
        detail=EventDetail(payment_id=order.payment_id),
    )
    return Decision(
        order=ended,
        verdict=Verdict.APPLIED,
        why=f"the order became {status}",
        event=event,
        webhook=webhook_of(ended, now, reason=source.value),
    )


def customer_source(source: Source) -> str:
    """How customers read a source: a swept order simply expired."""
    return Source.EXPIRED.value if source is Source.SWEPT else source.value
