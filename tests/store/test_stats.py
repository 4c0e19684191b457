"""Numbers over all orders are exact at every moment, whether deltas were folded or not."""

import asyncio
import random
from collections import Counter
from datetime import date, timedelta
from typing import Any

import pytest

from crypto_orders.store import stats
from crypto_orders.store.connection import Conn, Pool
from crypto_orders.store.transaction import transact
from tests.support.seeded import DAY, put_account, put_order

DELTA = """
INSERT INTO order_deltas (delta_id, created_on, status, product, price_currency, orders, price_cents, paid_ms)
SELECT gen_random_uuid(), $1, status, $2, 'USD', sign, sign * 100, 0
  FROM (VALUES ('pending', -1), ('paid', 1)) AS d (status, sign)
"""


@pytest.fixture
async def conn(pool: Pool) -> Any:
    async with pool.acquire() as conn:
        yield conn


async def test_without_orders_everything_is_zero(conn: Conn) -> None:
    assert await stats.stats(conn) == stats.Stats(
        total=0,
        by_status={"pending": 0, "confirming": 0, "partial": 0, "paid": 0, "failed": 0, "cancelled": 0},
        paid_revenue_cents={},
        avg_time_to_paid_ms=None,
        paid_sample=0,
        paid_revenue_by_product={},
        paid_count_by_product={},
    )
    assert await stats.daily(conn, DAY.date(), 7) == []
    assert await stats.pending_ages(conn, DAY) == stats.PendingAges(
        under_1h=0, h1_to_6h=0, h6_to_24h=0, over_24h=0, value_cents={}, total=0
    )


async def fold_all(pool: Pool) -> None:
    while await transact(pool, stats.fold_deltas):
        pass


async def put_some(conn: Conn) -> None:
    account_id = await put_account(conn)
    for minutes, product, cents, currency in (
        (10, "solo_manual", 7900, "USD"),
        (20, "solo_manual", 7900, "USD"),
        (30, "solo_manual", 7000, "EUR"),
        (40, "api_scale", 149900, "USD"),
    ):
        await put_order(
            conn,
            account_id,
            status="paid",
            product=product,
            cents=cents,
            currency=currency,
            paid_at=DAY + timedelta(minutes=minutes),
        )
    await put_order(conn, account_id, status="failed")
    await put_order(conn, account_id, status="cancelled", at=DAY - timedelta(days=1))
    await put_order(conn, account_id, at=DAY - timedelta(days=6))
    await put_order(conn, account_id, at=DAY - timedelta(days=7))


async def test_the_numbers_are_those_of_the_orders_before_and_after_folding(pool: Pool, conn: Conn) -> None:
    await put_some(conn)
    expected = stats.Stats(
        total=8,
        by_status={"pending": 2, "confirming": 0, "partial": 0, "paid": 4, "failed": 1, "cancelled": 1},
        paid_revenue_cents={"USD": 165700, "EUR": 7000},
        avg_time_to_paid_ms=25 * 60_000,
        paid_sample=4,
        paid_revenue_by_product={"solo_manual": 15800, "solo_manual:EUR": 7000, "api_scale": 149900},
        paid_count_by_product={"solo_manual": 3, "api_scale": 1},
    )
    days = [
        stats.DayCount(date(2026, 5, 16), "pending", 1),
        stats.DayCount(date(2026, 5, 21), "cancelled", 1),
        stats.DayCount(date(2026, 5, 22), "failed", 1),
        stats.DayCount(date(2026, 5, 22), "paid", 4),
    ]
    for _ in range(2):
        assert await stats.stats(conn) == expected
        assert await stats.daily(conn, DAY.date(), 7) == days
        await fold_all(pool)
        assert await conn.fetchval("SELECT count(*) FROM order_deltas") == 0


async def test_pending_orders_are_counted_by_age(pool: Pool, conn: Conn) -> None:
    account_id = await put_account(conn)
    moment = timedelta(milliseconds=1)
    for age in (
        -moment,
        timedelta(0),
        timedelta(hours=1) - moment,
        timedelta(hours=1),
        timedelta(hours=6) - moment,
        timedelta(hours=6),
        timedelta(hours=24) - moment,
        timedelta(hours=24),
        timedelta(days=400),
    ):
        await put_order(conn, account_id, at=DAY - age, currency="EUR" if age == moment * 0 else "USD")
    await put_order(conn, account_id, status="failed")
    expected = stats.PendingAges(
        under_1h=3,
        h1_to_6h=2,
        h6_to_24h=2,
        over_24h=2,
        value_cents={"EUR": 7900, "USD": 63200},
        total=9,
    )
    assert await stats.pending_ages(conn, DAY) == expected
    await fold_all(pool)
    assert await stats.pending_ages(conn, DAY) == expected


async def test_readers_are_exact_while_many_write_and_fold_at_once(pool: Pool) -> None:
    """Every writer moves one order at a time, so the total never changes and paid only grows."""
    days = [date(2026, 5, day) for day in range(1, 10)]
    products = ["a", "b", "c"]
    async with pool.acquire() as conn:
        await conn.execute(
            "INSERT INTO order_totals SELECT d::date, 'pending', p, 'USD', 100, 10000, 0"
            " FROM generate_series('2026-05-01'::date, '2026-05-09', '1 day') AS d, unnest($1::text[]) AS p",
            products,
        )
        await conn.execute(
            "INSERT INTO order_grand_totals SELECT 'pending', p, 'USD', 900, 90000, 0"
            " FROM unnest($1::text[]) AS p",
            products,
        )
    writing = True
    written: Counter[str] = Counter()

    async def write(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(60):
            product = draw.choice(products)
            async with pool.acquire() as conn:
                await conn.execute(DELTA, draw.choice(days), product)
            written[product] += 1

    async def fold() -> None:
        while writing:
            await transact(pool, lambda tx: stats.fold_deltas(tx, 7))

    async def read() -> None:
        paid = 0
        while writing:
            async with pool.acquire() as conn:
                found = await stats.stats(conn)
            assert found.total == 2700
            assert found.by_status["paid"] >= paid
            paid = found.by_status["paid"]

    others = [asyncio.create_task(each) for each in (fold(), fold(), fold(), read())]
    await asyncio.gather(*(write(seed) for seed in range(4)))
    writing = False
    await asyncio.gather(*others)
    await fold_all(pool)
    async with pool.acquire() as conn:
        found = await stats.stats(conn)
        assert found.paid_count_by_product == dict(written)
        assert found.by_status["paid"] == 240
        assert await conn.fetchval("SELECT sum(orders) FROM order_totals") == 2700
        assert await conn.fetchval("SELECT sum(orders) FROM order_totals WHERE status = 'paid'") == 240
