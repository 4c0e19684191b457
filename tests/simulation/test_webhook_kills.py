"""kill -9 of workers between sending a webhook and settling it: nothing is lost, and repeats are exact."""

import contextlib
import json
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
from aiohttp import web

from crypto_orders.store import invariants
from crypto_orders.store.connection import Pool
from tests.simulation.rig import Kept, eventually, worker_alone
from tests.support.deliveries import Event, add_endpoint, allow_events_without_orders, tell

KILLS = 26
ENDPOINTS = 4
EVENTS_EACH = 4
"""Of each endpoint before each kill: some are in flight when it comes, some wait."""

SEED = int(os.environ.get("SIMULATION_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)

When = Literal["before the answer", "after the answer"]

SPARED_MAX = 6

# What began before a kill belongs to a dead worker, and nobody here wants to wait for the end of its lease.
LEASES_END = """
UPDATE webhook_deliveries SET due_at = clock_timestamp() WHERE status = 'in_flight' AND last_attempt_at <= $1
"""
DELIVERIES = """
SELECT d.event_id::text AS event_id, d.status, count(*) AS attempts, count(a.elapsed_ms) AS finished
  FROM webhook_deliveries d
  LEFT JOIN webhook_attempts a ON a.account_id = d.account_id AND a.delivery_id = d.delivery_id
 GROUP BY d.account_id, d.delivery_id
"""
ABOUT_WEBHOOKS = {"INV-17", "INV-18", "INV-19", "INV-20"}

pytestmark = pytest.mark.timeout(300)


class Receipt(NamedTuple):
    """What came in one request."""

    event_id: str
    body: bytes


@dataclass
class DeadlyReceiver:
    """Keeps every request, and when it is told to kills the sender of one."""

    worker: Kept | None = None
    kill: When | None = None
    spared: int = 0
    """Requests that are let through before the one that kills."""
    port: int = 0
    receipts: list[Receipt] = field(default_factory=list[Receipt])
    fatal: list[tuple[When, str, datetime]] = field(default_factory=list[tuple[When, str, datetime]])
    """When each kill came, the event it was about, and the time."""

    async def take(self, request: web.Request) -> web.StreamResponse:
        receipt = Receipt(request.headers["webhook-id"], await request.read())
        self.receipts.append(receipt)
        kill = self._choice()
        if kill == "before the answer":
            self._shoot(kill, receipt)
        response = web.StreamResponse(headers={"Content-Length": "2"})
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write(b"ok")
        if kill == "after the answer":
            self._shoot(kill, receipt)
        return response

    def _choice(self) -> When | None:
        if self.kill is None or self.spared:
            self.spared = max(0, self.spared - 1)
            return None
        kill, self.kill = self.kill, None
        return kill

    def _shoot(self, when: When, receipt: Receipt) -> None:
        assert self.worker is not None
        self.fatal.append((when, receipt.event_id, datetime.now(UTC)))
        self.worker.kill()


@contextlib.asynccontextmanager
async def receiving() -> AsyncGenerator[DeadlyReceiver]:
    receiver = DeadlyReceiver()
    application = web.Application()
    application.router.add_post("/{endpoint}", receiver.take)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def test_a_worker_killed_between_sending_and_settling_loses_and_changes_nothing(
    database_url: str, pool: Pool, owner_pool: Pool, tmp_path: Path
) -> None:
    sys.stdout.write(f"SIMULATION_SEED={SEED}\n")
    dice = random.Random(SEED)
    await allow_events_without_orders(owner_pool)
    told: list[Event] = []
    async with receiving() as receiver:
        with worker_alone(database_url, tmp_path) as worker:
            receiver.worker = worker
            urls = [f"http://127.0.0.1:{receiver.port}/{number}" for number in range(ENDPOINTS)]
            endpoints = [await add_endpoint(pool, url) for url in urls]
            for number in range(KILLS):
                receiver.spared = dice.randrange(SPARED_MAX)
                receiver.kill = "after the answer" if number % 2 else "before the answer"
                told += await tell(pool, endpoints, EVENTS_EACH)
                await eventually(lambda: has_killed(receiver), f"it kills\n{log_of(tmp_path)}")
                async with pool.acquire() as conn:
                    await conn.execute(LEASES_END, receiver.fatal[-1][2])
            await eventually(lambda: all_delivered(pool, len(told)), f"all arrive\n{log_of(tmp_path)}")
    await check(pool, told, receiver)


async def has_killed(receiver: DeadlyReceiver) -> bool:
    """Whether the kill that was asked for was made."""
    return receiver.kill is None


async def all_delivered(pool: Pool, count: int) -> bool:
    async with pool.acquire() as conn:
        delivered = "SELECT count(*) FROM webhook_deliveries WHERE status = 'delivered'"
        return await conn.fetchval(delivered) == count


def log_of(directory: Path) -> str:
    return "\n".join((directory / "processes.log").read_text().splitlines()[-10:])


async def check(pool: Pool, told: list[Event], receiver: DeadlyReceiver) -> None:
    """Compare what was committed, what was received, and what is remembered of the attempts."""
    async with pool.acquire() as conn:
        rows = {row["event_id"]: row for row in await conn.fetch(DELIVERIES)}
        found = await invariants.violations(conn, allow_insecure_webhooks=True)
        broken = [each for each in found if each.name in ABOUT_WEBHOOKS]
    assert broken == []
    bodies = {event.event_id: event.body for event in told}
    came = Counter(receipt.event_id for receipt in receiver.receipts)
    assert came.keys() == bodies.keys() == rows.keys()
    # Whatever comes again is the same to the byte.
    assert {receipt for receipt in receiver.receipts if bodies[receipt.event_id] != receipt.body} == set()
    assert all(json.loads(body)["id"] == event_id for event_id, body in bodies.items())
    for event_id, times in came.items():
        row = rows[event_id]
        unfinished = row["attempts"] - row["finished"]
        assert row["status"] == "delivered"
        # A repeat has an attempt that died with its worker, and the last one did not.
        assert times - 1 <= unfinished == row["attempts"] - 1
    landed = Counter(
        when
        for when, event_id, _ in receiver.fatal
        if rows[event_id]["attempts"] > rows[event_id]["finished"]
    )
    repeated = sum(times - 1 for times in came.values())
    sys.stdout.write(f"{dict(landed)}, {len(told)} events, {repeated} repeats\n")
    assert landed.total() >= 25
    assert min(landed.values()) >= 10
    assert repeated >= 25
