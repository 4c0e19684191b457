"""Two at one thing, each of them first once: a sweep and a notification, a cancel and a sweep, and so on.

The one to be first is held in the proxy right before its commit, while it has its locks. The other one
is seen waiting for them in PostgreSQL before the first may go on, so that neither order is left to chance.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from crypto_orders.store import audit, invariants, notifications, orders, sweeps
from crypto_orders.store.connection import Pool
from tests.support.database_proxy import Commit, DatabaseProxy, Hold, proxied
from tests.support.notices import body_of, payment_of, send
from tests.support.payer import control, end_window
from tests.support.service import Client, Customer, Reply, Service, eventually, running

ORDERS = "/v1/admin/crypto-orders"
LATE = ["late_payment"]

Matches = Callable[[Commit], bool]
Answering = asyncio.Task[Reply]

pytestmark = pytest.mark.usefixtures("quiet")


def having(*statements: str, without: Sequence[str] = ()) -> Matches:
    """Transactions with all of these statements and none of those."""

    def matches(commit: Commit) -> bool:
        has = set(commit.statements)
        return has >= set(statements) and has.isdisjoint(without)

    return matches


SWEEP_LOOKS = having(sweeps.FRESH_ANSWERS)
"""A sweep that has taken its candidates and decided nothing: it holds no lock."""

SWEEPS = having(sweeps.BUSY, orders.SAVE)
CANCELS = having(orders.SAVE, without=(sweeps.BUSY, notifications.KEEP))
APPLIES = CANCELS
"""A stored notification is applied by a transaction of its own."""

OPERATOR_APPLIES = having(orders.SAVE, notifications.KEEP, audit.INSERT)


class Race:
    """A service behind a proxy with a customer and support, and one order to race for."""

    def __init__(self, service: Service, proxy: DatabaseProxy, customer: Customer, support: Client) -> None:
        self.service, self.proxy, self.customer, self.support = service, proxy, customer, support
        self.order: dict[str, Any] = {}

    async def new_order(self, *, window_over: bool = False) -> None:
        self.order = await self.customer.check_out()
        self.order["payment_id"] = await payment_of(self.service, self.order)
        if window_over:
            await end_window(self.service, self.order)

    def notified(self) -> Answering:
        """Begin to send a notification that the order's payment is finished."""
        paid = float(self.order["pay_amount"])
        body = body_of(self.order, self.order["payment_id"], "finished", actually_paid=paid)
        return asyncio.create_task(send(self.service.client(), body))

    def cancelled(self) -> Answering:
        path = f"/v1/billing/crypto-orders/{self.order['order_id']}/cancel"
        return asyncio.create_task(self.customer.post(path))

    def swept(self) -> Answering:
        return asyncio.create_task(self.support.post(f"{ORDERS}/sweep-expired", {"older_than_hours": 1}))

    def applied(self) -> Answering:
        """Begin to replay the status as support, which asks the provider and keeps to its word."""
        body = {"payment_id": self.order["payment_id"], "provider_status": "finished"}
        return asyncio.create_task(self.support.post(f"{ORDERS}/{self.order['order_id']}/apply-ipn", body))

    async def held(self, matches: Matches, begin: Callable[[], Answering]) -> tuple[Hold, Answering]:
        """Begin something and wait until it is held where it is to be."""
        hold = self.proxy.hold_next(matches)
        begun = begin()
        await reached(hold, begun)
        return hold, begun

    async def somebody_waits(self) -> None:
        """Wait until PostgreSQL says that a session waits for a lock."""

        async def look() -> bool:
            waiting = (
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return len(await self.service.rows(waiting)) == 1

        await eventually(look)

    async def ended_as(self, *statuses: str, flags: Sequence[str] = (), told: Sequence[str] = ()) -> None:
        """The order went this way, with these flags and these webhook events, and no invariant is broken."""
        order_id = self.order["order_id"]
        events = await self.service.rows(
            "SELECT status FROM order_events WHERE order_id = $1 ORDER BY seq", order_id
        )
        assert [row["status"] for row in events] == ["pending", *statuses]
        assert await self.service.flags_of(order_id) == list(flags)
        sent = await self.service.rows("SELECT event_type FROM webhook_events WHERE order_id = $1", order_id)
        assert [row["event_type"] for row in sent] == list(told)
        async with self.service.pool.acquire() as conn:
            assert await invariants.violations(conn) == []


async def reached(hold: Hold, begun: Answering) -> None:
    """Wait until something is held; fail with its answer when it went by."""
    arrived = asyncio.create_task(hold.reached.wait())
    async with asyncio.timeout(30):
        await asyncio.wait({arrived, begun}, return_when=asyncio.FIRST_COMPLETED)
    assert arrived.done(), begun.result()


@pytest.fixture
async def race(database_url: str, pool: Pool, tmp_path: Path) -> AsyncGenerator[Race]:
    """A service without workers, so that nobody takes part but those whom the test sends."""
    async with (
        proxied(database_url) as proxy,
        running(proxy.url, pool, tmp_path, workers=False) as service,
    ):
        yield Race(service, proxy, await service.customer(), await service.admin())
        proxy.release_all()


def counts(reply: Reply) -> tuple[int, int, int]:
    """What a sweep answered: expired, healed, skipped."""
    assert reply.status == 200, reply.body
    return reply.json["expired"], reply.json["healed"], reply.json["skipped"]


async def test_a_sweep_and_a_notification(race: Race) -> None:
    await race.new_order(window_over=True)
    hold, sweep = await race.held(SWEEPS, race.swept)
    notice = race.notified()
    await race.somebody_waits()
    hold.release()
    assert counts(await sweep) == (1, 0, 0)
    assert (await notice).json["order_state"] == "failed"
    await race.ended_as("failed", flags=LATE, told=["crypto.order.failed"])

    await race.new_order(window_over=True)
    look, sweep = await race.held(SWEEP_LOOKS, race.swept)
    hold, notice = await race.held(APPLIES, race.notified)
    look.release()
    await race.somebody_waits()
    hold.release()
    assert (await notice).json["order_state"] == "paid"
    assert counts(await sweep) == (0, 0, 1)
    await race.ended_as("paid", told=["crypto.order.paid"])


async def test_a_cancel_and_a_notification(race: Race) -> None:
    await race.new_order()
    hold, cancel = await race.held(CANCELS, race.cancelled)
    notice = race.notified()
    await race.somebody_waits()
    hold.release()
    assert ((await cancel).status, (await notice).json["order_state"]) == (200, "cancelled")
    await race.ended_as("cancelled", flags=LATE)

    await race.new_order()
    hold, notice = await race.held(APPLIES, race.notified)
    cancel = race.cancelled()
    await race.somebody_waits()
    hold.release()
    assert ((await cancel).status, (await notice).json["order_state"]) == (409, "paid")
    await race.ended_as("paid", told=["crypto.order.paid"])


async def test_a_cancel_and_a_sweep(race: Race) -> None:
    await race.new_order(window_over=True)
    look, sweep = await race.held(SWEEP_LOOKS, race.swept)
    hold, cancel = await race.held(CANCELS, race.cancelled)
    look.release()
    await race.somebody_waits()
    hold.release()
    assert ((await cancel).status, (await cancel).json["status"]) == (200, "failed")
    assert counts(await sweep) == (0, 0, 1)
    await race.ended_as("failed", told=["crypto.order.failed"])

    await race.new_order(window_over=True)
    hold, sweep = await race.held(SWEEPS, race.swept)
    cancel = race.cancelled()
    await race.somebody_waits()
    hold.release()
    assert ((await cancel).status, counts(await sweep)) == (409, (1, 0, 0))
    await race.ended_as("failed", told=["crypto.order.failed"])


async def test_an_operators_replay_and_a_notification(race: Race) -> None:
    """The provider lost its own notification, and sends it after all."""
    await race.service.sandbox.post("/sandbox/faults", {"drop_ipns": 1})
    for first in ("operator", "notification"):
        await race.new_order()
        await control(race.service, race.order, "pay")
        await eventually(lambda: is_finished(race))
        if first == "operator":
            hold, replay = await race.held(OPERATOR_APPLIES, race.applied)
            notice = race.notified()
        else:
            hold, notice = await race.held(APPLIES, race.notified)
            replay = race.applied()
        await race.somebody_waits()
        hold.release()
        assert ((await notice).status, (await notice).json["order_state"]) == (200, "paid")
        assert ((await replay).status, (await replay).json["applied"]) == (200, first == "operator")
        await race.ended_as("paid", told=["crypto.order.paid"])
        (event,) = await race.service.rows(
            "SELECT via FROM order_events WHERE order_id = $1 AND status = 'paid'", race.order["order_id"]
        )
        assert event["via"] == ("operator" if first == "operator" else "ipn")


async def is_finished(race: Race) -> bool:
    """Whether the provider's own state of the payment is its last."""
    reply = await race.service.sandbox.get(f"/v1/payment/{race.order['payment_id']}")
    return reply.json["payment_status"] == "finished"


@pytest.mark.parametrize("first", [0, 1], ids=["the_first", "the_second"])
async def test_two_sweepers(race: Race, first: int) -> None:
    await race.new_order(window_over=True)
    looks: list[Hold] = []
    sweeping: list[Answering] = []
    for _ in range(2):
        look, sweep = await race.held(SWEEP_LOOKS, race.swept)
        # What one has claimed is nobody else's for minutes, which pass here.
        await race.service.rows("UPDATE orders SET looked_at = NULL")
        looks.append(look)
        sweeping.append(sweep)
    hold = race.proxy.hold_next(SWEEPS)
    looks[first].release()
    await reached(hold, sweeping[first])
    looks[1 - first].release()
    await race.somebody_waits()
    hold.release()
    assert counts(await sweeping[first]) == (1, 0, 0)
    assert counts(await sweeping[1 - first]) == (0, 0, 1)
    await race.ended_as("failed", told=["crypto.order.failed"])


async def test_of_two_sweepers_that_claim_at_once_one_goes_on(race: Race) -> None:
    await race.new_order(window_over=True)
    hold, sweep = await race.held(having(sweeps.CLAIM), race.swept)
    assert counts(await race.swept()) == (0, 0, 0)
    hold.release()
    assert counts(await sweep) == (1, 0, 0)
    await race.ended_as("failed", told=["crypto.order.failed"])
