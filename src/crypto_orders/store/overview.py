"""What the admin's overview tells of the last hours and days, from bounded stretches of indexes.

Nothing is counted over a whole table: every statement reads one range of an index and stops at a limit, which
is told where it was met.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from crypto_orders.domain.order import FlagKind, Status
from crypto_orders.store.connection import Conn

ORDERS_OF_A_STATUS_MAX = 100_000
"""Orders of one status that the hours are counted over, the newest: index entries alone, some 20 ms."""

PAID_ORDERS_MAX = 50_000
"""Paid orders that are added up for a day, the newest; their rows are read."""

COUNTED_MAX = 10_000
"""How far queues are counted; from there on it is `more than`."""

RECENT_ORDERS = 500
"""The newest orders whose calls to the provider are looked at."""

RECENT_FACTS = 1_000
"""The newest facts of the inbox among which the last notification is looked for."""

HOUR = timedelta(hours=1)


class HourCount(Struct, frozen=True):
    """How many orders made in the hour that begins at `hour` have a status now."""

    hour: datetime
    status: str
    count: int


# Index entries alone: the status and the time are what the index is made of.
HOURLY = """
SELECT c.hour, s.status, c.orders
  FROM unnest($1::text[]) AS s (status)
 CROSS JOIN LATERAL (
       SELECT date_bin('1 hour', n.created_at, $2) AS hour, count(*) AS orders
         FROM (SELECT created_at
                 FROM orders
                WHERE status = s.status AND created_at >= $2
                ORDER BY created_at DESC
                LIMIT $3) AS n
        GROUP BY 1) AS c
 ORDER BY c.hour, s.status
"""


async def hourly(conn: Conn, since: datetime) -> list[HourCount]:
    """Orders made since the beginning of an hour, by hour and present status."""
    rows = await conn.fetch(HOURLY, [status.value for status in Status], since, ORDERS_OF_A_STATUS_MAX)
    return [HourCount(row["hour"], row["status"], row["orders"]) for row in rows]


ORDERS_BETWEEN = """
SELECT count(*)
  FROM (SELECT FROM orders WHERE created_at >= $1 AND created_at < $2 LIMIT $3) AS made
"""


async def orders_between(conn: Conn, since: datetime, until: datetime) -> int:
    """How many orders were made from `since` on and before `until`, counted up to the limit."""
    return await conn.fetchval(ORDERS_BETWEEN, since, until, ORDERS_OF_A_STATUS_MAX)


class PaidStretch(Struct, frozen=True, kw_only=True):
    """Paid orders of a stretch of time, by when they were made. Money is in integer cents by currency.

    The hours are counted from the beginning of the stretch; `took` is the median time from the order to its
    payment, None where nothing was paid. `capped`: only the newest orders of the stretch are in the numbers.
    """

    orders: int
    cents: dict[str, int]
    took: timedelta | None
    hour_cents: dict[str, dict[int, int]]
    hour_took: dict[int, timedelta]
    capped: bool


PAID_BETWEEN = """
  WITH paid AS MATERIALIZED (
       SELECT price_currency, price_cents, paid_at - created_at AS took,
              floor(extract(epoch FROM created_at - $1) / 3600)::integer AS hour
         FROM orders
        WHERE status = 'paid' AND created_at >= $1 AND created_at < $2
        ORDER BY created_at DESC
        LIMIT $3
     )
SELECT hour, price_currency, count(*) AS orders, sum(price_cents)::bigint AS cents,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY took) AS took
  FROM paid
 GROUP BY GROUPING SETS ((hour, price_currency), (hour), (price_currency), ())
