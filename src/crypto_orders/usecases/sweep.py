"""Retire long-pending orders, never by the clock alone: the provider is asked about each one first."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from crypto_orders.domain import actions
from crypto_orders.domain.order import Decision, Order, Status
from crypto_orders.domain.payment import WAITING
from crypto_orders.store import audit, orders, sweeps
from crypto_orders.store.connection import Tx
from crypto_orders.store.failures import LOST, RETRIED, CommitUnknown, StoreUnavailable
from crypto_orders.store.sweeps import Candidate
from crypto_orders.store.transaction import transact, transact_single
from crypto_orders.usecases import asking, observed
from crypto_orders.usecases.asking import Asked
from crypto_orders.usecases.deployment import Deployment

ASKED_AT_ONCE = 8
ORDER_DEADLINE_SECONDS = 2.0
SWEEP_SECONDS_MAX = 25.0
"""An operator's call has to come back before the proxies in front of it give up at 30 s."""

ANSWER_COUNTS_FOR = timedelta(seconds=60)

LIMIT_MAX = 500
"""Orders one sweep looks at; the next one goes on from there."""

Outcome = Literal["expired", "healed", "skipped"]


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did, in orders. `capped`: candidates remain that were not looked at."""

    expired: int
    healed: int
    skipped: int
    capped: bool
    older_than_hours: int


async def sweep(
    d: Deployment, *, older_than_hours: int, limit: int, entry: audit.Entry | None = None
) -> Swept:
    """Look at up to `limit` pending orders past that age and past their pay window, oldest first.

    `entry` is the audit row when an operator called; the periodic sweep leaves events alone.
    """
    older_than = timedelta(hours=older_than_hours)
    if entry is not None:
        # A sweep is many transactions; whatever ends it midway, who began it is known.
        begun = audit.with_result(entry, "begun")
        await transact_single(d.pool, lambda tx: audit.record(tx, begun))
    counts: dict[Outcome, int] = {"expired": 0, "healed": 0, "skipped": 0}
    deadline = asyncio.get_running_loop().time() + SWEEP_SECONDS_MAX
    left = limit
    while left > 0 and asyncio.get_running_loop().time() < deadline:
        batch = min(left, ASKED_AT_ONCE)
        candidates = await transact_single(d.pool, lambda tx, n=batch: sweeps.claim(tx, older_than, n))
        for outcome in await asyncio.gather(*(_look_at(d, c) for c in candidates)):
            counts[outcome] += 1
        left -= len(candidates)
        if len(candidates) < batch:
            break
    async with d.pool.acquire() as conn:
        capped = await sweeps.remain(conn, older_than)
    swept = Swept(**counts, capped=capped, older_than_hours=older_than_hours)
    observed.swept(swept.expired, swept.healed, swept.skipped, capped=capped)
    if entry is not None:
        kept = audit.with_result(
            entry, f"expired {swept.expired}, healed {swept.healed}, skipped {swept.skipped}"
        )
        await transact_single(d.pool, lambda tx: audit.record(tx, kept))
    return swept


async def _look_at(d: Deployment, candidate: Candidate) -> Outcome:
    try:
        return await _judge(d, candidate)
    except (StoreUnavailable, CommitUnknown, *RETRIED, *LOST) as error:
        observed.refused("sweep_interrupted", order_id=candidate.order_id, error=type(error).__name__)
        return "skipped"


async def _judge(d: Deployment, candidate: Candidate) -> Outcome:
    async with d.pool.acquire() as conn:
        payments = await orders.payments_of(conn, candidate.account_id, candidate.order_id)
        waiting = await sweeps.answered_lately(conn, candidate, ANSWER_COUNTS_FOR)
    to_ask = [p for p in payments if p.payment_id not in waiting]
    answers = await asking.ask_about_all(d, to_ask, deadline_seconds=ORDER_DEADLINE_SECONDS)
    moved = next((a.applied.order for a in answers.values() if a.applied and a.applied.moved), None)
    if moved is not None:
        return "expired" if moved.status is Status.FAILED else "healed"
    waiting |= frozenset(payment_id for payment_id, a in answers.items() if _is_waiting(a))

    async def work(tx: Tx) -> tuple[Order, Decision] | None:
        locked = await orders.lock(tx, candidate.account_id, candidate.order_id)
        if locked is None:
            return None
        busy = await sweeps.is_busy(tx, candidate.account_id, candidate.order_id)
        decision = actions.sweep(locked.order, locked.payments, waiting, minting=busy, now=locked.now)
        if decision is None:
            return None
        await orders.save(tx, locked, decision)
        return locked.order, decision

    done = await transact(d.pool, work)
    if done is None:
        return "skipped"
    observed.decided(done[0], done[1], ())
    return "expired"


def _is_waiting(asked: Asked) -> bool:
    return asked.answer is not None and asked.answer.payment_status == WAITING
