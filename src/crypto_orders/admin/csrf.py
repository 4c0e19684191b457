"""Tell our own forms from other sites': where a request comes from, and a token that only our pages know."""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final

from crypto_orders.admin.services import AdminServices
from crypto_orders.kit.http import Call

SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
HEADER: Final = "x-csrf-token"
SECRET_BYTES: Final = 32
_PURPOSE: Final = b"csrf"


def secret_of(session_token: str) -> bytes:
    """What proves that a form is of a session: derived, so nothing is stored; it ends with it."""
    return hmac.digest(session_token.encode(), _PURPOSE, sha256)


def masked(secret: bytes) -> str:
    """The secret as a text that is another one in every answer, so that compression gives none of it away."""
    mask = os.urandom(SECRET_BYTES)
    return urlsafe_b64encode(mask + _xor(mask, secret)).decode()


def is_token_of(secret: bytes, text: str) -> bool:
    """Whether a text was made of the secret by `masked`."""
    try:
        raw = urlsafe_b64decode(text.encode("ascii"))
    except ValueError:
        return False
    if len(raw) != 2 * SECRET_BYTES:
        return False
    return hmac.compare_digest(_xor(raw[:SECRET_BYTES], raw[SECRET_BYTES:]), secret)


def is_from_our_pages(call: Call[AdminServices, Any, Any, Any]) -> bool:
    """Whether the browser says that one of our own pages makes this request.

    `Sec-Fetch-Site` decides where it is sent; older browsers, and all over plain http, send `Origin` with
    every POST. Under `no-referrer` it would be `null`, so pages with forms allow themselves the referrer.
    """
    site = call.header("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return call.header("origin") == call.deps.public_origin


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
