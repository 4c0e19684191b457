"""Signed notifications as the provider writes them, for orders that a test made."""

import json
from typing import Any

from crypto_orders.domain import ipn_signature
from tests.support.service import IPN_SECRET, Client, Reply, Service

PATH = "/v1/webhooks/nowpayments"


def body_of(order: dict[str, Any], payment_id: str, status: str, **changes: Any) -> dict[str, Any]:
    """A notification about an order's payment; `changes` replace or add fields, None removes one."""
    body: dict[str, Any] = {
        "actually_paid": 0,
        "order_id": order["order_id"],
        "parent_payment_id": None,
        "pay_address": order["payment_address"],
        "pay_amount": float(order["pay_amount"]),
        "pay_currency": order["pay_currency"],
        "payment_id": int(payment_id),
        "payment_status": status,
        "price_amount": order["price_cents"] / 100,
        "price_currency": "usd",
    }
    body.update(changes)
    return {name: value for name, value in body.items() if value is not ...}


def signed(body: dict[str, Any] | bytes, secret: str = IPN_SECRET) -> tuple[bytes, str]:
    """The bytes of a notification and their signature."""
    raw = body if isinstance(body, bytes) else ipn_signature.canonical(json.dumps(body).encode())
    return raw, ipn_signature.sign(raw, secret)


async def send(client: Client, body: dict[str, Any] | bytes, **signature: str) -> Reply:
    """Send a notification, correctly signed unless told otherwise."""
    raw, mac = signed(body)
    headers = {"x-nowpayments-sig": signature.get("signature", mac), "content-type": "application/json"}
    async with client.session.post(client.origin + PATH, data=raw, headers=headers) as reply:
        return Reply(reply.status, await reply.read(), reply.headers)


async def payment_of(service: Service, order: dict[str, Any]) -> str:
    """The id of an order's current payment."""
    rows = await service.rows("SELECT payment_id FROM orders WHERE order_id = $1", order["order_id"])
    return rows[0]["payment_id"]
