"""Deliveries of webhook events as customers and support see them, and sending them again."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

import msgspec
from msgspec import Struct

from crypto_orders.kit.pagination import Page
from crypto_orders.store import keyset
from crypto_orders.store.connection import Conn, Row, Tx
from crypto_orders.store.keyset import Listing

DeliveryStatus = Literal["pending", "in_flight", "delivered", "failed", "dlq"]

# Where nothing is due, the moment of the last attempt stands for the next.
DELIVERY_COLUMNS = """d.account_id, d.delivery_id, d.endpoint_id, d.event_id, d.event_type, d.status, d.attempts,
       CASE WHEN d.status <> 'in_flight' AND d.due_at IS NOT NULL THEN d.due_at
            ELSE coalesce(d.last_attempt_at, d.created_at) END AS next_attempt_at,
       d.due_at IS NOT NULL AS is_due,
       d.last_response_status, d.last_response_excerpt, d.last_error, d.delivered_at, d.created_at"""


class Delivery(Struct, frozen=True, kw_only=True):
    """One event on its way to one endpoint. `attempts` counts since it was last replayed.

    `is_due`: an attempt is to come, at once or later. `failed` and due is tried again; `failed` and not due was
    discarded from the dead-letter queue.
    """

    account_id: UUID
    delivery_id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    status: DeliveryStatus
    attempts: int
    next_attempt_at: datetime
    is_due: bool
    last_response_status: int | None
    last_response_excerpt: str | None
    last_error: str | None
    delivered_at: datetime | None
    created_at: datetime


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt at a delivery; one that never ended has neither a status nor an error."""

    attempt_no: int
    started_at: datetime
    elapsed_ms: int | None
    status: int | None
    error: str | None
    excerpt: str | None


class Receiver(Struct, frozen=True):
    """Where deliveries go, and whether anything is sent there now.

    What an endpoint that is paused or disabled does not get is kept until its customer resumes it; a deleted one
    is never sent anything again. `disabled_reason` is None for one that the customer paused.
    """

    url: str
    active: bool
    deleted: bool
    disabled_reason: str | None

    @property
    def holds(self) -> bool:
        """Whether deliveries are kept for it."""
        return not self.active and not self.deleted


class Told(Struct, frozen=True, kw_only=True):
    """A delivery of an order's event, with where it goes and every attempt, the oldest first."""

    delivery: Delivery
    receiver: Receiver
    attempts: tuple[Attempt, ...]


