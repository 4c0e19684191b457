"""Keep quick what lists and statistics read: fold what was counted, index what was written."""

from crypto_orders.store import search, stats
from crypto_orders.store.connection import Pool
from crypto_orders.store.transaction import transact_single


async def fold(pool: Pool) -> int:
    """Fold some of the appended deltas; how many. The sums that are read do not change by it."""
    return await transact_single(pool, stats.fold_deltas)


async def tidy_search(pool: Pool) -> int:
    """Move what was written lately into the index of the search; how many pages it took."""
    return await transact_single(pool, search.tidy)
