"""Pending orders past their pay window, for the sweep to look at."""

from datetime import timedelta
from uuid import UUID

from msgspec import Struct

from crypto_orders.store.connection import Conn, Tx

NOT_AGAIN_WITHIN = timedelta(minutes=10)
"""What a sweep has looked at is left out by the next ones for this long, so that they get further."""

CREATE_GIVEN_UP_AFTER = timedelta(seconds=60)
"""A create call without outcome counts as nothing minted after this; its address was never shown."""


class Candidate(Struct, frozen=True):
    """A pending order that a sweep looks at."""

    account_id: UUID
    order_id: str


CANDIDATES = """
       SELECT account_id, order_id
         FROM orders
        WHERE status = 'pending'
          AND created_at <= clock_timestamp() - $1::interval
          AND window_ends_at <= clock_timestamp()
          AND (looked_at IS NULL OR looked_at < clock_timestamp() - $2::interval)
        ORDER BY created_at, order_id
"""
CLAIM = f"""
UPDATE orders
   SET looked_at = clock_timestamp()
 WHERE (account_id, order_id) IN ({CANDIDATES} LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED)
   AND status = 'pending'
   AND (looked_at IS NULL OR looked_at < clock_timestamp() - $2::interval)
RETURNING account_id, order_id, created_at
"""


async def claim(tx: Tx, older_than: timedelta, limit: int) -> list[Candidate]:
    """Take the oldest candidates, which no other sweep looks at meanwhile."""
    rows = await tx.fetch(CLAIM, older_than, NOT_AGAIN_WITHIN, limit)
    rows = sorted(rows, key=lambda row: (row["created_at"], row["order_id"]))
    return [Candidate(row["account_id"], row["order_id"]) for row in rows]


REMAIN = f"SELECT EXISTS ({CANDIDATES})"


async def remain(conn: Conn, older_than: timedelta) -> bool:
    """Whether candidates are left that no sweep has looked at."""
    return await conn.fetchval(REMAIN, older_than, NOT_AGAIN_WITHIN)


FRESH_ANSWERS = """
SELECT payment_id
  FROM payments
 WHERE account_id = $1 AND order_id = $2 AND provider_status = 'waiting'
   AND snapshot_at > clock_timestamp() - $3::interval AND snapshot ->> 'payment_status' = 'waiting'
"""


async def answered_lately(conn: Conn, candidate: Candidate, within: timedelta) -> frozenset[str]:
    """The payments of an order that the provider itself called waiting within the given time."""
    rows = await conn.fetch(FRESH_ANSWERS, candidate.account_id, candidate.order_id, within)
    return frozenset(row["payment_id"] for row in rows)


BUSY = """
SELECT EXISTS (SELECT FROM provider_attempts
                WHERE account_id = $1 AND order_id = $2 AND state IN ('sent', 'unknown')
                  AND started_at > clock_timestamp() - $3::interval)
    OR EXISTS (SELECT FROM notifications n
                 JOIN payments p USING (payment_id)
                WHERE p.account_id = $1 AND p.order_id = $2 AND n.try_at IS NOT NULL)
    OR EXISTS (SELECT FROM notifications WHERE claimed_order_id = $2 AND try_at IS NOT NULL)
"""


async def is_busy(conn: Conn, account_id: UUID, order_id: str) -> bool:
    """Whether a create call may be in flight, or a fact about the order lies in the inbox unapplied."""
    return await conn.fetchval(BUSY, account_id, order_id, CREATE_GIVEN_UP_AFTER)
