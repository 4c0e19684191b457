"""Who calls: read the key, look it up, hold it to its scopes, its account and its rate."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

import msgspec

from crypto_orders.api.problems import forbidden
from crypto_orders.domain.api_key import ADMIN_SCOPES, CUSTOMER_SCOPES, ApiKey, KeyForm, digest, satisfies
from crypto_orders.domain.rate_limit import (
    ADMIN_POLICY,
    CUSTOMER_POLICY,
    FAILURE_POLICY,
    Allowance,
    Policy,
    bucket_of_address,
    bucket_of_key,
)
from crypto_orders.kit import clock, ids, log
from crypto_orders.kit.http import ANY_KEY, Call
from crypto_orders.kit.problem import Problem, bad_request, rate_limited
from crypto_orders.store.connection import ACQUIRE_TIMEOUT_SECONDS, Conn, Pool
from crypto_orders.usecases.rate_limits import RateLimiter

SCOPES: Final = CUSTOMER_SCOPES | ADMIN_SCOPES | {ANY_KEY}

# A client that asks who it is may be about to find out why it asks for the wrong account.
WHOAMI_ROUTE: Final = "/v1/whoami"

_CHALLENGE: Final = {"www-authenticate": "Bearer"}
DepsT = TypeVar("DepsT")


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """The key that a request was made with, and whose it is; an admin's key has no account."""

    key_id: UUID
    account_id: UUID | None
    kind: Literal["customer", "admin"]
    scopes: tuple[str, ...]
    tier: str

    @property
    def account(self) -> UUID:
        """The account of a customer's key; routes with a customer scope are never called with another."""
        if self.account_id is None:
            message = "a route for customers was called with a key that has no account"
            raise AssertionError(message)
        return self.account_id

    def allows(self, scope: str) -> bool:
        """Whether the key's scopes satisfy this one, for rules finer than a route's own scope."""
        return satisfies(self.scopes, scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """What a deployment decides about keys and rates.

    ``livemode`` is ``test`` where the provider is the sandbox, else ``live``: customers' keys of the other
    kind are no keys here. ``account_header`` is lower-case, as ``x-crypto-orders-account``.
    """

    key_prefix: str
    livemode: Literal["live", "test"]
    account_header: str
    customer_policy: Policy = CUSTOMER_POLICY
    admin_policy: Policy = ADMIN_POLICY
    failure_policy: Policy = FAILURE_POLICY

    def policy_of(self, kind: Literal["customer", "admin"]) -> Policy:
        """The rate that keys of a kind have unless one has its own."""
        return self.admin_policy if kind == "admin" else self.customer_policy


class Authenticator:
    """Authenticates the calls of every group of routes that keys open.

    ``find_key`` reads the key of a digest from the store; it is asked on every request, so that a
    revocation holds from the next one on every process.
    """

    def __init__(
        self,
        pool: Pool,
        limiter: RateLimiter,
        settings: AuthSettings,
        find_key: Callable[[Conn, bytes], Awaitable[ApiKey | None]],
    ) -> None:
        self._pool = pool
        self._limiter = limiter
        self._settings = settings
        self._find_key = find_key
        self._form = KeyForm(settings.key_prefix)

    async def authenticate(self, call: Call[DepsT, Principal, Any, Any], scope: str) -> Principal:
        """The principal of a call to a route that needs ``scope``.

        Raises Problem: 401 with its slug, 429, 400 for a foreign account header, 403 naming the scope.
        """
        key = await self._known_key(call)
        call.log_keys["key_id"] = str(key.key_id)
        log.bind(key_id=str(key.key_id))
        if key.account_id is not None:
            call.log_keys["account_id"] = str(key.account_id)
            log.bind(account_id=str(key.account_id))
        await self._draw_for_key(call, key)
        # From here on it is known who is refused.
        call.principal = principal = Principal(
            key_id=key.key_id, account_id=key.account_id, kind=key.kind, scopes=key.scopes, tier=key.tier
        )
        if call.route != WHOAMI_ROUTE:
            _check_account_header(call.header(self._settings.account_header), key, self._settings)
        if scope != ANY_KEY and not satisfies(key.scopes, scope):
            raise forbidden(scope)
        return principal

    async def _known_key(self, call: Call[Any, Any, Any, Any]) -> ApiKey:
        text = _bearer(call.header("authorization"))
        if text is None:
            return await self._fail(call, "unauthorized", "Send Authorization: Bearer and an API key.")
        mode = self._form.mode_of(text)
        if mode not in {"admin", self._settings.livemode}:
            # Of another form, or for another kind of deployment: the table is not asked.
            return await self._fail(call, "invalid-key", "This is no API key of this deployment.")
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as conn:
            key = await self._find_key(conn, digest(text))
        if key is None or key.livemode != mode:
            return await self._fail(call, "invalid-key", "This is no API key of this deployment.")
        if key.revoked_at is not None:
            return await self._fail(call, "revoked-key", "This API key was revoked.")
        if key.expires_at is not None and key.expires_at <= clock.utc_now():
            return await self._fail(call, "expired-key", "This API key has expired.")
        return key

    async def _fail(self, call: Call[Any, Any, Any, Any], slug: str, detail: str) -> ApiKey:
        """Never returns: 401, or 429 for an address that failed too often."""
        bucket_key = bucket_of_address(call.remote_address)
        _tell_allowance(call, await self._limiter.draw(bucket_key, self._settings.failure_policy))
        raise Problem(slug, detail, headers=_CHALLENGE)

    async def _draw_for_key(self, call: Call[Any, Any, Any, Any], key: ApiKey) -> None:
        allowance = await self._limiter.draw(
            bucket_of_key(key.key_id), self._settings.policy_of(key.kind), override_of=key.key_id
        )
        _tell_allowance(call, allowance)


def _tell_allowance(call: Call[Any, Any, Any, Any], allowance: Allowance | None) -> None:
    if allowance is None:
        return
    call.tell_rate(allowance.limit, allowance.remaining, allowance.reset_seconds)
    if not allowance.granted:
        raise rate_limited(allowance.retry_after_seconds)


def _bearer(header: str | None) -> str | None:
    """The credentials of a well-formed bearer header: the scheme in any case, one blank, one word."""
    if header is None:
        return None
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "bearer" or not credentials.strip(" ") or " " in credentials.strip(" "):
        return None
    return credentials.strip(" ")


def _check_account_header(named: str | None, key: ApiKey, settings: AuthSettings) -> None:
    if named is None or not named.strip():
        return
    text = named.strip().lower()
    account_id = ids.parse_prefixed("acc", text) or ids.parse_uuid(text)
    if account_id is None or account_id != key.account_id:
        detail = f"A key acts for its own account only: leave {settings.account_header} out."
        raise bad_request(detail)
