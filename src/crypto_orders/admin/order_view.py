"""One order as its drawer and its page draw it: everything decided here, so that templates only draw."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from crypto_orders.admin import delivery_words, order_advice, order_timeline
from crypto_orders.admin.flag_words import name_of, resolved
from crypto_orders.admin.order_advice import Advice
from crypto_orders.admin.order_timeline import Line
from crypto_orders.admin.runbook import Section, section
from crypto_orders.domain.actions import payable
from crypto_orders.domain.order import FlagKind, Order
from crypto_orders.domain.payment import Payment
from crypto_orders.kit import ids
from crypto_orders.store import notes
from crypto_orders.store.deliveries import Attempt, Told
from crypto_orders.store.flag_lists import KeptFlag
from crypto_orders.store.order_surroundings import UsedKey
from crypto_orders.store.order_views import AdminShown, Detail, LastIpn
from crypto_orders.usecases.flags import HONOURABLE

FINGERPRINT_CHARS: Final = 16

_STATUS_TONES: Final = {
    "waiting": "neutral",
    "confirming": "info",
    "confirmed": "info",
    "sending": "info",
    "spending": "info",
    "partially_paid": "warn",
    "finished": "good",
}


class Coins(Struct, frozen=True):
    """An exact amount of one coin; the coin may be unknown."""

    amount: Decimal
    coin: str | None


class PaymentView(Struct, frozen=True, kw_only=True):
    """A payment with what was asked, what came, and what of it came too late."""

    payment_id: str
    parent_payment_id: str | None
    origin: str
    tone: str
    provider_status: str
    is_current: bool
    is_payable: bool
    coin: str | None
    network: str | None
    expected: Decimal | None
    received: Decimal | None
    late: Decimal | None
    received_cents_text: str | None
    outcome: Coins | None
    address: str | None
    memo: str | None
    payin_hash: str | None
    payout_hash: str | None
    valid_until: datetime
    created_at: datetime
    changed_at: datetime


class FlagView(Struct, frozen=True, kw_only=True):
    """A flag with its evidence, and how it was resolved in a word.

    `may_honour` says whether honouring is a way to resolve its kind.
    """

    flag_id: str
    flag: KeptFlag
    name: str
    is_open: bool
    resolved: str
    may_honour: bool
    more: Section


class DeliveryView(Struct, frozen=True, kw_only=True):
    """A webhook delivery, how it fares in words, and its attempts.

    `earlier_error` is what a delivered one met before. `is_kept`: what is sent now waits for the endpoint.
    """

    delivery_id: str
    event_type: str
    tone: str
    state: str
    url: str
    attempts_made: int
    last_error: str | None
    earlier_error: str | None
    is_kept: bool
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    created_at: datetime
    attempts: tuple[Attempt, ...]
    may_resend: bool


class IpnView(Struct, frozen=True):
    """The provider's last notification, its payload laid out with every number as it came."""

    received_at: datetime
    payment_status: str | None
    times_seen: int
    payload: str


class OrderView(Struct, frozen=True, kw_only=True):
    """One order with everything. `fingerprint` changes with whatever its live part shows."""

    order: Order
    account_id: str
    account_name: str
    expected: Coins | None
    received: tuple[Coins, ...]
    late: tuple[Coins, ...]
    payments: tuple[PaymentView, ...]
    lines: tuple[Line, ...]
    advice: tuple[Advice, ...]
    flags: tuple[FlagView, ...]
    deliveries: tuple[DeliveryView, ...]
    last_ipn: IpnView | None
    used_key: UsedKey | None
    checkout_url: str
    fingerprint: str
    flags_fingerprint: str
    note_digest: str
    now: datetime

    @property
    def open_flags(self) -> tuple[FlagView, ...]:
        """The flags that wait for a person."""
        return tuple(flag for flag in self.flags if flag.is_open)


def order_view(
    detail: Detail, *, account_name: str, used_key: UsedKey | None, checkout_url: str
) -> OrderView:
    """An order as it is drawn."""
    shown = detail.shown
    payments = tuple(_payment(shown, payment) for payment in shown.payments)
    current = next((payment for payment in payments if payment.is_current), None)
    advice = tuple(order_advice.advise(shown, detail.deliveries))
    return OrderView(
        order=shown.order,
        account_id=ids.prefixed("acc", shown.order.account_id),
        account_name=account_name,
        expected=Coins(current.expected, current.coin) if current and current.expected else None,
        received=received_of(shown.payments),
        late=_sums((p.late, p.coin) for p in payments),
        payments=payments,
        lines=tuple(order_timeline.lines_of(detail)),
        advice=advice,
        flags=tuple(_flag(flag) for flag in shown.flags),
        deliveries=tuple(_delivery(told) for told in detail.deliveries),
        last_ipn=_ipn(detail.last_ipn),
        used_key=used_key,
        checkout_url=checkout_url,
        fingerprint=_digest(
            shown.order, shown.payments, shown.flags, detail.deliveries, detail.last_ipn, advice
        ),
        flags_fingerprint=_digest([flag.flag_id for flag in shown.flags if flag.state == "open"]),
        note_digest=notes.digest(shown.order.internal_note).hex(),
        now=shown.now,
    )


