"""The capability in a payment page's address: an order id and its MAC, made anew whenever it is asked for."""

import base64
import hashlib
import hmac

PURPOSE = "pay-link"
"""What the key for these tokens is derived for."""

MAC_BYTES = 16
"""128 bits: nobody guesses a token."""

ORDER_ID_CHARS = 30


def pay_token(order_id: str, key: bytes) -> str:
    """The token of an order's page: its id without the prefix, and 26 characters of MAC."""
    return order_id.removeprefix("ord_") + _mac(order_id, key)


def order_of_token(token: str, keys: tuple[bytes, ...]) -> str | None:
    """The order a token was made for under one of the keys, or None when it was not made by us."""
    split = ORDER_ID_CHARS - len("ord_")
    order_id, mac = f"ord_{token[:split]}", token[split:]
    if not (token.isascii() and any(hmac.compare_digest(mac, _mac(order_id, key)) for key in keys)):
        return None
    return order_id


def _mac(order_id: str, key: bytes) -> str:
    mac = hmac.digest(key, order_id.encode(), hashlib.sha256)[:MAC_BYTES]
    return base64.b32encode(mac).decode().rstrip("=").lower()