"""


async def paid_between(conn: Conn, since: datetime, until: datetime) -> PaidStretch:
    """What became of the orders made from `since` on and before `until` that are paid now."""
    orders, took = 0, None
    cents: dict[str, int] = {}
    hour_cents: dict[str, dict[int, int]] = {}
    hour_took: dict[int, timedelta] = {}
    for row in await conn.fetch(PAID_BETWEEN, since, until, PAID_ORDERS_MAX):
        hour, currency = row["hour"], row["price_currency"]
        if hour is None and currency is None:
            orders, took = row["orders"], row["took"]
        elif hour is None:
            cents[currency] = row["cents"]
        elif currency is None:
            hour_took[hour] = row["took"]
        else:
            hour_cents.setdefault(currency, {})[hour] = row["cents"]
    return PaidStretch(
        orders=orders,
        cents=dict(sorted(cents.items(), key=lambda each: -each[1])),
        took=took,
        hour_cents=hour_cents,
        hour_took=hour_took,
        capped=orders == PAID_ORDERS_MAX,
    )


class OldestPending(Struct, frozen=True):
    """The pending order that was made first."""

    order_id: str
    created_at: datetime


OLDEST_PENDING = """
SELECT order_id, created_at FROM orders WHERE status = 'pending' ORDER BY created_at, order_id LIMIT 1
"""


async def oldest_pending(conn: Conn) -> OldestPending | None:
    """The oldest pending order, if any is pending."""
    row = await conn.fetchrow(OLDEST_PENDING)
    return OldestPending(row["order_id"], row["created_at"]) if row else None


class Waiting(Struct, frozen=True, kw_only=True):
    """What waits for a person, counted up to COUNTED_MAX and one more."""

    flags: int
    oldest_flag_at: datetime | None
    dlq: int
    failing_endpoints: int


WAITING = """
SELECT (SELECT count(*) FROM (SELECT FROM flags WHERE state = 'open' LIMIT $1) AS f) AS flags,
       (SELECT min(opened_at) FROM flags WHERE state = 'open') AS oldest_flag_at,
       (SELECT count(*) FROM (SELECT FROM webhook_deliveries WHERE status = 'dlq' LIMIT $1) AS d) AS dlq,
       (SELECT count(*) FROM (SELECT FROM webhook_endpoints WHERE failing LIMIT $1) AS e) AS failing_endpoints
"""


async def waiting(conn: Conn) -> Waiting:
    """How much waits for a person."""
    row = await conn.fetchrow(WAITING, COUNTED_MAX + 1)
    assert row is not None  # noqa: S101 - a row of scalars always comes
    return Waiting(
        flags=row["flags"],
        oldest_flag_at=row["oldest_flag_at"],
        dlq=row["dlq"],
        failing_endpoints=row["failing_endpoints"],
    )


FLAG_COUNTS = """
SELECT k.kind, c.flags
  FROM unnest($1::text[]) AS k (kind)
 CROSS JOIN LATERAL (
       SELECT count(*) AS flags FROM (SELECT FROM flags WHERE kind = k.kind AND state = 'open' LIMIT $2) AS f) AS c
 WHERE c.flags > 0
"""


async def open_flags_by_kind(conn: Conn) -> dict[FlagKind, int]:
    """How many flags of each kind are open, counted up to COUNTED_MAX and one more; kinds without any are left out."""
    rows = await conn.fetch(FLAG_COUNTS, [kind.value for kind in FlagKind], COUNTED_MAX + 1)
    return {FlagKind(row["kind"]): row["flags"] for row in rows}


FLAGS_BY_DAY = """
SELECT c.day, sum(c.flags)::bigint AS found
  FROM unnest(ARRAY['open', 'resolved']) AS s (state)
 CROSS JOIN LATERAL (
       SELECT (f.opened_at AT TIME ZONE 'UTC')::date AS day, count(*) AS flags
         FROM (SELECT opened_at FROM flags WHERE state = s.state AND opened_at >= $1
                ORDER BY opened_at DESC LIMIT $2) AS f
        GROUP BY 1) AS c
 GROUP BY c.day
