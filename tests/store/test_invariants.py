"""The invariants hold on a real history, and each query is understood."""

from crypto_orders.store import invariants
from crypto_orders.store.connection import Pool


async def test_every_invariant_can_be_asked(pool: Pool) -> None:
    async with pool.acquire() as conn:
        assert await invariants.violations(conn) == []
