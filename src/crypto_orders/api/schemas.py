"""The shapes of orders on the wire, for customers."""

from decimal import Decimal

from msgspec import Struct

from crypto_orders.domain.actions import customer_source, payable
from crypto_orders.domain.payment import Payment
from crypto_orders.kit.encoding import Instant
from crypto_orders.store.envelopes import Shown


class PaymentView(Struct, frozen=True, kw_only=True):
    """Where to send how much of what; shown only while it may be sent."""

    payment_id: str
    payment_address: str | None
    pay_currency: str | None
    pay_amount: Decimal | None
    payin_extra_id: str | None
    network: str | None


class EventView(Struct, frozen=True):
    """One line of an order's timeline, as customers see it."""

    status: str
    at: Instant
    source: str


class Envelope(Struct, frozen=True, kw_only=True):
    """An order as its customer sees it."""

    order_id: str
    product: str
    price_cents: int
    price_currency: str
    payment_id: str | None
    status: str
    customer_note: str | None
    events: list[EventView]
    expires_at: Instant | None
    created_at: Instant
    updated_at: Instant
    payment: PaymentView | None


def envelope(shown: Shown) -> Envelope:
    """An order as its customer sees it."""
    order = shown.order
    return Envelope(
        order_id=order.order_id,
        product=order.product,
        price_cents=order.price_cents,
        price_currency=order.price_currency,
        payment_id=order.payment_id,
        status=order.status.value,
        customer_note=order.customer_note,
        events=[EventView(e.status.value, e.at, customer_source(e.source)) for e in shown.events],
        expires_at=order.expires_at,
        created_at=order.created_at,
        updated_at=order.updated_at,
        payment=payment_view(shown.payment) if payable(order, shown.payment, shown.now) else None,
    )


def payment_view(payment: Payment | None) -> PaymentView | None:
    """A payment's address and amount."""
    if payment is None:
        return None
    return PaymentView(
        payment_id=payment.payment_id,
        payment_address=payment.pay_address,
        pay_currency=payment.pay_currency,
        pay_amount=payment.pay_amount,
        payin_extra_id=payment.payin_extra_id,
        network=payment.network,
    )
