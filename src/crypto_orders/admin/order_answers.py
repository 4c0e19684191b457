"""What actions on an order answer, in words: the provider's answer beside ours, and why one was refused."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct

from crypto_orders.admin.runbook import Section, section
from crypto_orders.domain.errors import (
    BadRequest,
    Conflict,
    DomainError,
    Forbidden,
    Unavailable,
)
from crypto_orders.domain.ipn_signature import read_json_exact
from crypto_orders.domain.operator import SCOPES_OF_ROLE
from crypto_orders.domain.order import Order, Status
from crypto_orders.domain.payment import Payment
from crypto_orders.domain.provider_payment import MalformedPayment, ProviderPayment, parse_payment
from crypto_orders.domain.said import order_status_of
from crypto_orders.pages import formats

CENTS: Final = 100

STATUS_CHOICES: Final = tuple(
    (word, str(order_status_of(word) or ""))
    for word in (
        "finished",
        "partially_paid",
        "confirming",
        "confirmed",
        "sending",
        "waiting",
        "failed",
        "expired",
        "refunded",
    )
)
"""The provider's words, each with the order status it stands for."""


class Row(Struct, frozen=True):
    """One fact as we have it and as the provider says it."""

    label: str
    ours: str
    theirs: str
    differs: bool


OUTCOMES: Final[Mapping[str, tuple[str, str, str]]] = {
    "applied": ("good", "Applied.", "The provider's word moved the order."),
    "no_change": (
        "info",
        "Nothing to change.",
        "What the provider says moves nothing: the order stays as it is.",
    ),
    "flagged": (
        "warn",
        "Not moved; a flag was raised.",
        "The provider confirms the word, but it does not move this order. Read its flags.",
    ),
    "superseded": (
        "warn",
        "Not moved.",
        "The provider's word is kept, but another payment of this order counts more.",
    ),
    "unknown_status": (
        "warn",
        "Not moved.",
        "The provider used a word that we do not know. It is kept, and a flag was raised.",
    ),
    "asked_lately": (
        "info",
        "Asked less than a minute ago.",
        "This is the provider's stored answer. Ask again in a minute.",
    ),
    "no_payment": (
        "info",
        "There is nothing to ask about.",
        "No address was ever made for this order, so the provider does not know it.",
    ),
    "provider_disagrees": (
        "bad",
        "The provider says otherwise.",
        "Your word was not applied, its own was. Believe it, or override it with proof.",
    ),
    "provider_unreachable": (
        "bad",
        "The provider did not answer.",
        "Nothing was changed. Try again in a minute.",
    ),
    "unknown_to_provider": (
        "bad",
        "The provider does not know this payment.",
        "Nothing was changed. Check the payment id.",
    ),
    "other_order": (
        "bad",
        "The payment belongs to another order.",
        "Nothing was changed. Look up which order it is.",
    ),
}
"""What an outcome of asking or replaying means: its tone, what happened, and what follows."""

_MORE_ON_OUTCOMES: Final[Mapping[str, str]] = {
    "other_order": "payment-id",
    "provider_disagrees": "override",
}


_MORE_ON_STATES: Final[Mapping[Status, str]] = {
    Status.PENDING: "stuck-in-pending",
    Status.CONFIRMING: "stuck-in-pending",
    Status.PARTIAL: "partial",
    Status.PAID: "states",
    Status.FAILED: "why-failed",
    Status.CANCELLED: "states",
}


def anchor_about(status: Status) -> str:
    """Where the runbook tells what asking the provider about an order means."""
    return _MORE_ON_STATES[status]


def more_on(outcome: str, anchor: str) -> Section:
    """The section of the runbook about an outcome, or about the action that had it."""
    return section(_MORE_ON_OUTCOMES.get(outcome, anchor))


def refused_in_words(refusal: DomainError) -> tuple[int, str, str]:
    """The status of a refusal, what it is called, and why it was refused."""
    match refusal:
        case Conflict():
            return 409, "This could not be done.", refusal.detail
        case Forbidden(scope=scope):
            roles = " or ".join(role for role, scopes in SCOPES_OF_ROLE.items() if scope in scopes)
            return 403, "Your role does not allow this.", f"It takes the role {roles} ({scope})."
        case BadRequest():
            return 400, "This cannot be taken.", refusal.detail
        case Unavailable():
            return 503, "Not at this moment.", refusal.detail
        case _:
            return 404, "This is not there any more.", "Load the order anew and look again."


def compared(
    order: Order, payment: Payment | None, snapshot: bytes | None, claim: str | None = None
) -> tuple[Row, ...]:
    """The provider's answer beside what we have; empty when there is none that can be read.

    Before them stands `claim`, the provider's status as an operator named it.
    """
    said = _read(snapshot)
    if said is None:
        return ()
    theirs_stands_for = order_status_of(said.payment_status)
    status = _meant(said.payment_status)
    ours = f"{payment.provider_status} ({order.status})" if payment else str(order.status)
    rows = [Row("Status", ours, status, theirs_stands_for is not order.status)]
    if claim:
        rows.insert(0, Row("You said", _meant(claim), status, claim != said.payment_status))
    if payment is not None:
        ours_in, theirs_in = payment.pay_currency, said.pay_currency or payment.pay_currency
        rows += [
            _row("Expected", (payment.pay_amount, ours_in), (said.pay_amount, theirs_in)),
            _row("Received", (payment.actually_paid, ours_in), (said.actually_paid, theirs_in)),
            _texts("Address", payment.pay_address, said.pay_address),
        ]
    rows.append(_price(order, said))
    rows.append(_texts("Order", order.order_id, said.order_id))
    return tuple(rows)


def _meant(provider_status: str) -> str:
    return f"{provider_status} ({order_status_of(provider_status) or 'a word we do not know'})"


def _read(snapshot: bytes | None) -> ProviderPayment | None:
    if snapshot is None:
        return None
    try:
        return parse_payment(read_json_exact(snapshot))
    except (ValueError, MalformedPayment):
        return None


def _row(
    label: str, ours: tuple[Decimal | None, str | None], theirs: tuple[Decimal | None, str | None]
) -> Row:
    """An amount of a coin on both sides, each in its own coin; nothing and none at all are the same."""
    mine, other = ours[0] or Decimal(0), theirs[0] or Decimal(0)
    is_other_coin = bool(mine or other) and (ours[1] or "").lower() != (theirs[1] or "").lower()
    return Row(label, formats.crypto(*ours), formats.crypto(*theirs), mine != other or is_other_coin)


def _price(order: Order, said: ProviderPayment) -> Row:
    is_other_amount = said.price_amount not in {None, Decimal(order.price_cents) / CENTS}
    is_other_currency = (said.price_currency or order.price_currency).upper() != order.price_currency
    return Row(
        "Price",
        formats.fiat(order.price_cents, order.price_currency),
        _fiat(said.price_amount, said.price_currency),
        is_other_amount or is_other_currency,
    )


def _fiat(amount: Decimal | None, currency: str | None) -> str:
    """A price as the provider says it, written like ours where it is whole cents."""
    cents = amount * CENTS if amount is not None else None
    if cents is None or currency is None or cents != int(cents):
        return formats.crypto(amount, currency)
    return formats.fiat(int(cents), currency.upper())


def _texts(label: str, ours: str | None, theirs: str | None) -> Row:
    return Row(label, ours or "—", theirs or "—", theirs is not None and ours != theirs)
