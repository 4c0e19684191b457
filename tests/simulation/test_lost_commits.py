"""Commits whose answer never comes: half of them are durable, half are not, and nobody is told which.

A proxy before the database loses a chosen commit by resetting its connection, either before the server has
seen it or right after it has committed; the client's and the provider's repeats have to set all of it right.
"""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from crypto_orders import app
from crypto_orders.store import checkouts, delivery_queue, invariants, notifications, orders
from crypto_orders.store.connection import Pool, open_pool
from tests.simulation.aftermath import TIME_PASSES
from tests.support.database_proxy import Commit, DatabaseProxy, Fate, proxied
from tests.support.deliveries import add_endpoint, allow_events_without_orders, delivering, tell
from tests.support.notices import body_of, payment_of, send
from tests.support.receiver import receiving
from tests.support.service import Customer, Reply, Service, eventually, running

FATES = (Fate.ANSWER_LOST, Fate.REQUEST_LOST)
EACH = 5
CHECKOUTS_EACH = 4
"""Of each kind of commit with each fate; checkouts are tried as one statement and as several."""

NO_LIMITS = {"open_orders_max": "0", "unpaid_orders_per_day_max": "0"}
LIMITS = {"open_orders_max": "100000", "unpaid_orders_per_day_max": "100000"}

COURIERS = 3
ENDPOINTS = 8
LOST_SETTLINGS = 2
"""At least so many of each fate, each with up to as many deliveries in it as there are endpoints."""

LAST_ATTEMPT = """
ALTER TABLE webhook_deliveries ALTER attempts SET DEFAULT 5, DROP CONSTRAINT attempts_are_counted
"""
ABOUT_WEBHOOKS = {"INV-17", "INV-18", "INV-19", "INV-20"}

Matches = Callable[[Commit], bool]

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
async def proxy(database_url: str) -> AsyncGenerator[DatabaseProxy]:
    """A proxy before the test's database."""
    async with proxied(database_url) as proxy:
        yield proxy


def of_web(*statements: str, without: str = "") -> Matches:
    """Commits of the web process whose transaction has all these statements, and not that one."""

    def matches(commit: Commit) -> bool:
        has = set(commit.statements)
        return commit.application == "crypto-orders-web" and has >= {*statements} and without not in has

    return matches


STARTS = of_web(checkouts.START)
MINTS = of_web(checkouts.MINTED)
KEEPS = of_web(notifications.KEEP, without=orders.SAVE)
APPLIES = of_web(orders.SAVE, without=notifications.KEEP)
HEARS = of_web(notifications.KEEP, orders.SAVE)
CANCELS = APPLIES


async def nothing_is_broken(service: Service) -> None:
    """Every invariant holds, and every commit that was lost went as it was meant to."""
    async with service.pool.acquire() as conn:
        assert await invariants.violations(conn, allow_insecure_webhooks=True) == []


def is_refused_for_now(reply: Reply) -> bool:
    """Whether a client is told to come again."""
    return reply.status == 503 and int(reply.headers["retry-after"]) >= 1


# ------------------------------------------------------------------ checkouts


async def check_out(customer: Customer, key: str | None) -> Reply:
    headers = {"Idempotency_Key": key} if key else {}
    return await customer.post("/v1/billing/crypto-checkout", {"product": "solo_manual"}, **headers)


