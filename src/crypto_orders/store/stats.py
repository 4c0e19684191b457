"""Counts and sums over all orders, from roll-ups that every transition adds to; nothing is ever scanned.

A transition appends signed deltas in its own transaction, and `fold_deltas` moves them into the totals. A
reader adds totals and deltas within one statement, thus in one snapshot: exact at any moment, folded or not.
"""

from datetime import date, datetime, timedelta

import msgspec
from msgspec import Struct

from crypto_orders.domain.order import Status
from crypto_orders.store.connection import Conn, Tx

FOLD_DELTAS_MAX = 5_000
"""Deltas folded by one transaction, so that it is short; a fold that met so many is followed by another."""

AGE_LIMITS = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""Where the buckets of pending orders' ages end."""


class Stats(Struct, frozen=True, kw_only=True):
    """All orders in numbers. Money is in integer cents by currency; `paid_sample` orders make the average.

    `avg_time_to_paid_ms` runs from creation to the paid moment and is None while nothing is paid. Revenue by
    product is in the currency that the product is sold in now; what was sold in another one before stands
    beside it under `product:CUR`, since cents of two currencies make no sum.
    """

    total: int
    by_status: dict[str, int]
    paid_revenue_cents: dict[str, int]
    avg_time_to_paid_ms: int | None
    paid_sample: int
    paid_revenue_by_product: dict[str, int]
    paid_count_by_product: dict[str, int]


class DayCount(Struct, frozen=True):
    """How many orders created on one UTC day have a status now."""

    date: date
    status: str
    count: int


class PendingAges(Struct, frozen=True, kw_only=True):
    """Pending orders by age, a boundary belonging to the older bucket, and what they are worth in cents."""

    under_1h: int
    h1_to_6h: int
    h6_to_24h: int
    over_24h: int
    value_cents: dict[str, int]
    total: int


STATS = """
SELECT status, product, price_currency, sum(orders)::bigint AS orders,
       sum(price_cents)::bigint AS price_cents, sum(paid_ms)::bigint AS paid_ms,
       (SELECT p.price_currency FROM products p WHERE p.product = parts.product) AS own_currency
  FROM (SELECT status, product, price_currency, orders, price_cents, paid_ms
          FROM order_grand_totals
         UNION ALL
        SELECT status, product, price_currency, orders, price_cents, paid_ms
          FROM order_deltas) AS parts
 GROUP BY status, product, price_currency
HAVING sum(orders) <> 0
 ORDER BY status, product, price_currency
"""


async def stats(conn: Conn) -> Stats:
    """Everything counted, over all orders, as of one moment."""
    by_status = dict.fromkeys((status.value for status in Status), 0)
    revenue: dict[str, int] = {}
    revenue_by_product: dict[str, int] = {}
    count_by_product: dict[str, int] = {}
    paid_ms = 0
    for row in await conn.fetch(STATS):
        by_status[row["status"]] += row["orders"]
        if row["status"] != Status.PAID:
            continue
        product, currency, cents = row["product"], row["price_currency"], row["price_cents"]
        revenue[currency] = revenue.get(currency, 0) + cents
        key = product if currency == row["own_currency"] else f"{product}:{currency}"
        revenue_by_product[key] = cents
        count_by_product[product] = count_by_product.get(product, 0) + row["orders"]
        paid_ms += row["paid_ms"]
    paid = by_status[Status.PAID]
    return Stats(
        total=sum(by_status.values()),
        by_status=by_status,
        paid_revenue_cents=revenue,
        avg_time_to_paid_ms=round(paid_ms / paid) if paid else None,
        paid_sample=paid,
        paid_revenue_by_product=revenue_by_product,
        paid_count_by_product=count_by_product,
    )


DAILY = """
SELECT created_on, status, sum(orders)::bigint AS orders
  FROM (SELECT created_on, status, orders
          FROM order_totals
         WHERE created_on > $1
         UNION ALL
        SELECT created_on, status, orders
          FROM order_deltas
         WHERE created_on > $1) AS parts
 GROUP BY created_on, status
HAVING sum(orders) <> 0
 ORDER BY created_on, status
"""


async def daily(conn: Conn, today: date, days: int) -> list[DayCount]:
    """Orders of the last `days` UTC days, today included, by day of creation and present status."""
    rows = await conn.fetch(DAILY, today - timedelta(days=days))
    return [DayCount(row["created_on"], row["status"], row["orders"]) for row in rows]


