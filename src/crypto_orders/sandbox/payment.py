"""What a payment at the provider is, and how money and time change it; nothing here touches the world."""

from decimal import ROUND_DOWN, Decimal
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from crypto_orders.sandbox import coins

ZERO: Final = Decimal(0)

WAITING: Final = "waiting"
CONFIRMING: Final = "confirming"
FINISHED: Final = "finished"
PARTIALLY_PAID: Final = "partially_paid"
EXPIRED: Final = "expired"

SETTLED: Final = "settled"
"""The last step of a walk: ``finished`` or ``partially_paid``, by what has arrived when it is taken."""

_PATH: Final = (CONFIRMING, "confirmed", "sending", SETTLED)
# Statuses in which further money still counts for the payment itself; in any other it makes a child. The old
# documentation misspells "sending", and the control API can set that word too.
_STEPS_DONE: Final = {WAITING: 0, CONFIRMING: 1, "confirmed": 2, "sending": 3, "spending": 3}

_RESTS: Final = frozenset(_PATH[:-1])

_CASES: Final = {
    "success": _PATH,
    "common": _PATH,
    "partially_paid": _PATH,
    "failed": ("failed",),
    "fail": ("failed",),
    "expired": (EXPIRED,),
}
CASES: Final = tuple(_CASES)
"""The values of ``case`` in a creation: how the payment goes on by itself."""

