"""Token buckets over processes: never more than capacity and refill, and hardly a query."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from crypto_orders.domain.rate_limit import Policy
from crypto_orders.kit import ids
from crypto_orders.store import rate_limits
from crypto_orders.store.connection import Pool
from crypto_orders.store.transaction import transact_single
from crypto_orders.usecases.rate_limits import RateLimiter, forget_idle_buckets

# One token an hour: nothing refills while a test runs.
SLOW = Policy(10, 1 / 3600)
CUSTOMER = Policy(120, 20)


async def granted(limiter: RateLimiter, key: str, policy: Policy, draws: int) -> int:
    answers = await asyncio.gather(*(limiter.draw(key, policy) for _ in range(draws)))
    return sum(1 for answer in answers if answer is not None and answer.granted)


async def writes(pool: Pool) -> int:
    """How often rows of the bucket table were written in this database."""
    async with pool.acquire() as conn:
        return await conn.fetchval("SELECT count(*) + coalesce(sum(xmin::text::bigint), 0) FROM rate_buckets")


async def make_key(pool: Pool) -> UUID:
    key_id = ids.uuid7()
    async with pool.acquire() as conn:
        await conn.execute(
            "INSERT INTO api_keys (key_sha256, key_id, mode, scopes, prefix)"
            " VALUES ($1, $2, 'admin', '{}', 'ds')",
            key_id.bytes * 2,
            key_id,
        )
    return key_id


async def set_override(
    pool: Pool, key_id: UUID, capacity: int, refill: float, expires_at: datetime | None = None
) -> None:
    async with pool.acquire() as conn:
        await conn.execute(
            "INSERT INTO rate_overrides VALUES ($1, $2, $3, $4) ON CONFLICT (key_id) DO UPDATE"
            " SET capacity = EXCLUDED.capacity, refill_per_second = EXCLUDED.refill_per_second,"
            " expires_at = EXCLUDED.expires_at",
            key_id,
            capacity,
            refill,
            expires_at,
        )


async def test_a_bucket_grants_its_capacity_and_then_says_when_to_come_back(pool: Pool) -> None:
    limiter = RateLimiter(pool)
    answers = [await limiter.draw("k", SLOW) for _ in range(12)]
    assert [answer.granted for answer in answers if answer] == [True] * 10 + [False] * 2
    assert [answer.remaining for answer in answers if answer] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    refused = answers[-1]
    assert refused is not None
    assert refused.limit == 10
    assert 3590 <= refused.retry_after_seconds <= 3600
    assert 35990 <= refused.reset_seconds <= 36000


async def test_buckets_do_not_touch_each_other(pool: Pool) -> None:
    limiter = RateLimiter(pool)
    assert await granted(limiter, "a", SLOW, 20) == 10
    assert await granted(limiter, "b", SLOW, 20) == 10


@pytest.mark.parametrize("processes", [1, 2, 5])
async def test_many_processes_together_grant_one_capacity(pool: Pool, processes: int) -> None:
    limiters = [RateLimiter(pool) for _ in range(processes)]
    counts = await asyncio.gather(*(granted(limiter, "k", SLOW, 50) for limiter in limiters))
    assert sum(counts) == 10


async def test_a_burst_over_processes_is_capacity_plus_refill_and_no_more(pool: Pool) -> None:
    limiters = [RateLimiter(pool) for _ in range(3)]
    began = time.monotonic()
    counts = await asyncio.gather(*(granted(limiter, "k", CUSTOMER, 200) for limiter in limiters))
    seconds = time.monotonic() - began
    assert 120 <= sum(counts) <= 120 + 20 * seconds + 1


async def test_draws_from_a_slice_write_nothing(pool: Pool) -> None:
    limiter = RateLimiter(pool)
    await limiter.draw("k", CUSTOMER)
    before = await writes(pool)
    for _ in range(19):
        await limiter.draw("k", CUSTOMER)
    assert await writes(pool) == before
    await limiter.draw("k", CUSTOMER)
    assert await writes(pool) != before


async def test_an_empty_bucket_is_not_asked_again_before_it_can_have_refilled(pool: Pool) -> None:
    limiter = RateLimiter(pool)
    assert await granted(limiter, "k", SLOW, 20) == 10
    before = await writes(pool)
    assert await granted(limiter, "k", SLOW, 100) == 0
    assert await writes(pool) == before


async def test_a_bucket_refills_up_to_its_capacity(pool: Pool) -> None:
    assert await granted(RateLimiter(pool), "k", CUSTOMER, 120) >= 120
    async with pool.acquire() as conn:
        await conn.execute("UPDATE rate_buckets SET tokens = 0, updated_at = now() - interval '2 seconds'")
    assert 40 <= await granted(RateLimiter(pool), "k", CUSTOMER, 100) <= 60
    async with pool.acquire() as conn:
        await conn.execute("UPDATE rate_buckets SET updated_at = now() - interval '1 year'")
    assert 120 <= await granted(RateLimiter(pool), "k", CUSTOMER, 400) <= 160


async def test_a_clock_that_stepped_back_takes_nothing_away(pool: Pool) -> None:
    await granted(RateLimiter(pool), "k", SLOW, 1)
    async with pool.acquire() as conn:
        await conn.execute("UPDATE rate_buckets SET updated_at = now() + interval '1 hour'")
    assert await granted(RateLimiter(pool), "k", SLOW, 20) == 9


async def test_a_slice_from_long_ago_is_given_up(pool: Pool) -> None:
    now = 1000.0
    limiter = RateLimiter(pool, monotonic=lambda: now)
    await limiter.draw("k", CUSTOMER)
    now += 3600
    async with pool.acquire() as conn:
        await conn.execute("UPDATE rate_buckets SET updated_at = now() - interval '1 hour'")
    answer = await limiter.draw("k", CUSTOMER)
    assert answer is not None
    # Of a full bucket one token is gone; the 19 of the first slice do not come on top.
    assert answer.remaining == 119


async def test_capacity_0_limits_nothing_and_writes_nothing(pool: Pool) -> None:
    limiter = RateLimiter(pool)
    assert await limiter.draw("k", Policy(0, 20)) is None
    assert await writes(pool) == 0


async def test_an_override_goes_before_the_policy(pool: Pool) -> None:
    key_id = await make_key(pool)
    await set_override(pool, key_id, 3, 1 / 3600)
    limiter = RateLimiter(pool)
    answers = [await limiter.draw("k", CUSTOMER, override_of=key_id) for _ in range(5)]
    assert [answer.granted for answer in answers if answer] == [True, True, True, False, False]
    assert {answer.limit for answer in answers if answer} == {3}


async def test_an_override_may_lift_every_limit_and_put_one_where_none_is(pool: Pool) -> None:
    key_id = await make_key(pool)
    await set_override(pool, key_id, 0, 1)
    now = 1000.0
    limiter = RateLimiter(pool, monotonic=lambda: now)
    assert [await limiter.draw("k", SLOW, override_of=key_id) for _ in range(20)] == [None] * 20
    assert await writes(pool) == 0
    await set_override(pool, key_id, 2, 1 / 3600)
    now += 2
    answers = [await limiter.draw("k", Policy(0, 20), override_of=key_id) for _ in range(3)]
    assert [answer.granted for answer in answers if answer] == [True, True, False]


async def test_an_override_that_ended_counts_no_more(pool: Pool) -> None:
    key_id = await make_key(pool)
    await set_override(pool, key_id, 3, 1, datetime.now(UTC) - timedelta(seconds=1))
    answer = await RateLimiter(pool).draw("k", CUSTOMER, override_of=key_id)
    assert answer is not None
    assert answer.limit == 120
    async with pool.acquire() as conn:
        assert await rate_limits.find_override(conn, key_id) is None
        await set_override(pool, key_id, 3, 1, datetime(2099, 1, 1, tzinfo=UTC))
        found = await rate_limits.find_override(conn, key_id)
    assert found == (Policy(3, 1), datetime(2099, 1, 1, tzinfo=UTC))


async def test_buckets_idle_for_a_day_are_forgotten(pool: Pool) -> None:
    limiter = RateLimiter(pool)
    await limiter.draw("idle", SLOW)
    await limiter.draw("busy", SLOW)
    async with pool.acquire() as conn:
        await conn.execute(
            "UPDATE rate_buckets SET updated_at = now() - interval '25 hours' WHERE bucket_key = 'idle'"
        )
    assert await forget_idle_buckets(pool) == 1
    async with pool.acquire() as conn:
        assert await conn.fetchval("SELECT string_agg(bucket_key, ',') FROM rate_buckets") == "busy"


async def test_concurrent_leases_of_one_bucket_are_exact(pool: Pool) -> None:
    policy = Policy(100, 1e-9)
    leased = await asyncio.gather(
        *(transact_single(pool, lambda tx: rate_limits.lease(tx, "k", policy, None)) for _ in range(150))
    )
    # One that loses the race to make the bucket is told so and would ask again.
    again = [
        await transact_single(pool, lambda tx: rate_limits.lease(tx, "k", policy, None))
        for lost in leased
        if lost is None
    ]
    assert sum(each.granted for each in (*leased, *again) if each is not None) == 100