"""
DEAD_BY_DAY = """
SELECT (d.created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS found
  FROM (SELECT created_at FROM webhook_deliveries WHERE status = 'dlq' AND created_at >= $1
         ORDER BY created_at DESC LIMIT $2) AS d
 GROUP BY 1
"""


async def flags_by_day(conn: Conn, since: datetime) -> dict[date, int]:
    """How many flags were raised on each UTC day since a moment, open or resolved by now."""
    return {row["day"]: row["found"] for row in await conn.fetch(FLAGS_BY_DAY, since, COUNTED_MAX)}


async def dead_by_day(conn: Conn, since: datetime) -> dict[date, int]:
    """How many deliveries of the dead-letter queue were made on each UTC day since a moment."""
    return {row["day"]: row["found"] for row in await conn.fetch(DEAD_BY_DAY, since, COUNTED_MAX)}


class CreateCalls(Struct, frozen=True):
    """Calls that asked the provider for a payment, by how they ended; the times are of those that did."""

    state: str
    calls: int
    median: timedelta | None
    slowest_twentieth: timedelta | None


CREATE_CALLS = """
  WITH recent AS MATERIALIZED (
       SELECT account_id, order_id
         FROM orders
        WHERE created_at >= $1
        ORDER BY created_at DESC, order_id DESC
        LIMIT $2
     )
SELECT a.state, count(*) AS calls,
       percentile_disc(0.5)  WITHIN GROUP (ORDER BY a.settled_at - a.started_at) AS median,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY a.settled_at - a.started_at) AS slowest_twentieth
  FROM recent r
  JOIN provider_attempts a ON a.account_id = r.account_id AND a.order_id = r.order_id
 GROUP BY a.state
 ORDER BY calls DESC, a.state
"""


async def create_calls(conn: Conn, since: datetime) -> list[CreateCalls]:
    """The create calls of the newest orders since a moment."""
    rows = await conn.fetch(CREATE_CALLS, since, RECENT_ORDERS)
    return [CreateCalls(row["state"], row["calls"], row["median"], row["slowest_twentieth"]) for row in rows]


class Heard(Struct, frozen=True, kw_only=True):
    """When the provider was last heard, among the newest facts of the inbox.

    A notification is signed by the provider; an answer is what it said when it was asked. `unsettled` are facts
    that wait to be applied, and `to_ask` payments that are due to be asked about, counted up to COUNTED_MAX and one more.
    """

    last_ipn_at: datetime | None
    last_answer_at: datetime | None
    unsettled: int
    to_ask: int


HEARD = """
  WITH recent AS MATERIALIZED (
       SELECT via, last_seen_at
         FROM notifications
        ORDER BY received_at DESC, notification_id DESC
        LIMIT $1
     )
SELECT (SELECT max(last_seen_at) FROM recent WHERE via = 'ipn') AS last_ipn_at,
       (SELECT max(last_seen_at) FROM recent WHERE via = 'poll') AS last_answer_at,
       (SELECT count(*) FROM (SELECT FROM notifications WHERE try_at IS NOT NULL LIMIT $2) AS n) AS unsettled,
       (SELECT count(*) FROM (SELECT FROM payments WHERE ask_at <= clock_timestamp() LIMIT $2) AS p) AS to_ask
"""


async def heard(conn: Conn) -> Heard:
    """When the provider was last heard."""
    row = await conn.fetchrow(HEARD, RECENT_FACTS, COUNTED_MAX + 1)
    assert row is not None  # noqa: S101 - a row of scalars always comes
    return Heard(
        last_ipn_at=row["last_ipn_at"],
        last_answer_at=row["last_answer_at"],
        unsettled=row["unsettled"],
        to_ask=row["to_ask"],
    )


OPEN_BY_PRODUCT = """
SELECT product, sum(orders)::bigint AS orders
  FROM (SELECT product, orders FROM order_grand_totals WHERE status = ANY ($1::text[])
         UNION ALL
        SELECT product, orders FROM order_deltas WHERE status = ANY ($1::text[])) AS parts
 GROUP BY product
HAVING sum(orders) > 0
"""
OPEN_STATUSES: Sequence[str] = (Status.PENDING.value, Status.CONFIRMING.value, Status.PARTIAL.value)


async def open_orders_by_product(conn: Conn) -> dict[str, int]:
    """How many orders of each product are neither paid nor ended, from the roll-ups."""
    rows = await conn.fetch(OPEN_BY_PRODUCT, list(OPEN_STATUSES))
    return {row["product"]: row["orders"] for row in rows}


async def now(conn: Conn) -> datetime:
    """The database's time in whole milliseconds."""
    return await conn.fetchval("SELECT date_trunc('milliseconds', clock_timestamp())")
