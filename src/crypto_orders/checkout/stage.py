"""Where an order stands in its payer's eyes: what may be shown now, and whether the page goes on looking."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from crypto_orders.domain import actions
from crypto_orders.domain.money import exceeds
from crypto_orders.domain.order import Rules, Source, Status
from crypto_orders.domain.payment import Payment
from crypto_orders.store.pay_pages import PayPage
from crypto_orders.usecases import minting

SHOWN_FOR: Final = timedelta(days=30)
"""From so long after its end on an order has no page any more."""

SILENT_AFTER: Final = timedelta(seconds=15)
"""A worker puts a question at once and waits ten seconds for the answer; after this none came."""

SETTLED_WITHIN: Final = timedelta(seconds=10)
"""A question is dated anew when its answer has been stored; one of no later date than this has its answer."""


class Stage(StrEnum):
    """What a page says; each is a section of the catalogues of texts."""

    PAY = "pay"
    CHOOSE = "choose"
    PREPARING = "preparing"
    UNAVAILABLE = "unavailable"
    CHECKING = "checking"
    OVER = "over"
    CONFIRMING = "confirming"
    PARTIAL = "partial"
    PAID = "paid"
    EXPIRED = "expired"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = frozenset({Stage.PAID, Stage.EXPIRED, Stage.FAILED, Stage.CANCELLED})
"""What does not change by itself any more; a page that shows it stops looking."""

UNPAID_ENDS: Final = frozenset({Stage.OVER, Stage.EXPIRED, Stage.FAILED, Stage.CANCELLED})
"""Where a payer may have sent coins that the order did not take."""

TONES: Final = {
    Stage.PAY: "neutral",
    Stage.CHOOSE: "neutral",
    Stage.PREPARING: "info",
    Stage.UNAVAILABLE: "bad",
    Stage.CHECKING: "warn",
    Stage.OVER: "warn",
    Stage.CONFIRMING: "info",
    Stage.PARTIAL: "warn",
    Stage.PAID: "good",
    Stage.EXPIRED: "neutral",
    Stage.FAILED: "bad",
    Stage.CANCELLED: "neutral",
}


def stage_of(page: PayPage) -> Stage:
    """The stage of an order, by the database's clock."""
    match page.standing.order.status:
        case Status.PENDING:
            return _before_money(page)
        case Status.CONFIRMING:
            return Stage.CONFIRMING
        case Status.PARTIAL:
            return Stage.PARTIAL
        case Status.PAID:
            return Stage.PAID
        case Status.FAILED:
            expired = page.last_source in {Source.EXPIRED, Source.SWEPT}
            return Stage.EXPIRED if expired else Stage.FAILED
        case Status.CANCELLED:
            return Stage.CANCELLED


def _before_money(page: PayPage) -> Stage:
    seen = page.standing
    if actions.payable(seen.order, seen.payment, seen.now) and _says_what_to_send(seen.payment):
        return Stage.PAY
    if any(p.provider_status != "waiting" or p.money_seen for p in page.payments if p.origin != "mismatched"):
        return Stage.CHECKING
    if seen.now >= seen.order.window_ends_at:
        return Stage.OVER
    if minting.choosing(seen, page.refused_coins).is_open:
        return Stage.CHOOSE
    on_its_way = seen.attempt is not None and seen.attempt.state in {"sent", "unknown"}
    return Stage.PREPARING if on_its_way and not page.payments else Stage.UNAVAILABLE


def _says_what_to_send(payment: Payment | None) -> bool:
    """Whether a payer would know how much of which coin to send; an address alone invites a guess."""
    return payment is not None and payment.pay_currency is not None and payment.pay_amount is not None


def is_gone(page: PayPage) -> bool:
    """Whether the order ended so long ago that its address leads nowhere."""
    return page.ended_at is not None and page.standing.now >= page.ended_at + SHOWN_FOR


def is_silent(page: PayPage, *, was_silent: bool) -> bool:
    """Whether the provider was asked about the payment and has not answered for a while.

    To a page that has told so, a further question is no news: `was_silent` holds until an answer.
    """
    payment, now = page.standing.payment, page.standing.now
    if payment is None or page.asked_at is None:
        return False
    heard_at: datetime = max(page.answered_at or payment.created_at, payment.changed_at)
    is_open = page.asked_at - heard_at > SETTLED_WITHIN
    return is_open and (was_silent or now - page.asked_at >= SILENT_AFTER)


def has_surplus(page: PayPage, rules: Rules) -> bool:
    """Whether more than the amount due came, and support has not settled it."""
    if page.surplus_is_open is not None:
        return page.surplus_is_open
    payment = page.standing.payment
    return payment is not None and exceeds(payment, payment.actually_paid, rules)


def is_worth_asking(page: PayPage, at_most_every: timedelta) -> bool:
    """Whether an open page should have the provider asked about the payment now."""
    payment, now = page.standing.payment, page.standing.now
    if payment is None or page.ended_at is not None or now - payment.created_at < at_most_every:
        return False
    return page.asked_at is None or now - page.asked_at >= at_most_every


def arrived_payment(page: PayPage) -> Payment | None:
    """The payment that coins have arrived on: the current one, else the first of the others."""
    current = page.standing.payment
    candidates = (*([current] if current else []), *page.payments)
    return next((p for p in candidates if p.money_seen and not p.is_child), None)