@pytest.mark.parametrize("limits", [NO_LIMITS, LIMITS], ids=["one_statement", "several_statements"])
async def test_a_checkout_whose_commit_is_unknown_is_one_order_for_its_key(
    proxy: DatabaseProxy, pool: Pool, tmp_path: Path, limits: dict[str, str]
) -> None:
    told: dict[str, set[str]] = {}
    left: list[str] = []
    async with running(proxy.url, pool, tmp_path, workers=False, **limits) as service:
        customer = await service.customer()
        plan = list(itertools.product((STARTS, MINTS), FATES, range(CHECKOUTS_EACH)))
        for number, (matches, fate, _) in enumerate(plan):
            key = f"key-{number}"
            proxy.lose_next(fate, matches)
            first = await check_out(customer, key)
            assert len(proxy.lost) == number + 1
            assert proxy.lost[-1].committed == (fate is Fate.ANSWER_LOST)
            if (matches, fate) == (STARTS, Fate.REQUEST_LOST):
                assert is_refused_for_now(first)
            else:
                assert first.status == 201
                told[key] = {first.json["order_id"]}
            if (matches, fate) == (MINTS, Fate.REQUEST_LOST):
                # Its payment is known to the provider alone, until the call counts as over.
                assert first.json["provider"] == "stub"
                left.append(key)
                continue
            again = await check_out(customer, key)
            assert (again.status, again.json["provider"]) == (201, "nowpayments")
            told.setdefault(key, set()).add(again.json["order_id"])
        async with pool.acquire() as conn:
            await conn.execute(TIME_PASSES)
        for key in left:
            again = await check_out(customer, key)
            assert (again.status, again.json["provider"]) == (201, "nowpayments")
            told[key].add(again.json["order_id"])
        await every_key_is_one_order(service, told, len(plan))
        async with working(service, proxy.url):
            await what_was_minted_twice_is_met(service, {order for key in left for order in told[key]})
        await nothing_is_broken(service)


@contextlib.asynccontextmanager
async def working(service: Service, database_url: str) -> AsyncGenerator[None]:
    """Have a worker beside a service that was begun without one."""
    stop = asyncio.Event()
    worker = asyncio.create_task(app.work(service.settings, database_url, stop))
    try:
        yield
    finally:
        stop.set()
        await worker


async def every_key_is_one_order(service: Service, told: dict[str, set[str]], count: int) -> None:
    assert Counter(len(order_ids) for order_ids in told.values()) == {1: count}
    keys = await service.rows("SELECT idempotency_key, order_id FROM idempotency_keys")
    assert {row["idempotency_key"]: {row["order_id"]} for row in keys} == told
    found = await service.rows("SELECT order_id FROM orders")
    assert {row["order_id"] for row in found} == {order_id for ids in told.values() for order_id in ids}
    events = await service.rows("SELECT order_id, count(*) AS events FROM order_events GROUP BY order_id")
    assert Counter(row["events"] for row in events) == {1: count}


async def what_was_minted_twice_is_met(service: Service, twice: set[str]) -> None:
    """Pay what was minted first, which nobody here knows: the order it was made for is paid by it."""
    ledger = (await service.sandbox.get("/sandbox/payments")).json["data"]
    minted = Counter(payment["order_id"] for payment in ledger)
    assert {order_id for order_id, times in minted.items() if times == 2} == twice
    assert set(minted.values()) == {1, 2}
    known = {row["payment_id"] for row in await service.rows("SELECT payment_id FROM payments")}
    unknown = [payment for payment in ledger if payment["payment_id"] not in known]
    assert {payment["order_id"] for payment in unknown} == twice
    for payment in unknown:
        assert (
            await service.sandbox.post(f"/sandbox/payments/{payment['payment_id']}/pay", {})
        ).status == 202
    for order_id in twice:
        await service.becomes(order_id, "paid")


async def test_a_checkout_without_a_key_is_answered_if_and_only_if_it_was_stored(
    proxy: DatabaseProxy, pool: Pool, tmp_path: Path
) -> None:
    answered: list[str] = []
    async with running(proxy.url, pool, tmp_path, workers=False, **NO_LIMITS) as service:
        customer = await service.customer()
        for fate, _ in itertools.product(FATES, range(EACH)):
            proxy.lose_next(fate, STARTS)
            reply = await check_out(customer, None)
            assert (reply.status == 201) is proxy.lost[-1].committed or is_refused_for_now(reply)
            answered += [reply.json["order_id"]] if reply.status == 201 else []
        assert len(answered) == EACH
        found = await service.rows("SELECT order_id FROM orders ORDER BY created_at")
        assert [row["order_id"] for row in found] == answered
        await nothing_is_broken(service)


# ------------------------------------------------------------------ notifications


