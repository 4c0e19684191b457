"""The body of a notification in each of its known forms, and the signature the provider puts on it."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

import msgspec

from crypto_orders.sandbox import payment as payments
from crypto_orders.sandbox.config import IpnFormat
from crypto_orders.sandbox.payment import ZERO, Payment
from crypto_orders.sandbox.wire import number

SIGNATURE_HEADER: Final = "x-nowpayments-sig"

_ORDER_OF_2023: Final = (
    "payment_id", "parent_payment_id", "invoice_id", "payment_status", "pay_address", "payin_extra_id",
    "price_amount", "price_currency", "pay_amount", "actually_paid", "actually_paid_at_fiat", "pay_currency",
    "order_id", "order_description", "purchase_id", "updated_at", "outcome_amount", "outcome_currency",
    "payment_extra_ids",
)  # fmt: skip


class SignedBody(NamedTuple):
    """The bytes of a notification and the value of its signature header."""

    body: bytes
    signature: str


def compose(payment: Payment, child_ids: Sequence[int], form: IpnFormat, secret: str) -> SignedBody:
    """Write and sign the notification of a payment's present state.

    The signature covers the compact text with every object's keys sorted, whatever order the body has.
    """
    fields = _fields(payment, child_ids, form)
    if form.all_strings:
        fields = {name: _quoted(value) for name, value in fields.items()}
    canonical = msgspec.json.encode(_sorted(fields))
    signature = hmac.new(secret.strip().encode(), canonical, hashlib.sha512).hexdigest()
    if form.key_order == "sorted":
        return SignedBody(canonical, signature)
    unsorted = {name: fields[name] for name in _ORDER_OF_2023 if name in fields}
    return SignedBody(msgspec.json.encode(unsorted), signature)


def _fields(payment: Payment, child_ids: Sequence[int], form: IpnFormat) -> dict[str, object]:
    fields: dict[str, object] = {
        "actually_paid": number(payment.actually_paid),
        "actually_paid_at_fiat": _at_fiat(payment, form),
        "invoice_id": payment.invoice_id,
        "order_description": payment.order_description,
        "order_id": payment.order_id,
        "outcome_amount": number(payments.outcome(payment)),
        "outcome_currency": payment.outcome_currency,
        "parent_payment_id": payment.parent_payment_id,
        "pay_address": payment.pay_address,
        "pay_amount": number(payment.pay_amount),
        "pay_currency": payment.pay_currency,
        "payin_extra_id": payment.payin_extra_id,
        "payment_extra_ids": list(child_ids) or None,
        "payment_id": payment.payment_id,
        "payment_status": payment.payment_status,
        "price_amount": number(payment.price_amount),
        "price_currency": payment.price_currency,
        "purchase_id": str(payment.purchase_id),
    }
    if form.key_order != "2023":
        fields["fee"] = _fee(payment, as_text=form.fee_as_text)
    if form.with_updated_at:
        fields["updated_at"] = payment.updated_ms
    return fields


def _fee(payment: Payment, *, as_text: bool) -> dict[str, object]:
    charged = payments.fee(payment)
    parts: dict[str, object] = {
        "depositFee": number(charged.deposit),
        "serviceFee": number(charged.service),
        "withdrawalFee": number(charged.withdrawal),
    }
    if as_text:
        parts = {name: _quoted(value) for name, value in parts.items()}
    return {"currency": payment.outcome_currency, **parts}


def _at_fiat(payment: Payment, form: IpnFormat) -> msgspec.Raw:
    is_child = payment.parent_payment_id is not None
    if form.at_fiat == "always" or (form.at_fiat == "children" and is_child):
        return number(payments.value_in_price_currency(payment))
    return number(ZERO)


def _quoted(value: object) -> object:
    match value:
        case msgspec.Raw():
            return bytes(value).decode("ascii")
        case bool():
            return value
        case int():
            return str(value)
        case dict():
            parts = cast("Mapping[str, object]", value)
            return {name: _quoted(part) for name, part in parts.items()}
        case _:
            return value


def _sorted(fields: Mapping[str, object]) -> dict[str, object]:
    # All names are plain ASCII words, where Python's order and JavaScript's agree.
    return {
        name: _sorted(cast("Mapping[str, object]", value)) if isinstance(value, dict) else value
        for name, value in sorted(fields.items())
    }
