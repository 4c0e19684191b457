"""The background jobs of a worker process, each with how often it looks for work."""

import asyncio
from functools import partial
from uuid import UUID

from crypto_orders.kit import log
from crypto_orders.store import checkouts
from crypto_orders.usecases import inbox, minting, reconcile, rollups, sweep
from crypto_orders.usecases.deployment import Deployment
from crypto_orders.usecases.rate_limits import forget_idle_buckets
from crypto_orders.workers.deliver_webhooks import PAUSE_SECONDS, Courier
from crypto_orders.workers.loop import Job

COMPLETE_BATCH_MAX = 20
"""Create calls that one process repeats side by side."""

_log = log.get()


def webhook_jobs(courier: Courier) -> tuple[Job, ...]:
    """The jobs that deliver webhooks; attempts are waited for inside."""
    return (
        Job("fan_out_webhooks", courier.fan_out, pause_seconds=PAUSE_SECONDS),
        Job("deliver_webhooks", courier.run, pause_seconds=0),
    )


def order_jobs(
    d: Deployment, *, reads_per_second: float, sweep_every_minutes: int, sweep_older_than_hours: int
) -> tuple[Job, ...]:
    """The jobs that heal orders and keep the roll-ups short."""
    return (
        Job("apply_notifications", partial(inbox.apply_due, d), pause_seconds=0.5),
        Job("complete_checkouts", partial(_complete_checkouts, d), pause_seconds=1, rests_after_work=True),
        Job("reconcile_orders", partial(reconcile.reconcile, d, reads_per_second), pause_seconds=0.5),
        Job(
            "sweep_expired",
            partial(_sweep, d, sweep_older_than_hours),
            pause_seconds=sweep_every_minutes * 60,
            rests_after_work=True,
        ),
        Job(
            "forget_idle_buckets",
            partial(forget_idle_buckets, d.pool),
            pause_seconds=3600,
        ),
        Job("fold_rollups", partial(rollups.fold, d.pool), pause_seconds=2),
        Job("tidy_search", partial(rollups.tidy_search, d.pool), pause_seconds=30, rests_after_work=True),
    )


async def _complete_checkouts(d: Deployment) -> int:
    async with d.pool.acquire() as conn:
        due = await checkouts.due_for_minting(conn, COMPLETE_BATCH_MAX)
    await asyncio.gather(*(_complete(d, account_id, order_id) for account_id, order_id in due))
    return len(due)


async def _complete(d: Deployment, account_id: UUID, order_id: str) -> None:
    """Complete one checkout; one that cannot be completed now holds up no others."""
    try:
        await minting.complete(d, account_id, order_id)
    except Exception as error:  # noqa: BLE001 - whatever it was, the order is due again by itself
        _log.warning("crypto_checkout_not_completed", order_id=order_id, exc_info=error)


async def _sweep(d: Deployment, older_than_hours: int) -> int:
    swept = await sweep.sweep(d, older_than_hours=older_than_hours, limit=sweep.LIMIT_MAX)
    return swept.expired + swept.healed
