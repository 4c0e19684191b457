"""Whom to ask the provider about next, and how many reads all processes may make together."""

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import Struct

from crypto_orders.domain.payment import Payment
from crypto_orders.store.connection import Conn, Tx
from crypto_orders.store.payments import payment_of

READS_BUCKET = "provider_reads"
READS_BURST_SECONDS = 2
"""Unused reads of the last two seconds may be made at once."""

LEASE = timedelta(seconds=60)
"""A worker that dies leaves its payments to the others after a minute."""

# The balance may go below zero: people are answered at once, and the reconciler waits for them.
DRAW = """
INSERT INTO rate_buckets AS b (bucket_key, tokens, updated_at)
VALUES ($1, -$2::double precision, clock_timestamp())
    ON CONFLICT (bucket_key) DO UPDATE SET tokens = b.tokens - $2::double precision
"""


async def draw(tx: Tx, reads: int) -> None:
    """Count reads that are made at once, whatever the budget says."""
    await tx.execute(DRAW, READS_BUCKET, float(reads))


GRANT = """
  WITH refilled AS (
       SELECT least($3::double precision,
                    b.tokens + extract(epoch FROM clock_timestamp() - b.updated_at) * $2::double precision) AS tokens
         FROM rate_buckets b
        WHERE b.bucket_key = $1
          FOR UPDATE
     )
UPDATE rate_buckets b
   SET tokens = r.tokens - greatest(0, least(floor(r.tokens), $4::double precision)), updated_at = clock_timestamp()
  FROM refilled r
 WHERE b.bucket_key = $1
RETURNING greatest(0, least(floor(r.tokens), $4::double precision))::integer
"""
OPEN_BUCKET = """
INSERT INTO rate_buckets (bucket_key, tokens, updated_at) VALUES ($1, $2, clock_timestamp()) ON CONFLICT DO NOTHING
"""


async def grant(tx: Tx, wanted: int, per_second: float) -> int:
    """Take up to `wanted` reads from the budget of `per_second` that all processes share."""
    burst = per_second * READS_BURST_SECONDS
    await tx.execute(OPEN_BUCKET, READS_BUCKET, burst)
    return await tx.fetchval(GRANT, READS_BUCKET, per_second, burst, float(wanted))


class Due(Struct, frozen=True):
    """A payment to ask about, leased until its attempt is settled."""

    account_id: UUID
    order_id: str
    payment: Payment
    attempt: int


# Money under way comes first, then what is fresh, then the rest by age of its due time.
CLAIM = """
UPDATE payments
   SET ask_lease_until = clock_timestamp() + $2::interval, ask_attempt = ask_attempt + 1
 WHERE (account_id, payment_id) IN (
       SELECT account_id, payment_id
         FROM payments
        WHERE ask_at <= clock_timestamp()
          AND (ask_lease_until IS NULL OR ask_lease_until < clock_timestamp())
        ORDER BY (money_seen AND provider_status <> 'finished') DESC,
                 (created_at > clock_timestamp() - interval '2 hours') DESC, ask_at
        LIMIT $1
          FOR UPDATE SKIP LOCKED)
   AND (ask_lease_until IS NULL OR ask_lease_until < clock_timestamp())
RETURNING *
"""


async def claim(tx: Tx, limit: int) -> list[Due]:
    """Lease up to `limit` payments that are due, money under way and fresh ones first."""
    rows = await tx.fetch(CLAIM, limit, LEASE)
    return [Due(r["account_id"], r["order_id"], payment_of(r), r["ask_attempt"]) for r in rows]


SETTLE = """
UPDATE payments
   SET ask_at = $4, asked_at = clock_timestamp(), ask_lease_until = NULL
 WHERE account_id = $1 AND payment_id = $2 AND ask_attempt = $3
"""


async def settle(tx: Tx, due: Due, next_at: datetime | None) -> None:
    """End a lease and plan the next question; a lease that another worker took over is left alone."""
    await tx.execute(SETTLE, due.account_id, due.payment.payment_id, due.attempt, next_at)


DUE_COUNT = """
SELECT count(*)
  FROM (SELECT FROM payments
         WHERE ask_at <= clock_timestamp() AND (ask_lease_until IS NULL OR ask_lease_until < clock_timestamp())
         LIMIT $1) AS x
"""


async def due_count(conn: Conn, limit: int) -> int:
    """How many payments are due and not being asked about, counted up to `limit`."""
    return await conn.fetchval(DUE_COUNT, limit)


ASK_SOON = """
UPDATE payments
   SET ask_at = clock_timestamp(), asked_at = clock_timestamp()
 WHERE account_id = $1 AND order_id = $2 AND ask_at IS NOT NULL
   AND (asked_at IS NULL OR asked_at < clock_timestamp() - $3::interval)
"""


async def ask_soon(tx: Tx, account_id: UUID, order_id: str, at_most_every: timedelta) -> None:
    """Have the reconciler ask about an order's open payments now, at most once in the given time."""
    await tx.execute(ASK_SOON, account_id, order_id, at_most_every)
