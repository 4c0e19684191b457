"""What a key can ask about itself: who it is, and how fast it may ask."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from crypto_orders.api.auth import (
    SCOPES,
    WHOAMI_ROUTE,
    Authenticator,
    AuthSettings,
    Principal,
)
from crypto_orders.domain.rate_limit import bucket_of_key
from crypto_orders.kit import clock, ids
from crypto_orders.kit.http import ANY_KEY, Call, Endpoint, RouteGroup
from crypto_orders.store import rate_limits
from crypto_orders.store.connection import ACQUIRE_TIMEOUT_SECONDS, Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDeps:
    """What these routes need."""

    pool: Pool
    settings: AuthSettings


class Whoami(msgspec.Struct, frozen=True):
    """The key that asked; an admin's key has no account."""

    account_id: str | None
    api_key_id: str
    tier: str
    scopes: tuple[str, ...]


class Bucket(msgspec.Struct, frozen=True):
    """One token bucket of a key. A capacity of 0 means that nothing is limited."""

    bucket_key: str
    capacity: int
    refill_per_second: float
    source: Literal["tier_default", "override"]
    override_expires_at: str | None


class RateLimits(msgspec.Struct, frozen=True):
    """The buckets that the key draws on."""

    tier: str
    buckets: tuple[Bucket, ...]


_Call = Call[AccountDeps, Principal, None, None]


async def whoami(call: _Call) -> Whoami:
    """Say which key this is."""
    principal = call.principal
    return Whoami(
        account_id=None if principal.account_id is None else ids.prefixed("acc", principal.account_id),
        api_key_id=ids.prefixed("key", principal.key_id),
        tier=principal.tier,
        scopes=principal.scopes,
    )


async def show_rate_limits(call: _Call) -> RateLimits:
    """Say what limits the key, and whether that is its own or its kind's."""
    principal = call.principal
    policy = call.deps.settings.policy_of(principal.kind)
    async with call.deps.pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as conn:
        override = await rate_limits.find_override(conn, principal.key_id)
    expires_at = None
    if override is not None:
        policy = override.policy
        expires_at = None if override.expires_at is None else clock.to_iso(override.expires_at)
    bucket = Bucket(
        bucket_key=bucket_of_key(principal.key_id),
        capacity=policy.capacity,
        refill_per_second=policy.refill_per_second,
        source="tier_default" if override is None else "override",
        override_expires_at=expires_at,
    )
    return RateLimits(tier=principal.tier, buckets=(bucket,))


ENDPOINTS: tuple[Endpoint[AccountDeps, Principal, Any, Any], ...] = (
    Endpoint(
        method="GET",
        path=WHOAMI_ROUTE,
        handler=whoami,
        scope=ANY_KEY,
        response=Whoami,
        summary="Which key is this?",
        tags=("Account",),
    ),
    Endpoint(
        method="GET",
        path="/v1/account/rate-limits",
        handler=show_rate_limits,
        scope=ANY_KEY,
        response=RateLimits,
        summary="How fast may this key ask?",
        tags=("Account",),
    ),
)


def routes(deps: AccountDeps, authenticator: Authenticator) -> RouteGroup[AccountDeps, Principal]:
    """These routes, opened by any valid key."""
    return RouteGroup(deps=deps, endpoints=ENDPOINTS, authenticate=authenticator.authenticate, scopes=SCOPES)
