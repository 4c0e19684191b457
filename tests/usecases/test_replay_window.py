"""A replay of many deliveries and its audit rows are committed together."""

from datetime import timedelta

import asyncpg
import pytest

from crypto_orders.kit import clock
from crypto_orders.store.connection import Pool
from crypto_orders.store.deliveries import Window
from crypto_orders.usecases import deliveries
from crypto_orders.usecases.deliveries import Replayed
from tests.support.deliveries import Endpoint, add_endpoint, allow_events_without_orders, tell
from tests.support.service import IN_A_TEST

EVENTS = 12
DEAD = "UPDATE webhook_deliveries SET status = 'dlq', due_at = NULL"


async def dead_deliveries(pool: Pool, owner_pool: Pool) -> tuple[Endpoint, Window]:
    """An endpoint with a number of dead deliveries, and the window that holds them."""
    await allow_events_without_orders(owner_pool)
    endpoint = await add_endpoint(pool, "https://example.com/")
    await tell(pool, [endpoint], EVENTS)
    assert await deliveries.fan_out(pool) == EVENTS
    async with pool.acquire() as conn:
        await conn.execute(DEAD)
    now = clock.utc_now()
    window = Window(since=now - timedelta(hours=1), until=now + timedelta(hours=1), statuses=("dlq",))
    return endpoint, window


async def statuses(pool: Pool) -> list[str]:
    async with pool.acquire() as conn:
        rows = await conn.fetch("SELECT DISTINCT status FROM webhook_deliveries ORDER BY status")
    return [row["status"] for row in rows]


async def test_what_is_queued_has_its_audit_row(pool: Pool, owner_pool: Pool) -> None:
    endpoint, window = await dead_deliveries(pool, owner_pool)

    async def replay(*, dry_run: bool) -> Replayed:
        return await deliveries.replay_window(
            pool, None, endpoint.endpoint_id, window, dry_run=dry_run, entry=IN_A_TEST
        )

    assert await replay(dry_run=True) == Replayed(EVENTS, 0)
    assert await statuses(pool) == ["dlq"]
    assert await replay(dry_run=False) == Replayed(EVENTS, EVENTS)
    assert await statuses(pool) == ["pending"]
    assert await replay(dry_run=False) == Replayed(0, 0)
    async with pool.acquire() as conn:
        rows = await conn.fetch(
            "SELECT result, detail ->> 'why' AS why, account_id FROM audit_log ORDER BY at"
        )
    assert [(row["result"], row["why"], row["account_id"]) for row in rows] == [
        ("counted", "0 of 12 queued", endpoint.account_id),
        ("queued", "12 of 12 queued", endpoint.account_id),
        ("queued", "0 of 0 queued", endpoint.account_id),
    ]


async def test_nothing_is_queued_when_the_audit_row_cannot_be_kept(pool: Pool, owner_pool: Pool) -> None:
    endpoint, window = await dead_deliveries(pool, owner_pool)
    async with owner_pool.acquire() as conn:
        await conn.execute("ALTER TABLE audit_log ADD CONSTRAINT is_full CHECK (false) NOT VALID")
    with pytest.raises(asyncpg.CheckViolationError):
        await deliveries.replay_window(
            pool, None, endpoint.endpoint_id, window, dry_run=False, entry=IN_A_TEST
        )
    assert await statuses(pool) == ["dlq"]