_HALF: Final = Decimal("0.5")


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One payment as the provider keeps it; instants are epoch milliseconds, amounts exact."""

    payment_id: int
    purchase_id: int
    parent_payment_id: int | None = None
    """The first payment of the address, when this one is a further deposit to it."""
    invoice_id: int | None = None
    payment_status: str = WAITING
    order_id: str | None
    order_description: str | None
    customer_email: str | None
    price_amount: Decimal
    price_currency: str
    pay_amount: Decimal
    pay_currency: str
    received: Decimal = ZERO
    """What was sent to the address; the provider shows it as ``actually_paid`` from the next step on."""
    actually_paid: Decimal = ZERO
    pay_address: str
    payin_extra_id: str | None
    outcome_currency: str
    ipn_callback_url: str | None
    origin_ip: str | None
    is_fixed_rate: bool
    is_fee_paid_by_user: bool
    walk: tuple[str, ...] = ()
    """The statuses still to come by themselves."""
    step_due_ms: int | None = None
    """When the next of them is due; null when there is none."""
    created_ms: int
    updated_ms: int
    estimate_until_ms: int
    valid_until_ms: int


class Fee(NamedTuple):
    """What the provider keeps, in the outcome coin."""

    deposit: Decimal
    service: Decimal
    withdrawal: Decimal


class Transfer(NamedTuple):
    """Money a payer sends: an amount of a coin, and whether the chain confirms it."""

    amount: Decimal
    pay_currency: str
    confirm: bool


def is_open(payment: Payment) -> bool:
    """Whether more money of the right coin still counts for this payment instead of making a child."""
    return payment.payment_status in _STEPS_DONE


def due(payment: Payment) -> Decimal:
    """What is still to be sent, never negative."""
    return max(payment.pay_amount - payment.received, ZERO)


def with_case(payment: Payment, case: str | None, step_ms: int) -> Payment:
    """The new payment with the walk its ``case`` asks for; None lets it wait for its payer."""
    if case is None:
        return payment
    path = _CASES[case]
    received = ZERO
    if case == PARTIALLY_PAID:
        received = coins.round_to(payment.pay_amount * _HALF, payment.pay_currency, rounding=ROUND_DOWN)
    elif SETTLED in path:
        received = payment.pay_amount
    return replace(payment, received=received, walk=path, step_due_ms=payment.created_ms + step_ms)


def with_money(payment: Payment, amount: Decimal, *, confirm: bool, now_ms: int) -> Payment:
    """The open payment after a transfer of its own coin, its next step due at once.

    A walk that is under way goes on and takes the new sum into account. One that rests at a step goes on to
    the end; without ``confirm`` it only tells of the new sum, and a waiting one stops at ``confirming``.
    """
    richer = replace(payment, received=payment.received + amount)
    is_about_to_rest = payment.walk != () and payment.walk[-1] in _RESTS
    if payment.walk and not (confirm and is_about_to_rest):
        return richer
    done = _STEPS_DONE[payment.payment_status]
    walk = _PATH[done:] if confirm else (_PATH[max(done - 1, 0)],)
    return replace(richer, walk=walk, step_due_ms=now_ms)


def child_of(
    root: Payment, transfer: Transfer, *, payment_id: int, final_status: str, now_ms: int, valid_ms: int
) -> Payment:
    """The payment a further deposit makes: what was asked of it is what arrived.

    It inherits order, price, address and outcome coin of the first payment of the address, ``root``.
    """
    walk = (*_PATH[:-1], final_status) if transfer.confirm else (CONFIRMING,)
    return replace(
        root,
        payment_id=payment_id,
        parent_payment_id=root.payment_id,
        payment_status=WAITING,
        pay_amount=transfer.amount,
        pay_currency=transfer.pay_currency,
        received=transfer.amount,
        actually_paid=transfer.amount,
        is_fixed_rate=False,
        walk=walk,
        step_due_ms=now_ms,
        created_ms=now_ms,
        updated_ms=now_ms,
        estimate_until_ms=now_ms,
        valid_until_ms=now_ms + valid_ms,
    )


def step(payment: Payment, *, now_ms: int, step_ms: int) -> Payment:
    """The payment after the next status of its walk; it must have one."""
    status, *rest = payment.walk
    if status == SETTLED:
        status = FINISHED if payment.received >= payment.pay_amount else PARTIALLY_PAID
    return replace(
        payment,
        payment_status=status,
        actually_paid=payment.received,
        walk=tuple(rest),
        step_due_ms=now_ms + step_ms if rest else None,
        updated_ms=now_ms,
    )


def overridden(payment: Payment, status: str, now_ms: int) -> Payment:
    """The payment with a status set by hand, from any other, its own walk ended.

    Money already sent is shown; ``finished`` with nothing received counts as paid in full.
    """
    received = payment.received
    if status == FINISHED and received == ZERO:
        received = payment.pay_amount
    return replace(
        payment,
        payment_status=status,
        received=received,
        actually_paid=received,
        walk=(),
        step_due_ms=None,
        updated_ms=now_ms,
    )


def reestimated(payment: Payment, *, now_ms: int, valid_ms: int) -> Payment:
    """The payment with a fresh estimate when the old one ran out while it waited, else unchanged."""
    if now_ms < payment.estimate_until_ms or payment.payment_status != WAITING:
        return payment
    return replace(payment, estimate_until_ms=now_ms + valid_ms, updated_ms=now_ms)


def fee(payment: Payment) -> Fee:
    """What the provider keeps of what was paid, or of what is asked while nothing was."""
    gross = _gross_outcome(payment)
    coin = payment.outcome_currency
    return Fee(deposit=coins.network_fee(coin), service=coins.service_fee(gross, coin), withdrawal=ZERO)


def outcome(payment: Payment) -> Decimal:
    """What the merchant nets in the outcome coin; an estimate while nothing was paid."""
    charged = fee(payment)
    return max(_gross_outcome(payment) - charged.deposit - charged.service - charged.withdrawal, ZERO)


def value_in_price_currency(payment: Payment) -> Decimal:
    """What was paid, valued in the currency of the price."""
    return coins.convert(
        payment.actually_paid, payment.pay_currency, payment.price_currency, rounding=ROUND_DOWN
    )


def _gross_outcome(payment: Payment) -> Decimal:
    amount = payment.actually_paid or payment.pay_amount
    return coins.convert(amount, payment.pay_currency, payment.outcome_currency, rounding=ROUND_DOWN)


def amount_in(amount: Decimal, source: str, target: str) -> Decimal:
    """An amount of one coin as the worth of it in another; the same coin keeps it as it is."""
    return amount if source == target else coins.convert(amount, source, target)
