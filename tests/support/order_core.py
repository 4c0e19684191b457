"""Builds orders, payments and words of the provider for tests, and plays words against an order."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from msgspec.structs import replace

from crypto_orders.domain.order import (
    Ask,
    Decision,
    Flag,
    Order,
    ProviderSaid,
    Rules,
    Status,
    Verdict,
    Via,
    WebhookEvent,
)
from crypto_orders.domain.payment import Payment
from crypto_orders.domain.provider_payment import ProviderPayment
from crypto_orders.domain.said import decide_said

NOW = datetime(2026, 5, 22, 10, 0, tzinfo=UTC)
ORDER_ID = "ord_01h2xcejqtf2nbrexx3vqjhp41"
OTHER_ORDER_ID = "ord_01h2xcejqtf2nbrexx3vqjhp42"
NOTIFICATION = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
RULES = Rules()

FIRST = "5000000001"
SECOND = "5000000002"
CHILD = "5000000003"

ADDRESS = "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"
DUE = Decimal("0.00100000")


def an_order(status: Status | str = Status.PENDING, payment_id: str | None = FIRST) -> Order:
    """An order of 79.00 USD, made a minute ago, to be paid in an hour by `FIRST`."""
    return Order(
        account_id=UUID(int=7),
        order_id=ORDER_ID,
        product="solo_manual",
        price_cents=7900,
        price_currency="USD",
        status=Status(status),
        version=3,
        payment_id=payment_id,
        pay_currency="btc",
        customer_note=None,
        internal_note=None,
        window_ends_at=NOW + timedelta(minutes=59),
        created_at=NOW - timedelta(minutes=1),
        updated_at=NOW - timedelta(seconds=30),
        paid_at=NOW - timedelta(seconds=30) if status == "paid" else None,
        mint_due_at=None,
    )


def a_payment(payment_id: str = FIRST, **changes: object) -> Payment:
    """A minted payment of 0.001 BTC that the provider called waiting."""
    payment = Payment(
        payment_id=payment_id,
        parent_payment_id=None,
        origin="minted",
        pay_address=ADDRESS,
        pay_currency="btc",
        pay_amount=DUE,
        payin_extra_id=None,
        network="btc",
        provider_status="waiting",
        best_rank=0,
        money_seen=False,
        actually_paid=None,
        actually_paid_at_fiat=None,
        outcome_amount=None,
        outcome_currency=None,
        payin_hash=None,
        payout_hash=None,
        valid_until=NOW + timedelta(days=7),
        created_at=NOW - timedelta(minutes=1),
        changed_at=NOW - timedelta(minutes=1),
    )
    return replace(payment, **changes)


def a_child(**changes: object) -> Payment:
    """A recorded child of `FIRST`, in the same coin."""
    return a_payment(CHILD, **{"parent_payment_id": FIRST, "origin": "child", **changes})


def says(payment_status: str, payment_id: str = FIRST, **fields: object) -> ProviderPayment:
    """A complete word of the provider about one payment of the order; `finished` names the whole amount."""
    word = ProviderPayment(
        payment_id=payment_id,
        payment_status=payment_status,
        order_id=ORDER_ID,
        price_amount=Decimal("79.00"),
        price_currency="usd",
        pay_currency="btc",
        pay_address=ADDRESS,
        pay_amount=DUE,
        actually_paid=DUE if payment_status == "finished" else None,
    )
    return replace(word, **fields)


def notified(word: ProviderPayment, answer: ProviderPayment | Ask = Ask.NOT_YET) -> ProviderSaid:
    """The word as a signed notification, with the provider's answer when it was asked on account of it."""
    return ProviderSaid(payment=word, via=Via.IPN, notification_id=NOTIFICATION, answer=answer)


def polled(word: ProviderPayment) -> ProviderSaid:
    """The word as the provider's own answer."""
    return ProviderSaid(payment=word, via=Via.POLL, notification_id=NOTIFICATION, answer=word)


def overridden(
    payment_status: str, payment_id: str = FIRST, answer: ProviderPayment | Ask = Ask.NOT_FOUND
) -> ProviderSaid:
    """An operator's word against the provider's."""
    return ProviderSaid(
        payment=ProviderPayment(payment_id=payment_id, payment_status=payment_status),
        via=Via.OPERATOR,
        notification_id=NOTIFICATION,
        answer=answer,
        actor="key_support",
        reason="seen on the chain, ticket 4711",
        override=True,
    )


def decide(order: Order, payments: Iterable[Payment], fact: ProviderSaid, now: datetime = NOW) -> Decision:
    """Decide by the default rules: a tolerance of one percent."""
    return decide_said(order, tuple(payments), fact, now, RULES)


def kinds(decision: Decision) -> list[tuple[str, str]]:
    """The flags of a decision as (kind, subject), sorted."""
    return sorted((flag.kind.value, flag.subject) for flag in decision.flags)


class Play:
    """An order on which words are played one after another, as the store would keep it.

    Every step is held against what must always hold: the seq has no gaps, a status is reached once and
    only by an event, a terminal order stays, and what is known of money never shrinks.
    """

    def __init__(self, order: Order, payments: Iterable[Payment]) -> None:
        self.order = order
        self.payments = {p.payment_id: p for p in payments}
        self.timeline = [order.status]
        self.webhooks: list[WebhookEvent] = []
        self.flags: dict[tuple[str, str], list[Flag]] = {}
        self.now = NOW

    def say(self, fact: ProviderSaid) -> Decision:
        """Apply a word of the provider."""
        decision = decide(self.order, self.payments.values(), fact, self.now)
        if self.order.status in {Status.PAID, Status.FAILED, Status.CANCELLED}:
            assert decision.order.status is self.order.status
        self.take(decision)
        return decision

    def take(self, decision: Decision) -> None:
        """Keep what a decision changes."""
        before, after = self.order, decision.order
        assert (decision.event is None) == (after.status is before.status)
        assert after.version == before.version + (decision.event is not None)
        if decision.event is not None:
            assert decision.event.seq == after.version
            assert decision.event.status is after.status
            assert after.status not in self.timeline
            self.timeline.append(after.status)
        if decision.webhook is not None:
            assert decision.event is not None
            self.webhooks.append(decision.webhook)
        for payment in decision.payments:
            known = self.payments.get(payment.payment_id)
            assert payment.money_seen or known is None or not known.money_seen
            self.payments[payment.payment_id] = payment
        named = [(flag.kind.value, flag.subject) for flag in decision.flags]
        assert len(named) == len(set(named)), "one statement cannot raise the same flag twice"
        for flag in decision.flags:
            self.flags.setdefault((flag.kind.value, flag.subject), []).append(flag)
        self.order = after
        self.now += timedelta(seconds=1)

    def flagged(self, payment_id: str) -> set[str]:
        """The kinds of flags that name a payment, adoption aside, which says nothing of money."""
        return {kind for kind, subject in self.flags if subject == payment_id and kind != "payment_adopted"}

    def shows_money_of(self, payment: Payment) -> bool:
        """Whether somebody who looks at the order and its flags learns of a payment's money."""
        return (
            not payment.money_seen
            or self.order.status in {Status.CONFIRMING, Status.PARTIAL}
            or (self.order.status is Status.PAID and self.order.payment_id == payment.payment_id)
            or bool(self.flagged(payment.payment_id))
        )


def is_open(decision: Decision) -> bool:
    """Whether the fact stays in the inbox."""
    return decision.verdict is Verdict.WAITING
