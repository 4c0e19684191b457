"""Token buckets that every process draws on, and the overrides of single keys."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from crypto_orders.domain.rate_limit import Policy
from crypto_orders.store.connection import Conn, Tx


class Lease(NamedTuple):
    """What a draw on the bucket gave: tokens granted, tokens left in the table, and the policy that held."""

    granted: int
    left: float
    policy: Policy


class Override(NamedTuple):
    """A policy of one key's own, until a moment or for good."""

    policy: Policy
    expires_at: datetime | None


_LEASE = """
  WITH policy AS (
           SELECT coalesce(o.capacity, $2::integer) AS capacity,
                  coalesce(o.refill_per_second, $3::double precision) AS refill
             FROM (SELECT $4::uuid AS key_id) AS asked
                  LEFT JOIN rate_overrides AS o
                  ON o.key_id = asked.key_id
                     AND (o.expires_at IS NULL OR o.expires_at > clock_timestamp())
       ),
       held AS (
           SELECT tokens, updated_at
             FROM rate_buckets
            WHERE bucket_key = $1
              FOR UPDATE
       ),
       refilled AS (
           -- The clock is read after the lock was taken: a bucket never refills for the wait.
           SELECT p.capacity, p.refill, c.now_at,
                  least(
                      p.capacity,
                      h.tokens + p.refill * greatest(0, extract(epoch FROM c.now_at - h.updated_at))
                  ) AS tokens
             FROM held AS h
                  CROSS JOIN LATERAL (SELECT clock_timestamp() AS now_at, h.tokens) AS c
                  CROSS JOIN policy AS p
            WHERE p.capacity > 0
       ),
       leased AS (
           SELECT *, least(floor(tokens), greatest(1, least(capacity, floor(refill)))) AS granted
             FROM refilled
       ),
       existing AS (
           UPDATE rate_buckets AS b
              SET tokens = l.tokens - l.granted, updated_at = l.now_at
             FROM leased AS l
            WHERE b.bucket_key = $1
        RETURNING l.granted, b.tokens AS remaining, l.capacity, l.refill
       ),
       fresh AS (
           -- A bucket nobody drew on yet is full. When two make it at once, one of them finds no row here.
           INSERT INTO rate_buckets AS b (bucket_key, tokens, updated_at)
           SELECT $1, capacity - greatest(1, least(capacity, floor(refill))), clock_timestamp()
             FROM policy
            WHERE capacity > 0
              AND NOT EXISTS (SELECT FROM held)
               ON CONFLICT (bucket_key) DO NOTHING
        RETURNING b.tokens
       )
SELECT granted, remaining, capacity, refill
  FROM existing
 UNION ALL
SELECT p.capacity - f.tokens, f.tokens, p.capacity, p.refill
  FROM fresh AS f
       CROSS JOIN policy AS p
 UNION ALL
SELECT 0, 0, 0, p.refill
  FROM policy AS p
 WHERE p.capacity = 0
"""

_FIND_OVERRIDE = """
SELECT capacity, refill_per_second, expires_at
  FROM rate_overrides
 WHERE key_id = $1
   AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""

_FORGET_IDLE = """
DELETE FROM rate_buckets
 WHERE bucket_key IN (
           SELECT bucket_key
             FROM rate_buckets
            WHERE updated_at < clock_timestamp() - make_interval(secs => $1)
            LIMIT $2
              FOR UPDATE SKIP LOCKED
       )
"""


async def lease(tx: Tx, bucket_key: str, policy: Policy, override_of: UUID | None) -> Lease | None:
    """Take up to a second's refill out of a bucket, made full when there is none.

    An override of the key ``override_of`` replaces the policy; one with capacity 0 grants nothing and
    writes nothing, since nothing is limited. None when another process was just making the bucket.
    """
    row = await tx.fetchrow(_LEASE, bucket_key, policy.capacity, policy.refill_per_second, override_of)
    if row is None:
        return None
    return Lease(int(row["granted"]), row["remaining"], Policy(row["capacity"], row["refill"]))


async def find_override(conn: Conn, key_id: UUID) -> Override | None:
    """The policy of a key's own, when it has one that still holds."""
    row = await conn.fetchrow(_FIND_OVERRIDE, key_id)
    if row is None:
        return None
    return Override(Policy(row["capacity"], row["refill_per_second"]), row["expires_at"])


async def forget_idle(tx: Tx, *, idle_seconds: float, limit: int) -> int:
    """Delete buckets nobody drew on for so long; each is full again by then, as a new one would be."""
    return int((await tx.execute(_FORGET_IDLE, idle_seconds, limit)).split()[-1])
