"""Draw on token buckets that hold across processes, from slices that each process leases of them."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from crypto_orders.domain.rate_limit import Allowance, Policy, allowance
from crypto_orders.store import rate_limits
from crypto_orders.store.connection import ACQUIRE_TIMEOUT_SECONDS, Pool
from crypto_orders.store.transaction import transact_single

# Buckets that this process remembers; the least recently used one is forgotten first, with what it leased.
REMEMBERED_BUCKETS_MAX: Final = 10_000
# An unlimited key is asked about again after this, so that a limit set meanwhile takes hold.
_UNLIMITED_SECONDS: Final = 1.0
# Another process makes the same bucket at most once; a further try finds it.
_LEASE_TRIES: Final = 3
# A bucket idle for so long is full under every sane policy, so its row says nothing.
IDLE_SECONDS: Final = 86_400.0
_FORGET_AT_ONCE: Final = 1_000


@dataclass(slots=True)
class _Share:
    """What this process holds of one bucket, and what it knows of the rest."""

    policy: Policy
    tokens: int = 0
    # Tokens left in the table when they were last seen, and when that was.
    left: float = 0.0
    seen_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def elsewhere(self, now: float) -> float:
        """An estimate of what the table holds now, as if no other process had drawn since."""
        refilled = self.left + (now - self.seen_at) * self.policy.refill_per_second
        return min(float(self.policy.capacity - self.tokens), refilled)

    def is_stale(self, now: float) -> bool:
        """Whether the bucket has surely filled up since: what is still held here would come on top of it."""
        return (now - self.seen_at) * self.policy.refill_per_second > self.policy.capacity


class RateLimiter:
    """The buckets as one process sees them.

    A granted draw usually costs no query: the process takes a slice of at most a second's refill out of
    the table and spends it. Over all processes a bucket never grants more than its capacity and refill,
    plus at most one such slice for each process that held one from before.
    """

    def __init__(self, pool: Pool, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._monotonic = monotonic
        self._shares: OrderedDict[str, _Share] = OrderedDict()

    async def draw(
        self, bucket_key: str, policy: Policy, *, override_of: UUID | None = None
    ) -> Allowance | None:
        """Take one token; None where nothing is limited.

        ``override_of`` names the key whose own policy goes before ``policy``.
        """
        if not policy.limits and override_of is None:
            return None
        share = self._share(bucket_key, policy)
        if share.tokens < 1 or share.is_stale(self._monotonic()):
            # Behind a refill that the database does not answer nobody waits longer than for a connection.
            async with asyncio.timeout(ACQUIRE_TIMEOUT_SECONDS):
                await share.lock.acquire()
            try:
                await self._refill(share, bucket_key, policy, override_of)
            finally:
                share.lock.release()
        if not share.policy.limits:
            return None
        granted = share.tokens >= 1
        if granted:
            share.tokens -= 1
        total = share.tokens + share.elsewhere(self._monotonic())
        return allowance(share.policy, total, granted=granted)

    def _share(self, bucket_key: str, policy: Policy) -> _Share:
        share = self._shares.get(bucket_key)
        if share is None:
            share = self._shares[bucket_key] = _Share(policy, seen_at=float("-inf"))
            if len(self._shares) > REMEMBERED_BUCKETS_MAX:
                self._shares.popitem(last=False)
        else:
            self._shares.move_to_end(bucket_key)
        return share

    async def _refill(self, share: _Share, bucket_key: str, policy: Policy, override_of: UUID | None) -> None:
        now = self._monotonic()
        if share.tokens >= 1 and not share.is_stale(now):
            # Someone who waited for the same slice found the lock free first.
            return
        age = now - share.seen_at
        if not share.policy.limits and age < _UNLIMITED_SECONDS:
            return
        if share.policy.limits and share.elsewhere(now) < 1:
            # Known to be empty: a flood of requests must not become a flood of queries.
            return
        for _ in range(_LEASE_TRIES):
            leased = await transact_single(
                self._pool, lambda tx: rate_limits.lease(tx, bucket_key, policy, override_of)
            )
            if leased is not None:
                share.policy, share.tokens, share.left = leased.policy, leased.granted, leased.left
                share.seen_at = self._monotonic()
                return


async def forget_idle_buckets(pool: Pool) -> int:
    """Delete some of the rows of buckets that were idle for a day; a worker calls this now and then."""
    return await transact_single(
        pool, lambda tx: rate_limits.forget_idle(tx, idle_seconds=IDLE_SECONDS, limit=_FORGET_AT_ONCE)
    )
