"""Bad endpoints beside good ones: they hold only their own slots, and leave no memory behind."""

import contextlib
import os
from pathlib import Path

from crypto_orders.sender.webhook_sender import SenderLimits
from crypto_orders.store.connection import Pool
from tests.sender import bad_receivers as bad
from tests.simulation import rig
from tests.simulation.rig import free_port, worker_alone
from tests.support.deliveries import add_endpoint, allow_events_without_orders, delivering, tell
from tests.support.service import eventually

BAD = 25
GOOD = 8
GOOD_EVENTS_EACH = 30
GROWTH_BYTES_MAX = 40 * 1024 * 1024
"""Far below what one of the endless bodies brings in a second."""

ENDLESS_EVENTS_EACH = 12

ENDED_ATTEMPTS = """
SELECT count(a.elapsed_ms)
  FROM webhook_attempts a
  JOIN webhook_deliveries d ON d.account_id = a.account_id AND d.delivery_id = a.delivery_id
 WHERE d.endpoint_id = ANY ($1)
"""
DELIVERED = "SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = ANY ($1) AND status = 'delivered'"


async def count(pool: Pool, query: str, endpoints: list[object]) -> int:
    async with pool.acquire() as conn:
        return await conn.fetchval(query, endpoints)


async def test_good_endpoints_get_everything_while_25_others_hang(pool: Pool, owner_pool: Pool) -> None:
    """All of them were good until now, so that each may hold as many attempts as any."""
    await allow_events_without_orders(owner_pool)
    patient = SenderLimits(attempt_seconds=600)
    async with contextlib.AsyncExitStack() as stack:
        good = [await stack.enter_async_context(bad.serving(bad.good)) for _ in range(GOOD)]
        await stack.enter_async_context(delivering(pool, limits=patient))
        # They end before the courier does, which waits for its attempts.
        hanging = [await stack.enter_async_context(bad.serving(bad.hang_after_request)) for _ in range(BAD)]
        hanging_ones = [await add_endpoint(pool, f"http://127.0.0.1:{each.port}/") for each in hanging]
        await tell(pool, hanging_ones, 8)

        async def all_hang() -> bool:
            return all(len(each.requests) == 4 for each in hanging)

        await eventually(all_hang)
        good_ones = [await add_endpoint(pool, f"http://127.0.0.1:{each.port}/") for each in good]
        await tell(pool, good_ones, GOOD_EVENTS_EACH)
        good_ids = [each.endpoint_id for each in good_ones]

        async def all_delivered() -> bool:
            return await count(pool, DELIVERED, good_ids) == GOOD * GOOD_EVENTS_EACH

        await eventually(all_delivered)
        # No attempt at a hanging one ended, and none was added: what is free was the good ones' alone.
        assert await count(pool, ENDED_ATTEMPTS, [each.endpoint_id for each in hanging_ones]) == 0
        assert [len(each.requests) for each in hanging] == [4] * BAD


async def test_bad_endpoints_of_all_kinds_leave_a_worker_as_small_as_it_was(
    database_url: str, pool: Pool, owner_pool: Pool, tmp_path: Path
) -> None:
    await allow_events_without_orders(owner_pool)
    log = tmp_path / "processes.log"
    async with contextlib.AsyncExitStack() as stack:
        good = await stack.enter_async_context(bad.serving(bad.good))
        good_one = await add_endpoint(pool, f"http://127.0.0.1:{good.port}/")
        worker = stack.enter_context(worker_alone(database_url, tmp_path))
        await tell(pool, [good_one], 100)
        await rig.eventually(
            lambda: is_delivered(pool, good_one.endpoint_id, 100), f"the worker works: {log}"
        )
        pid = worker.pid
        assert pid is not None
        before = resident_bytes(pid)
        endless, others = [], []
        for number in range(BAD):
            kind = KINDS[number % len(KINDS)]
            port = free_port() if kind is None else (await stack.enter_async_context(bad.serving(kind))).port
            endpoint = await add_endpoint(pool, f"http://127.0.0.1:{port}/", proven=number % 2 == 0)
            (endless if kind in ENDLESS else others).append(endpoint)
        await tell(pool, endless, ENDLESS_EVENTS_EACH)
        await tell(pool, [*others, good_one], 4)
        endless_ids = [each.endpoint_id for each in endless]

        async def endless_ended() -> bool:
            ended = await count(pool, ENDED_ATTEMPTS, endless_ids)
            return ended == len(endless) * ENDLESS_EVENTS_EACH

        await rig.eventually(endless_ended, f"all ended: {log}")
        await rig.eventually(
            lambda: is_delivered(pool, good_one.endpoint_id, 104), f"good ones arrive: {log}"
        )
        assert worker.pid == pid
        assert resident_bytes(pid) - before < GROWTH_BYTES_MAX


ENDLESS = (bad.endless_body, bad.endless_failure_body, bad.gzip_bomb)
KINDS: tuple[bad.Behaviour | None, ...] = (
    bad.hang_after_request,
    bad.header_drip,
    bad.reset_after_request,
    bad.answering("HTTP/1.1 500 Oh"),
    *ENDLESS,
    None,
)
"""The last one is a port where nobody listens."""


async def is_delivered(pool: Pool, endpoint_id: object, times: int) -> bool:
    return await count(pool, DELIVERED, [endpoint_id]) == times


def resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
