"""What is recorded of one payment, how it hears the provider, and when to ask about it again."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from crypto_orders.domain.provider_payment import ProviderPayment, is_failed_class, rank, shows_money

WAITING = "waiting"
FINISHED = "finished"

VALID_FOR_DEFAULT = timedelta(days=7)
"""A payment is watched by the provider for seven days (observed: `valid_until` = created + 7 d)."""

WATCH_AFTER_VALID = timedelta(hours=24)
"""Blocks and provider queues may be late; one more day covers what was sent at the last minute."""

ASK_AGES = tuple(timedelta(minutes=m) for m in (2, 5, 15, 60))
ASK_HOURLY_UNTIL = timedelta(days=1)
ASK_EVERY_LATER = timedelta(hours=6)
ASK_EVERY_FINISHED = timedelta(days=1)

Origin = Literal["minted", "mismatched", "adopted", "child"]


class Payment(Struct, frozen=True, kw_only=True):
    """One payment of an order. `pay_amount` is what was asked at minting, in `pay_currency`.

    `provider_status` is the provider's last word, `best_rank` the highest rank of its words;
    `money_seen` stays true once any word showed money.
    """

    payment_id: str
    parent_payment_id: str | None
    origin: Origin
    pay_address: str | None
    pay_currency: str | None
    pay_amount: Decimal | None
    payin_extra_id: str | None
    network: str | None
    provider_status: str
    best_rank: int
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

    @property
    def is_child(self) -> bool:
        """Whether the provider made it of a deposit beyond another payment."""
        return self.parent_payment_id is not None

    @property
    def is_reversed(self) -> bool:
        """Whether it failed, as the provider confirmed, after it had been settled in part or in full."""
        return is_failed_class(self.provider_status) and self.best_rank > (rank(self.provider_status) or 0)


def first_record(said: ProviderPayment, origin: Origin, now: datetime) -> Payment:
    """Record a payment for the first time, from the provider's words; nothing is heard yet."""
    created_at = said.created_at or now
    return Payment(
        payment_id=said.payment_id,
        parent_payment_id=said.parent_payment_id if origin == "child" else None,
        origin=origin,
        pay_address=said.pay_address,
        pay_currency=said.pay_currency.lower() if said.pay_currency else None,
        pay_amount=said.pay_amount,
        payin_extra_id=said.payin_extra_id,
        network=said.network,
        provider_status=WAITING,
        best_rank=-1,
        money_seen=False,
        actually_paid=None,
        actually_paid_at_fiat=None,
        outcome_amount=None,
        outcome_currency=None,
        payin_hash=None,
        payout_hash=None,
        valid_until=said.valid_until or created_at + VALID_FOR_DEFAULT,
        created_at=created_at,
        changed_at=now,
    )


def brings_money(payment: Payment, said: ProviderPayment) -> bool:
    """Whether a word shows money that was not known of this payment before."""
    if not shows_money(said):
        return False
    if not payment.money_seen:
        return True
    return bool(payment.actually_paid) and (said.actually_paid or 0) > (payment.actually_paid or 0)


def hear(payment: Payment, said: ProviderPayment, now: datetime) -> Payment:
    """Take in a word of the provider: its last status, the best rank, and money, which never shrinks."""
    said_rank = rank(said.payment_status)
    newer = said_rank is None or said_rank >= payment.best_rank
    status = said.payment_status if newer else payment.provider_status
    heard = replace(
        payment,
        provider_status=status,
        best_rank=max(payment.best_rank, -1 if said_rank is None else said_rank),
        money_seen=payment.money_seen or shows_money(said),
        actually_paid=_larger(payment.actually_paid, said.actually_paid),
        actually_paid_at_fiat=_larger(payment.actually_paid_at_fiat, said.actually_paid_at_fiat),
        outcome_amount=said.outcome_amount if newer and said.outcome_amount else payment.outcome_amount,
        outcome_currency=said.outcome_currency or payment.outcome_currency,
        payin_hash=said.payin_hash or payment.payin_hash,
        payout_hash=said.payout_hash or payment.payout_hash,
        payin_extra_id=payment.payin_extra_id or said.payin_extra_id,
        network=payment.network or said.network,
    )
    if heard.provider_status == payment.provider_status and heard.actually_paid == payment.actually_paid:
        return heard
    return replace(heard, changed_at=now)


def hear_reversal(payment: Payment, said: ProviderPayment, now: datetime) -> Payment:
    """Take in a confirmed failure, which is the last word even where a settlement ranks above it."""
    heard = hear(payment, said, now)
    changed_at = heard.changed_at if payment.provider_status == said.payment_status else now
    return replace(heard, provider_status=said.payment_status, changed_at=changed_at)


def _larger(known: Decimal | None, said: Decimal | None) -> Decimal | None:
    if known is None or said is None:
        return known if said is None else said
    return max(known, said)


def ends_watch_at(payment: Payment) -> datetime:
    """The moment after which no money is expected on a payment any more."""
    return payment.valid_until + WATCH_AFTER_VALID


def next_ask_at(payment: Payment, now: datetime) -> datetime | None:
    """When the reconciler asks about a payment next; None when its life is over.

    After 2, 5, 15 and 60 minutes, hourly for the first day, then every 6 hours; once a day after
    `finished`. The steps start anew whenever the payment's state changed.
    """
    if payment.provider_status == FINISHED:
        at = now + ASK_EVERY_FINISHED
    else:
        at = min(_next_step(payment.created_at, now), _next_step(payment.changed_at, now))
    end = ends_watch_at(payment)
    if at <= end:
        return at
    return end if now < end else None


def _next_step(start: datetime, now: datetime) -> datetime:
    age = now - start
    for step in ASK_AGES:
        if age < step:
            return start + step
    every = timedelta(hours=1) if age < ASK_HOURLY_UNTIL else ASK_EVERY_LATER
    return start + every * (age // every + 1)
