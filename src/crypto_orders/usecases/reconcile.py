"""Ask the provider about every payment that can still receive money, whatever became of its order."""

import asyncio

from crypto_orders.domain import actions
from crypto_orders.domain.order import Decision, Verdict
from crypto_orders.domain.payment import Payment, next_ask_at
from crypto_orders.kit import log
from crypto_orders.provider import Found
from crypto_orders.store import asks, orders, payments
from crypto_orders.store.asks import Due
from crypto_orders.store.connection import Tx
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases import asking, observed
from crypto_orders.usecases.deployment import Deployment

BATCH_MAX = 50
ANSWER_DEADLINE_SECONDS = 10.0
"""Nobody waits for a reconciling read; a slow answer is still an answer."""

_log = log.get()

CHILDREN_MAX = 20
"""Deposits beyond this many on one payment are met by their own notifications."""


async def reconcile(d: Deployment, reads_per_second: float) -> int:
    """Ask about the payments that are due, as far as the shared budget goes; how many were."""
    async with d.pool.acquire() as conn:
        due = await asks.due_count(conn, BATCH_MAX)
    if not due:
        return 0
    granted = await transact(d.pool, lambda tx: asks.grant(tx, due, reads_per_second))
    if not granted:
        return 0
    claimed = await transact_single(d.pool, lambda tx: asks.claim(tx, granted))
    await asyncio.gather(*(_ask(d, one) for one in claimed))
    return len(claimed)


async def _ask(d: Deployment, due: Due) -> None:
    """Ask about one payment; one that cannot be heard holds up no others and is due again by its lease."""
    try:
        await _ask_and_settle(d, due)
    except Exception as error:  # noqa: BLE001 - whatever it was, the others are asked about
        _log.warning("crypto_reconcile_failed", payment_id=due.payment.payment_id, exc_info=error)


async def _ask_and_settle(d: Deployment, due: Due) -> None:
    asked = await asking.ask_and_apply(
        d,
        due.payment.payment_id,
        deadline_seconds=ANSWER_DEADLINE_SECONDS,
        parent_payment_id=due.payment.parent_payment_id,
        granted=True,
    )
    if isinstance(asked.found, Found):
        for child_id in asked.found.payment.payment_extra_ids[:CHILDREN_MAX]:
            await _meet_child(d, due.payment, child_id)
    await _settle(d, due)


async def _meet_child(d: Deployment, parent: Payment, child_id: str) -> None:
    """Read a child that a parent names and nobody knows yet; known ones have a schedule of their own."""
    async with d.pool.acquire() as conn:
        route = await payments.route_of(conn, child_id)
    if route is None:
        await asking.ask_and_apply(
            d, child_id, deadline_seconds=ANSWER_DEADLINE_SECONDS, parent_payment_id=parent.payment_id
        )


async def _settle(d: Deployment, due: Due) -> None:
    """Plan the next question by the payment as it is now; at the end of its life flag what is still open."""

    async def work(tx: Tx) -> tuple[orders.Locked, Decision, tuple[orders.Raised, ...]] | None:
        locked = await orders.lock(tx, due.account_id, due.order_id)
        if locked is None:
            return None
        payment = next(p for p in locked.payments if p.payment_id == due.payment.payment_id)
        next_at = next_ask_at(payment, locked.now)
        await asks.settle(tx, due, next_at)
        flag = None if next_at else actions.stop_watching(locked.order, payment, locked.now)
        if flag is None:
            return None
        decision = Decision(
            order=locked.order, verdict=Verdict.FLAGGED, why="the watch has ended", flags=(flag,)
        )
        return locked, decision, await orders.save(tx, locked, decision)

    done = await transact(d.pool, work)
    if done is not None:
        observed.decided(done[0].order, done[1], done[2])
