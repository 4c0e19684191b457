"""Fold what transactions counted into the totals that statistics read."""

from crypto_orders.store import stats
from crypto_orders.store.connection import Pool
from crypto_orders.store.transaction import transact_single


async def fold(pool: Pool) -> int:
    """Fold some of the appended deltas; how many. The sums that are read do not change by it."""
    return await transact_single(pool, stats.fold_deltas)
