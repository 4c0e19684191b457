"""Storms over two web processes on one database: double clicks, and notifications many times over."""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from crypto_orders.store import invariants
from crypto_orders.store.connection import Pool
from tests.simulation.rig import Rig, running
from tests.support.notices import PATH, body_of, signed

KEYS = 30
CLICKS = 64
OTHER_BODY_EVERY = 8

ORDERS = 60
LIFE = ("confirming", "confirmed", "sending", "finished")
COPIES = 4
AT_ONCE = 32

BODIES = ({"product": "solo_manual"}, {"product": "team_manual"})

pytestmark = [pytest.mark.xdist_group("storms"), pytest.mark.timeout(900)]


class Created(NamedTuple):
    """An answer to a create."""

    status: int
    order: dict[str, Any]
    is_replay: bool
    differing: str | None
    sent: dict[str, str]


@pytest.fixture
async def rig(database_url: str, tmp_path: Path) -> AsyncGenerator[Rig]:
    """Two web processes, each with a connection for every request of a storm."""
    async with running(database_url, tmp_path, webs=2, database_connections_max="40") as rig:
        yield rig


async def create(rig: Rig, origin: str, body: dict[str, str], key: str) -> Created:
    headers = {"Authorization": f"Bearer {rig.customer_key}", "Idempotency-Key": key}
    async with rig.session.post(f"{origin}/v1/billing/crypto-checkout", json=body, headers=headers) as reply:
        return Created(
            reply.status,
            await reply.json(),
            reply.headers.get("Idempotent-Replayed") == "1",
            reply.headers.get("Idempotency-Body-Mismatch"),
            body,
        )


async def double_click(rig: Rig, key: str) -> list[Created]:
    """All clicks at once; every eighth has another body, and they take turns on the processes."""
    clicks = [(BODIES[n % OTHER_BODY_EVERY == 0], rig.webs[n // 2 % 2].origin) for n in range(CLICKS)]
    random.Random(key).shuffle(clicks)
    return await asyncio.gather(*(create(rig, origin, body, key) for body, origin in clicks))


async def test_a_double_click_storm_makes_one_order_a_key_and_counts_every_mismatch(
    rig: Rig, pool: Pool
) -> None:
    orders: dict[str, str] = {}
    mismatches = 0
    for n in range(KEYS):
        key = f"click-{n}"
        answers = await double_click(rig, key)
        assert Counter(answer.status for answer in answers) == {201: CLICKS}
        (orders[key],) = {answer.order["order_id"] for answer in answers}
        (product,) = {answer.order["product"] for answer in answers}
        (address,) = {answer.order["payment_address"] for answer in answers}
        assert address is not None
        assert Counter(answer.is_replay for answer in answers) == {False: 1, True: CLICKS - 1}
        assert all(
            answer.differing == (None if answer.sent["product"] == product else "product")
            for answer in answers
        )
        mismatches += sum(answer.sent["product"] != product for answer in answers)

    assert len(set(orders.values())) == KEYS
    for web in rig.webs:
        used = await rig.get(web.origin, "/v1/admin/crypto-orders/idempotency-metrics")
        assert used["first_writes"] == KEYS
        assert used["replays"] == KEYS * (CLICKS - 1)
        assert used["body_mismatches"] == mismatches
    async with pool.acquire() as conn:
        rows = await conn.fetch("SELECT idempotency_key, order_id FROM idempotency_keys")
        assert {row["idempotency_key"]: row["order_id"] for row in rows} == orders
        assert await conn.fetchval("SELECT count(*) FROM orders") == KEYS
        assert await invariants.violations(conn) == []
    assert Counter(payment["order_id"] for payment in await rig.ledger()) == dict.fromkeys(orders.values(), 1)


async def deliver(rig: Rig, notices: Sequence[tuple[bytes, str]]) -> Counter[int]:
    """Send notifications, so many at once, in turns to the processes; how often each status was answered."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def send(n: int, raw: bytes, mac: str) -> int:
        async with (
            slots,
            rig.session.post(
                rig.webs[n % 2].origin + PATH, data=raw, headers={"x-nowpayments-sig": mac}
            ) as reply,
        ):
            await reply.read()
            return reply.status

    return Counter(await asyncio.gather(*(send(n, raw, mac) for n, (raw, mac) in enumerate(notices))))


async def kept_of(pool: Pool) -> dict[str, str]:
    """A hash of every table that says what became of orders."""
    found: dict[str, str] = {}
    async with pool.acquire() as conn:
        for table in ("orders", "order_events", "payments", "webhook_events", "flags", "order_totals"):
            rows = await conn.fetch(f"SELECT t::text AS row FROM {table} AS t ORDER BY 1")
            found[table] = hashlib.sha256("\n".join(row["row"] for row in rows).encode()).hexdigest()
    return found


async def test_an_ipn_storm_pays_every_order_once_and_its_replay_changes_nothing(
    rig: Rig, pool: Pool
) -> None:
    notices: list[tuple[bytes, str]] = []
    for n in range(ORDERS):
        answer = await create(rig, rig.webs[n % 2].origin, BODIES[0], f"storm-{n}")
        assert answer.status == 201
        async with pool.acquire() as conn:
            payment_id = await conn.fetchval(
                "SELECT payment_id FROM orders WHERE order_id = $1", answer.order["order_id"]
            )
        for status in LIFE:
            paid = 0 if status == "confirming" else answer.order["pay_amount"]
            notices += [signed(body_of(answer.order, payment_id, status, actually_paid=paid))] * COPIES
    random.Random(14).shuffle(notices)

    assert await deliver(rig, notices) == {200: ORDERS * len(LIFE) * COPIES}
    async with pool.acquire() as conn:
        statuses = await conn.fetch("SELECT status, count(*) AS orders FROM orders GROUP BY status")
        assert [tuple(row.values()) for row in statuses] == [("paid", ORDERS)]
        events = await conn.fetch(
            "SELECT order_id FROM order_events WHERE status = 'paid' GROUP BY order_id HAVING count(*) = 1"
        )
        assert len(events) == ORDERS
        webhooks = await conn.fetch("SELECT DISTINCT order_id, event_type FROM webhook_events")
        assert {row["event_type"] for row in webhooks} == {"crypto.order.paid"}
        assert len(webhooks) == ORDERS == await conn.fetchval("SELECT count(*) FROM webhook_events")
        assert await conn.fetchval("SELECT count(*) FROM notifications") == ORDERS * len(LIFE)
        assert await conn.fetchval("SELECT count(*) FROM notifications WHERE try_at IS NOT NULL") == 0
        assert await invariants.violations(conn) == []

    before = await kept_of(pool)
    assert await deliver(rig, notices) == {200: ORDERS * len(LIFE) * COPIES}
    assert await kept_of(pool) == before
    async with pool.acquire() as conn:
        seen = await conn.fetchval("SELECT sum(times_seen) FROM notifications WHERE via = 'ipn'")
        assert seen == 2 * ORDERS * len(LIFE) * COPIES
