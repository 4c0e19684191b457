"""The queue of webhook deliveries: fan events out, claim what is due, settle what was sent."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from msgspec import Struct

from crypto_orders.store.connection import Tx

# A UUIDv7 (RFC 9562) as PostgreSQL 15 can make one: 48 bits of milliseconds before random ones, and its version.
UUID7 = """encode(set_bit(set_bit(overlay(
           uuid_send(gen_random_uuid())
           PLACING substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
           FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid"""

# An endpoint deleted since gets nothing; one that is paused or disabled gets its delivery, which is held.
FAN_OUT = f"""
  WITH taken AS (
       SELECT account_id, event_id, event_type, created_at
         FROM webhook_events
        WHERE fan_out_at <= statement_timestamp()
        ORDER BY fan_out_at
        LIMIT $1
          FOR NO KEY UPDATE SKIP LOCKED
     ), made AS (
       INSERT INTO webhook_deliveries (account_id, delivery_id, endpoint_id, event_id, event_type, status, due_at, created_at)
       SELECT t.account_id, {UUID7}, e.endpoint_id, t.event_id, t.event_type, 'pending', t.created_at, t.created_at
         FROM taken t
         JOIN webhook_endpoints e ON e.account_id = t.account_id AND t.event_type = ANY (e.events)
          AND e.deleted_at IS NULL
           ON CONFLICT (account_id, event_id, endpoint_id) DO NOTHING
     ), done AS (
       UPDATE webhook_events w
          SET fan_out_at = NULL
         FROM taken t
        WHERE w.account_id = t.account_id AND w.event_id = t.event_id
    RETURNING 1
     )
SELECT count(*) FROM done
"""


async def fan_out(tx: Tx, limit: int) -> int:
    """Make the deliveries of up to `limit` events, the oldest first; how many events there were."""
    return await tx.fetchval(FAN_OUT, limit)


class Claimed(Struct, frozen=True, kw_only=True):
    """A delivery whose attempt number `attempt_no` is this worker's to make until the lease ends.

    `attempts` is its number since the last replay, `at` the database's moment of the claim.
    """

    account_id: UUID
    delivery_id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    attempts: int
    attempt_no: int
    at: datetime
    created_at: datetime
    url: str
    body: bytes
    secret_sealed: bytes
    prev_secret_sealed: bytes | None
    proven: bool
    """Whether the endpoint's last attempt before this one succeeded."""


class Slots(Struct, frozen=True, kw_only=True):
    """How many attempts a worker may begin now.

    `unproven` bounds those to endpoints whose last attempt did not succeed, so that any number of hanging
    ones leaves room for the others; such an endpoint gets one at a time.
    """

    free: int
    unproven: int
    per_endpoint: int
    running: Sequence[tuple[UUID, int]]
    """The endpoints with attempts of this worker in flight, and how many."""


# `waiting` steps over the index from endpoint to endpoint, so a long queue of one costs the others nothing.
# The first of every endpoint comes before the second of any, and of those without success the one comes first
# that failed longest ago, so that a new endpoint does not queue behind old failures. The time is the statement's,
# since an index can be searched up to it: what waits for a later time is not even looked at.
CLAIM = """
  WITH RECURSIVE waiting AS (
       (SELECT account_id, endpoint_id
          FROM webhook_deliveries
         WHERE due_at IS NOT NULL
         ORDER BY account_id, endpoint_id
         LIMIT 1)
        UNION ALL
       SELECT further.account_id, further.endpoint_id
         FROM waiting w
        CROSS JOIN LATERAL (
              SELECT account_id, endpoint_id
                FROM webhook_deliveries
               WHERE due_at IS NOT NULL AND (account_id, endpoint_id) > (w.account_id, w.endpoint_id)
               ORDER BY account_id, endpoint_id
               LIMIT 1) AS further
     ), open AS (
       SELECT *
         FROM (SELECT e.account_id, e.endpoint_id, e.last_failure_at, health.proven,
                      coalesce(busy.running, 0) AS running,
                      CASE WHEN health.proven THEN $3::integer ELSE 1 END - coalesce(busy.running, 0) AS room
                 FROM waiting w
                 JOIN webhook_endpoints e ON e.account_id = w.account_id AND e.endpoint_id = w.endpoint_id
                CROSS JOIN LATERAL (
                      SELECT coalesce(e.last_success_at > coalesce(e.last_failure_at, '-infinity'), false)
                                 AS proven) AS health
                 LEFT JOIN unnest($1::uuid[], $2::integer[]) AS busy (endpoint_id, running)
                        ON busy.endpoint_id = e.endpoint_id
                WHERE e.active AND e.deleted_at IS NULL) AS e
        WHERE room > 0
     ), ranked AS (
       SELECT o.proven, o.last_failure_at, due.account_id, due.delivery_id, due.due_at, o.running + due.place AS place
         FROM open o
        CROSS JOIN LATERAL (
              SELECT locked.*, row_number() OVER (ORDER BY locked.due_at) AS place
                FROM (SELECT account_id, delivery_id, due_at
                        FROM webhook_deliveries
                       WHERE account_id = o.account_id AND endpoint_id = o.endpoint_id
                         AND due_at <= statement_timestamp()
                       ORDER BY due_at
                       LIMIT o.room
                         FOR NO KEY UPDATE SKIP LOCKED) AS locked) AS due
     ), chosen AS (
       SELECT account_id, delivery_id, proven
         FROM (SELECT *, row_number() OVER (
                             PARTITION BY proven
                             ORDER BY place, CASE WHEN NOT proven THEN last_failure_at END NULLS FIRST, due_at)
                             AS turn
                 FROM ranked) AS r
        WHERE proven OR turn <= $5
        ORDER BY turn
        LIMIT $4
     ), claimed AS (
       UPDATE webhook_deliveries d
          SET status = 'in_flight', attempts = d.attempts + 1, attempt_no = d.attempt_no + 1,
              last_attempt_at = date_trunc('milliseconds', clock_timestamp()),
              due_at = date_trunc('milliseconds', clock_timestamp()) + $6::interval
         FROM chosen c
        WHERE d.account_id = c.account_id AND d.delivery_id = c.delivery_id
          AND d.due_at <= statement_timestamp()
    RETURNING d.*, c.proven
     ), begun AS (
       INSERT INTO webhook_attempts (account_id, delivery_id, attempt_no, started_at)
       SELECT account_id, delivery_id, attempt_no, last_attempt_at FROM claimed
     )
SELECT c.account_id, c.delivery_id, c.endpoint_id, c.event_id, c.event_type, c.attempts, c.attempt_no,
       c.last_attempt_at AS at, c.created_at, e.url, w.body, e.secret_sealed, c.proven,
       CASE WHEN e.grace_expires_at > clock_timestamp() THEN e.prev_secret_sealed END AS prev_secret_sealed
  FROM claimed c
  JOIN webhook_endpoints e ON e.account_id = c.account_id AND e.endpoint_id = c.endpoint_id
  JOIN webhook_events w ON w.account_id = c.account_id AND w.event_id = c.event_id
"""


async def claim(tx: Tx, slots: Slots, lease: timedelta) -> list[Claimed]:
    """Begin attempts at what is due, fairly over the endpoints; each has its row before it is sent.

    When the worker dies, the end of the lease makes the delivery due again.
    """
    rows = await tx.fetch(
        CLAIM,
        [endpoint_id for endpoint_id, _ in slots.running],
        [count for _, count in slots.running],
        slots.per_endpoint,
        slots.free,
        slots.unproven,
        lease,
    )
    return [Claimed(**cast("Mapping[str, Any]", row)) for row in rows]


class Health(Struct, frozen=True, kw_only=True):
    """An endpoint's part in a batch of results: what the batch starts from, and what it leaves."""

    account_id: UUID
    endpoint_id: UUID
    active: bool
    consecutive_failures: int
    last_success_at: datetime | None = None
    last_failure_at: datetime | None = None
    disable_reason: str | None = None


LOCK_ENDPOINTS = """
SELECT e.account_id, e.endpoint_id, e.active, e.consecutive_failures,
       date_trunc('milliseconds', clock_timestamp()) AS now
  FROM webhook_endpoints e
 WHERE (e.account_id, e.endpoint_id) IN (
       SELECT wanted.account_id, wanted.endpoint_id
         FROM unnest($1::uuid[], $2::uuid[]) AS wanted (account_id, endpoint_id))
 ORDER BY e.account_id, e.endpoint_id
   FOR NO KEY UPDATE
"""


async def lock_endpoints(tx: Tx, names: Sequence[tuple[UUID, UUID]]) -> tuple[datetime, list[Health]]:
    """Lock the endpoints of a batch, at least one, always in the same order; the database's time, and they."""
    rows = await tx.fetch(LOCK_ENDPOINTS, [name[0] for name in names], [name[1] for name in names])
    return rows[-1]["now"], [
        Health(
            account_id=row["account_id"],
            endpoint_id=row["endpoint_id"],
            active=row["active"],
            consecutive_failures=row["consecutive_failures"],
        )
        for row in rows
    ]


class Settled(Struct, frozen=True, kw_only=True):
    """What came of one attempt, and what follows it; `due_at` None: nothing."""

    account_id: UUID
    delivery_id: UUID
    attempt_no: int
    elapsed_ms: int
    response_status: int | None
    error: str | None
    excerpt: str | None
    dialled_ip: str | None
    status: str
    due_at: datetime | None


# A late answer of an attempt that was given up changes nothing, unless it says that the receiver has it.
# The error before a success stays: it is how one sees that the delivery needed more than one attempt.
SETTLE = """
  WITH result AS (
       SELECT *
         FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::text[], $7::text[],
                     $8::text[], $9::text[], $10::timestamptz[])
                  AS r (account_id, delivery_id, attempt_no, elapsed_ms, response_status, error, excerpt,
                        dialled_ip, status, due_at)
     ), noted AS (
       UPDATE webhook_attempts a
          SET elapsed_ms = r.elapsed_ms, status = r.response_status, error = r.error, excerpt = r.excerpt,
              dialled_ip = r.dialled_ip::inet
         FROM result r
        WHERE a.account_id = r.account_id AND a.delivery_id = r.delivery_id AND a.attempt_no = r.attempt_no
     )
UPDATE webhook_deliveries d
   SET status = r.status, due_at = r.due_at,
       delivered_at = CASE WHEN r.status = 'delivered' THEN $11::timestamptz END,
       last_response_status = r.response_status, last_response_excerpt = r.excerpt,
       last_error = coalesce(r.error, d.last_error)
  FROM result r
 WHERE d.account_id = r.account_id AND d.delivery_id = r.delivery_id
   AND ((d.status = 'in_flight' AND d.attempt_no = r.attempt_no)
        OR (r.status = 'delivered' AND d.status IN ('in_flight', 'failed', 'dlq')))
RETURNING d.delivery_id, d.attempt_no
"""


async def settle(tx: Tx, results: Sequence[Settled], now: datetime) -> set[UUID]:
    """Store the results of attempts that ended just now; the deliveries that are settled by them.

    An attempt whose lease ended, and that somebody else makes again, settles nothing unless it delivered.
    """
    rows = await tx.fetch(
        SETTLE,
        [r.account_id for r in results],
        [r.delivery_id for r in results],
        [r.attempt_no for r in results],
        [r.elapsed_ms for r in results],
        [r.response_status for r in results],
        [r.error for r in results],
        [r.excerpt for r in results],
        [r.dialled_ip for r in results],
        [r.status for r in results],
        [r.due_at for r in results],
        now,
    )
    return {row["delivery_id"] for row in rows}


UPDATE_HEALTH = """
UPDATE webhook_endpoints e
   SET consecutive_failures = h.consecutive_failures,
       last_success_at = greatest(e.last_success_at, h.last_success_at),
       last_failure_at = greatest(e.last_failure_at, h.last_failure_at),
       active          = e.active AND h.disable_reason IS NULL,
       disabled_at     = CASE WHEN e.active AND h.disable_reason IS NOT NULL THEN $7 ELSE e.disabled_at END,
       disabled_reason = CASE WHEN e.active AND h.disable_reason IS NOT NULL THEN h.disable_reason
                              ELSE e.disabled_reason END
  FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::timestamptz[], $5::timestamptz[], $6::text[])
           AS h (account_id, endpoint_id, consecutive_failures, last_success_at, last_failure_at, disable_reason)
 WHERE e.account_id = h.account_id AND e.endpoint_id = h.endpoint_id
"""


async def update_health(tx: Tx, batch: Sequence[Health], now: datetime) -> None:
    """Store how the endpoints of a batch fare, and disable those that have a reason for it."""
    await tx.execute(
        UPDATE_HEALTH,
        [h.account_id for h in batch],
        [h.endpoint_id for h in batch],
        [h.consecutive_failures for h in batch],
        [h.last_success_at for h in batch],
        [h.last_failure_at for h in batch],
        [h.disable_reason for h in batch],
        now,
    )