async def test_a_notification_whose_commit_is_unknown_is_never_lost_and_lands_once(
    proxy: DatabaseProxy, pool: Pool, tmp_path: Path
) -> None:
    """The second half of them finds its order cancelled, so that what lands is a flag."""
    async with running(proxy.url, pool, tmp_path, **NO_LIMITS) as service:
        customer = await service.customer()
        plan = list(itertools.product((KEEPS, APPLIES), FATES, range(EACH)))
        made = [await customer.check_out() for _ in plan]
        cancelled = {order["order_id"] for order in made[::2]}
        for order_id in cancelled:
            reply = await customer.post(f"/v1/billing/crypto-orders/{order_id}/cancel")
            assert reply.status == 200
        for (matches, fate, _), order in zip(plan, made, strict=True):
            payment_id = await payment_of(service, order)
            notice = body_of(order, payment_id, "finished", actually_paid=float(order["pay_amount"]))
            proxy.lose_next(fate, matches)
            first = await send(service.client(), notice)
            lost = proxy.lost[-1]
            assert lost.fate is fate
            assert lost.committed == (fate is Fate.ANSWER_LOST)
            if matches is KEEPS:
                assert is_refused_for_now(first)
            else:
                assert (first.status, first.json) == (200, {"received": True, "order_state": None})
            # 200 is said of what is stored, and of nothing else.
            assert await times_seen(service, payment_id) == (0 if (matches, fate) == _NOT_KEPT else 1)
            if matches is KEEPS:
                again = await send(service.client(), notice)
                kept = "cancelled" if order["order_id"] in cancelled else "paid"
                assert (again.status, again.json["order_state"]) == (200, kept)
                assert await times_seen(service, payment_id) == (2 if lost.committed else 1)
        # Nobody repeats what was answered with 200: where its application was lost, a worker finds it.
        for order in made:
            await everything_landed(service, order, "cancelled" if order["order_id"] in cancelled else "paid")
        await nothing_is_broken(service)


_NOT_KEPT = (KEEPS, Fate.REQUEST_LOST)


async def times_seen(service: Service, payment_id: str) -> int:
    rows = await service.rows(
        "SELECT times_seen FROM notifications WHERE via = 'ipn' AND payment_id = $1", payment_id
    )
    return sum(row["times_seen"] for row in rows)


async def everything_landed(service: Service, order: dict[str, Any], status: str) -> None:
    """The order has its status by one event; the payer's money is in it, or under one flag."""
    order_id = order["order_id"]

    async def settled() -> bool:
        open_ones = await service.rows(
            "SELECT FROM notifications WHERE claimed_order_id = $1 AND try_at IS NOT NULL", order_id
        )
        return not open_ones

    await eventually(settled)
    events = await service.rows("SELECT status FROM order_events WHERE order_id = $1 ORDER BY seq", order_id)
    assert [row["status"] for row in events] == ["pending", status]
    told = await service.rows("SELECT event_type FROM webhook_events WHERE order_id = $1", order_id)
    assert [row["event_type"] for row in told] == (["crypto.order.paid"] if status == "paid" else [])
    flags = await service.rows("SELECT kind, times_seen FROM flags WHERE order_id = $1", order_id)
    late = [{"kind": "late_payment", "times_seen": 1}]
    assert flags == ([] if status == "paid" else late)


# ------------------------------------------------------------------ cancels


async def test_a_cancel_whose_commit_is_unknown_is_told_as_it_went(
    proxy: DatabaseProxy, pool: Pool, tmp_path: Path
) -> None:
    async with running(proxy.url, pool, tmp_path, workers=False, **NO_LIMITS) as service:
        customer = await service.customer()
        plan = list(itertools.product((HEARS, CANCELS), FATES, range(EACH)))
        for matches, fate, _ in plan:
            order = await customer.check_out()
            path = f"/v1/billing/crypto-orders/{order['order_id']}"
            proxy.lose_next(fate, matches)
            first = await customer.post(f"{path}/cancel")
            assert proxy.lost[-1].committed == (fate is Fate.ANSWER_LOST)
            if (matches, fate) == (CANCELS, Fate.ANSWER_LOST):
                assert (first.status, first.json["status"]) == (200, "cancelled")
                # A client that never got this answer learns it by looking.
                assert (await customer.post(f"{path}/cancel")).status == 409
            else:
                assert is_refused_for_now(first)
                assert (await customer.get(path)).json["status"] == "pending"
                again = await customer.post(f"{path}/cancel")
                assert (again.status, again.json["status"]) == (200, "cancelled")
            assert (await customer.get(path)).json["status"] == "cancelled"
        events = await service.rows("SELECT status, count(*) AS events FROM order_events GROUP BY status")
        assert {row["status"]: row["events"] for row in events} == dict.fromkeys(
            ("pending", "cancelled"), len(plan)
        )
        assert await service.rows("SELECT FROM flags") == []
        await nothing_is_broken(service)