# The roll-up knows how many there are and what they are worth; only the young ones are looked at. A clock
# a little behind the orders' must not lose any, so what is newer than `now` counts as young.
PENDING_AGES = """
  WITH young AS (
       SELECT count(*) FILTER (WHERE created_at > $1)                       AS under_1h,
              count(*) FILTER (WHERE created_at <= $1 AND created_at > $2)  AS h1_to_6h,
              count(*) FILTER (WHERE created_at <= $2)                      AS h6_to_24h
         FROM orders
        WHERE status = 'pending' AND created_at > $3
     ), worth AS (
       SELECT price_currency, sum(orders)::bigint AS orders, sum(price_cents)::bigint AS price_cents
         FROM (SELECT price_currency, orders, price_cents
                 FROM order_grand_totals
                WHERE status = 'pending'
                UNION ALL
               SELECT price_currency, orders, price_cents
                 FROM order_deltas
                WHERE status = 'pending') AS parts
        GROUP BY price_currency
       HAVING sum(orders) <> 0
        ORDER BY price_currency
     )
SELECT under_1h, h1_to_6h, h6_to_24h,
       (SELECT coalesce(sum(orders), 0)::bigint FROM worth) AS total,
       (SELECT coalesce(json_object_agg(price_currency, price_cents), '{}') FROM worth) AS value_cents
  FROM young
"""


async def pending_ages(conn: Conn, now: datetime) -> PendingAges:
    """All pending orders by age."""
    row = await conn.fetchrow(PENDING_AGES, *(now - limit for limit in AGE_LIMITS))
    assert row is not None  # noqa: S101 - counting always gives its row
    young = row["under_1h"] + row["h1_to_6h"] + row["h6_to_24h"]
    return PendingAges(
        under_1h=row["under_1h"],
        h1_to_6h=row["h1_to_6h"],
        h6_to_24h=row["h6_to_24h"],
        over_24h=row["total"] - young,
        value_cents=msgspec.json.decode(row["value_cents"], type=dict[str, int]),
        total=row["total"],
    )


# Who deletes a delta counts it, so that any number of folds may run at once. Rows are taken in the order of
# their keys, and the days' totals before the grand ones, so that two folds never wait for each other.
FOLD = """
  WITH taken AS (
       DELETE FROM order_deltas
        WHERE delta_id IN (SELECT delta_id
                             FROM order_deltas
                            ORDER BY delta_id
                            LIMIT $1
                              FOR UPDATE SKIP LOCKED)
    RETURNING created_on, status, product, price_currency, orders, price_cents, paid_ms
     ), by_day AS (
       INSERT INTO order_totals AS t (
              created_on, status, product, price_currency, orders, price_cents, paid_ms)
       SELECT created_on, status, product, price_currency, sum(orders), sum(price_cents), sum(paid_ms)
         FROM taken
        GROUP BY created_on, status, product, price_currency
        ORDER BY created_on, status, product, price_currency
           ON CONFLICT (created_on, status, product, price_currency) DO UPDATE
          SET orders = t.orders + EXCLUDED.orders,
              price_cents = t.price_cents + EXCLUDED.price_cents,
              paid_ms = t.paid_ms + EXCLUDED.paid_ms
    RETURNING 1
     ), overall AS (
       INSERT INTO order_grand_totals AS t (status, product, price_currency, orders, price_cents, paid_ms)
       SELECT status, product, price_currency, sum(orders), sum(price_cents), sum(paid_ms)
         FROM taken
        WHERE (SELECT count(*) FROM by_day) > 0
        GROUP BY status, product, price_currency
        ORDER BY status, product, price_currency
           ON CONFLICT (status, product, price_currency) DO UPDATE
          SET orders = t.orders + EXCLUDED.orders,
              price_cents = t.price_cents + EXCLUDED.price_cents,
              paid_ms = t.paid_ms + EXCLUDED.paid_ms
    )
SELECT count(*) FROM taken
"""


async def fold_deltas(tx: Tx, limit: int = FOLD_DELTAS_MAX) -> int:
    """Move up to `limit` deltas into the totals; how many were moved. Safe in any number of processes."""
    return await tx.fetchval(FOLD, limit)
