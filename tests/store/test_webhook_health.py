"""Endpoints in trouble are found by an index of their own, from the first attempt that fails."""

from datetime import timedelta

from crypto_orders.kit import clock
from crypto_orders.store import overview, webhook_health
from crypto_orders.store.connection import Pool
from tests.support.seeded import put_account
from tests.support.troubles import put_endpoint

MANY_WELL = """
INSERT INTO webhook_endpoints (account_id, endpoint_id, url, events, secret_prefix, secret_sealed,
                               last_failure_at, last_success_at, created_at)
SELECT $1, gen_random_uuid(), 'https://example.com', '{crypto.order.paid}', 'whsec_AAEC', '\\x00',
       now() - interval '1 hour', now(), now()
  FROM generate_series(1, 3000)
"""


async def test_an_endpoint_is_in_trouble_from_the_first_attempt_that_fails_until_one_succeeds(
    pool: Pool,
) -> None:
    now = clock.utc_now()
    before = now - timedelta(minutes=1)
    async with pool.acquire() as conn:
        account = await put_account(conn)
        await put_endpoint(conn, account, url="never-tried")
        await put_endpoint(conn, account, url="failed-first", failed_at=now)
        await put_endpoint(conn, account, url="failed-again", failed_at=now, succeeded_at=before)
        await put_endpoint(conn, account, url="recovered", failed_at=before, succeeded_at=now)
        await put_endpoint(conn, account, url="dead-letters", failures=2, succeeded_at=before)
        await put_endpoint(conn, account, url="disabled", disabled="it answered 410")
        await put_endpoint(conn, account, url="paused", paused=True, failed_at=now)
        await put_endpoint(conn, account, url="deleted", deleted=True, failed_at=now, failures=2)
        found = await webhook_health.newest(conn, account_id=None, failing=True, limit=50, after=None)
        counted = (await overview.waiting(conn)).failing_endpoints
    assert {each.url for each in found.items} == {"failed-first", "failed-again", "dead-letters", "disabled"}
    assert all(each.failing for each in found.items)
    assert counted == 4


async def test_the_many_that_are_well_cost_nothing(pool: Pool) -> None:
    async with pool.acquire() as conn:
        account = await put_account(conn)
        await conn.execute(MANY_WELL, account)
        await conn.execute("SET enable_seqscan = off")
        for statement in (overview.WAITING.replace("$1", "10001"), webhook_health.FAILING.select):
            plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {statement}"))
            assert "webhook_endpoints_failing" in plan
            assert "Seq Scan on webhook_endpoints" not in plan


async def test_noting_a_success_of_an_endpoint_that_is_well_touches_no_index(pool: Pool) -> None:
    async with pool.acquire() as conn:
        endpoint = await put_endpoint(conn, await put_account(conn), succeeded_at=clock.utc_now())
        async with conn.transaction():
            await conn.execute(
                "UPDATE webhook_endpoints SET last_success_at = clock_timestamp() WHERE endpoint_id = $1",
                endpoint.endpoint_id,
            )
            hot = await conn.fetchval(
                "SELECT n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'webhook_endpoints'"
            )
    assert hot == 1