# ------------------------------------------------------------------ webhooks


def loses_every_other(fates: tuple[Fate, ...]) -> Callable[[Commit], Fate]:
    """Lose the first settling of a courier, let the next one pass, and so on; the fates take turns."""
    passes = itertools.cycle((False, True))
    turns = itertools.cycle(fates)

    def decide(commit: Commit) -> Fate:
        if delivery_queue.SETTLE not in commit.statements or next(passes):
            return Fate.PASSES
        return next(turns)

    return decide


@pytest.mark.parametrize(("answered", "ends"), [(200, "delivered"), (500, "dlq")])
async def test_a_delivery_whose_settling_is_unknown_is_settled_once_and_sent_once(
    database_url: str, pool: Pool, owner_pool: Pool, answered: int, ends: str
) -> None:
    """Every delivery is at its last attempt, so that each refusal is a death, which has to count once."""
    await allow_events_without_orders(owner_pool)
    async with owner_pool.acquire() as conn:
        await conn.execute(LAST_ATTEMPT)
    async with contextlib.AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        receiver.status = answered
        proxies = [await stack.enter_async_context(proxied(database_url)) for _ in range(COURIERS)]
        for number, proxy in enumerate(proxies):
            proxy.decide = loses_every_other(FATES if number % 2 else FATES[::-1])
            own = await open_pool(proxy.url, size=3, application_name=f"courier-{number}")
            stack.callback(own.terminate)
            await stack.enter_async_context(delivering(own))
        endpoints = [await add_endpoint(pool, receiver.url) for _ in range(ENDPOINTS)]
        rounds = 0
        while min(lost_by(proxies).values()) < LOST_SETTLINGS:
            await tell(pool, endpoints, 1)
            rounds += 1
            await all_settled(pool, rounds * ENDPOINTS)
    committed = Counter(each.committed for proxy in proxies for each in proxy.lost)
    assert committed == {fate is Fate.ANSWER_LOST: count for fate, count in lost_by(proxies).items()}
    came = Counter(received.webhook_id for received in receiver.received)
    assert Counter(came.values()) == {1: ENDPOINTS * rounds}
    async with pool.acquire() as conn:
        rows = await conn.fetch(
            "SELECT status, attempts, attempt_no, last_response_status FROM webhook_deliveries"
        )
        fails = dict(await conn.fetch("SELECT endpoint_id, consecutive_failures FROM webhook_endpoints"))
        found = await invariants.violations(conn, allow_insecure_webhooks=True)
    assert [each for each in found if each.name in ABOUT_WEBHOOKS] == []
    assert Counter(tuple(row) for row in rows) == {(ends, 6, 1, answered): ENDPOINTS * rounds}
    assert fails == {each.endpoint_id: rounds if ends == "dlq" else 0 for each in endpoints}


def lost_by(proxies: list[DatabaseProxy]) -> dict[Fate, int]:
    """How many commits met each fate."""
    fates = Counter(each.fate for proxy in proxies for each in proxy.lost)
    return {fate: fates[fate] for fate in FATES}


async def all_settled(pool: Pool, count: int) -> None:
    """Wait until so many deliveries have ended, and are known to have."""

    async def look() -> bool:
        async with pool.acquire() as conn:
            settled = "SELECT count(*) FROM webhook_deliveries WHERE status IN ('delivered', 'dlq')"
            return await conn.fetchval(settled) == count

    await eventually(look)