def received_of(payments: Iterable[Payment]) -> tuple[Coins, ...]:
    """What arrived on some payments, exactly, one sum for each coin; what has no known coin stays apart."""
    return _sums((payment.actually_paid, payment.pay_currency) for payment in payments)


def _sums(amounts: Iterable[tuple[Decimal | None, str | None]]) -> tuple[Coins, ...]:
    sums: dict[str, Decimal] = {}
    unknown: list[Coins] = []
    for amount, coin in amounts:
        if amount and coin is None:
            unknown.append(Coins(amount, None))
        elif amount and coin is not None:
            sums[coin] = sums.get(coin, Decimal(0)) + amount
    return (*(Coins(amount, coin) for coin, amount in sums.items()), *unknown)


def provider_tone(provider_status: str) -> str:
    """The tone of a word of the provider; what it gave up is bad, what we do not know wants a look."""
    if provider_status in {"failed", "expired", "refunded", "cancelled", "canceled"}:
        return "bad"
    return _STATUS_TONES.get(provider_status, "warn")


def _payment(shown: AdminShown, payment: Payment) -> PaymentView:
    came_late = any(
        flag.kind is FlagKind.LATE_PAYMENT and flag.payment_id == payment.payment_id for flag in shown.flags
    )
    fiat = payment.actually_paid_at_fiat
    return PaymentView(
        payment_id=payment.payment_id,
        parent_payment_id=payment.parent_payment_id,
        origin=payment.origin,
        tone=provider_tone(payment.provider_status),
        provider_status=payment.provider_status,
        is_current=payment.payment_id == shown.order.payment_id,
        is_payable=payable(shown.order, payment, shown.now),
        coin=payment.pay_currency,
        network=payment.network,
        expected=payment.pay_amount,
        received=payment.actually_paid,
        late=payment.actually_paid if came_late else None,
        received_cents_text=None if not fiat else f"{fiat:f} {shown.order.price_currency}",
        outcome=Coins(payment.outcome_amount, payment.outcome_currency) if payment.outcome_amount else None,
        address=payment.pay_address,
        memo=payment.payin_extra_id,
        payin_hash=payment.payin_hash,
        payout_hash=payment.payout_hash,
        valid_until=payment.valid_until,
        created_at=payment.created_at,
        changed_at=payment.changed_at,
    )


def _flag(flag: KeptFlag) -> FlagView:
    return FlagView(
        flag_id=ids.prefixed("flg", flag.flag_id),
        flag=flag,
        name=name_of(flag.kind),
        is_open=flag.state == "open",
        resolved=resolved(flag.resolution),
        may_honour=flag.kind in HONOURABLE,
        more=section(f"flag-{flag.kind.value}"),
    )


def _delivery(told: Told) -> DeliveryView:
    delivery, receiver = told.delivery, told.receiver
    words = delivery_words.words_of(delivery, receiver, told.attempts)
    was_delivered = delivery.status == "delivered"
    return DeliveryView(
        delivery_id=ids.prefixed("wdl", delivery.delivery_id),
        event_type=delivery.event_type,
        tone=words.tone,
        state=words.whole,
        url=receiver.url,
        attempts_made=delivery.attempts,
        last_error=None if was_delivered else delivery.last_error,
        earlier_error=delivery.last_error if was_delivered else None,
        is_kept=receiver.holds,
        next_attempt_at=delivery.next_attempt_at if delivery_words.goes_on(delivery, receiver) else None,
        delivered_at=delivery.delivered_at,
        created_at=delivery.created_at,
        attempts=told.attempts,
        may_resend=delivery.status not in {"in_flight", "pending"} and not receiver.deleted,
    )


def _ipn(last: LastIpn | None) -> IpnView | None:
    if last is None:
        return None
    return IpnView(last.received_at, last.payment_status, last.times_seen, laid_out(last.payload))


def laid_out(body: bytes) -> str:
    """A body as indented JSON, its numbers and texts as they came; what is no JSON as it is."""
    try:
        return msgspec.json.format(body, indent=2).decode("utf-8")
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def _digest(*values: object) -> str:
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:FINGERPRINT_CHARS]
