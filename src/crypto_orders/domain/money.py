"""The money checks before an order becomes paid: price, coin, address and amount, all exact."""

from decimal import Context, Decimal

from msgspec import Struct

from crypto_orders.domain.order import Ask, FlagKind, Order, Rules
from crypto_orders.domain.payment import FINISHED, Payment
from crypto_orders.domain.provider_payment import ProviderPayment

CENTS = Decimal(100)

EXACT = Context(prec=200)
"""Amounts have at most 40 digits and the tolerance 28: no product of them is ever rounded here, while
Python's usual 28 digits would round the edge of the tolerance away."""


class Full(Struct, frozen=True):
    """The price is covered within the tolerance."""


class Over(Struct, frozen=True):
    """More than the tolerance came."""


class Under(Struct, frozen=True):
    """Less than the tolerance came."""


class NeedsAnswer(Struct, frozen=True):
    """Something is not stated; the provider has to be asked (again)."""

    missing: str


class Mismatch(Struct, frozen=True):
    """What was paid is not what was asked; a person has to look."""

    kind: FlagKind
    why: str


MoneyCheck = Full | Over | Under | NeedsAnswer | Mismatch


def check_money(
    order: Order, payment: Payment, said: ProviderPayment, answer: ProviderPayment | Ask, rules: Rules
) -> MoneyCheck:
    """Judge a `finished` word. What it lacks is taken from the provider's own answer.

    Currencies and coins are compared without case, addresses exactly (`0x…` without case),
    amounts as Decimals against the amount recorded at minting.
    """
    own = answer if isinstance(answer, ProviderPayment) else None
    for name in ("price_amount", "price_currency", "pay_currency", "pay_address"):
        if getattr(said, name) is None and getattr(own, name, None) is None:
            if own is None:
                return NeedsAnswer(name)
            return Mismatch(FlagKind.AMOUNT_MISMATCH, f"the provider does not state {name}")
    mismatch = _terms_differ(order, payment, said, own)
    if mismatch:
        return mismatch
    return _amount(payment, said, own, rules)


def _terms_differ(
    order: Order, payment: Payment, said: ProviderPayment, own: ProviderPayment | None
) -> Mismatch | None:
    def stated(name: str) -> str:
        value = getattr(said, name)
        return str(value if value is not None else getattr(own, name))

    if said_price(said, own) != order.price_cents:
        return Mismatch(FlagKind.AMOUNT_MISMATCH, "price_amount is not the order's")
    if stated("price_currency").upper() != order.price_currency:
        return Mismatch(FlagKind.AMOUNT_MISMATCH, "price_currency is not the order's")
    if stated("pay_currency").lower() != (payment.pay_currency or "").lower():
        return Mismatch(FlagKind.WRONG_ASSET, "pay_currency is not the recorded payment's")
    if not same_address(stated("pay_address"), payment.pay_address or ""):
        return Mismatch(FlagKind.AMOUNT_MISMATCH, "pay_address is not the recorded payment's")
    return None


def said_price(said: ProviderPayment, own: ProviderPayment | None = None) -> Decimal | None:
    """The stated price in cents, or None when neither word states it."""
    amount = said.price_amount
    if amount is None and own is not None:
        amount = own.price_amount
    return None if amount is None else EXACT.multiply(amount, CENTS)


def same_address(one: str, other: str) -> bool:
    """Whether two addresses are the same; only `0x…` ones are written in any case."""
    if one.lower().startswith("0x"):
        return one.lower() == other.lower()
    return one == other


def _amount(payment: Payment, said: ProviderPayment, own: ProviderPayment | None, rules: Rules) -> MoneyCheck:
    due = payment.pay_amount
    if not due:
        return Mismatch(FlagKind.AMOUNT_MISMATCH, "no pay_amount is recorded for the payment")
    paid = said.actually_paid or (own.actually_paid if own else None)
    if not paid:
        if own is None or own.payment_status != FINISHED:
            return NeedsAnswer("actually_paid")
        return Full()
    if paid < EXACT.multiply(due, 1 - rules.tolerance):
        return Under()
    return Over() if exceeds(payment, paid, rules) else Full()


def exceeds(payment: Payment, paid: Decimal | None, rules: Rules) -> bool:
    """Whether an amount is more than what was asked and the tolerance."""
    if not paid or not payment.pay_amount:
        return False
    return paid > EXACT.multiply(payment.pay_amount, 1 + rules.tolerance)