def _delivery(row: Row) -> Delivery:
    return Delivery(
        account_id=row["account_id"],
        delivery_id=row["delivery_id"],
        endpoint_id=row["endpoint_id"],
        event_id=row["event_id"],
        event_type=row["event_type"],
        status=row["status"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        is_due=row["is_due"],
        last_response_status=row["last_response_status"],
        last_response_excerpt=row["last_response_excerpt"],
        last_error=row["last_error"],
        delivered_at=row["delivered_at"],
        created_at=row["created_at"],
    )


OF_ENDPOINT = Listing(
    "deliveries",
    f"SELECT {DELIVERY_COLUMNS} FROM webhook_deliveries d",
    "created_at",
    "delivery_id",
    of_each=("status", get_args(DeliveryStatus)),
)
DEAD = Listing(
    "webhook_dlq",
    f"SELECT {DELIVERY_COLUMNS} FROM (SELECT * FROM webhook_deliveries WHERE status = 'dlq') d",
    "created_at",
    "delivery_id",
)


async def of_endpoint(
    conn: Conn,
    account_id: UUID,
    endpoint_id: UUID,
    *,
    status: DeliveryStatus | None,
    limit: int,
    after: str | None,
) -> Page[Delivery]:
    """An endpoint's deliveries, the newest first, behind the cursor `after`.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    equal = {"account_id": account_id, "endpoint_id": endpoint_id, "status": status}
    return await keyset.newest(conn, OF_ENDPOINT, _delivery, equal=equal, limit=limit, after=after)


async def dead(conn: Conn, *, account_id: UUID | None, limit: int, after: str | None) -> Page[Delivery]:
    """The dead-letter queue of one account or of all, the newest deliveries first.

    Raises:
        MalformedCursor: `after` is no cursor of this list.
    """
    return await keyset.newest(
        conn, DEAD, _delivery, equal={"account_id": account_id}, limit=limit, after=after
    )


RECEIVER_COLUMNS = "e.url, e.active, e.deleted_at IS NOT NULL AS deleted, e.disabled_reason"

OF_ORDER = f"""
SELECT {DELIVERY_COLUMNS}, {RECEIVER_COLUMNS},
       (SELECT json_agg(a ORDER BY a.attempt_no)
          FROM (SELECT attempt_no, started_at, elapsed_ms, status, error, excerpt
                  FROM webhook_attempts
                 WHERE account_id = d.account_id AND delivery_id = d.delivery_id
                 ORDER BY attempt_no DESC
                 LIMIT 100) AS a) AS attempt_log
  FROM webhook_events w
  JOIN webhook_deliveries d ON d.account_id = w.account_id AND d.event_id = w.event_id
  JOIN webhook_endpoints e ON e.account_id = d.account_id AND e.endpoint_id = d.endpoint_id
 WHERE w.account_id = $1 AND w.order_id = $2
 ORDER BY d.created_at, d.delivery_id
"""

_attempts = msgspec.json.Decoder(tuple[Attempt, ...]).decode


async def of_order(conn: Conn, account_id: UUID, order_id: str) -> tuple[Told, ...]:
    """The deliveries of an order's events, the oldest first, each with its newest hundred attempts."""
    rows = await conn.fetch(OF_ORDER, account_id, order_id)
    return tuple(
        Told(
            delivery=_delivery(row),
            receiver=_receiver(row),
            attempts=_attempts(row["attempt_log"] or "[]"),
        )
        for row in rows
    )


RECEIVERS = f"""
SELECT e.endpoint_id, {RECEIVER_COLUMNS}
  FROM unnest($1::uuid[]) AS wanted (endpoint_id)
  JOIN webhook_endpoints e USING (endpoint_id)
"""


async def receivers(conn: Conn, endpoints: Iterable[UUID]) -> Mapping[UUID, Receiver]:
    """Where the deliveries to some endpoints go."""
    rows = await conn.fetch(RECEIVERS, sorted(set(endpoints)))
    return {row["endpoint_id"]: _receiver(row) for row in rows}


def _receiver(row: Row) -> Receiver:
    return Receiver(row["url"], row["active"], row["deleted"], row["disabled_reason"])


GET = f"""
SELECT {DELIVERY_COLUMNS}
  FROM webhook_deliveries d
 WHERE d.account_id = $1 AND d.delivery_id = $2
"""
LOCK = GET + " FOR NO KEY UPDATE"


async def get(conn: Conn, account_id: UUID, delivery_id: UUID) -> Delivery | None:
    """A delivery of an account, or None when it has no such delivery."""
    row = await conn.fetchrow(GET, account_id, delivery_id)
    return _delivery(row) if row else None


async def lock(tx: Tx, account_id: UUID, delivery_id: UUID) -> Delivery | None:
    """A delivery, locked until the transaction ends."""
    row = await tx.fetchrow(LOCK, account_id, delivery_id)
    return _delivery(row) if row else None


ACCOUNT_OF = "SELECT account_id FROM webhook_deliveries WHERE delivery_id = $1"


async def account_of(conn: Conn, delivery_id: UUID) -> UUID | None:
    """Whose delivery it is, for support."""
    return await conn.fetchval(ACCOUNT_OF, delivery_id)


REPLAY = """
UPDATE webhook_deliveries
   SET status = 'pending', attempts = 0, delivered_at = NULL,
       due_at = date_trunc('milliseconds', clock_timestamp()),
       replayed_at = date_trunc('milliseconds', clock_timestamp())
 WHERE account_id = $1 AND delivery_id = $2 AND status <> 'in_flight'
"""


async def replay(tx: Tx, account_id: UUID, delivery_id: UUID) -> None:
    """Make a delivery that is not in flight due at once, its attempts counted from 0 again."""
    await tx.execute(REPLAY, account_id, delivery_id)


DISCARD = """
UPDATE webhook_deliveries SET status = 'failed' WHERE account_id = $1 AND delivery_id = $2 AND status = 'dlq'
"""


async def discard(tx: Tx, account_id: UUID, delivery_id: UUID) -> None:
    """Take a delivery off the dead-letter queue for good."""
    await tx.execute(DISCARD, account_id, delivery_id)


class Window(Struct, frozen=True, kw_only=True):
    """Which deliveries of an endpoint: made from `since` on and before `until`, in any of the statuses."""

    since: datetime
    until: datetime
    statuses: tuple[DeliveryStatus, ...]


COUNT_WINDOW = """
SELECT count(*)
  FROM webhook_deliveries
 WHERE account_id = $1 AND endpoint_id = $2 AND created_at >= $3 AND created_at < $4 AND status = ANY ($5::text[])
"""


async def count_window(conn: Conn, account_id: UUID, endpoint_id: UUID, window: Window) -> int:
    """Count the deliveries of a window."""
    return await conn.fetchval(
        COUNT_WINDOW, account_id, endpoint_id, window.since, window.until, list(window.statuses)
    )


# What was replayed since the call began is left alone, so that a batch never meets one of the batch before. The
# oldest of each status are looked up, since no index has those of several statuses in one order.
REPLAY_WINDOW = """
  WITH queued AS (
       UPDATE webhook_deliveries
          SET status = 'pending', attempts = 0, delivered_at = NULL,
              due_at = date_trunc('milliseconds', clock_timestamp()),
              replayed_at = date_trunc('milliseconds', clock_timestamp())
        WHERE (account_id, delivery_id) IN (
              SELECT found.account_id, found.delivery_id
                FROM (SELECT DISTINCT unnest($5::text[])) AS each (status)
               CROSS JOIN LATERAL (
                     SELECT account_id, delivery_id, created_at
                       FROM webhook_deliveries
                      WHERE account_id = $1 AND endpoint_id = $2 AND status = each.status
                        AND status NOT IN ('pending', 'in_flight')
                        AND created_at >= $3 AND created_at < $4
                        AND (replayed_at IS NULL OR replayed_at < $6)
                      ORDER BY created_at, delivery_id
                      LIMIT $7
                        FOR NO KEY UPDATE) AS found
               ORDER BY found.created_at, found.delivery_id
               LIMIT $7)
          AND status NOT IN ('pending', 'in_flight')
    RETURNING 1
     )
SELECT count(*) FROM queued
"""


async def replay_window(
    tx: Tx, account_id: UUID, endpoint_id: UUID, window: Window, *, begun_at: datetime, limit: int
) -> int:
    """Replay up to `limit` more deliveries of a window, the oldest first; how many there were."""
    return await tx.fetchval(
        REPLAY_WINDOW,
        account_id,
        endpoint_id,
        window.since,
        window.until,
        list(window.statuses),
        begun_at,
        limit,
    )


INSERT_PING = """
  WITH event AS (
       INSERT INTO webhook_events (account_id, event_id, event_type, body, created_at)
       VALUES ($1, $2, 'test.ping', $3, $6)
     )
INSERT INTO webhook_deliveries (account_id, delivery_id, endpoint_id, event_id, event_type, status, due_at, created_at)
VALUES ($1, $4, $5, $2, 'test.ping', 'pending', $6, $6)
"""


async def insert_ping(
    tx: Tx,
    account_id: UUID,
    endpoint_id: UUID,
    *,
    event_id: UUID,
    delivery_id: UUID,
    body: bytes,
    now: datetime,
) -> None:
    """Add a test event and its delivery to one endpoint."""
    await tx.execute(INSERT_PING, account_id, event_id, body, delivery_id, endpoint_id, now)


async def now(conn: Conn) -> datetime:
    """The database's time in whole milliseconds."""
    return await conn.fetchval("SELECT date_trunc('milliseconds', clock_timestamp())")
