"""Who may call what: the API key, the five-minute token of the list, the loopback rule of the controls."""

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from crypto_orders.domain import networks
from crypto_orders.sandbox.engine import Engine
from crypto_orders.sandbox.wire import now_ms, refuse

TOKEN_SECONDS: Final = 300
"""A token's life, as read from a real one's ``exp`` minus ``iat``."""

_HEADER: Final = {"alg": "HS256", "typ": "JWT"}

Handler = Callable[[Request], Awaitable[Response]]


class _Claims(msgspec.Struct):
    id: str
    iat: int
    exp: int


def engine_of(request: Request) -> Engine:
    """The engine the application was started with."""
    return cast("Engine", request.app.state.engine)


def keyed(handler: Handler) -> Handler:
    """Refuse callers without this account's key: 403, not 401, as the provider does."""

    async def checked(request: Request) -> Response:
        given = request.headers.get("x-api-key", "").strip().encode()
        if not hmac.compare_digest(given, engine_of(request).config.api_key.encode()):
            refuse(403, "INVALID_API_KEY", "Invalid api key")
        return await handler(request)

    return checked


def with_token(handler: Handler) -> Handler:
    """Refuse callers without a valid token; put outside :func:`keyed`, as the provider looks at it first."""

    async def checked(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            refuse(401, "AUTH_REQUIRED", "Authorization header is empty (Bearer JWTtoken is required)")
        if not _is_valid(token.strip(), engine_of(request).token_key):
            refuse(401, "AUTH_REQUIRED", "Bearer JWTtoken is invalid or expired")
        return await handler(request)

    return checked


def from_loopback(handler: Handler) -> Handler:
    """Refuse callers from other machines, and pages of other sites in a browser on this one."""

    async def checked(request: Request) -> Response:
        if request.client is None or not _is_loopback(request.client.host):
            refuse(403, "LOOPBACK_ONLY", "The controls answer this machine only")
        if request.headers.get("sec-fetch-site") == "cross-site":
            refuse(403, "LOOPBACK_ONLY", "The controls do not answer pages of other sites")
        return await handler(request)

    return checked


def make_token(key: bytes) -> str:
    """A token that is valid for five minutes from now."""
    issued = now_ms() // 1000
    claims = _Claims(id="4538972601", iat=issued, exp=issued + TOKEN_SECONDS)
    signed = f"{_base64(msgspec.json.encode(_HEADER))}.{_base64(msgspec.json.encode(claims))}"
    return f"{signed}.{_signature(signed, key)}"


def _is_valid(token: str, key: bytes) -> bool:
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(signed, key).encode()):
        return False
    # The signature was ours, so the claims are.
    claims = signed.partition(".")[2]
    text = base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))
    return msgspec.json.decode(text, type=_Claims).exp > now_ms() // 1000


def _signature(signed: str, key: bytes) -> str:
    return _base64(hmac.new(key, signed.encode(), hashlib.sha256).digest())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _is_loopback(host: str) -> bool:
    try:
        return networks.is_loopback(ip_address(host))
    except ValueError:
        return False
