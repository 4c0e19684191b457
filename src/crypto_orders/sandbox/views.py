"""Payments as the merchant's API shows them: strings and numbers exactly where the real one has them."""

import hashlib
from collections.abc import Sequence

from crypto_orders.sandbox import payment as payments
from crypto_orders.sandbox.coins import COINS
from crypto_orders.sandbox.payment import FINISHED, PARTIALLY_PAID, ZERO, Payment
from crypto_orders.sandbox.wire import iso, number, number_text


def created(payment: Payment, *, pay_amount_as_text: bool) -> dict[str, object]:
    """The answer to a creation, in wire order: ids are strings here."""
    write_pay_amount = number_text if pay_amount_as_text else number
    return {
        "payment_id": str(payment.payment_id),
        "payment_status": payment.payment_status,
        "pay_address": payment.pay_address,
        "price_amount": number(payment.price_amount),
        "price_currency": payment.price_currency,
        "pay_amount": write_pay_amount(payment.pay_amount),
        "amount_received": number(payments.outcome(payment)),
        "pay_currency": payment.pay_currency,
        "order_id": payment.order_id,
        "order_description": payment.order_description,
        "payin_extra_id": payment.payin_extra_id,
        "ipn_callback_url": payment.ipn_callback_url,
        "customer_email": payment.customer_email,
        "created_at": iso(payment.created_ms),
        "updated_at": iso(payment.updated_ms),
        "purchase_id": str(payment.purchase_id),
        "smart_contract": COINS[payment.pay_currency].contract,
        "network": COINS[payment.pay_currency].network,
        "network_precision": None,
        "time_limit": None,
        "burning_percent": None,
        "expiration_estimate_date": iso(payment.estimate_until_ms),
        "is_fixed_rate": payment.is_fixed_rate,
        "is_fee_paid_by_user": payment.is_fee_paid_by_user,
        "valid_until": iso(payment.valid_until_ms),
        "type": "crypto2crypto",
        "product": "api",
        "origin_ip": payment.origin_ip,
    }


def read(payment: Payment, child_ids: Sequence[int]) -> dict[str, object]:
    """A payment as read or listed, in wire order: ids are numbers here, and ``burning_percent`` is a word."""
    is_settled = payment.payment_status in {FINISHED, PARTIALLY_PAID}
    view: dict[str, object] = {
        "payment_id": payment.payment_id,
        "invoice_id": payment.invoice_id,
        "payment_status": payment.payment_status,
        "pay_address": payment.pay_address,
        "payin_extra_id": payment.payin_extra_id,
        "price_amount": number(payment.price_amount),
        "price_currency": payment.price_currency,
        "pay_amount": number(payment.pay_amount),
        "actually_paid": number(payment.actually_paid),
        "pay_currency": payment.pay_currency,
        "order_id": payment.order_id,
        "order_description": payment.order_description,
        "purchase_id": payment.purchase_id,
        "outcome_amount": number(payments.outcome(payment)) if payment.actually_paid > ZERO else None,
        "outcome_currency": payment.outcome_currency,
        "payout_hash": _hash("payout", payment) if is_settled else None,
        "payin_hash": _hash("payin", payment) if payment.actually_paid > ZERO else None,
        "created_at": iso(payment.created_ms),
        "updated_at": iso(payment.updated_ms),
        "burning_percent": "null",
        "type": "crypto2crypto",
    }
    if child_ids:
        view["payment_extra_ids"] = list(child_ids)
    if payment.parent_payment_id is not None:
        view["parent_payment_id"] = payment.parent_payment_id
        view["origin_type"] = "REPEATED"
    return view


def _hash(direction: str, payment: Payment) -> str:
    digest = hashlib.sha256(f"{direction} {payment.payment_id}".encode()).hexdigest()
    return f"0x{digest}" if payment.pay_address.startswith("0x") else digest
